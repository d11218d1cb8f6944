"""Numbers of the manuscript: keys and values."""

import math

import pandas as pd
import pytest

from deepvalues.paper.results import Results
from deepvalues.studies.dvb import numbers
from deepvalues.studies.dvb.analysis.simulation import EFFECTS
from deepvalues.studies.dvb.stimuli.design import ARMS
from kept_numbers import kept

NAN = math.nan


def frame(columns, *rows):
    return pd.DataFrame(rows, columns=columns.split())


@pytest.fixture
def results(tmp_path, request):
    return Results("dvb", tmp_path, part=getattr(request, "param", "benchmark"))


# ---- the instrument and the DVGR ----


@pytest.mark.parametrize(("redrawn", "unlucky"), [([0, 1], "false"), ([0, 0], "true")])
def test_instrument_and_recovery(results, redrawn, unlucky):
    check = frame(
        "model expected observed within",
        ("a", 0.5, 0.5, True),
        ("a", 0.5, 0.53, True),
        ("agent-sensitive", 0.3, 0.4, False),
    )
    numbers.instrument(results, check, redrawn)
    numbers.recovery(results, frame("held coverage", (True, 0.94), (False, 0.96), (True, 0.95)), 200)
    assert kept(results) == {
        "instrument.compared": "3",
        "instrument.exact": "1",
        "instrument.inexact": "2",
        "instrument.inexact_within": "1",
        "instrument.inexact_expected": "2",
        "instrument.most_missed": "1",
        "instrument.most_missed_agent": "agent-sensitive",
        "instrument.redraws": "2",
        "instrument.redrawn_mean": f"{sum(redrawn) / 2:.1f}",
        "instrument.redrawn_most": str(max(redrawn)),
        "claims.unlucky_draw": unlucky,
        "instrument.runs": "200",
        "instrument.parameters": "3",
        "instrument.parameters_held": "2",
        "instrument.lowest_coverage": ".940",
        "instrument.highest_coverage": ".960",
    }


def test_verdict_errors(results):
    """The least and the most over respondents and scales; likings are counted on their own."""
    columns = "truth cells probe_value probe_surface value surface both prior place right learned"
    table = frame(
        columns,
        ("value", 50, 0.70, 0.50, 0.8, 0.01, 0.1, 0.0, 0.0, 0.80, 0.99),
        ("value", 50, 0.70, 0.50, 0.9, 0.0, 0.1, 0.0, 0.0, 0.90, 1.0),
        ("surface", 50, 0.50, 0.72, 0.02, 0.9, 0.0, 0.0, 0.0, 0.85, 1.0),
        ("both", 50, 0.71, 0.73, 0.0, 0.1, 0.95, 0.0, 0.0, 0.95, 1.0),
        ("position", 50, 0.50, 0.50, 0.0, 0.01, 0.0, 0.0, 0.75, 0.75, 0.05),
        ("position", 50, 0.50, 0.50, 0.0, 0.0, 0.0, 0.0, 0.77, 0.77, 0.08),
        ("coin", 50, 0.50, 0.50, 0.0, 0.0, 0.0, 0.0, 0.87, 0.88, 0.06),
        ("liking", 50, 0.50, 0.50, 0.0, 0.0, 0.0, 0.04, 0.01, 0.04, 0.03),
    ).assign(runs=500)
    numbers.verdict_errors(results, table)
    found = kept(results)
    assert {key: text for key, text in found.items() if ".set." not in key} == {
        "verdict_errors.runs": "500",
        "verdict_errors.probe_least": ".700",
        "verdict_errors.probe_most": ".730",
        "verdict_errors.right_least_50": ".750",
        "verdict_errors.right_most_50": ".950",
        "verdict_errors.position_place_50": ".750",
        "verdict_errors.coin_place_50": ".870",
        "verdict_errors.false_positive_50": ".080",
        "verdict_errors.false_layer": ".010",
        "verdict_errors.learned_least": ".990",
        "verdict_errors.liking_prior": ".040",
    }
    assert found["verdict_errors.set.sensitivity"] == "1.1"


def test_pooled(results):
    numbers.pooled(results, frame("rate clustered_low clustered_high", (0.6114, NAN, NAN)))
    assert kept(results) == {"pooled.dvgr": ".611", "pooled.clustered": "–"}


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
    numbers.published(results, frame(columns, *rows))
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
    assert ("below chance" in results.paragraph("published").data) == (holds == "true")


@pytest.mark.parametrize(("differs", "holds"), [(0, "true"), (1, "false")])
def test_classes_of_printed_figures(results, differs, holds):
    columns = ["source_file", "exact", "within rounding", "differs", "not recomputable", "figures"]
    ratings = ("dvb_value_dispositions.csv", 0, 0, 0, 33, 33)
    rows = [ratings, ("all files", 54, 87, differs, 1186, 1327 + differs)]
    numbers.in_print(results, pd.DataFrame(rows, columns=columns))
    found = kept(results)
    assert found["print.exact"] == "54"
    assert found["print.within_rounding"] == "87"
    assert found["print.not_recomputable"] == "1,186"
    assert found["claims.nothing_in_print_differs"] == holds


@pytest.mark.parametrize(
    ("difference", "p", "holds"), [(-0.03, 0.01, "true"), (0.03, 0.01, "false"), (-0.03, 0.2, "false")]
)
def test_large_models_follow_less_often_or_the_claim_fails(results, difference, p, holds):
    table = frame("middle_as difference p_value", ("large", -0.058, 0.001), ("left out", difference, p))
    numbers.sizes(results, table)
    assert kept(results) == {
        "print.size.large": "−.058",
        "print.size.left_out": "−.030" if difference < 0 else ".030",
        "claims.large_below_small_either_way": holds,
    }


