"""Stability, convergence, fidelity with intervals, residuals, ceiling, structure: against known truths."""

import math
import warnings

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.cluster.hierarchy import cophenet
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA

from deepvalues.core.errors import UserError
from deepvalues.stats.bootstrap import draw_counts
from deepvalues.studies.profiles.analysis.comparison import (
    against_single_respondents,
    against_the_rest,
    bootstrapped,
    direction,
    fidelity_difference,
    fidelity_table,
    human_ceiling,
    reference_profiles,
    resampled,
    residual_table,
)
from deepvalues.studies.profiles.analysis.measures import MEASURES, cronbach_gleser, fidelity, measures
from deepvalues.studies.profiles.analysis.reference import mean_profiles, respondents
from deepvalues.studies.profiles.analysis.responses import matrices, responses
from deepvalues.studies.profiles.analysis.stability import (
    centred_profiles,
    concordance,
    convergence,
    intraclass,
    kendall_w,
    mean_correlation,
    mean_interval,
    plane,
    profiles,
    stability,
    tree,
    with_reference,
)
from deepvalues.studies.profiles.respondents import ORDERS, order_weights
from profile_runs import AGENTS, KEYS, held, opened, reference

RATINGS = st.lists(st.lists(st.integers(1, 7), min_size=6, max_size=6), min_size=2, max_size=12).map(
    lambda rows: np.array(rows, dtype=float)
)


@pytest.fixture(scope="module")
def all_responses():
    """The agents' runs in the closed modes, thirty of each, as in the standard set."""
    frame = pd.concat([responses(held(name), KEYS) for name in AGENTS], ignore_index=True)
    return frame[frame["run"] < 30]


@pytest.fixture(scope="module")
def fidelities(all_responses):
    return fidelity_table(all_responses, reference(), KEYS, draws=1000)


@pytest.fixture(scope="module")
def all_profiles(all_responses):
    return profiles(all_responses, KEYS)


# Kendall's W and intraclass correlations.


def long(x):
    m = len(x)
    return pd.DataFrame({"y": x.ravel(), "run": np.repeat(range(m), 6), "theme": np.tile(range(6), m)})


@settings(max_examples=40)
@given(RATINGS)
def test_w_is_pingouin_s_and_friedman_s_test_is_scipy_s(x):
    assume(np.ptp(x, axis=1).any() and len(x) > 2)
    found = concordance(x, 50, 1)
    theirs = pg.friedman(long(x), dv="y", within="theme", subject="run")
    assert found.w == pytest.approx(theirs["W"].iloc[0], abs=1e-9)
    assert (found.chi2, found.p_value) == pytest.approx(tuple(stats.friedmanchisquare(*x.T)), abs=1e-9)
    assert found.w_low <= found.w <= found.w_high


def test_w_of_one_order_is_one_and_of_two_opposite_ones_none():
    order = np.array([1, 2, 3, 4, 5, 6.0])
    assert kendall_w(np.array([order] * 4)) == pytest.approx(1)
    assert kendall_w(np.array([order, 7 - order])) == pytest.approx(0)
    assert math.isnan(kendall_w(order[None]))
    assert math.isnan(kendall_w(np.ones((4, 6))))
    assert np.isnan(concordance(np.ones((4, 6)), 50, 1)).all()


@given(st.lists(st.permutations(range(6)), min_size=2, max_size=6))
def test_w_of_rankings_is_their_mean_correlation(orders):
    """Kendall (1948): the mean of Spearman's correlations of all pairs is (mW − 1)/(m − 1)."""
    x = np.array(orders, dtype=float)
    pairs = [stats.spearmanr(a, b).statistic for i, a in enumerate(x) for b in x[:i]]
    assert mean_correlation(kendall_w(x), len(x)) == pytest.approx(np.mean(pairs), abs=1e-9)


