"""The simulation study: the model of answers, its truth, and intervals of many runs at once."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from scipy.special import expit

from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.analysis import simulation, statistics
from deepvalues.studies.dvb.analysis.intervals import METHODS, intervals
from deepvalues.studies.dvb.analysis.simulation import (
    EFFECTS,
    ESTIMANDS,
    METHOD_NAMES,
    Expectation,
    Truth,
    agent_coverage,
    bounds,
    cell_steps,
    clusterings,
    coverage,
    deconfounded,
    draw_answers,
    draw_effects,
    layout_of,
    power,
    recovery,
)
from deepvalues.studies.dvb.stimuli.design import ARMS

CONDITIONS = {name: EFFECTS[name] for name in ("none", "cell", "wording", "value")}
ALL = Truth(0.4, 0.8, 1.6, cell_sd=1.0, value_sd=0.5, value_wording_sd=0.7, pole_wording_sd=0.6)


@pytest.fixture(scope="module")
def layout(items_standard):
    return deconfounded(items_standard)


@pytest.fixture(scope="module")
def probes(items_standard):
    """All arms whose evidence differs, at N = 20."""
    used = items_standard["arm"].isin(statistics.SENSITIVITY_ARMS) & (items_standard["n_examples"] == 20)
    return layout_of(items_standard, used)


def answers_of(layout, truth, runs, seed=1):
    rng = np.random.default_rng(seed)
    effects = draw_effects(layout, truth, runs, rng)
    return effects, draw_answers(layout, truth, effects, runs, rng)


def expected_rates(layout, truth, by=(), given=None):
    """Shape (groups, runs)."""
    return Expectation(layout, by, list(given or {})).rates(truth, given or {})


# ---- the model of answers ----


def test_logits_are_the_model_written_out(probes):
    """Test by test, from the items' own columns."""
    effects, _ = answers_of(probes, ALL, 3)
    found = probes.logits(ALL, effects)
    names = {
        "cell": pd.unique(probes.items["cell"]),
        "value": pd.unique(probes.items["v1"]),
        "value_wording": pd.unique(
            probes.items[["target_value_wording", "other_value_wording"]].to_numpy().ravel()
        ),
        "pole_wording": pd.unique(
            probes.items[["target_pole_wording", "other_pole_wording"]].to_numpy().ravel()
        ),
    }
    of = {effect: dict(zip(names[effect], effects[effect][:, 2], strict=True)) for effect in names}
    shows = {"deconfounded": (1, -1), "probe_value": (1, 0), "probe_surface": (0, 1)}
    for place in range(0, len(probes.items), 7):
        item = probes.items.iloc[place]
        x_v, x_s = shows[item["arm"]]
        expected = 0.4 if item["right"] == "A" else -0.4
        expected += x_v * (0.8 + of["value"][item["v1"]] + of["cell"][item["cell"]]) + x_s * 1.6
        for layer in ("value", "pole"):
            target, other = (item[f"{side}_{layer}_wording"] for side in ("target", "other"))
            expected += of[f"{layer}_wording"][target] - of[f"{layer}_wording"][other]
        assert found[place, 2] == pytest.approx(expected, abs=1e-5)


def test_answers_come_at_the_rate_of_their_logits(layout):
    _, answers = answers_of(layout, Truth(), 2_000)
    p = expit(layout.logits(Truth(), {})[:, 0])
    assert set(np.unique(answers)) == {0, 1}
    assert np.abs(answers.mean(axis=1) - p).max() < 5 * math.sqrt(0.25 / 2_000)
    assert answers.mean() == pytest.approx(p.mean(), abs=0.001)


def test_effects_have_the_spread_asked_for_and_the_rest_are_left_out(layout):
    effects, _ = answers_of(layout, replace(ALL, value_sd=0.0), 400)
    assert set(effects) == {"cell", "value_wording", "pole_wording"}
    assert effects["cell"].shape == (400, 400)
    for name, drawn in effects.items():
        assert drawn.std() == pytest.approx(getattr(ALL, f"{name}_sd"), rel=0.02)
        assert abs(drawn.mean()) < 0.02


