"""Sentences of the manuscript on study 1: each way that one can go."""

import math

import pandas as pd
import pytest

from deepvalues.paper.sentences import Sentences
from deepvalues.studies.dvb import facts
from deepvalues.studies.dvb.analysis.pooled_rates import Sides
from kept_numbers import telling

NAN = math.nan
said, told = Sentences("dvb"), telling("dvb", facts)


def frame(columns, *rows):
    return pd.DataFrame(rows, columns=columns.split())


# ---- the DVGR ----


def on_control(*flags, accuracy=0.5):
    """Rows of the models in focus: who is flagged."""
    return pd.DataFrame({"flagged": flags, "accuracy": [accuracy] * len(flags)})


@pytest.mark.parametrize(
    ("sides", "flags", "expected"),
    [
        (Sides(0, 7, 1), (1, 1, 0), "of 8 models none lies below chance and 7 lie above it; 1 of 3 reaches"),
        (Sides(1, 0, 1), (1, 1), "of 2 models 1 lies below chance and none lies above it; none of 2 reaches"),
        (Sides(9, 1, 0), (0, 0, 0), "of 10 models 9 lie below chance and 1 lies above it; 3 of 3 reach"),
        (Sides(0, 0, 3), (0,), "of 3 models none lies below chance and none lies above it; it reaches"),
        (Sides(1, 0, 0), (1,), "the one model lies below chance; it does not reach"),
        (Sides(0, 1, 0), (0,), "the one model lies above chance; it reaches"),
        (Sides(0, 0, 1), (0,), "the one model is not told from chance; it reaches"),
    ],
)
def test_the_finding_counts_the_models_on_either_side_of_chance(sides, flags, expected):
    control = facts.control(on_control(*map(bool, flags)), "language model", 0.8)

    def finding(language_models, learners):
        given = {"language_models": language_models, "learners": learners, "dvgr": 0.6114}
        return said("finding", given | {"sides": sides, "control": control})

    about = "For text learners, small models fitted to the text of one prompt"
    counted = (
        f"the pooled DVGR is .611; after Holm's correction, {expected} an accuracy of .800 on the control, "
        f"short "
        "of which a DVGR says little."
    )
    assert finding([], ["learner-words"]) == f"{about}, {counted}"
    encoder = "one of them on frozen sentence embeddings"
    assert finding([], ["learner-words", "learner-encoder"]) == f"{about}, {encoder}, {counted}"
    assert finding(["x"], []) == f"For the language model asked (x), {counted}"
    assert finding(["x", "y"], []) == f"For the language models asked (x, y), {counted}"


def test_without_replies_nobody_is_said_to_pass_or_to_fail():
    unread = on_control(True, True, accuracy=NAN)
    control = facts.control(unread, "language model", 0.8)
    assert said("passing", {"control": control}) == (
        "no reply could be read that would show an accuracy of .800 on the control"
    )
    assert told("control", unread, "language model", 0.8) == (
        "On the confounded control no reply could be read"
    )


def test_the_rates_run_from_the_lowest_to_the_highest():
    rates = frame("model dvgr", ("a", 0.4), ("b", 0.2), ("c", 0.3))
    assert told("span", rates) == "The 3 rates run from .200 (b) to .400 (a)"
    assert told("span", rates.head(1)) == "The one rate is .400 (a)"
    assert told("span", rates.assign(dvgr=0.5)) == "The 3 rates are all .500"
    assert told("span", rates.assign(dvgr=NAN)).startswith("There is no rate")


def test_learners_are_counted_whatever_is_in_focus():
    columns = "model family followed answered clustered_low clustered_high wilson_low wilson_high"
    others = (
        ("x", "language model", 90, 100, 0.8, 0.95, 0.8, 0.9),
        ("y", "reference agent", 0, 100, NAN, NAN, 0, 0.04),
    )
    known = ("learner-words", "text learner", 60, 100, 0.51, 0.7, 0.5, 0.69)
    encoder = ("learner-encoder", "text learner", 90, 200, 0.4, 0.5, 0.38, 0.52)
    assert told("learners", frame(columns, *others, known, encoder)) == (
        "Of 2 text learners, fitted to the text of one prompt, one of them on frozen sentence "
        "embeddings, 1 lies on "
        "the side of the value by the intervals clustered by cell, with a pooled DVGR of .500"
    )
    alone = told("learners", frame(columns, known))
    assert alone.startswith("Of 1 text learner, fitted to the text of one prompt, 1 lies on the side")
    assert "no text learner" in told("learners", frame(columns, *others))


