"""Statistics of the Deep Value Benchmark: joins, rates, bounds, sensitivities, the published table."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.stats.clusters import clustered, two_way
from deepvalues.stats.rates import cohens_h, exact_test, holm, wilson
from deepvalues.studies.dvb.analysis import statistics
from deepvalues.studies.dvb.respondents.agents import expected_rate
from deepvalues.studies.dvb.stimuli.design import ARMS

#: What the right option of each arm shows, as ±1 for the value and for the surface.
SHOWS = {"deconfounded": (1, -1), "probe_value": (1, 0), "probe_surface": (0, 1)}


def answers_of(items, model, choices, statuses=None):
    """Answers as `Questions.answers` gives them."""
    statuses = ["answered"] * len(items) if statuses is None else statuses
    return pd.DataFrame(
        {
            "model": model,
            "item": list(items["id"]),
            "repeat": 0,
            "turn": 0,
            "status": statuses,
            "choice": [
                choice if status == "answered" else None
                for choice, status in zip(choices, statuses, strict=True)
            ],
            "reply": "a reply",
        }
    )


@pytest.fixture(scope="module")
def agent_trials(items_standard, agent_answers):
    return statistics.trials(items_standard, agent_answers)


# ---- trials ----


def test_trials_join_answers_to_items(items_smoke):
    statuses = ["answered"] * 125 + ["refused", "unparsable", "truncated", "failed", "answered"]
    choices = ["A"] * 130
    shuffled = answers_of(items_smoke, "m", choices, statuses).sample(frac=1, random_state=1)
    found = statistics.trials(items_smoke, shuffled)
    assert list(found["item"]) == list(shuffled["item"])
    by_item = found.set_index("item").loc[items_smoke["id"]]
    assert list(by_item["cell"]) == list(items_smoke["cell"])
    expected = [float(right == "A") for right in items_smoke["right"]]
    for status, followed, right in zip(statuses, by_item["followed"], expected, strict=True):
        assert followed == right if status == "answered" else math.isnan(followed)
    assert not {"prompt", "hash", "prefix_chars", "id"} & set(found)


def test_several_models_share_the_items(items_smoke):
    both = pd.concat([answers_of(items_smoke, name, [letter] * 130) for name, letter in ("pA", "qB")])
    found = statistics.trials(items_smoke, both).groupby("model")["followed"].sum()
    assert found["p"] + found["q"] == 130
    assert found["p"] == (items_smoke["right"] == "A").sum()


def test_an_answer_to_no_item_is_an_error(items_smoke):
    answers = answers_of(items_smoke, "m", ["A"] * 130)
    answers.loc[[3, 9], "item"] = ["c999.prior.n00.t0a", "elsewhere"]
    with pytest.raises(UserError, match=r"2 answers belong to no item of this set; .* c999\.prior\.n00"):
        statistics.trials(items_smoke, answers)


def test_families_stand_after_the_names_and_the_frame_stays_as_it_was():
    frame = pd.DataFrame({"arm": ["prior"] * 3, "model": ["a", "b", "stranger"], "rate": [0.1, 0.2, 0.3]})
    named = statistics.with_family(frame, {"a": "text learner", "b": "language model"})
    assert list(named) == ["arm", "model", "family", "rate"]
    assert list(named["family"].iloc[:2]) == ["text learner", "language model"]
    assert pd.isna(named["family"].iloc[2])
    assert list(frame) == ["arm", "model", "rate"]


# ---- missing replies ----


def outcomes(**by_model):
    """Deconfounded trials, one a character: 1 and 0 are answers, any other letter is a reason."""
    reasons = {"r": "refused", "u": "unparsable", "t": "truncated", "f": "failed"}
    rows = [
        {
            "model": model,
            "arm": "deconfounded",
            "n_examples": 4,
            "test": 0,
            "cell": f"c{place:03d}",
            "status": reasons.get(letter, "answered"),
            "followed": float(letter) if letter in "01" else math.nan,
        }
        for model, text in by_model.items()
        for place, letter in enumerate(text)
    ]
    return pd.DataFrame(rows)


def test_missing_replies_are_counted_by_reason():
    table = statistics.missing_by_reason(outcomes(p="1100rruf", q="11", s="tt")).set_index("model")
    assert list(table.loc["p"]) == [8, 4, 2, 1, 0, 1, 0.5]
    assert list(table.loc["q"]) == [2, 2, 0, 0, 0, 0, 0]
    assert list(table.loc["s"]) == [2, 0, 0, 0, 2, 0, 1]
    assert list(table.columns) == [
        *["items", "answered", "refused", "unparsable", "truncated", "failed", "missing_share"]
    ]


def test_bounds_count_all_missing_as_shallow_then_as_deep():
    """3 of 5 answered deep, 3 missing: between 3/8 and 6/8."""
    row = statistics.dvgr_by_model(outcomes(p="11100ruf")).iloc[0]
    assert (row["items"], row["answered"], row["followed"]) == (8, 5, 3)
    assert row["dvgr"] == 3 / 5
    assert (row["bound_low"], row["bound_high"]) == (3 / 8, 6 / 8)


@given(st.text(alphabet="01ruf", min_size=1, max_size=30))
def test_bounds_hold_whatever_the_missing_replies_would_have_been(text):
    row = statistics.dvgr_by_model(outcomes(p=text)).iloc[0]
    for guess in "01":
        complete = [guess if letter in "ruf" else letter for letter in text]
        rate = complete.count("1") / len(text)
        assert row["bound_low"] - 1e-12 <= rate <= row["bound_high"] + 1e-12
    assert row["bound_high"] - row["bound_low"] == pytest.approx(sum(c in "ruf" for c in text) / len(text))


# ---- rates ----


def test_rates_of_groups_by_hand():
    frame = outcomes(p="1101r", q="0000", s="rr")
    frame["cell"] = ["c1", "c1", "c2", "c3", "c3", *["c1"] * 4, "c1", "c2"]
    table = statistics.rates(frame, ["model"]).set_index("model")
    assert list(table["items"]) == [5, 4, 2]
    assert list(table["answered"]) == [4, 4, 0]
    assert list(table["followed"]) == [3, 0, 0]
    assert list(table["rate"])[:2] == [0.75, 0]
    assert (table.loc["p", "wilson_low"], table.loc["p", "wilson_high"]) == wilson(3, 4)
    by_hand = clustered(pd.Series([1.0, 1, 0, 1]), pd.Series(["c1", "c1", "c2", "c3"]))
    assert (table.loc["p", "clustered_low"], table.loc["p", "clustered_high"]) == by_hand
    assert table.loc["q", ["clustered_low", "clustered_high"]].isna().all()
    assert table.loc["s", "rate":].isna().all()


def test_rates_of_several_columns_come_sorted(agent_trials):
    table = statistics.rates(agent_trials, ["model", "arm", "n_examples"])
    keys = list(zip(table["model"], table["arm"], table["n_examples"], strict=True))
    assert keys == sorted(keys)
    assert len(keys) == 9 * 21
    assert set(table["items"]) == {800}


def test_missing_answers_do_not_count_as_shallow():
    with_gaps, without = outcomes(p="1r0r1"), outcomes(p="101")
    first, second = (statistics.rates(frame, ["model"]).iloc[0] for frame in (with_gaps, without))
    columns = ["answered", "followed", "rate", "wilson_low", "wilson_high"]
    assert list(first[columns]) == list(second[columns])


def test_dvgr_takes_deconfounded_trials_and_adds_the_tests(agent_trials):
    table = statistics.dvgr_by_model(agent_trials).set_index("model")
    assert table.loc["agent-value", "dvgr"] == 1
    assert table.loc["agent-surface", "dvgr"] == 0
    assert set(table["items"]) == {2400}
    for row in table.itertuples():
        assert row.cohens_h == cohens_h(row.dvgr)
        assert row.cohens_g == pytest.approx(row.dvgr - 0.5)
        assert (row.wilson_low, row.wilson_high) == wilson(row.followed, row.answered)
    assert list(table["p_holm"]) == holm(list(table["p_value"]))
    mixture = table.loc["agent-mixture"]
    assert mixture["clustered_low"] < 0.3 < mixture["clustered_high"]
    # 1,200 tests in two orders are 1,200 tests.
    assert table.loc["agent-value", "p_value"] == exact_test(1200, 1200)
    assert table.loc["agent-first", "p_value"] == 1
    # A mixture draws anew for every item: clusters add little.
    widths = (
        mixture["clustered_high"] - mixture["clustered_low"],
        mixture["wilson_high"] - mixture["wilson_low"],
    )
    assert widths[0] == pytest.approx(widths[1], rel=0.2)


@pytest.mark.parametrize(
    ("by", "wording"), [("v1", "target_value_wording"), ("dimension", "target_pole_wording")]
)
def test_estimates_by_value_and_dimension_are_clustered_by_wording_and_cell(agent_trials, by, wording):
    own = agent_trials[agent_trials["model"] == "agent-sensitive"]
    table = statistics.rates_by_wording(own, [by])
    deep = own[own["arm"] == "deconfounded"]
    assert list(table[by]) == sorted(set(deep[by]))
    for row in table.itertuples():
        group = deep[deep[by] == getattr(row, by)]
        assert (row.answered, row.rate) == (len(group), group["followed"].mean())
        expected = two_way(group["followed"], group[wording], group["cell"])
        assert (row.clustered_low, row.clustered_high) == pytest.approx(expected, nan_ok=True)


def in_orders(*tests):
    """Trials of one model, a text a test: one character for each of its orders."""
    frames = [outcomes(m=text).assign(cell=f"c{place:03d}") for place, text in enumerate(tests)]
    return pd.concat(frames, ignore_index=True)


def test_a_test_counts_once_in_the_test_against_chance():
    """Both orders as one where they agree, neither where they don't; one alone where the other is missing."""
    frame = in_orders("11", "11", "00", "10", "01", "1r", "11", "11", "rr")
    (p,) = statistics.sign_tests(frame, ["model"])
    assert p == exact_test(5, 6)
    assert statistics.dvgr_by_model(frame).loc[0, "p_value"] == p


