"""What the text says about study 2: every key, and every branch of a sentence."""

import math

import pandas as pd
import pytest

from deepvalues.paper.results import Results
from deepvalues.studies.svo import text
from kept_numbers import kept


@pytest.fixture
def results(tmp_path):
    return Results("svo", tmp_path)


def test_models_by_family(results):
    text.models(results, {"b": "reference agent", "a": "language model", "c": "reference agent"}, 2400)
    assert kept(results) == {
        "text.models": "2 reference agents; 1 language model",
        "models": "3",
        "trials": "2,400",
    }


def test_models_where_none_is_a_language_model(results):
    text.models(results, {"a": "reference agent"}, 20)
    assert kept(results)["text.models"] == "1 reference agent"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "No reference agent was asked."),
        (
            [("a", 1.0, True), ("b", 2.0, True)],
            "2 of 2 conditions with an implied angle have it.",
        ),
        (
            [("a", 1.0, True), ("b", 2.0, False), ("b", math.nan, True)],
            "1 of 2 conditions with an implied angle have it, and 1 of 1 in which the rule refuses have no "
            "complete trial; those that do not are of b.",
        ),
    ],
)
def test_instrument(rows, sentence):
    check = pd.DataFrame(rows, columns=["model", "expected", "agrees"])
    assert text.instrument(check) == sentence


def test_goal_counts_what_can_be_tested(results):
    text.goal(results, pd.DataFrame({"p_holm": [0.0499, 0.05, None, 1.0, None]}))
    assert kept(results) == {"goal.compared": "3", "goal.changed": "1"}


def test_corrected_rationality_runs_between_models_in_each_mode():
    columns = ["model", "mode", "corrected"]
    rows = [
        ("a", "faithful", 0.5),
        ("b", "faithful", -0.1),
        ("c", "faithful", math.nan),
        ("a", "controlled", 0.25),
    ]
    assert text.rationality(pd.DataFrame(rows, columns=columns)) == (
        "Corrected for chance, in controlled mode it is 0.25 (a) and in faithful mode it runs from −0.10 "
        "(b) to "
        "0.50 (a)."
    )
    assert text.rationality(pd.DataFrame(rows[2:3], columns=columns)) == "No model has a value rationality."


def test_all_models_at_an_end_of_rationality_are_named():
    means = {"b": 1.0, "a": 0.9999, "c": 0.3, "d": 0.3}
    table = pd.DataFrame([(model, "faithful", mean) for model, mean in means.items()])
    table.columns = ["model", "mode", "corrected"]
    assert text.rationality(table).endswith("it runs from 0.30 (c and d) to 1.00 (a and b).")
    assert text.rationality(table.iloc[2:]).endswith("it is 0.30 (c and d).")


def means(*rows):
    return pd.DataFrame(rows, columns=["model", "mode", "left_out", "rationality", "bound_low"])


def test_means_over_all_values():
    assert (
        text.rationality_left_out(means(("a", "faithful", "", 60.0, 31.0))) == "Each mean is over all values."
    )


def test_means_that_leave_values_out():
    rows = [("a", "faithful", "", 50.0, 50.0), ("b", "controlled", "competitive", 60.0, 40.5881)]
    rows += [("c", "faithful", "altruistic, competitive", math.nan, -9.96)]
    assert text.rationality_left_out(means(*rows)) == (
        "Values without a complete trial are left out of the means. b in controlled mode has no complete "
        "trial "
        "of the competitive value; with these choices at their worst its raw mean would be 40.6 instead "
        "of 60.0. "
        "c in faithful mode has no complete trial of the altruistic and competitive values; at their worst "
        "its raw mean would be −10.0."
    )


def test_modes_that_leave_out_the_same_stand_together():
    rows = [("b", mode, "competitive", 60.0, 40.5881) for mode in ("controlled", "faithful")]
    assert text.rationality_left_out(means(*rows)).endswith(
        "b in controlled and faithful mode has no complete trial of the competitive value; with these "
        "choices at "
        "their worst its raw mean would be 40.6 instead of 60.0."
    )


def left_out(*rows):
    return pd.DataFrame(rows, columns=["model", "value", "lacking", "analyses"])


FOUND = pd.DataFrame({"f": [math.nan, 2.0]})


def test_where_nothing_could_be_analysed_a_sentence_says_so():
    nothing = text.anova_left_out(FOUND.head(1), left_out(("a", "competitive", 4, 4)))
    assert nothing.startswith("There is no analysis of variance")


