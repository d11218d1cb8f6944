"""The simulation of verdicts: simulated answers get the verdicts that the rules give to real ones."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from deepvalues.stats.rates import wilson
from deepvalues.studies.dvb.analysis.orders import pairs
from deepvalues.studies.dvb.analysis.verdict_errors import (
    RESPONDENTS,
    Design,
    Respondent,
    estimates,
    judged,
    verdict_errors,
)
from deepvalues.studies.dvb.analysis.verdicts import LEARNED, NAMES, SCALES, tost_interval, verdicts

VERDICTS = list(NAMES)


@pytest.fixture(scope="module")
def items(study):
    return study.items("n4-50")


@pytest.fixture(scope="module")
def design(items):
    return Design(items)


@pytest.fixture(scope="module")
def table(items):
    return verdict_errors({"n4-50": items}, runs=100, seed=3)


def drawn(design, truth, runs=1, seed=0):
    return design.draw(truth, runs, np.random.default_rng(seed))


def answered(design, name, odds, scale):
    """The same answers as trials, as they are read from a record."""
    tests = design.layout.items
    choice = np.where((odds > 0) == (tests["right"] == "A"), "A", "B")
    known = tests[["cell", "arm", "n_examples", "test", "right", "swapped"]].assign(
        model=name, family="m", status="answered", choice=choice, followed=(odds > 0).astype(float)
    )
    p = expit(np.where(tests["right"] == "A", odds, -odds))
    return known.assign(p_a=p, mass=1.0) if scale == SCALES[0] else known


@pytest.mark.parametrize("scale", SCALES)
def test_estimates_and_verdicts_are_those_of_the_same_answers_on_record(design, scale):
    odds = {name: drawn(design, truth, seed=5) for name, truth in RESPONDENTS.items()}
    trials = [answered(design, name, each[:, 0], scale) for name, each in odds.items()]
    on_record = verdicts(pairs(pd.concat(trials))).set_index("model")
    for name, each in odds.items():
        row = on_record.loc[name]
        assert row["scale"] == scale
        assert judged(design, each, scale) == [row["verdict"]]
        found = {estimate: of_runs[0] for estimate, of_runs in estimates(design, each, scale).items()}
        for estimate, (column, interval) in {
            **{key: (key, "interval") for key in found if key.endswith("_lean")},
            "consistency_excess": ("consistency_excess", "interval"),
            "dvgr": ("dvgr", "rate_interval"),
            "against_shuffled": ("dvgr_minus_shuffled", "interval"),
        }.items():
            ends = getattr(found[estimate], interval)
            assert row[column] == pytest.approx(found[estimate].value, abs=1e-8)
            known = tuple(row[[f"{column}_low", f"{column}_high"]])
            assert known == pytest.approx(ends, abs=1e-8, nan_ok=True)
        for column in ("control_positive", "repeat_positive"):
            known = tuple(row[[f"{column}_low", f"{column}_high"]])
            assert known == pytest.approx(tost_interval(found[column]), nan_ok=True)


def test_rates_are_those_of_the_parameters(design):
    """Without effects of cells, an accuracy is the logistic function of its logit."""
    truth = Respondent(("value",), b_v=1.1)
    follows = (drawn(design, truth, runs=400) > 0).mean(axis=1)
    expected = {"control": expit(1.1), "probe_value": expit(1.1), "probe_surface": 0.5, "shuffled": 0.5}
    for arm, rate in expected.items():
        assert follows[np.concatenate(design.arms[arm])].mean() == pytest.approx(rate, abs=0.01)


def test_effects_of_cells_make_the_answers_of_a_cell_depend_on_each_other(design):
    def correlation(truth):
        follows = (drawn(design, truth, runs=2_000) > 0).astype(float)
        control, probe = (follows[design.arms[arm].first] for arm in ("control", "probe_value"))
        return np.corrcoef(control.ravel(), probe.ravel())[0, 1]

    value = RESPONDENTS["value"]
    assert correlation(value) > 0.1
    assert correlation(replace(value, slope_sd=0.0)) == pytest.approx(0, abs=0.01)


def test_a_liking_for_values_is_the_same_without_examples_and_cancels_over_the_design(design):
    odds = drawn(design, Respondent((), liking_sd=100.0), runs=50) > 0
    deep, prior = (odds[np.concatenate(design.arms[arm])] for arm in ("deconfounded", "shuffled"))
    assert (deep == prior).mean() > 0.99
    assert deep.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("scale", SCALES)
def test_strong_respondents_always_get_their_verdict(study, scale):
    """With many cells, who goes by the value is a value learner, and who takes the first option is none."""
    wide = Design(study.items("n4-200"))
    expected = {
        "value": Respondent((), b_v=4.0),
        "surface": Respondent((), b_s=4.0),
        "place": Respondent((), b0=1_000.0),
    }
    for id, truth in expected.items():
        assert set(judged(wide, drawn(wide, truth, runs=30), scale)) == {id}


def test_the_table_adds_up_and_counts_right_verdicts(table):
    assert table[["truth", "scale"]].apply(tuple, axis=1).tolist() == [
        (name, scale) for name in RESPONDENTS for scale in SCALES
    ]
    assert (table["cells"] == 50).all() and (table["runs"] == 100).all()
    assert table[VERDICTS].sum(axis=1).to_numpy() == pytest.approx(1)
    assert table["learned"].to_numpy() == pytest.approx(table[list(LEARNED)].sum(axis=1).to_numpy())
    for row in table.to_dict("records"):
        right = sum(row[verdict] for verdict in RESPONDENTS[row["truth"]].right)
        assert row["right"] == pytest.approx(right)
        assert (row["right_low"], row["right_high"]) == pytest.approx(wilson(100 * right, 100))


def test_few_who_learned_nothing_are_said_to_have_learned(table):
    """At most three one-sided tests at .025: .075, with room for 100 runs (p < .001)."""
    learners = [name for name, truth in RESPONDENTS.items() if truth.learned]
    assert learners == ["value", "surface", "both"]
    assert table[~table["truth"].isin(learners)]["learned"].max() <= 0.17
    assert table[table["truth"].isin(learners)]["learned"].min() > 0.95


def test_a_seed_determines_the_table(items, table):
    """A respondent is drawn the same whoever is drawn after it."""
    some = {name: RESPONDENTS[name] for name in list(RESPONDENTS)[:2]}
    found = verdict_errors({"n4-50": items}, some, runs=100, seed=3)
    pd.testing.assert_frame_equal(found, table.iloc[:4])
    assert not found.equals(verdict_errors({"n4-50": items}, some, runs=100, seed=4))