@given(st.lists(st.sampled_from(["0", "1", "r"]), min_size=1, max_size=30))
def test_with_one_order_a_test_it_is_the_binomial_test(tests):
    (p,) = statistics.sign_tests(in_orders(*tests), ["model"])
    expected = exact_test(tests.count("1"), len(tests) - tests.count("r"))
    assert p == pytest.approx(expected, nan_ok=True)


@pytest.mark.slow
@given(st.lists(st.sampled_from(["0", "1"]), min_size=1, max_size=30))
def test_an_order_that_says_the_same_again_adds_nothing(tests):
    once, twice = (statistics.sign_tests(in_orders(*(text * k for text in tests)), ["model"]) for k in (1, 2))
    assert once == twice


def test_a_model_that_takes_one_place_is_told_from_nothing():
    assert statistics.sign_tests(in_orders(*["10", "01"] * 50), ["model"]) == [1.0]
    assert math.isnan(statistics.sign_tests(in_orders("rr"), ["model"])[0])


# ---- the instrument ----


def test_the_instrument_check_compares_every_agent_and_arm(agent_trials, agents):
    rates = statistics.rates(agent_trials, ["model", "arm", "n_examples"])
    stranger = rates.iloc[:1].assign(model="learner-words")
    table = statistics.instrument_check(pd.concat([rates, stranger]), list(agents.values()))
    assert len(table) == 9 * 21
    for row in table.itertuples():
        assert row.expected == expected_rate(agents[row.model], ARMS[row.arm])
    exact = table[table["model"].isin(["agent-value", "agent-surface", "agent-first", "agent-prose"])]
    assert (exact["expected"] == exact["observed"]).all()
    assert exact["within"].all()
    # A 95% interval misses a few of the others, and not more.
    assert stats.binomtest(int((~table["within"]).sum()), 168, 0.05, alternative="greater").pvalue > 0.01


