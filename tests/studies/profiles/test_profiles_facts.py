"""What the text says of study 3: each number, and each way a sentence can turn."""

import pandas as pd
import pytest

from deepvalues.paper.results import Results
from deepvalues.paper.sentences import Sentences
from deepvalues.studies.profiles import facts
from kept_numbers import kept, telling

NAN = float("nan")
said, told = Sentences("profiles"), telling("profiles", facts)


@pytest.fixture
def results(tmp_path):
    return Results("profiles", tmp_path)


@pytest.mark.parametrize(
    ("sentence", "given", "expected"),
    [
        (
            "limitation",
            {"synthetic": True},
            "The reference is synthetic, so the study shows only that known profiles are recovered, and says "
            "nothing about people.",
        ),
        (
            "limitation",
            {"synthetic": False},
            "The reference is only as good as the sample of people behind it.",
        ),
    ],
)
def test_sentences_of_given_facts(sentence, given, expected):
    assert said(sentence, given) == expected


@pytest.mark.parametrize(
    ("models", "lost", "sentence"),
    [
        ("ab", [0, 0], "1 text learner and 1 language model; none of the runs went unanswered."),
        ("ac", [20, 1000], "2 text learners; 1,020 of the runs went unanswered."),
        ("aa", [0, 0], "1 text learner; none of the runs went unanswered."),
    ],
)
def test_runs_without_an_answer_are_told(models, lost, sentence):
    missing = pd.DataFrame({"model": [*models], "runs": [30, 1200], "missing": lost})
    family = {"a": "text learner", "b": "language model", "c": "text learner"}
    assert told("runs", missing, family) == f"There are 1,230 runs, of {sentence}"


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        (
            [True, False, True],
            "Of 3 fidelities and spreads known in advance, 2 lie in the 95% intervals of their estimates.",
        ),
        ([], "No reference agent is among the models, so no fidelity or spread is known in advance."),
    ],
)
def test_what_is_known_is_held_by_all_some_or_none(held, sentence):
    assert told("recovery", pd.DataFrame({"held": held})) == sentence


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("low", -0.5), ("high", 1.0)], "ranges from −0.50 (low) to 1.00 (high)"),
        ([("low", -0.5), ("lost", NAN)], "is −0.50 (low)"),
        # Every model is named that is as far in what is written, and rounding errors settle nothing.
        ([("low", -0.5), ("b", 0.9961), ("a", 1.0)], "ranges from −0.50 (low) to 1.00 (b and a)"),
        ([("b", 0.3), ("a", 0.3 + 1e-13)], "is 0.30 (b and a)"),
        ([("low", NAN)], None),
        ([], None),
    ],
)
def test_fidelity_runs_from_the_lowest_model_to_the_highest(rows, expected):
    table = pd.DataFrame([*rows, ("x", -1.0)], columns=["model", "fidelity"])
    table["mode"] = [*["rating"] * len(rows), "ranking"]
    table["reference"] = "human reference"
    about = "In the rating mode, fidelity to the human reference"
    no_model = "No model has a fidelity in the rating mode"
    assert told("fidelity", table) == (f"{about} {expected}" if expected else no_model)


@pytest.mark.parametrize(
    ("fidelity", "of_agent"), [([0.733], ", as does our random agent (0.73)"), ([0.5], ""), ([], "")]
)
def test_replies_at_random_are_told_for_the_mode_of_the_text(fidelity, of_agent):
    columns = ["mode", "runs", "fidelity_low", "fidelity_high", "to_exceed"]
    table = pd.DataFrame(
        [("ranking", 30, -0.9, 0.9, 0.8), ("rating", 150, -0.612, 0.628, 0.554)], columns=columns
    )
    agents = pd.DataFrame({"model": facts.RANDOM, "mode": "rating", "fidelity": fidelity})
    assert told("at_random", table, agents) == (
        "A single fidelity is weak evidence: with six themes and 150 runs in the rating mode, the middle 95% "
        "of simulated respondents who answer at random have a fidelity within [−0.61, 0.63], and the top 5% "
        f"exceed 0.55{of_agent}."
    )


