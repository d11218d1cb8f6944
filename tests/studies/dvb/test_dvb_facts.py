"""Sentences of the manuscript on study 1: each way that one can go."""

import math

import pandas as pd
import pytest

from deepvalues.studies.dvb import facts
from deepvalues.studies.dvb.analysis.statistics import Sides
from kept_numbers import saying, telling

NAN = math.nan
said, told = saying("dvb"), telling("dvb", facts)


def frame(columns, *rows):
    return pd.DataFrame(rows, columns=columns.split())


def on_control(*flags, accuracy=0.5):
    """Rows of the models in focus: who is flagged."""
    return pd.DataFrame({"flagged": flags, "accuracy": [accuracy] * len(flags)})


RATES = frame("model dvgr", ("a", 0.4), ("b", 0.2), ("c", 0.3))


def test_both_splits_stand_in_one_sentence():
    given = {"by_test": Sides(0, 7, 1), "by_interval": Sides(1, 5, 2)} | facts.span(RATES)
    span = "The 3 rates range from .200 (b) to .400 (a). By the exact test with Holm's correction"
    assert said("sides", given) == (
        f"{span}, none lies below chance and 7 above it; by the intervals clustered by cell, 1 lies below "
        "chance and 5 above it."
    )
    assert said("sides", given | {"by_test": Sides(1, 5, 2)}) == (
        f"{span} and by the intervals clustered by cell alike, 1 lies below chance and 5 above it."
    )


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (0.0, "No learner of one layer was taken for a learner of the other."),
        (0.02, "Learners of one layer were taken for learners of the other at a rate of at most .020."),
    ],
)
def test_whether_learners_of_one_layer_were_taken_for_the_other(rate, words):
    rows = [("value", 0.9, 0.0), ("value", 0.8, rate), ("surface", 0.0, 0.9), ("coin", 0.5, 0.5)]
    assert told("other_layer", frame("truth value surface", *rows)) == words


LEAVING = "With one model left out at a time, the pooled DVGR"
MEAN = "By preferred value, the mean DVGR"
VALUES = {"x": "non-maleficence", "y": "justice"}
DIMENSIONS = {"d": ("Visual aids", "visual", "none"), "e": ("Voice", "one", "other")}
OF_TWO = (
    "After Holm's correction, 1 of the 2 dimensions differs significantly between its two directions; the "
    "largest difference is"
)
TESTS = "factor p_value wald_p wald_p_holm"
OF_FACTORS = [
    *[("model", 0.001, 0.001, 0.01), ("pair", 0.001, 0.004, 0.04), ("domain", 0.001, 0.2, 0.3)],
    *[("dimension", 0.01, 0.0124, 0.06), ("direction", 0.2, 0.9, 0.9)],
]
HOLM = "With clusters and Holm's correction, the DVGR depends significantly on"
TERMS = [("model", 0.01, "logit"), ("v1", 0.01, "logit"), ("n_examples", 1, "logit"), ("model", 0.01, "gee")]
LOGIT = (
    "The logit, clustered as published, finds significant effects of model and preferred value. GEE with "
    "cells as groups finds"
)
PAIRS = frame(
    "p_mcnemar_holm p_clustered_holm p_equivalence",
    *[(0.01, 0.01, 0.9), (0.2, 0.3, 0.01), (0.04, 0.06, 0.04), (NAN, NAN, NAN)],
)
DIFFER = "of models differ by McNemar's test, which treats items as independent, and 1 by the test"


ABOVE = "above chance by the interval clustered by cell"


def control(*flagged):
    return on_control(*flagged), "text learner"


def left_out(*rows):
    rows = [(name, rate, rate - 0.05, rate + 0.05) for name, rate in rows]
    return (frame("left_out rate clustered_low clustered_high", *rows),)


def by_value(*rates):
    rows = [(*place, rate) for place, rate in zip(("ax", "ay", "bx", "by"), rates, strict=True)]
    return frame("model v1 rate", *rows), VALUES


def directions(forward, backward):
    rows = [("d", "forward", forward), ("d", "reversed", backward), ("e", "forward", forward)]
    tested = [("d", forward - backward, forward - backward - 0.2, forward - backward + 0.2, 0.01)]
    columns = "dimension difference clustered_low clustered_high p_holm"
    return frame("dimension direction rate", *rows), frame(columns, *tested, ("e", *[NAN] * 4)), DIMENSIONS


def sensitivities(*rows):
    return frame("b_v d_low d_high", *rows), "language model"


def agreement(*row):
    return (frame("agreement cells_low cells_high both_low both_high", row),)