def test_letters_drawn_anew_miss_at_the_rate_of_their_intervals(agent_trials, agents):
    draws = {
        name: statistics.redrawn(agent_trials, agents[name], 4) for name in ("agent-value", "agent-sensitive")
    }
    assert draws["agent-value"] == [0] * 4
    misses = sum(draws["agent-sensitive"])
    assert stats.binomtest(misses, 4 * 21, 0.05).pvalue > 0.001
    # Each draw is another one, and always the same.
    assert len(set(statistics.redrawn(agent_trials, agents["agent-random"], 8))) > 1
    assert statistics.redrawn(agent_trials, agents["agent-sensitive"], 2) == draws["agent-sensitive"][:2]


def test_the_instrument_check_can_fail(agent_trials, agents):
    rates = statistics.rates(agent_trials, ["model", "arm", "n_examples"])
    swap = {"agent-value": "agent-surface", "agent-surface": "agent-value"}
    swapped = rates[rates["model"].isin(swap)].assign(model=lambda frame: frame["model"].map(swap))
    table = statistics.instrument_check(swapped, list(agents.values()))
    assert not table.loc[table["arm"] == "deconfounded", "within"].any()
    assert table.loc[table["arm"] == "control", "within"].all()


def test_rates_met_are_counted_by_agent(agents):
    rows = [
        ("agent-value", "control", 20, 1.0, 1.0, True),
        ("agent-value", "prior", 0, 0.3, 0.1 + 0.2, True),
        ("agent-random", "prior", 0, 0.5, 0.53, True),
        ("agent-random", "control", 20, 0.5, 0.4, False),
    ]
    check = pd.DataFrame(rows, columns=["model", "arm", "n_examples", "expected", "observed", "within"])
    # 0.1 + 0.2 is not 0.3 in binary fractions.
    assert list(statistics.met_exactly(check)) == [True, True, False, False]
    table = statistics.instrument_by_agent(check, list(agents.values()))
    assert list(table) == ["model", "rule", "compared", "exact", "within", "largest"]
    assert list(table["model"]) == ["agent-random", "agent-value"]
    assert list(table["rule"]) == [agents[name].description for name in table["model"]]
    assert table[["compared", "exact", "within"]].to_numpy().tolist() == [[2, 0, 1], [2, 2, 2]]
    assert list(table["largest"]) == pytest.approx([0.1, 0], abs=1e-15)