def test_tests_at_every_n_share_their_effects(layout):
    """The same test at N = 4, 20 and 40 has one logit; that of its other order differs by its place alone."""
    effects, _ = answers_of(layout, ALL, 2)
    logits = pd.DataFrame(layout.logits(ALL, effects))
    items = layout.items
    spread = logits.groupby([items["cell"], items["test"], items["swapped"]]).agg(np.ptp)
    assert spread.to_numpy().max() == 0
    placeless = logits - ALL.b0 * layout.sign[:, None]
    spread = placeless.groupby([items["cell"], items["test"]]).agg(np.ptp)
    assert spread.to_numpy().max() < 1e-5


def test_evidence_is_that_of_the_arms(items_standard):
    evidence = layout_of(items_standard, items_standard["arm"] != "none").evidence
    found = pd.DataFrame(evidence).groupby(items_standard["arm"]).agg(["min", "max"])
    expected = {"prior": (0, 0), "control": (1, 1), "value_only": (1, 0), "surface_only": (0, 1)}
    expected |= {"deconfounded": (1, -1), "probe_value": (1, 0), "probe_surface": (0, 1)}
    assert set(found.index) == set(ARMS)
    for arm, (x_v, x_s) in expected.items():
        assert found.loc[arm].tolist() == [x_v, x_v, x_s, x_s]


# ---- the truth ----


def test_without_effects_the_dvgr_is_its_formula(layout):
    """[σ(d + b0) + σ(d − b0)] / 2 on balanced positions."""
    rate = expected_rates(layout, Truth(0.4, 0.8, 1.6))
    assert rate.shape == (1, 1)
    assert float(rate[0, 0]) == pytest.approx((expit(-0.8 + 0.4) + expit(-0.8 - 0.4)) / 2, abs=1e-6)


def test_the_integral_over_effects_is_that_of_scipy(layout):
    spread = math.sqrt(1.0**2 + 0.5**2 + 2 * 0.7**2 + 2 * 0.6**2)

    def mean(centre):
        return integrate.quad(lambda z: expit(centre + spread * z) * stats.norm.pdf(z), -12, 12)[0]

    expected = (mean(-0.8 + 0.4) + mean(-0.8 - 0.4)) / 2
    assert float(expected_rates(layout, ALL)[0, 0]) == pytest.approx(expected, abs=1e-5)


def test_the_expected_rate_is_the_mean_of_many_runs(layout):
    _, answers = answers_of(layout, ALL, 3_000)
    rates = answers.mean(axis=0, dtype=float)
    standard_error = rates.std() / math.sqrt(3_000)
    assert float(expected_rates(layout, ALL)[0, 0]) == pytest.approx(rates.mean(), abs=4 * standard_error)


def test_given_all_effects_the_expected_rate_is_that_of_the_tests(layout):
    effects, _ = answers_of(layout, ALL, 4)
    p = pd.DataFrame(expit(layout.logits(ALL, effects)))
    found = expected_rates(layout, ALL, ["v1"], effects)
    expected = p.groupby(layout.items["v1"]).mean()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    pooled = expected_rates(layout, ALL, (), effects)
    np.testing.assert_allclose(pooled[0], p.mean(), atol=1e-5)


def test_given_wordings_only_cells_are_averaged(layout):
    """Against many draws of the cells' effects around the same wordings."""
    rng = np.random.default_rng(2)
    wordings = draw_effects(layout, replace(ALL, cell_sd=0.0), 1, rng)
    found = expected_rates(layout, ALL, ["dimension", "direction"], wordings)
    cells = draw_effects(layout, Truth(cell_sd=1.0), 4_000, rng)
    held = {name: np.repeat(drawn, 4_000, axis=1) for name, drawn in wordings.items()}
    p = expit(layout.logits(ALL, {**held, **cells})).mean(axis=1)
    groups = [layout.items[column] for column in ("dimension", "direction")]
    np.testing.assert_allclose(found[:, 0], pd.Series(p).groupby(groups).mean(), atol=0.01)


def test_effects_pull_the_expected_rate_towards_one_half(layout):
    rates = [float(expected_rates(layout, Truth(cell_sd=size))[0, 0]) for size in (0, 0.5, 1, 2)]
    assert rates == sorted(rates)
    assert rates[-1] < 0.5


# ---- intervals of many runs ----