@pytest.mark.parametrize(
    ("sentence", "arguments", "expected"),
    [
        ("span", (RATES,), "The 3 rates range from .200 (b) to .400 (a)."),
        ("span", (RATES.head(1),), "The only rate is .400 (a)."),
        ("span", (RATES.assign(dvgr=0.5),), "The 3 rates are all .500."),
        ("span", (RATES.assign(dvgr=NAN),), "There is no rate, as no reply could be read."),
        (
            "control",
            (on_control(True, True, accuracy=NAN), "language model"),
            "On the control no reply could be read.",
        ),
        *(
            ("control", control(*flagged), f"On the control, {who} {ABOVE}.")
            for flagged, who in (
                ([True, False, True], "1 of 3 text learners is"),
                ([True, False], "1 of 2 text learners is"),
                ([False, False], "all 2 text learners are"),
                ([False], "the only text learner is"),
                ([True], "the only text learner is not"),
            )
        ),
        (
            "leave_one_out",
            left_out(("b", 0.628), ("c", 0.6), ("a", 0.594)),
            f"{LEAVING} ranges from .594 [.544, .644] (without a) to .628 [.578, .678] (without b).",
        ),
        ("leave_one_out", left_out(("a", 0.61111), ("b", 0.61113)), f"{LEAVING} stays at .611."),
        ("leave_one_out", left_out(("a", 0.6), ("b", NAN)), f"{LEAVING} stays at .600."),
        ("leave_one_out", left_out(), "The pooled DVGR rests on one model, so none can be left out."),
        (
            "leave_one_out",
            left_out(("a", NAN), ("b", NAN)),
            "No reply could be read, so there is nothing to leave out.",
        ),
        (
            "values",
            by_value(0.1, 0.9, 0.3, 0.7),
            f"{MEAN} ranges from .200 (non-maleficence) to .800 (justice).",
        ),
        ("values", by_value(*[0.5] * 4), f"{MEAN} is .500 for each value."),
        ("values", by_value(*[NAN] * 4), f"{MEAN} is not known."),
        ("directions", directions(0.9, 0.6), f"{OF_TWO} .300 [.100, .500] (visual aids)."),
        ("directions", directions(0.6, 0.9), f"{OF_TWO} .300 [.100, .500] (visual aids)."),
        ("directions", directions(NAN, NAN), "No dimension has answers in both directions."),
        ("sensitivities", sensitivities((NAN, NAN, NAN)), "None of the language models has an estimate."),
        (
            "sensitivities",
            sensitivities((0.5, -0.9, -0.1), (0.5, 0.1, 0.9), (0.5, -0.1, 0.1), (NAN, NAN, NAN)),
            "Of 3 language models with an estimate, 1 has an interval of $b_v - b_s$ that lies wholly on "
            "the side of the surface, and 1 has one wholly on the side of the value.",
        ),
        (
            "sensitivities",
            sensitivities((0.5, 0.1, 0.9), (0.5, 0.2, 0.9)),
            "Of 2 language models with an estimate, none has an interval of $b_v - b_s$ that lies wholly "
            "on the side of the surface, and 2 have one wholly on the side of the value.",
        ),
        (
            "factors",
            (frame(TESTS, *OF_FACTORS),),
            f"{HOLM} model and pair of values. Tests of pooled trials, which ignore clusters and multiple "
            "testing, would also report effects of domain and dimension. With clusters but "
            "without correction, it also depends on dimension (p = .012).",
        ),
        (
            "factors",
            (frame(TESTS, ("model", 0.5, NAN, NAN)),),
            f"{HOLM} no factor.",
        ),
        (
            "factors",
            (frame(TESTS, ("model", NAN, NAN, NAN)),),
            "No factor can be tested, as choices do not vary.",
        ),
        (
            "regression",
            (frame("factor p_value regression", *TERMS),),
            f"{LOGIT} a significant effect of model.",
        ),
        ("regression", (frame("factor p_value regression", *TERMS[:3]),), f"{LOGIT} no significant effect."),
        (
            "regression",
            (frame("factor p_value regression", *TERMS, ("domain", NAN, "gee")),),
            f"{LOGIT} a significant effect of model. Not testable in both: domain.",
        ),
        (
            "pairs",
            (PAIRS, 0.05),
            f"2 of 4 pairs {DIFFER} clustered by cell, both after Holm's correction. Without correction, 2 "
            "are equivalent within .05.",
        ),
        (
            "pairs",
            (PAIRS.head(1), 0.05),
            f"1 of 1 pair {DIFFER} clustered by cell, both after Holm's correction. Without correction, 0 "
            "are equivalent within .05.",
        ),
        ("pairs", (PAIRS.head(0), 0.05), "With one model there are no pairs."),
        *(
            (
                "agreement",
                agreement(0.6594, 0.647, 0.674, *ends),
                "On average, two models choose the same option on .659 of the items ([.647, "
                f".674] with cells resampled{both}).",
            )
            for ends, both in (
                ((0.554, 0.791), ", [.554, .791] with models resampled as well"),
                ((NAN, NAN), ""),
            )
        ),
        ("agreement", agreement(*[NAN] * 5), "Agreement needs two models."),
        ("most_alike", (frame("model_a model_b agreement"),), ""),
        (
            "most_alike",
            (frame("model_a model_b agreement", ("a", "b", 0.6), ("a", "c", 0.99), ("b", "c", NAN)),),
            "a and c agree most often, on .990 of the items. Where two models almost always agree, a "
            "pooled rate counts the same answers twice.",
        ),
        (
            "most_alike",
            (frame("model_a model_b agreement", ("learner-latent-32", "learner-words", 0.992)),),
            "learner-latent-32 and learner-words agree most often, on .992 of the items. A pooled rate would "
            "count their answers twice, so learner-latent-32 is left out of it.",
        ),
    ],
)
def test_each_way_that_a_sentence_can_go(sentence, arguments, expected):
    assert told(sentence, *arguments) == expected