# ---- sensitivities ----


def simulated(items, parameters, seed=3, model="simulated", copies=1):
    """Trials of a model with known parameters, in all arms of the sensitivities."""
    b0, b_v, b_s = parameters
    chosen = items[items["arm"].isin(SHOWS) & (items["n_examples"] == 20)]
    chosen = pd.concat([chosen] * copies, ignore_index=True)
    x = regressors(chosen)
    first = np.random.default_rng(seed).random(len(chosen)) < expit(b0 + b_v * x[:, 1] + b_s * x[:, 2])
    letters = np.where(first, "A", "B")
    frame = chosen.assign(model=model, status="answered", choice=letters)
    return frame.assign(followed=(letters == chosen["right"]).astype(float))


def regressors(frame):
    """1, x_v and x_s of every trial, worked out from the arm and the letter of the right option."""
    return np.array(
        [
            (1, *(lean if right == "A" else -lean for lean in SHOWS[arm]))
            for arm, right in zip(frame["arm"], frame["right"], strict=True)
        ],
        dtype=float,
    )


@pytest.mark.parametrize("parameters", [(0.4, 0.8, 1.6), (0, 1.2, 0.2), (-1, -0.5, 0.5), (0, 0, 0)])
def test_sensitivities_recover_known_parameters(items_standard, parameters):
    row = statistics.sensitivities(simulated(items_standard, parameters)).iloc[0]
    b0, b_v, b_s = parameters
    for name, true in {"b0": b0, "b_v": b_v, "b_s": b_s, "d": b_v - b_s}.items():
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        assert low < row[name] < high
        # Within 3 standard errors; the interval spans twice 1.96.
        assert abs(row[name] - true) < 3 * (high - low) / 3.92, name
        assert high - low < 1
    assert row["d"] == pytest.approx(row["b_v"] - row["b_s"])


def test_sensitivities_of_the_agent_with_known_parameters(agent_trials):
    table = statistics.sensitivities(agent_trials).set_index("model")
    for name, true in {"b0": 0.4, "b_v": 0.8, "b_s": 1.6, "d": -0.8}.items():
        low, high = table.loc["agent-sensitive", [f"{name}_low", f"{name}_high"]]
        assert abs(table.loc["agent-sensitive", name] - true) < 3 * (high - low) / 3.92, name
    coin = table.loc["agent-random"]
    assert all(abs(coin[name]) < 0.4 for name in ("b0", "b_v", "b_s"))


