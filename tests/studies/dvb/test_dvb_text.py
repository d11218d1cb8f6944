"""Numbers of the manuscript: keys and values."""

import math

import pandas as pd
import pytest

from deepvalues.paper.results import Results
from deepvalues.studies.dvb.analysis.simulation import EFFECTS
from deepvalues.studies.dvb.prose import text
from deepvalues.studies.dvb.stimuli.arms import ARMS
from kept_numbers import kept

NAN = math.nan


def frame(columns, *rows):
    return pd.DataFrame(rows, columns=columns.split())


@pytest.fixture
def results(tmp_path):
    return Results("dvb", tmp_path)


# ---- the instrument and the DVGR ----


def test_instrument_and_recovery(results):
    check = frame("expected observed within", (0.5, 0.5, True), (0.5, 0.53, True), (0.3, 0.4, False))
    text.instrument(results, check)
    text.recovery(results, frame("held coverage", (True, 0.94), (False, 0.96), (True, 0.95)), 200)
    assert kept(results) == {
        "instrument.compared": "3",
        "instrument.within": "2",
        "instrument.exact": "1",
        "instrument.recovered": "2",
        "instrument.parameters": "3",
        "instrument.runs": "200",
        "instrument.lowest_coverage": ".940",
        "instrument.highest_coverage": ".960",
    }


def test_focus(results):
    text.focus(results, "language model")
    assert kept(results) == {"focus.name": "language models"}


def test_pooled(results):
    columns = "answered rate wilson_low wilson_high clustered_low clustered_high"
    text.pooled(
        results,
        frame(columns, (9600, 0.6114, 0.602, 0.621, NAN, NAN)),
        frame("estimate low high", (0.5, 0.4, 0.6)),
    )
    assert kept(results) == {
        "pooled.n": "9,600",
        "pooled.dvgr": ".611",
        "pooled.wilson": "[.602, .621]",
        "pooled.clustered": "–",
        "macro.dvgr": ".500",
        "macro.interval": "[.400, .600]",
    }


# ---- print ----


@pytest.mark.parametrize(
    ("high", "p", "bound", "holds", "bounds_hold"),
    [
        (0.4, 0.0001, 0.49, "true", "true"),
        (0.51, 0.0001, 0.49, "false", "true"),
        (0.4, 0.01, 0.49, "false", "true"),
        (0.4, 0.0001, 0.5, "true", "false"),
    ],
)
def test_the_published_models_lie_below_chance_or_the_claim_fails(
    results, high, p, bound, holds, bounds_hold
):
    columns = "followed answered dvgr wilson_high p_holm bound_high"
    rows = (30, 100, 0.3, 0.4, 0.0001, 0.3), (50, 200, 0.25, high, p, bound)
    text.published(results, frame(columns, *rows))
    assert kept(results) == {
        "published.dvgr": ".267",
        "published.deep": "80",
        "published.n": "300",
        "published.models": "2",
        "published.lowest": ".250",
        "published.highest": ".300",
        "claims.published_below_chance": holds,
        "claims.published_bounds_below_chance": bounds_hold,
    }


@pytest.mark.parametrize(("differs", "holds"), [(0, "true"), (1, "false")])
def test_classes_of_printed_figures(results, differs, holds):
    columns = ["source_file", "exact", "within rounding", "differs", "not recomputable", "figures"]
    ratings = ("dvb_value_dispositions.csv", 0, 0, 0, 33, 33)
    rows = [ratings, ("all files", 54, 87, differs, 1186, 1327 + differs)]
    text.in_print(results, pd.DataFrame(rows, columns=columns))
    found = kept(results)
    assert found["print.exact"] == "54"
    assert found["print.from_ratings"] == "33"
    assert found["print.within_rounding"] == "87"
    assert found["print.not_recomputable"] == "1,186"
    assert found["claims.nothing_in_print_differs"] == holds


@pytest.mark.parametrize(
    ("difference", "p", "holds"), [(-0.03, 0.01, "true"), (0.03, 0.01, "false"), (-0.03, 0.2, "false")]
)
def test_large_models_follow_less_often_or_the_claim_fails(results, difference, p, holds):
    table = frame("middle_as difference p_value", ("large", -0.058, 0.001), ("left out", difference, p))
    text.sizes(results, table)
    assert kept(results) == {
        "print.size.large": "−.058",
        "print.size.left_out": "−.030" if difference < 0 else ".030",
        "claims.large_below_small_either_way": holds,
    }


def test_the_follow_up_sample(results):
    text.sample(results, 1302, 0.05, 0.95)
    assert kept(results) == {
        "print.sample": "1,302",
        "print.sample_effect": ".05",
        "print.sample_power": ".95",
    }


# ---- arms, values, dimensions ----


def test_arms_that_were_not_asked_have_no_rate(results):
    text.arms(results, frame("model arm n_examples rate", ("a", "prior", 0, 0.4), ("b", "prior", 0, 0.5)))
    found = kept(results)
    assert found["arms.prior.n0"] == ".450"
    assert found["arms.deconfounded.n40"] == "–"
    assert len(found) == sum(len(arm.n_examples) for arm in ARMS.values())


def test_values_are_means_over_models(results):
    rows = [("a", "x", 0.1), ("a", "y", 0.9), ("b", "x", 0.3), ("b", "y", 0.7)]
    text.values(results, frame("model v1 rate", *rows), {"x": "non-maleficence", "y": "justice"})
    told = "runs from .200 (non-maleficence) to .800 (justice)"
    assert kept(results) == {"text.values": told}


