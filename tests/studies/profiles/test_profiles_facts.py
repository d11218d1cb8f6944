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
            "The reference in this build is synthetic: so far the study shows only that known profiles are "
            "recovered, and says nothing about people.",
        ),
        (
            "limitation",
            {"synthetic": False},
            "The reference is as good as the sample of people that was given.",
        ),
        (
            "joint",
            {"models": 0},
            "In this build, no model took part in more than one study, so there is nothing to compare yet.",
        ),
        ("joint", {"models": 1}, "In this build, 1 model took part in more than one study."),
        ("joint", {"models": 9}, "In this build, 9 models took part in more than one study."),
    ],
)
def test_sentences_of_given_facts(sentence, given, expected):
    assert said(sentence, given) == expected


@pytest.mark.parametrize(
    ("models", "lost", "sentence"),
    [
        ("ab", [0, 0], "1 text learner and 1 language model; none of the runs went without an answer."),
        ("ac", [20, 1000], "2 text learners; 1,020 of the runs went without an answer."),
        ("aa", [0, 0], "1 text learner; none of the runs went without an answer."),
    ],
)
def test_runs_without_an_answer_are_told(models, lost, sentence):
    missing = pd.DataFrame({"model": [*models], "runs": [30, 1200], "missing": lost})
    family = {"a": "text learner", "b": "language model", "c": "text learner"}
    assert told("runs", missing, family) == f"There are 1,230 runs, of {sentence}"


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        ([True, False, True], "Of 3 fidelities and spreads known in advance, 2 lie in their 95% intervals."),
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