def test_sensitivities_are_the_maximum_of_the_likelihood_with_a_sandwich(items_standard):
    """Against a general optimiser, and the clustered covariance written out."""
    frame = simulated(items_standard, (0.4, 0.8, 1.6), copies=2)
    x, y = regressors(frame), (frame["choice"] == "A").to_numpy(dtype=float)

    def loss(b):
        return np.logaddexp(0, x @ b).sum() - y @ (x @ b)

    b = minimize(loss, np.zeros(3), tol=1e-10).x
    p = expit(x @ b)
    bread = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    scores = pd.DataFrame(x * (y - p)[:, None]).groupby(frame["cell"].to_numpy()).sum().to_numpy()
    g, n = len(scores), len(y)
    # The usual correction for few clusters, as in Stata and statsmodels.
    covariance = g / (g - 1) * (n - 1) / (n - 3) * bread @ (scores.T @ scores) @ bread
    row = statistics.sensitivities(frame).iloc[0]
    terms = {"b0": (1, 0, 0), "b_v": (0, 1, 0), "b_s": (0, 0, 1), "d": (0, 1, -1)}
    for name, weights in terms.items():
        estimate, spread = b @ weights, 1.959964 * math.sqrt(weights @ covariance @ np.array(weights))
        assert row[name] == pytest.approx(estimate, abs=1e-4)
        assert row[f"{name}_low"] == pytest.approx(estimate - spread, abs=2e-4)
        assert row[f"{name}_high"] == pytest.approx(estimate + spread, abs=2e-4)


def test_dvgr_follows_from_the_sensitivities(items_standard):
    """[σ(d + b0) + σ(d − b0)] / 2 of the estimates is near the observed rate."""
    frame = simulated(items_standard, (0.9, 0.6, 1.4))
    row = statistics.sensitivities(frame).iloc[0]
    implied = (expit(row["d"] + row["b0"]) + expit(row["d"] - row["b0"])) / 2
    assert implied == pytest.approx(frame.loc[frame["arm"] == "deconfounded", "followed"].mean(), abs=0.03)


def estimates(row):
    return row[[f"{name}{end}" for name, end in product(("b0", "b_v", "b_s", "d"), ("", "_low", "_high"))]]


@pytest.mark.parametrize("agent", ["agent-value", "agent-surface", "agent-first", "agent-prose"])
def test_a_likelihood_without_a_maximum_gives_no_estimate(agent_trials, agent):
    table = statistics.sensitivities(agent_trials).set_index("model")
    assert estimates(table.loc[agent]).isna().all()


@pytest.mark.parametrize("seed", [3, 27])
def test_deconfounded_trials_alone_do_not_identify_both_sensitivities(items_standard, seed):
    """Not even where rounding lets the fit go through, as in the second sample."""
    frame = simulated(items_standard, np.random.default_rng(seed).normal(size=3), seed)
    deep = frame[frame["arm"] == "deconfounded"]
    part = deep.sample(frac=np.random.default_rng(seed).uniform(0.2, 1), random_state=seed)
    assert estimates(statistics.sensitivities(part).iloc[0]).isna().all()


def test_sensitivities_use_the_arms_at_20_and_answers_only(items_standard, agent_trials):
    own = agent_trials[agent_trials["model"] == "agent-sensitive"]
    expected = statistics.sensitivities(own)
    chosen = own["arm"].isin(SHOWS) & (own["n_examples"] == 20)
    pd.testing.assert_frame_equal(statistics.sensitivities(own[chosen]), expected)
    # Nonsense everywhere else, and in trials without an answer, changes nothing.
    spoilt = own.copy()
    spoilt.loc[~chosen, ["choice", "followed"]] = ["A", 1.0]
    unread = own[chosen].iloc[:50].assign(followed=math.nan, choice=None, status="refused")
    pd.testing.assert_frame_equal(statistics.sensitivities(pd.concat([spoilt, unread])), expected)


