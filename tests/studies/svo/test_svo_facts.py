"""What the text says about study 2: every key, and every branch of a sentence."""

import math

import pandas as pd
import pytest

from deepvalues.paper.results import Results
from deepvalues.paper.sentences import Sentences
from deepvalues.studies.svo import facts
from kept_numbers import kept, telling

NAN = math.nan
told = telling("svo", facts)


def frame(columns, *rows):
    return pd.DataFrame(rows, columns=columns.split())


@pytest.fixture
def results(tmp_path):
    return Results("svo", tmp_path)


@pytest.mark.parametrize(
    ("families", "sentence"),
    [
        ({"reference agent": 2, "language model": 1}, "2 reference agents and 1 language model"),
        ({"reference agent": 1}, "1 reference agent"),
    ],
)
def test_trials_by_family(families, sentence):
    said = Sentences("svo")("trials", {"trials": 1200, "families": families})
    assert said == f"There are 1,200 trials, of {sentence}."


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "No reference agent with a rule that implies an angle was asked."),
        ([("a", NAN, True)], "No reference agent with a rule that implies an angle was asked."),
        ([("a", 1.0, True), ("b", 2.0, True)], "All 2 implied angles are reproduced."),
        (
            [("a", 1.0, True), ("b", 2.0, False), ("b", NAN, True)],
            "1 of 2 implied angles is reproduced; b departs from the rule in some condition.",
        ),
        (
            [("a", 1.0, True), ("c", 1.0, True), ("b", NAN, False)],
            "All 2 implied angles are reproduced; b departs from the rule in some condition.",
        ),
    ],
)
def test_instrument(rows, sentence):
    assert told("instrument", frame("model expected agrees", *rows)) == sentence


C, F = "controlled", "faithful"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("a", F, "", 60.0, 31.0)], "Each mean is over all values."),
        (
            [
                ("a", F, "", 50.0, 50.0),
                ("b", C, "competitive", 60.0, 40.5881),
                ("c", F, "altruistic, competitive", NAN, -9.96),
            ],
            "Values without a complete trial are left out of the means. b in controlled mode has no "
            "complete trial of the competitive value; if these choices had been the worst possible, its raw "
            "mean would be 40.6 instead of 60.0. c in faithful mode has no complete trial of the altruistic "
            "and competitive values; at worst, its raw mean would be −10.0.",
        ),
        # Modes that leave out the same stand together.
        (
            [("b", mode, "competitive", 60.0, 40.5881) for mode in (C, F)],
            "Values without a complete trial are left out of the means. b in controlled and faithful mode "
            "has no complete trial of the competitive value; if these choices had been the worst possible, "
            "its raw mean would be 40.6 instead of 60.0.",
        ),
    ],
)
def test_values_that_the_means_leave_out(rows, sentence):
    assert told("rationality_left_out", frame("model mode left_out rationality bound_low", *rows)) == sentence


@pytest.mark.parametrize(
    ("f", "rows", "sentence"),
    [
        (
            [NAN],
            [("a", "competitive", 4, 4)],
            "There is no analysis of variance: it needs two models with a complete trial of every value.",
        ),
        ([NAN, 2.0], [], "The analysis of variance leaves no model out."),
        (
            [NAN, 2.0],
            [("a", "competitive", 4, 4), ("b", "altruistic", 1, 4), ("b", "competitive", 4, 4)],
            "The analysis of variance, which needs a complete trial of every value, leaves out a (none of "
            "competitive), b (none of altruistic in 1 of 4 analyses, none of competitive).",
        ),
    ],
)
def test_models_that_the_anova_leaves_out(f, rows, sentence):
    left_out = frame("model value lacking analyses", *rows)
    assert told("anova_left_out", pd.DataFrame({"f": f}), left_out) == sentence


@pytest.mark.parametrize(
    ("p", "who"),
    [
        ([0.006, 1.0, 0.049], "a and c show a significant position bias."),
        ([0.006, 1.0, 0.3], "a shows a significant position bias."),
        ([0.05, 1.0, NAN], "no model shows a significant position bias."),
        ([], "no model shows a significant position bias."),
        ([NAN, NAN], "position bias cannot be tested in any model."),
    ],
)
def test_models_that_go_by_place(p, who):
    found = told("position", pd.DataFrame({"model": ["a", "b", "c"][: len(p)], "p_holm": p}))
    assert found == f"Where options are permuted, {who}"