@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_bounds_are_those_of_the_table_of_intervals(layout, estimand):
    """Method by method, run by run, against `intervals` and `rates`, which take one sample at a time."""
    by = ESTIMANDS[estimand]
    wording = "target_value_wording" if "v1" in by else "target_pole_wording"
    ends = ["low", "high"]
    _, answers = answers_of(layout, ALL, 2)
    groups = [bounds(group, answers, 1) for group in clusterings(layout.items, by)]
    for run in [0, 1] if estimand == "pooled" else [1]:
        frame = layout.items.assign(followed=answers[:, run].astype(float), all="all")
        table = intervals(frame, by or ["all"], seed=1, resamples=10)
        expected = {method: table.loc[table["method"] == method, ends] for method in METHODS}
        for method, crossed in (("wording", None), ("wording_cell", "cell")):
            of_wordings = statistics.rates(frame, by or ["all"], cluster=wording, crossed=crossed)
            expected[method] = of_wordings[["clustered_low", "clustered_high"]]
        methods = [name for name in expected if name in groups[0] and name != "cell_bootstrap"]
        assert len(methods) == (5 if estimand == "pooled" else 4)
        for method in methods:
            found = [(group[method][0][run], group[method][1][run]) for group in groups]
            np.testing.assert_allclose(found, expected[method], atol=1e-7)


def test_resampled_bounds_are_close_to_those_of_the_table(layout):
    _, answers = answers_of(layout, ALL, 2)
    low, high = bounds(clusterings(layout.items, ())[0], answers, 1)["cell_bootstrap"]
    frame = layout.items.assign(followed=answers[:, 1].astype(float), all="all")
    table = intervals(frame, ["all"], seed=2, resamples=20_000).set_index("method")
    width = table.loc["cell_bootstrap", "high"] - table.loc["cell_bootstrap", "low"]
    assert low[1] == pytest.approx(table.loc["cell_bootstrap", "low"], abs=0.1 * width)
    assert high[1] == pytest.approx(table.loc["cell_bootstrap", "high"], abs=0.1 * width)


# ---- coverage ----


@pytest.fixture(scope="module")
def covered(items_standard, items_full):
    """Coverage in the standard and in the full set, 150 runs of each condition."""
    sets = {"standard": items_standard, "full": items_full}
    return coverage(sets, CONDITIONS, runs=150, seed=1)


def rate(table, **key):
    for column, wanted in key.items():
        table = table[table[column] == wanted]
    assert len(table) == 1
    return table["coverage"].iloc[0]


def test_coverage_has_a_row_for_each_condition_and_method(covered):
    expected = [
        "item_set",
        "estimand",
        "scope",
        "effects",
        "method",
        "true",
        "coverage",
        "mean_width",
        "runs",
    ]
    assert list(covered.columns) == expected
    assert len(covered) == 2 * 2 * len(CONDITIONS) * (6 + 5)
    assert not covered.duplicated(expected[:5]).any()
    assert covered["coverage"].between(0, 1).all()
    assert (covered["runs"] == 150).all()


def test_without_effects_every_interval_covers(covered):
    plain = covered[covered["effects"] == "none"]
    assert plain["coverage"].between(0.88, 1).all()


@pytest.mark.parametrize("item_set", ["standard", "full"])
def test_by_cell_covers_the_pooled_dvgr_with_effects_of_cells_and_wordings(covered, item_set):
    for effects in ("cell", "wording"):
        key = {"item_set": item_set, "estimand": "pooled", "scope": "population", "effects": effects}
        assert rate(covered, **key, method="cell") > 0.88


def test_ten_tests_a_cell_are_too_many_for_wilson(covered):
    key = {"estimand": "pooled", "scope": "population", "effects": "cell", "method": "wilson"}
    assert rate(covered, **key, item_set="full") < 0.8 < rate(covered, **key, item_set="standard")


def test_by_value_wordings_have_to_be_clustered(covered):
    key = {"item_set": "full", "estimand": "by_value", "scope": "population", "effects": "wording"}
    assert rate(covered, **key, method="cell") < 0.8
    assert rate(covered, **key, method="wording") > 0.88
    assert rate(covered, **key, method="wording_cell") > 0.88