@pytest.mark.parametrize(
    "name", ["agent-profile-reference", "agent-profile-exaggerating", "agent-profile-flattening"]
)
def test_the_interval_of_w_holds_the_truth_as_often_as_it_says(name):
    """W of unlimited rankings with the mean t is Σ(t − 3.5)²/17.5, of m of them (1 − W)/m more on average."""
    target = AGENTS[name].expected("ranking")
    truth, weights = ((target - 3.5) ** 2).sum() / 17.5, order_weights(target)
    rng = np.random.default_rng(7)
    samples = [ORDERS[rng.choice(720, 30, p=weights / weights.sum())] for _ in range(200)]
    found = [concordance(x, 300, number) for number, x in enumerate(samples)]
    assert np.mean([each.w for each in found]) == pytest.approx(truth + (1 - truth) / 30, abs=0.02)
    assert np.mean([each.w_low <= truth <= each.w_high for each in found]) > 0.9


def test_w_of_the_agents_is_recovered(all_responses):
    table = stability(all_responses, KEYS, draws=500).set_index(["mode", "model"])
    inside = []
    for name, agent in AGENTS.items():
        row = table.loc["ranking", name]
        truth = ((agent.expected("ranking") - 3.5) ** 2).sum() / 17.5
        inside.append(row["w_low"] <= truth <= row["w_high"])
    assert sum(inside) >= 8, "nine intervals of 95%"
    assert (
        table.loc[["rating", "allocation"]].xs("agent-profile-exaggerating", level="model")["w"] > 0.9
    ).all()
    assert table.loc[("rating", "agent-profile-drifting"), "w"] < 0.3


@pytest.mark.parametrize("seed", range(3))
def test_intraclass_correlations_are_those_of_mean_squares(seed):
    """McGraw and Wong (1996), from an analysis of variance of statsmodels' kind written out."""
    x = np.random.default_rng(seed).normal(size=(9, 6)) + np.arange(6)
    m, n = x.shape
    rows = m * ((x.mean(axis=0) - x.mean()) ** 2).sum() / (n - 1)
    columns = n * ((x.mean(axis=1) - x.mean()) ** 2).sum() / (m - 1)
    left = x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean()
    error = (left**2).sum() / ((n - 1) * (m - 1))
    found = intraclass(x)
    assert found["icc_c1"] == pytest.approx((rows - error) / (rows + (m - 1) * error))
    expected = (rows - error) / (rows + (m - 1) * error + m / n * (columns - error))
    assert found["icc_a1"] == pytest.approx(expected)
    assert found["icc_ck"] == pytest.approx((rows - error) / rows)
    assert found["icc_a1_low"] <= found["icc_a1"] <= found["icc_a1_high"]


def test_two_raters_have_the_icc_of_fidelity():
    x = np.array([[4, 3, 5, 6, 2, 1], [4, 3, 4.5, 5, 2.5, 2]])
    assert intraclass(x)["icc_a1"] == pytest.approx(fidelity(*x).icc_a1)


def test_without_variation_there_is_no_intraclass_correlation():
    assert all(math.isnan(number) for number in intraclass(np.ones((4, 6))).values())
    assert all(math.isnan(number) for number in intraclass(np.arange(6.0)[None]).values())


def test_mean_profiles_and_student_s_interval(all_responses, all_profiles):
    x = matrices(all_responses, KEYS)["rating", "agent-profile-reference"]
    rows = all_profiles.query("mode == 'rating' and model == 'agent-profile-reference'")
    assert rows["mean"].to_numpy() == pytest.approx(x.mean(axis=0))
    theirs = stats.ttest_1samp(x[:, 2], 0).confidence_interval()
    assert (rows["low"].iloc[2], rows["high"].iloc[2]) == pytest.approx((theirs.low, theirs.high))
    assert np.isnan(mean_interval(np.ones((3, 6)))).all() and np.isnan(mean_interval(np.ones((1, 6)))).all()


def test_models_that_are_alike_converge(all_profiles):
    alike = all_profiles[
        all_profiles["model"].isin(
            ["agent-profile-reference", "agent-profile-malformed", "agent-profile-exaggerating"]
        )
    ]
    table = convergence(alike, KEYS, draws=200).set_index("mode")
    assert (table["models"] == 3).all()
    assert table.loc["rating", "w"] > 0.9
    both = all_profiles[all_profiles["model"].isin(["agent-profile-exaggerating", "agent-profile-reversed"])]
    assert convergence(both, KEYS, draws=50).set_index("mode").loc["allocation", "w"] < 0.1


# Fidelity.