@pytest.mark.parametrize(
    ("flagged", "expected"),
    [
        ([True, False, True], "2 of 3 text learners fall"),
        ([True, False], "1 of 2 text learners falls"),
        ([False, False], "none of 2 text learners falls"),
        ([False], "the one text learner does not fall"),
        ([True], "the one text learner falls"),
    ],
)
def test_the_control_names_who_fails(flagged, expected):
    found = told("control", on_control(*flagged), "text learner", 0.8)
    assert found == f"On the confounded control {expected} below an accuracy of .800"


def test_the_split_names_all_three_sides():
    assert said("split", {"sides": Sides(0, 7, 1)}) == "none below chance, 7 above it, 1 not told from it"


def test_both_splits_stand_in_one_sentence_each():
    def both(family, by_test, by_interval):
        return said("sides", {"family": family, "by_test": by_test, "by_interval": by_interval})

    found = both("text learner", Sides(0, 7, 1), Sides(1, 5, 2))
    assert found == (
        "Of 8 text learners, by the exact test with Holm's correction: none below chance, 7 above it, 1 not "
        "told from it. By the intervals clustered by cell: 1 below chance, 5 above it, 2 not told from it."
    )
    alone = both("language model", Sides(1, 0, 0), Sides(0, 0, 1))
    assert alone.startswith("Of 1 language model, by the exact test")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [("b", 0.628), ("c", 0.6), ("a", 0.594)],
            "Leaving out one model at a time, it runs from .594 (without a) to .628 (without b).",
        ),
        (
            [("a", 0.6), ("b", 0.3)],
            "Leaving out one model at a time, it runs from .300 (without b) to .600 (without a).",
        ),
        ([("a", 0.61111), ("b", 0.61113)], "Leaving out one model at a time, it stays at .611."),
        ([("a", 0.6), ("b", NAN)], "Leaving out one model at a time, it stays at .600."),
        ([], "It rests on one model: there is no other to leave out."),
        ([("a", NAN), ("b", NAN)], "Without any reply that could be read there is nothing to leave out."),
    ],
)
def test_the_pooled_rate_without_each_model_in_a_sentence(rows, expected):
    assert told("leave_one_out", frame("left_out rate", *rows)) == expected


@pytest.mark.parametrize(
    ("value", "surface", "expected"),
    [
        (0.66, 0.53, "Of the two layers, the value is the one whose probe is answered right more often."),
        (0.53, 0.66, "Of the two layers, the surface is the one whose probe is answered right more often."),
        (0.535, 0.53, "Both probes are answered right about equally often (.535 and .530)."),
        (0.5, 0.505, "Both probes are answered right about as often as by chance (.500 and .505)."),
        (1.0, 1.0, "Both probes are answered right about equally often (1.000 and 1.000)."),
        (None, None, "The probes have no answers to compare."),
        (0.66, None, "The probes have no answers to compare."),
    ],
)
def test_the_layer_that_was_learned(value, surface, expected):
    rows = [
        ("m", arm, 20, rate) for arm, rate in (("probe_value", value), ("probe_surface", surface)) if rate
    ]
    control = ("m", "control", 20, 0.9)
    assert told("layers", frame("model arm n_examples rate", control, *rows)) == expected


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((0.1, 0.9, 0.3, 0.7), "runs from .200 (non-maleficence) to .800 (justice)"),
        ((0.5, 0.5, 0.5, 0.5), "is .500 for each value"),
        ((NAN,) * 4, "is not known"),
    ],
)
def test_values_are_means_over_models(rates, expected):
    rows = [(*place, rate) for place, rate in zip(("ax", "ay", "bx", "by"), rates, strict=True)]
    names = {"x": "non-maleficence", "y": "justice"}
    assert told("values", frame("model v1 rate", *rows), names) == expected


@pytest.mark.parametrize(
    ("forward", "backward", "expected"),
    [
        (0.9, 0.6, "differ by up to .300 (visual aids)"),
        (1.0, 1.0, "have the same rate in every dimension"),
        (NAN, NAN, "can't be compared"),
    ],
)
def test_how_far_the_directions_of_a_dimension_lie_apart(forward, backward, expected):
    rows = [("d", "forward", forward), ("d", "reversed", backward), ("e", "forward", forward)]
    names = {"d": ("Visual aids", "visual", "none"), "e": ("Voice", "one", "other")}
    assert told("dimensions", frame("dimension direction rate", *rows), names) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(NAN, NAN, NAN)], "None of the language models has an estimate."),
        (
            [(0.5, -0.9, -0.1), (0.5, 0.1, 0.9), (0.5, -0.1, 0.1), (NAN, NAN, NAN)],
            "Of 3 language models with an estimate, 1 has an interval of the difference that lies wholly "
            "on the "
            "side of the surface, and 1 has one wholly on the side of the value.",
        ),
        (
            [(0.5, 0.1, 0.9), (0.5, 0.2, 0.9)],
            "Of 2 language models with an estimate, none has an interval of the difference that lies "
            "wholly on "
            "the side of the surface, and 2 have one wholly on the side of the value.",
        ),
    ],
)
def test_sensitivities_count_estimates_only(rows, expected):
    assert told("sensitivities", frame("b_v d_low d_high", *rows), "language model") == expected