def test_by_value_in_the_full_set_wordings_alone_miss_what_cells_do(covered):
    """There the tests of a cell show ten wordings: clusters by wording take cells apart."""
    key = {"item_set": "full", "estimand": "by_value", "scope": "population", "effects": "cell"}
    assert rate(covered, **key, method="wording") < 0.8
    assert rate(covered, **key, method="wording_cell") > 0.88


def test_for_the_wordings_shown_clusters_by_cell_are_enough(covered):
    study = covered[(covered["scope"] == "study") & (covered["method"] == "cell")]
    assert (study["coverage"] > 0.88).all()


def test_other_values_need_clusters_by_value(covered):
    key = {"item_set": "full", "estimand": "pooled", "scope": "population", "effects": "value"}
    assert rate(covered, **key, method="cell") < 0.6
    for method in ("value", "value_wild", "value_dimension"):
        assert rate(covered, **key, method=method) > 0.85


def test_the_same_seed_gives_the_same_table(items_standard, covered):
    again = coverage({"standard": items_standard}, {"none": EFFECTS["none"]}, runs=150, seed=1)
    first = covered[(covered["item_set"] == "standard") & (covered["effects"] == "none")]
    pd.testing.assert_frame_equal(again, first.reset_index(drop=True))
    other = coverage({"standard": items_standard}, {"none": EFFECTS["none"]}, runs=150, seed=2)
    assert not other["mean_width"].equals(again["mean_width"])


def test_a_missing_interval_holds_nothing(items_standard):
    """An agent that always follows the value leaves no resampled interval; all others hold the rate of 1."""
    always = {"always": Truth(b0=0.0, b_v=60.0, b_s=0.0)}
    table = coverage({"standard": items_standard}, always, runs=20, seed=1, estimands=["pooled"])
    table = table[table["scope"] == "population"].set_index("method")
    resampled = ["cell_bootstrap", "value_wild"]
    assert (table["coverage"].drop(resampled) == 1).all()
    assert (table.loc[resampled, "coverage"] == 0).all()
    assert table.loc[resampled, "mean_width"].isna().all()


def test_no_runs_are_refused(items_standard):
    with pytest.raises(UserError, match="0 runs"):
        coverage({"standard": items_standard}, runs=0, seed=1)


def test_runs_need_not_fill_the_chunks(items_standard, monkeypatch):
    monkeypatch.setattr(simulation, "_AT_ONCE", 16)
    table = coverage({"standard": items_standard}, {"none": Truth()}, runs=40, seed=1, estimands=["pooled"])
    assert (table["coverage"] * 40 % 1 == 0).all()
    assert table["true"].between(0.31, 0.32).all()


# ---- recovery ----


def test_the_regression_is_that_of_the_sensitivities(probes):
    """statsmodels, by way of `statistics.sensitivities`, on the same answers."""
    _, answers = answers_of(probes, ALL, 3)
    regression = simulation._Regression(probes)
    counts = regression.counts(answers)
    beta, bread = regression.estimates(counts)
    covariances = regression.covariances(counts, beta, bread)
    letters = {1.0: {"A": "A", "B": "B"}, 0.0: {"A": "B", "B": "A"}}
    for run in range(3):
        choice = [
            letters[answer][right]
            for answer, right in zip(answers[:, run], probes.items["right"], strict=True)
        ]
        frame = probes.items.assign(model="m", followed=answers[:, run], choice=choice)
        expected = statistics.sensitivities(frame).iloc[0]
        for place, name in enumerate(("b0", "b_v", "b_s")):
            assert beta[run, place] == pytest.approx(expected[name], abs=1e-6)
            half = 1.959964 * math.sqrt(covariances[run, place, place])
            assert half == pytest.approx((expected[f"{name}_high"] - expected[f"{name}_low"]) / 2, rel=1e-4)


def test_known_sensitivities_are_recovered(items_standard):
    table = recovery({"standard": items_standard}, EFFECTS, runs=250, seed=1)
    assert list(table["parameter"]) == ["b0", "b_v", "b_s", "d"] * len(EFFECTS)
    plain = table[table["effects"] == "none"]
    assert plain["true"].tolist() == pytest.approx(plain["conditional"].tolist(), abs=1e-4)
    assert plain["coverage"].between(0.91, 0.99).all()
    assert table["mean_estimate"].tolist() == pytest.approx(table["true"].tolist(), abs=0.06)
    averaged = table[table["effects"] == "cell and wording"]
    assert (averaged["true"].abs() < averaged["conditional"].abs()).all()
    assert averaged["coverage"].between(0.9, 0.99).all()