def test_the_table_agrees_with_the_definitions(all_responses, fidelities):
    h = mean_profiles(reference(), KEYS)
    for row in fidelities.itertuples():
        x = matrices(all_responses, KEYS)[row.mode, row.model].mean(axis=0)
        expected = fidelity(x, h[row.mode])
        assert [getattr(row, name) for name in MEASURES] == pytest.approx(list(expected))
        assert row.elevation + row.scatter + row.shape == pytest.approx(cronbach_gleser(x, h[row.mode]).total)
        assert row.reference == "synthetic reference"


def test_bounds_are_the_bootstrap_s_also_where_they_leave_the_estimate_out(all_responses, fidelities):
    """A mean difference of pairs that is near 0 can only be larger in a resample."""
    outside, runs = 0, matrices(all_responses, KEYS)
    for row in fidelities.to_dict("records"):
        x = runs[row["mode"], row["model"]]
        h = respondents(reference(), row["mode"], KEYS)
        found = bootstrapped(
            resampled(x, draw_counts(len(x), 1000, 0)), resampled(h, draw_counts(len(h), 1000, 1))
        )
        for name, bounds in found.items():
            assert (row[f"{name}_low"], row[f"{name}_high"]) == bounds
        outside += row["pair_mae"] < row["pair_mae_low"]
    assert outside


def test_where_chance_may_be_all_the_spread_r_is_not_made_certain(fidelities):
    """The drifting agent's differences all but cancel over wordings, so that its order is anybody's guess."""
    row = fidelities.set_index(["mode", "model"]).loc["allocation", "agent-profile-drifting"]
    assert row["v_low"] == 0
    assert row["r_low"] < row["r"] < row["r_high"]


def test_known_fidelities_are_recovered_within_their_intervals(fidelities):
    """Of 27 truths in three measures each, 95% intervals may miss a few, and not many."""
    h = mean_profiles(reference(), KEYS)
    inside = []
    for row in fidelities.itertuples():
        truth = fidelity(AGENTS[row.model].expected(row.mode), h[row.mode])
        for name in ("r", "v", "fidelity"):
            if math.isfinite(truth[name]):
                low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
                inside.append(low - 1e-9 <= truth[name] <= high + 1e-9)
    assert len(inside) == 3 * 27 - 3
    assert np.mean(inside) > 0.92