# ---- numbers ----

NORMS = frame("group n mean prosocial_pct", ("us", 10, 1.0, 2.0), ("all", 6234, 29.48, 75.2))


def test_goal_counts_what_can_be_tested(results):
    facts.keep_goal(results, pd.DataFrame({"p_holm": [0.0499, 0.05, None, 1.0, None]}))
    assert kept(results) == {"goal.compared": "3", "goal.changed": "1"}


def test_people(results):
    facts.keep_people(results, NORMS)
    assert kept(results) == {"people.n": "6,234", "people.mean": "29.5", "people.prosocial": ".752"}


@pytest.mark.parametrize(
    ("individualistic", "difference", "within"),
    [(0.0, "0.40", True), (-0.2, "0.50", False), (1.0, "−0.10", True)],
)
def test_giving_values_are_told_beside_a_respondent_that_ignores_the_value(
    results, individualistic, difference, within
):
    facts.keep_people(results, NORMS)
    values = ["altruistic", "prosocial", "individualistic", "competitive"]
    by_value = pd.DataFrame({"value": values, "corrected": [0.44, 0.5, individualistic, 0.14]})
    facts.keep_published(results, by_value, pd.DataFrame({"corrected_giving": [0.477]}))
    found = kept(results)
    assert found["published.prosocial.corrected"] == "0.50"
    assert (found["published.giving"], found["blind.giving"]) == (difference, "0.48")
    assert found["claims.giving_within_blind"] == str(within).lower()
    said = results.paragraph("published_values").data
    assert f"is {difference}. A respondent" in said and "of 0.48" in said and "at 29.5 degrees" in said
    assert ("no evidence of a preference for giving" in said) == within


def test_the_first_place_is_scored_as_any_answers_are(results):
    facts.keep_first_place(results)
    # By hand: coins for oneself 85, 85, 50, 50, 100, 100 and for the other 85, 15, 100, 100, 50, 50.
    degrees = math.degrees(math.atan2(400 / 6 - 50, 470 / 6 - 50))
    assert kept(results) == {"first_place.angle": f"{degrees:.1f}", "first_place.category": "prosocial"}


def contrasts(raw, corrected):
    """Two contrasts on both scales, the one against extreme values with the given verdicts."""
    rows = [
        (
            *(scale, contrast, lean, lean - 0.5, lean + 0.25, lean - 0.7, lean + 0.3),
            verdict if contrast.startswith("neutral") else "yes",
        )
        for scale, lean, verdict in (
            ("raw", 10.4469, raw),
            ("above_chance", -5.875, "no"),
            ("corrected", -0.0464, corrected),
        )
        for contrast in ("neutral minus extreme", "prosocial minus the others")
    ]
    columns = ["scale", "contrast", "lean", "low", "high", "read_low", "read_high", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def test_lean_with_its_intervals(results):
    facts.keep_lean(results, contrasts("yes", "open"))
    found = kept(results)
    assert (found["lean.raw"], found["lean.raw_interval"]) == ("10.4", "[9.9, 10.7]")
    assert (found["lean.corrected"], found["lean.corrected_interval"]) == ("−0.05", "[−0.55, 0.20]")
    assert (found["lean.above_chance"], found["text.lean_above_chance"]) == (
        "−5.9",
        "or [−6.6, −5.6] allowing for reading errors",
    )
    assert found["text.lean_corrected"] == "or [−0.75, 0.25] allowing for reading errors"


@pytest.mark.parametrize(
    ("raw", "corrected", "survives"),
    [
        ("yes", "yes", "The lean remains when scores are corrected for what random answers get."),
        (
            "yes",
            "open",
            "Corrected for what random answers get, no significant lean towards neutral values is left.",
        ),
        ("yes", "no", "Corrected for what random answers get, the scores lean away from neutral values."),
        ("open", "yes", "Even before any correction, there is no significant lean towards neutral values."),
        ("no", "no", "Even before any correction, there is no significant lean towards neutral values."),
    ],
)
def test_what_the_lean_amounts_to(results, raw, corrected, survives):
    facts.keep_lean(results, contrasts(raw, corrected))
    assert kept(results)["text.survives"] == survives