# ---- factors and pairs ----


def test_factors_with_clusters_and_those_that_only_pooled_trials_find():
    columns = "factor p_value wald_p wald_p_holm"
    rows = [
        *[("model", 0.001, 0.001, 0.01), ("pair", 0.001, 0.004, 0.04), ("domain", 0.001, 0.2, 0.3)],
        *[("dimension", 0.01, 0.0124, 0.06), ("direction", 0.2, 0.9, 0.9)],
    ]
    assert told("factors", frame(columns, *rows)) == (
        "Significant with clusters and Holm's correction: model and pair of values. On pooled trials without "
        "correction: also domain and dimension. With clusters but without correction: also dimension "
        "(p = .012)."
    )
    assert told("factors", frame(columns, ("model", 0.5, NAN, NAN))) == (
        "Significant with clusters and Holm's correction: none. On pooled trials without correction: "
        "no other."
    )


def test_factors_of_choices_that_do_not_vary():
    rows = frame("factor p_value wald_p wald_p_holm", ("model", NAN, NAN, NAN))
    assert told("factors", rows) == "No factor can be tested, as choices do not vary."


def test_factors_of_both_regressions():
    rows = [
        ("model", 0.01, "logit"),
        ("v1", 0.01, "logit"),
        ("domain", 0.02, "logit"),
        ("n_examples", 1, "logit"),
    ]
    rows += [("model", 0.01, "gee"), ("v1", 0.5, "gee")]
    untested = [*rows, ("domain", NAN, "gee")]
    assert told("regression", frame("factor p_value regression", *untested)).endswith(
        "groups: model. Not to be tested in both: domain."
    )
    assert told("regression", frame("factor p_value regression", *rows)) == (
        "Significant in the logit, clustered as published: model, preferred value and domain; by GEE "
        "with cells as "
        "groups: model."
    )


def test_pairs_differ_by_either_test():
    columns = "p_mcnemar_holm p_clustered_holm p_equivalence"
    paired = frame(columns, (0.01, 0.01, 0.9), (0.2, 0.3, 0.01), (0.04, 0.06, 0.04), (NAN, NAN, NAN))
    assert told("pairs", paired, 0.05) == (
        "2 of 4 pairs of models in focus differ by McNemar's test, which takes items as "
        "independent, and 1 by "
        "the test clustered by cell, both after Holm's correction; 2 are equivalent within .05, without "
        "correction."
    )
    assert told("pairs", paired.head(1), 0.05).startswith("1 of 1 pair of models in focus differ")
    assert told("pairs", paired.head(0), 0.05) == "With one model in focus there are no pairs."


def test_agreement_with_both_intervals():
    columns = "comparison agreement cells_low cells_high both_low both_high"
    several = ("all pairs", 0.6594, 0.647, 0.674, 0.554, 0.791)
    assert told("agreement", frame(columns, several)) == (
        "On average two of them choose the same option on a share of .659 of the items ([.647, .674] "
        "with cells "
        "resampled, [.554, .791] with models resampled as well)."
    )
    one_pair = ("all pairs", 0.6594, 0.647, 0.674, NAN, NAN)
    assert told("agreement", frame(columns, one_pair)).endswith("with cells resampled).")
    assert told("agreement", frame(columns, ("all pairs", *[NAN] * 5))) == "Agreement needs two models."


# ---- choices and probabilities ----


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "No model of this build has them on record."),
        (
            [("a", 0.3164, 0.314)],
            "The record holds them for a, a soft DVGR of .316 where its rule implies .317 and its "
            "choices give .314.",
        ),
        (
            [("b", 0.9, 0.8), ("c", 0.2, 0.1)],
            "The record holds them for b, a soft DVGR of .900 where its choices give .800; for c, a soft "
            "DVGR of .200 "
            "where its choices give .100.",
        ),
    ],
)
def test_the_soft_dvgr_of_every_model_that_has_one(rows, expected):
    assert told("soft", frame("model soft hard", *rows), {"a": 0.3169}) == expected