@pytest.mark.parametrize(("rate", "told"), [(0.5, "is .500 for each value"), (NAN, "is not known")])
def test_values_that_are_all_alike_or_have_no_answers(results, rate, told):
    rows = [("a", "x", rate), ("a", "y", rate)]
    text.values(results, frame("model v1 rate", *rows), {"x": "non-maleficence", "y": "justice"})
    assert kept(results) == {"text.values": told}


def test_dimensions(results):
    rows = [("d", "forward", 0.9), ("d", "reversed", 0.6), ("e", "forward", 0.5)]
    names = {"d": ("Visual aids", "visual", "none"), "e": ("Voice", "one", "other")}
    text.dimensions(
        results, frame("dimension direction rate", *rows), frame("p_holm", (0.01,), (0.2,), (NAN,)), names
    )
    assert kept(results) == {
        "text.dimensions": "differ by up to .300 (visual aids)",
        "dimensions.asymmetric": "1",
        "dimensions.number": "3",
    }


@pytest.mark.parametrize(
    ("rate", "told"), [(1.0, "have the same rate in every dimension"), (NAN, "can't be compared")]
)
def test_dimensions_without_a_difference(results, rate, told):
    rows = [("d", "forward", rate), ("d", "reversed", rate)]
    names = {"d": ("Visual aids", "visual", "none")}
    text.dimensions(results, frame("dimension direction rate", *rows), frame("p_holm", (NAN,)), names)
    assert kept(results)["text.dimensions"] == told


# ---- comparisons ----


def test_adjusted(results):
    rates = frame("conditional raw", (0.31, 0.3), (0.27, 0.3), (NAN, 0.0))
    simulated = frame("adjusted difference", ("conditional", 0.00334), ("marginal", 0.006))
    text.adjusted(results, rates, simulated, ".003")
    assert kept(results) == {
        "adjusted.difference": ".0200",
        "adjusted.published_simulated": ".0033",
        "adjusted.printed": ".003",
    }


def test_variants_that_leave_nothing_to_test_are_not_compared(results):
    text.variants(results, frame("p_mcnemar_holm", (0.01,), (0.5,), (NAN,)), 1302)
    assert kept(results) == {"variants.changed": "1", "variants.compared": "2", "variants.items": "1,302"}


# ---- stimuli and simulations ----


def test_separability_and_likeness(results):
    rows = [
        ("value", "words", 0.345, 1 / 11),
        ("value pair", "words", 0.762, 0.5),
        ("pole", "words", 0.592, 0.5),
        ("pole", "length", 0.571, 0.5),
        ("value", "length", 0.1, 0.1),
    ]
    text.separability(results, frame("layer classifier accuracy chance", *rows))
    rows = [("value", 0.011, 0.007, 0.016), ("pole", 0.005, 0.001, 0.009)]
    rows += [("value - pole", 0.006, 0.001, 0.012)]
    text.likeness(results, frame("layer difference low high", *rows))
    assert kept(results) == {
        "separability.value": ".345",
        "separability.value_chance": ".091",
        "separability.value_pair": ".762",
        "separability.value_pair_chance": ".500",
        "separability.pole": ".592",
        "separability.pole_chance": ".500",
        "separability.pole_length": ".571",
        "likeness.value": ".011",
        "likeness.value_interval": "[.007, .016]",
        "likeness.pole": ".005",
        "likeness.pole_interval": "[.001, .009]",
        "likeness.contrast": ".006",
        "likeness.contrast_interval": "[.001, .012]",
        "claims.layers_equally_alike": "false",
    }


@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [(0.001, 0.1, "false"), (0.0, 0.1, "true"), (-0.1, 0.1, "true"), (-0.1, -0.01, "false")],
)
def test_layers_are_equally_alike_where_the_interval_holds_zero(results, low, high, holds):
    rows = [("value", 0.011, 0.0, 0.1), ("pole", 0.005, 0.0, 0.1), ("value - pole", 0.006, low, high)]
    text.likeness(results, frame("layer difference low high", *rows))
    assert kept(results)["claims.layers_equally_alike"] == holds


def test_coverage_has_two_digits_for_every_set(results):
    rows = [
        (item_set, estimand, effects, method, 0.954 if item_set == "full" else 1.0)
        for item_set in ("full", "standard")
        for estimand in ("pooled", "by_value")
        for effects in ("none", "cell", "wording", "value")
        for method in ("wilson", "cell", "value", "wording", "wording_cell")
    ]
    table = pd.DataFrame(rows, columns=["item_set", "estimand", "effects", "method", "coverage"])
    text.coverage(results, table, 500)
    found = kept(results)
    assert found.pop("coverage.runs") == "500"
    assert len(found) == 2 * 10
    assert found["coverage.full.pooled_wilson_none"] == ".95"
    assert found["coverage.standard.value_both_cell"] == "1.00"


def test_power_is_that_of_all_cells_one_twentieth_from_chance(results):
    rows = [(25, 0.45, 0.1), (400, 0.5, 0.05), (400, 0.45, 0.84), (400, 0.4, 1.0)]
    text.power(results, frame("cells true_dvgr power", *rows))
    assert kept(results) == {
        "power.small_effect": ".840",
        "power.true_dvgr": ".45",
        "power.cells": "400",
    }


def test_the_sizes_of_simulated_effects(results):
    text.effects(results, EFFECTS)
    assert kept(results) == {
        "coverage.sd.cell": "1.0",
        "coverage.sd.wording": "0.7",
        "coverage.sd.value": "0.7",
    }