def test_the_follow_up_sample(results):
    numbers.sample(results, 1302, 0.05, 0.95)
    assert kept(results) == {
        "print.sample": "1,302",
        "print.sample_effect": ".05",
        "print.sample_power": ".95",
    }


# ---- arms ----


def test_arms_that_were_not_asked_have_no_rate(results):
    numbers.arms(results, frame("model arm n_examples rate", ("a", "prior", 0, 0.4), ("b", "prior", 0, 0.5)))
    found = kept(results)
    assert found["arms.prior.n0"] == ".450"
    assert found["arms.deconfounded.n40"] == "–"
    assert len(found) == sum(len(arm.n_examples) for arm in ARMS.values())


# ---- comparisons ----


def test_adjusted(results):
    rates = frame("conditional raw", (0.31, 0.3), (0.27, 0.3), (NAN, 0.0))
    simulated = frame("adjusted difference", ("conditional", 0.00334), ("marginal", 0.006))
    numbers.adjusted(results, rates, simulated, ".003")
    assert kept(results) == {
        "adjusted.difference": ".0200",
        "adjusted.published_simulated": ".0033",
        "adjusted.printed": ".003",
    }


def test_variants_that_leave_nothing_to_test_are_not_compared(results):
    numbers.variants(results, frame("p_mcnemar_holm", (0.01,), (0.5,), (NAN,)), 1302)
    assert kept(results) == {"variants.changed": "1", "variants.compared": "2", "variants.items": "1,302"}


# ---- stimuli and simulations ----


def test_separability_and_likeness(results):
    rows = [
        ("value", "words", 0.345, 0.2, 0.4, 1 / 11),
        ("pole", "words", 0.592, 0.5, 0.7, 0.5),
        ("pole", "length", 0.571, 0.51, 0.64, 0.5),
        ("value pair", "length", 0.562, 0.5, 0.6, 0.5),
    ]
    columns = "layer classifier accuracy clustered_low clustered_high chance"
    numbers.separability(results, frame(columns, *rows))
    rows = [("value", 0.011, 0.007, 0.016), ("pole", 0.005, 0.001, 0.009)]
    rows += [("value - pole", 0.006, 0.001, 0.012)]
    numbers.likeness(results, frame("layer difference low high", *rows))
    assert kept(results) == {
        "separability.value": ".345",
        "separability.value_chance": ".091",
        "separability.value_length": ".562",
        "separability.pole_length": ".571",
        "separability.pole_length_interval": "[.510, .640]",
        "likeness.value": ".011",
        "likeness.value_interval": "[.007, .016]",
        "likeness.pole": ".005",
        "likeness.pole_interval": "[.001, .009]",
        "likeness.contrast": ".0060",
        "likeness.contrast_interval": "[.0010, .0120]",
        "claims.layers_equally_alike": "false",
    }


@pytest.mark.parametrize("results", ["instrument"], indirect=True)
@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [(0.001, 0.1, "false"), (0.0, 0.1, "true"), (-0.1, 0.1, "true"), (-0.1, -0.01, "false")],
)
def test_layers_are_equally_alike_where_the_interval_holds_zero(results, low, high, holds):
    rows = [("value", 0.011, 0.0, 0.1), ("pole", 0.005, 0.0, 0.1), ("value - pole", 0.006, low, high)]
    numbers.likeness(results, frame("layer difference low high", *rows))
    assert kept(results)["claims.layers_equally_alike"] == holds
    assert ("The interval contains 0" in results.paragraph("likeness").data) == (holds == "true")


def test_coverage_has_two_digits_for_every_set(results):
    rows = [
        (item_set, estimand, effects, method, 0.954 if item_set == "full" else 1.0)
        for item_set in ("full", "standard")
        for estimand in ("pooled", "by_value")
        for effects in ("none", "cell", "wording", "value")
        for method in ("wilson", "cell", "value", "wording", "wording_cell")
    ]
    table = pd.DataFrame(rows, columns=["item_set", "estimand", "effects", "method", "coverage"])
    numbers.coverage(results, table, 500)
    found = kept(results)
    assert found.pop("coverage.runs") == "500"
    assert len(found) == 2 * 3
    assert found["coverage.full.pooled_wilson_cell"] == ".95"
    assert found["coverage.standard.pooled_cell_value"] == "1.00"


def test_power_is_that_of_all_cells_one_twentieth_from_chance(results):
    rows = [(25, 0.45, 0.1), (400, 0.5, 0.05), (400, 0.45, 0.84), (400, 0.4, 1.0)]
    numbers.power(results, frame("cells true_dvgr power", *rows))
    assert kept(results) == {"power.small_effect": ".840", "power.true_dvgr": ".45", "power.cells": "400"}


def test_the_sizes_of_simulated_effects(results):
    numbers.effects(results, EFFECTS)
    assert kept(results) == {
        "coverage.sd.cell": "1.0",
        "coverage.sd.wording": "0.7",
        "coverage.sd.value": "0.7",
    }


def test_the_encoder_on_the_value_probe(results):
    columns = "model probe_value probe_value_low probe_value_high"
    numbers.encoder(results, frame(columns, ("learner-encoder", 0.745, 0.68, 0.801), ("m", 0.5, 0.4, 0.6)))
    assert kept(results) == {"encoder.value": ".745", "encoder.value_interval": "[.680, .801]"}