@pytest.mark.parametrize(
    ("lowest", "more"), [(0.91, ""), (0.87, " Intervals with a rate below .900 are too narrow.")]
)
def test_coverage_runs_from_the_lowest_rate_to_the_highest(lowest, more):
    rows = [("a", "rating", "fidelity", 0.96), ("a", "ranking", "fidelity", 1.0)]
    rows += [("b", "rating", "v", lowest), ("a", "rating", "v", 0.95)]
    table = pd.DataFrame(rows, columns=["model", "mode", "measure", "coverage"])
    table = table.assign(simulated=500, coverage_error=[0.009, 0, 0.0126, 0.01])
    assert told("coverage", table) == (
        "In 500 simulated studies of each agent and mode, the 95% intervals of F contain the true value at "
        f"rates from .960 (a, rating) to 1.000, and those of v at rates from {f'{lowest:.3f}'[1:]} (b, "
        f"rating) to .950. The Monte Carlo standard error is at most .013.{more}"
    )


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("m", "we do not test this on the one language model with a fidelity here."),
        ("mno", "we do not test this on the three language models with a fidelity here."),
        (
            "",
            "no language model answered in these modes here, so we cannot test this.",
        ),
    ],
)
def test_no_scaling_is_tested(models, expected):
    about = (
        "The abstracts report that fidelity does not consistently scale with size, recency or capability tier"
    )
    table = pd.DataFrame({"model": ["agent", *models, *models]})
    family = {"agent": "reference agent", **dict.fromkeys(models, "language model")}
    assert told("size", table, family) == f"{about}; {expected}"


def agency_of(p_value, claimed, family):
    """Two models: one fills in a form with Agency last, one chooses in pairs with Agency first."""
    filled = pd.DataFrame({"model": "a", "mode": "rating", "theme": ["agency", "other"], "mean": [2.0, 5.0]})
    stable = pd.DataFrame({"model": ["a"], "mode": ["rating"], "p_value": [p_value]})
    worths = pd.DataFrame({"model": "b", "theme": ["agency", "other"], "worth": [1.0, -1.0]})
    by_model = pd.DataFrame({"model": ["b"], "claimed": [claimed]})
    return told("agency", filled, stable, worths, by_model, {"a": family, "b": family})


@pytest.mark.parametrize(
    ("p_value", "claimed", "family", "expected"),
    [
        (
            0.01,
            True,
            "language model",
            "it comes last in 1 of 2 profiles of language models that the answers support.",
        ),
        (
            0.01,
            False,
            "language model",
            "only one language model was consistent enough for a profile; it puts Agency last.",
        ),
        (
            0.2,
            True,
            "language model",
            "asked about pairs of themes, only one language model was consistent enough for a profile; it "
            "does not put Agency last.",
        ),
        (0.2, False, "language model", None),
        (NAN, False, "language model", None),
        (0.01, True, "reference agent", None),
    ],
)
def test_agency_is_looked_for_in_profiles_that_language_models_can_claim(p_value, claimed, family, expected):
    about = "They also report that models and people give Agency, one of the themes, a low priority; "
    asked = claimed is False and family == "language model"
    how = ": asked in pairs, one of them chooses by position" if asked else ""
    nobody = f"no language model here gives answers that support a profile{how}."
    assert agency_of(p_value, claimed, family) == about + (f"here, {expected}" if expected else nobody)


@pytest.mark.parametrize(
    ("priorities", "synthetic", "expected"),
    [
        # A tie for the last place is not below every other theme.
        (
            [1, 5, 2, 2],
            True,
            "Agency is last in the mean ratings of the synthetic reference, by the rule that "
            "draws it; 1 of its 2 respondents rate Agency below every other theme.",
        ),
        (
            [5, 1, 4, 3],
            False,
            "Agency is not last in the mean ratings of the human reference; none of its 2 "
            "respondents rate Agency below every other theme.",
        ),
    ],
)
def test_agency_in_the_reference(priorities, synthetic, expected):
    reference = pd.DataFrame(
        {
            "respondent": ["a", "a", "b", "b"],
            "mode": "rating",
            "theme": ["agency", "performance"] * 2,
            "priority": priorities,
            "synthetic": synthetic,
        }
    )
    assert told("agency_in_reference", reference) == expected


# ---- numbers ----


def test_the_reference_is_named_and_counted_once_a_respondent(results):
    reference = pd.DataFrame({"respondent": ["a", "a", "b"], "synthetic": [False] * 3})
    ceiling = pd.DataFrame(
        [("ranking", 0.1, 0.0, 0.2), ("rating", 0.357, -0.02, 0.4)], columns=["mode", "mean", "low", "high"]
    )
    facts.keep_reference(results, reference, ceiling)
    assert kept(results) == {
        "reference": "human reference",
        "respondents": "2",
        "ceiling.mean": "0.36",
        "ceiling.interval": "[−0.02, 0.40]",
    }


def test_coding_keeps_sentences_and_every_measure_of_agreement(results):
    sentences = pd.DataFrame({"id": ["s1", "s1", "s2"]})
    agreement = pd.DataFrame(
        [("raw agreement", 0.806, 0.69, 0.9, 62), ("Cohen's kappa", 0.773, 0.64, 0.88, 62)],
        columns=["measure", "estimate", "low", "high", "units"],
    )
    facts.keep_coding(results, sentences, agreement)
    assert kept(results) == {
        "open.sentences": "3",
        "open.different": "2",
        "open.coded": "62",
        "open.raw_agreement": ".81 [.69, .90]",
        "open.cohens_kappa": ".77 [.64, .88]",
    }