def test_directions_are_told(fidelities):
    told = fidelities.set_index(["mode", "model"])["direction"]
    for mode in ("ranking", "rating", "allocation"):
        assert told[mode, "agent-profile-exaggerating"] == "exaggerates"
    for mode in ("rating", "allocation"):
        assert told[mode, "agent-profile-flattening"] == "flattens"
        assert told[mode, "agent-profile-reference"] == "neither for certain"
    assert [direction(1.1, 2), direction(0.2, 0.9), direction(0.9, 1.1)] == [
        "exaggerates",
        "flattens",
        "neither for certain",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "agent-profile-reference",
        "agent-profile-flattening",
        "agent-profile-swapping",
        "agent-profile-reversed",
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(name):
    """Rankings, thirty runs, people drawn from the reference: r and F at their bounds, too."""
    people = respondents(reference(), "ranking", KEYS)
    target = AGENTS[name].expected("ranking")
    weights = order_weights(target)
    truth = measures(target, people.mean(axis=0))._asdict()
    rng = np.random.default_rng(3)
    held_by = {measure: [] for measure in ("r", "v", "fidelity")}
    for number in range(150):
        x = ORDERS[rng.choice(720, 30, p=weights / weights.sum())]
        h = people[rng.integers(len(people), size=len(people))]
        bounds = bootstrapped(
            resampled(x, draw_counts(30, 200, number)), resampled(h, draw_counts(len(h), 200, number + 1))
        )
        for measure, hits in held_by.items():
            low, high = bounds[measure]
            hits.append(low - 1e-9 <= truth[measure] <= high + 1e-9)
    assert min(np.mean(held_by["r"]), np.mean(held_by["fidelity"])) > 0.92
    assert np.mean(held_by["v"]) > 0.85


def test_the_interval_of_a_difference_holds_the_truth_as_often_as_it_says():
    people = respondents(reference(), "ranking", KEYS)
    targets = [AGENTS[f"agent-profile-{name}"].expected("ranking") for name in ("flattening", "swapping")]
    first, second = (float(measures(target, people.mean(axis=0)).fidelity) for target in targets)
    weights = [order_weights(target) / order_weights(target).sum() for target in targets]
    rng = np.random.default_rng(5)
    held_by, widths = [], []
    for number in range(200):
        runs = [ORDERS[rng.choice(720, 30, p=each)] for each in weights]
        h = people[rng.integers(len(people), size=len(people))]
        low, high = fidelity_difference(*runs, h, 200, number).interval
        held_by.append(low <= first - second <= high)
        widths.append(high - low)
    assert 0.91 < np.mean(held_by) < 0.99
    assert np.mean(widths) < 1


def test_the_difference_of_two_models_turns_with_their_order_and_is_that_of_the_table(
    all_responses, fidelities
):
    rated, people = matrices(all_responses, KEYS), respondents(reference(), "rating", KEYS)
    one, other = rated["rating", "agent-profile-flattening"], rated["rating", "agent-profile-reversed"]
    forth, back = fidelity_difference(one, other, people), fidelity_difference(other, one, people)
    table = fidelities.set_index(["mode", "model"])["fidelity"]
    assert forth.one == back.other == table["rating", "agent-profile-flattening"]
    assert forth.other == table["rating", "agent-profile-reversed"]
    assert forth.interval == pytest.approx((-back.interval.high, -back.interval.low), abs=0.1)
    assert 0 < forth.interval.low < forth.one - forth.other < forth.interval.high
    same = fidelity_difference(one, one, people)
    assert same.one == same.other and same.interval.low < 0 < same.interval.high
    assert all(map(math.isnan, fidelity_difference(one[:1], other, people).interval))


def test_one_run_has_no_interval(all_responses):
    table = fidelity_table(all_responses[all_responses["run"] == 0], reference(), KEYS, draws=50)
    row = table.set_index(["mode", "model"]).loc[("ranking", "agent-profile-reference")]
    assert row["runs"] == 1 and math.isfinite(row["fidelity"])
    assert math.isnan(row["fidelity_low"]) and row["direction"] == "neither for certain"


def test_modes_without_a_reference_are_left_out(all_responses):
    rated = reference().query("mode == 'rating'")
    assert set(fidelity_table(all_responses, rated, KEYS, draws=50)["mode"]) == {"rating"}
    assert set(residual_table(all_responses, rated, KEYS, draws=50)["mode"]) == {"rating"}
    assert set(against_single_respondents(all_responses, rated, KEYS)["mode"]) == {"rating"}
    with pytest.raises(UserError, match="synthetic reference has no responses in the mode ranking"):
        respondents(rated, "ranking", KEYS)


def test_the_same_seed_gives_the_same_table(all_responses, fidelities):
    again = fidelity_table(all_responses, reference(), KEYS, draws=1000)
    pd.testing.assert_frame_equal(fidelities, again)


def test_residuals_say_where_a_model_differs(all_responses):
    table = residual_table(all_responses, reference(), KEYS, draws=300)
    sums = table.groupby(["mode", "model"])["residual"].sum()
    assert np.allclose(sums, 0, atol=1e-9)
    swapping = table.query("mode == 'allocation' and model == 'agent-profile-swapping'").set_index("theme")
    assert swapping.loc["performance", "low"] > 0 > swapping.loc["social_good", "high"]
    rest = swapping.drop(["performance", "social_good"])
    assert ((rest["low"] < 0) & (rest["high"] > 0)).all()


def test_the_ceiling_is_each_against_the_rest():
    h = respondents(reference(), "rating", KEYS)
    rest = against_the_rest(h)
    assert rest[5] == pytest.approx(np.delete(h, 5, axis=0).mean(axis=0))
    row = human_ceiling(reference(), KEYS, draws=200).set_index("mode").loc["rating"]
    by_hand = [
        fidelity(one, np.delete(h, place, axis=0).mean(axis=0)).fidelity for place, one in enumerate(h)
    ]
    assert row["mean"] == pytest.approx(np.mean(by_hand))
    assert row["fidelity_median"] == pytest.approx(np.median(by_hand))
    assert row["low"] < row["mean"] < row["high"]
    assert row["v_median"] > 1, "single people differ more between themes than their mean does"
    with pytest.raises(UserError, match="two respondents"):
        against_the_rest(h[:1])


def test_part_of_exaggeration_is_averaging(all_responses, fidelities):
    single = against_single_respondents(all_responses, reference(), KEYS).set_index(["mode", "model"])
    row = single.loc[("rating", "agent-profile-exaggerating")]
    against_mean = fidelities.set_index(["mode", "model"]).loc[("rating", "agent-profile-exaggerating"), "v"]
    assert row["v_median"] < 0.6 * against_mean
    h = respondents(reference(), "rating", KEYS)
    x = matrices(all_responses, KEYS)["rating", "agent-profile-exaggerating"].mean(axis=0)
    values = [fidelity(x, one).fidelity for one in h]
    assert row["fidelity_median"] == pytest.approx(np.median(values))


def test_the_reference_s_own_profile():
    table = reference_profiles(reference(), KEYS)
    means = mean_profiles(reference(), KEYS)
    for mode, group in table.groupby("mode"):
        assert group["mean"].to_numpy() == pytest.approx(means[mode])
    assert (table["q25"] <= table["q75"]).all() and (table["low"] < table["high"]).all()
    assert set(table["reference"]) == {"synthetic reference"}


def test_open_answers_fit_the_same_tables():
    assert set(opened()["status"]) == {"answered", "refused"}


# Structure.


def test_the_map_keeps_distances_as_near_as_two_dimensions_can(all_profiles):
    centred = centred_profiles(all_profiles, "allocation", KEYS)
    found = plane(centred)
    theirs = PCA(2).fit(centred)
    assert found.shares == pytest.approx(theirs.explained_variance_ratio_)
    assert np.abs(found.points.to_numpy()) == pytest.approx(np.abs(theirs.transform(centred)))
    assert pdist(found.points) == pytest.approx(pdist(theirs.transform(centred)))
    for axis in ("x", "y"):
        heaviest = found.themes[axis].abs().idxmax()
        assert found.themes.loc[heaviest, axis] > 0


def test_the_map_is_the_same_for_models_in_any_order(all_profiles):
    one = plane(centred_profiles(all_profiles, "rating", KEYS)).points
    other = plane(centred_profiles(all_profiles.iloc[::-1], "rating", KEYS)).points
    assert np.allclose(one, other.loc[one.index])


def test_the_tree_s_distances_are_scatter_and_shape(all_profiles):
    centred = centred_profiles(all_profiles, "rating", KEYS)
    merged = tree(centred)
    assert merged.shape == (len(centred) - 1, 4)
    means = all_profiles.query("mode == 'rating'").pivot(index="model", columns="theme", values="mean")[KEYS]
    parts = cronbach_gleser(means.iloc[0], means.iloc[1])
    assert squareform(pdist(centred))[0, 1] ** 2 == pytest.approx(parts.scatter + parts.shape)
    together = squareform(cophenet(merged))
    names = list(centred.index)
    first, second, apart = (names.index(f"agent-profile-{n}") for n in ("reference", "malformed", "reversed"))
    assert together[first, second] < together[first, apart]


def test_two_models_fit_a_line_and_one_is_none(all_profiles):
    two = all_profiles[all_profiles["model"].isin(["agent-profile-reference", "agent-profile-reversed"])]
    found = plane(centred_profiles(two, "rating", KEYS))
    assert found.shares == pytest.approx((1, 0))
    assert np.allclose(found.points["y"], 0, atol=1e-9)
    with pytest.raises(UserError, match="two models or more; there is 1"):
        centred_profiles(two[two["model"] == "agent-profile-reversed"], "rating", KEYS)


def test_models_that_are_all_alike_have_no_map():
    same = pd.DataFrame(np.ones((3, 6)), index=list("abc"), columns=KEYS)
    with warnings.catch_warnings(action="error"):
        assert np.isnan(plane(same).shares).all()


def test_the_reference_is_one_model_more_under_its_name():
    models = pd.DataFrame({"mode": "rating", "model": "gpt-x", "theme": KEYS, "runs": 30, "mean": range(6)})
    people = pd.DataFrame({"mode": "rating", "reference": "human reference", "theme": KEYS, "mean": 1.0})
    both = with_reference(models, people)
    assert list(both) == ["mode", "model", "theme", "mean"]
    assert list(centred_profiles(both, "rating", KEYS).index) == ["gpt-x", "human reference"]