def test_separated_runs_are_no_estimates(items_standard):
    table = recovery({"standard": items_standard}, {"sure": Truth(0.0, 40.0, 10.0)}, runs=5, seed=1)
    assert (table["coverage"] == 0).all()
    assert table["mean_estimate"].isna().all()


# ---- power ----


def test_power_without_effects_is_that_of_the_binomial(items_standard):
    """The exact test's own power, from the binomial distribution: 100 cells × 6 trials, no position bias."""
    table = power(
        items_standard, Truth(b0=0.0), cells=[100], true_dvgrs=[0.5, 0.42, 0.35], runs=2_000, seed=1
    ).set_index(["method", "true_dvgr"])
    critical = max(k for k in range(300) if 2 * stats.binom.cdf(k, 600, 0.5) <= 0.05)
    for p in (0.5, 0.42, 0.35):
        expected = stats.binom.cdf(critical, 600, p) + stats.binom.sf(599 - critical, 600, p)
        assert table.loc[("exact", p), "power"] == pytest.approx(expected, abs=0.03)
        assert table.loc[("cell", p), "power"] == pytest.approx(expected, abs=0.05)


def test_power_rises_with_cells_and_with_the_distance_from_chance(items_standard):
    table = power(
        items_standard, EFFECTS["cell"], cells=[25, 100, 400], true_dvgrs=[0.5, 0.45, 0.4], runs=400, seed=1
    )
    assert list(table.columns) == ["cells", "trials", "true_dvgr", "method", "power", "runs"]
    assert (table["trials"] == 6 * table["cells"]).all()
    rates = table.pivot(index=["method", "cells"], columns="true_dvgr", values="power")
    for method in ("exact", "cell", "value", "value_wild"):
        assert rates.loc[method][0.4].is_monotonic_increasing
        assert (rates.loc[method][0.4] > rates.loc[method][0.45]).all()
    assert (rates.loc["cell"][0.5] < 0.09).all()


def test_the_exact_test_alarms_too_often_when_cells_differ(items_full):
    """Ten tests and three N a cell."""
    table = power(items_full, EFFECTS["cell"], cells=[50], true_dvgrs=[0.5], runs=300, seed=1).set_index(
        "method"
    )["power"]
    assert table["exact"] > 0.2
    assert table["cell"] < 0.1


def test_the_wanted_dvgr_is_the_expected_one(layout):
    for dvgr in (0.2, 0.5, 0.7):
        expectation = Expectation(layout, (), ())
        found = simulation._with_dvgr(expectation, ALL, dvgr)
        assert float(expected_rates(layout, found)[0, 0]) == pytest.approx(dvgr, abs=1e-6)
        assert found == replace(ALL, b_v=found.b_v)


@pytest.mark.parametrize(("cells", "steps"), [(400, [25, 50, 100, 200, 400]), (50, [25, 50]), (5, [5])])
def test_power_is_computed_for_doubled_numbers_of_cells_and_for_all(cells, steps):
    assert cell_steps(pd.DataFrame({"cell": [f"c{place}" for place in range(cells)] * 2})) == steps


def test_figures_show_methods_that_are_simulated(layout):
    _, answers = answers_of(layout, ALL, 1)
    found = [bounds(clusterings(layout.items, by)[0], answers, 1) for by in ESTIMANDS.values()]
    assert set(METHOD_NAMES) <= {method for group in found for method in group}


def test_intervals_of_an_agents_parameters_hold_them_about_as_often_as_they_say(items_standard):
    """60 runs at 95%: fewer than 50 hits have a probability below 1 in 1,000."""
    table = agent_coverage(items_standard, Truth(0.4, 0.8, 1.6), runs=60, seed=3)
    assert list(table["parameter"]) == ["b0", "b_v", "b_s", "d"]
    assert list(table["true"]) == pytest.approx([0.4, 0.8, 1.6, -0.8])
    assert (table["coverage"] >= 50 / 60).all()