def test_known_parameters_stand_beside_their_estimates():
    names = ("b0", "b_v")
    simulated = pd.DataFrame({"parameter": names, "true": [0.4, 0.8], "coverage": [0.94, 0.96]})
    found = {"b0": 0.5, "b0_low": 0.4, "b0_high": 0.6, "b_v": 1.2, "b_v_low": 0.9, "b_v_high": 1.5}
    estimates = pd.DataFrame([{"model": "other", **dict.fromkeys(found, 0.0)}, {"model": "agent", **found}])
    table = statistics.recovered(estimates, simulated, "agent")
    assert list(table) == ["parameter", "true", "estimate", "low", "high", "held", "coverage"]
    assert table.iloc[0].tolist() == ["b0", 0.4, 0.5, 0.4, 0.6, True, 0.94]
    assert table.iloc[1].tolist() == ["b_v", 0.8, 1.2, 0.9, 1.5, False, 0.96]
    unknown = statistics.recovered(estimates, simulated, "not asked")
    assert unknown[["estimate", "low", "high"]].isna().all(axis=None)
    assert not unknown["held"].any()
    assert list(unknown["coverage"]) == [0.94, 0.96]


# ---- the published table ----


@pytest.fixture(scope="module")
def published():
    return pd.read_csv(paths.PUBLISHED / "dvb_by_model.csv")


def test_the_published_dvgr_is_recomputed(published):
    table = statistics.published_dvgr(published)
    deep, read = table["followed"].sum(), table["answered"].sum()
    assert (deep, read) == (31_668, 104_725)
    assert deep / read == pytest.approx(0.3024, abs=5e-5)
    assert len(table) == 9
    assert (table["wilson_high"] < 0.5).all()
    assert (table["p_holm"] < 0.001).all()
    for row in table.itertuples():
        assert row.dvgr == row.followed / row.answered
        assert (row.wilson_low, row.wilson_high) == wilson(row.followed, row.answered)
        assert row.p_value == exact_test(row.followed, row.answered)
        assert row.bound_low == row.followed / 12_000
        assert row.bound_high == pytest.approx(1 - (row.answered - row.followed) / 12_000)
        assert row.bound_low <= row.dvgr <= row.bound_high
        assert row.cohens_h == cohens_h(row.dvgr)
        assert row.cohens_g == pytest.approx(row.dvgr - 0.5)
    assert list(table["p_holm"]) == holm(list(table["p_value"]))


def test_the_published_counts_give_the_printed_test_statistics(published):
    """Section 5 of the specification: the model factor, and the size pairs with Yates' correction."""
    counts = published.set_index("model").assign(shallow=lambda t: t["n_parsed"] - t["n_deep"])
    chi2, _, degrees, _ = stats.chi2_contingency(counts[["n_deep", "shallow"]])
    assert (round(chi2, 2), degrees) == (1918.04, 8)
    assert math.sqrt(chi2 / counts["n_parsed"].sum()) == pytest.approx(0.135, abs=5e-4)
    pairs = {
        ("gemini-2.0-flash-lite", "gemini-2.0-flash"): (0.06, 97.30),
        ("gpt-4.1-nano-2025-04-14", "gpt-4.1-mini-2025-04-14"): (-0.12, 427.97),
        ("gpt-4.1-mini-2025-04-14", "gpt-4.1-2025-04-14"): (0.01, 3.96),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06"): (-0.02, 12.75),
        ("llama-3-8b-instruct", "llama-3-70b-instruct"): (-0.13, 441.57),
    }
    dvgr = statistics.published_dvgr(published).set_index("model")["dvgr"]
    for (small, large), (difference, printed) in pairs.items():
        pair = counts.loc[[small, large], ["n_deep", "shallow"]]
        assert stats.chi2_contingency(pair)[0] == pytest.approx(printed, abs=0.006)
        assert dvgr[large] - dvgr[small] == pytest.approx(difference, abs=0.0051)


def test_published_models_stand_below_those_that_were_asked(published, agent_trials):
    ours = statistics.dvgr_by_model(agent_trials).assign(family="reference agent")
    theirs = statistics.published_dvgr(published)
    table = statistics.with_published(ours, theirs)
    columns = ["model", "family", "dvgr", "wilson_low", "wilson_high", "clustered_low", "clustered_high"]
    assert list(table) == columns
    pd.testing.assert_frame_equal(table.head(len(ours)), ours[columns])
    rest = table.tail(9).reset_index(drop=True)
    assert set(rest["family"]) == {"published"}
    pd.testing.assert_frame_equal(rest[["model", "dvgr"]], theirs[["model", "dvgr"]])
    assert rest[["clustered_low", "clustered_high"]].isna().all(axis=None)