def test_anova_that_leaves_nobody_out():
    assert text.anova_left_out(FOUND, left_out()) == "The analysis of variance leaves no model out."


def test_anova_names_models_values_and_in_how_many_analyses():
    rows = [("a", "competitive", 4, 4), ("b", "altruistic", 1, 4), ("b", "competitive", 4, 4)]
    assert text.anova_left_out(FOUND, left_out(*rows)) == (
        "The analysis of variance, which needs a complete trial of every value, leaves out "
        "a (none of competitive), b (none of altruistic in 1 of 4 analyses, none of competitive)."
    )


@pytest.mark.parametrize(
    ("p", "who"),
    [
        ([0.006, 1.0, 0.049], "a and c choose by their place."),
        ([0.006, 1.0, 0.3], "a chooses by their place."),
        ([0.05, 1.0, float("nan")], "no model is found to choose by their place."),
        ([], "no model is found to choose by their place."),
    ],
)
def test_models_that_go_by_place(p, who):
    found = text.position(pd.DataFrame({"model": ["a", "b", "c"][: len(p)], "p_holm": p}))
    assert found == f"Where options are permuted, {who}"


def test_people(results):
    norms = pd.DataFrame(
        [("us", 10, 1.0, 2.0), ("all", 6234, 29.48, 75.2)], columns=["group", "n", "mean", "prosocial_pct"]
    )
    text.people(results, norms)
    assert kept(results) == {"people.n": "6,234", "people.mean": "29.5", "people.prosocial": ".752"}


@pytest.mark.parametrize(("individualistic", "holds"), [(0.0, True), (0.44, False), (0.6, False)])
def test_published_values_and_whether_giving_stands_above_taking(results, individualistic, holds):
    corrected = [0.44, 0.5, individualistic, 0.15]
    values = ["altruistic", "prosocial", "individualistic", "competitive"]
    text.published(results, pd.DataFrame({"value": values, "corrected": corrected}))
    found = kept(results)
    assert found["claims.giving_above_taking"] == str(holds).lower()
    assert found["published.prosocial.corrected"] == "0.50"
    assert len(found) == 4 + 1


def test_the_first_place_is_scored_as_any_answers_are(results):
    text.first_place(results)
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
    text.lean(results, contrasts("yes", "open"))
    found = kept(results)
    assert (found["lean.raw"], found["lean.raw_interval"]) == ("10.4", "[9.9, 10.7]")
    assert (found["lean.corrected"], found["lean.corrected_interval"]) == ("−0.05", "[−0.55, 0.20]")
    assert (found["lean.above_chance"], found["text.lean_above_chance"]) == (
        "−5.9",
        "with reading errors [−6.6, −5.6], so that the models lean away from them",
    )
    assert found["text.lean_raw"].endswith("so that the models lean to the neutral values")
    assert found["text.lean_corrected"] == (
        "with reading errors [−0.75, 0.25], so that no lean to either side can be told"
    )
    assert found["text.survives"] == "The lean to neutral values does not survive the correction."


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("yes", "the models lean to the neutral values"),
        ("no", "the models lean away from them"),
        ("open", "no lean to either side can be told"),
    ],
)
def test_verdicts_in_words(results, verdict, words):
    text.lean(results, contrasts("yes", verdict))
    assert kept(results)["text.lean_corrected"].endswith(f", so that {words}")


@pytest.mark.parametrize(
    ("raw", "corrected", "sentence"),
    [
        ("yes", "yes", "The lean to neutral values survives the correction."),
        ("yes", "open", "The lean to neutral values does not survive the correction."),
        ("yes", "no", "The lean to neutral values does not survive the correction."),
        ("open", "yes", "Raw, there is no such lean that could survive the correction."),
        ("no", "no", "Raw, there is no such lean that could survive the correction."),
    ],
)
def test_what_survives(raw, corrected, sentence):
    assert text.survives(raw, corrected) == sentence


@pytest.mark.parametrize(
    ("raw", "corrected", "found"),
    [
        ("yes", "yes", "finds that a published lean to neutral values remains when"),
        ("yes", "open", "finds that a published lean to neutral values does not remain when"),
        ("open", "open", "finds no lean of the published models to neutral values."),
    ],
)
def test_what_the_abstract_says(raw, corrected, found):
    assert found in text.abstract(raw, corrected)
