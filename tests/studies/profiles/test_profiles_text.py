"""What the text says of study 3: each number, and each way a sentence can turn."""

import pandas as pd
import pytest

from deepvalues.paper.results import Results
from deepvalues.studies.profiles import text
from kept_numbers import kept


@pytest.fixture
def results(tmp_path):
    return Results("profiles", tmp_path)


def fidelity(*rows):
    return pd.DataFrame(rows, columns=["mode", "model", "fidelity"])


def test_runs_and_models_by_family(results):
    families = ["language model", "reference agent", "language model"]
    text.keep_runs(results, pd.DataFrame({"item": range(1200)}), families)
    assert kept(results)["runs"] == "1,200"
    assert kept(results)["models"] == "3"
    assert kept(results)["text.models"] == "2 language models; 1 reference agent"


@pytest.mark.parametrize(
    ("lost", "sentence"),
    [
        ([0, 0], "Runs: 1,230, of 2 models; without an answer: 0."),
        ([20, 1000], "Runs: 1,230, of 2 models; without an answer: 1,020."),
    ],
)
def test_runs_without_an_answer_are_told(lost, sentence):
    missing = pd.DataFrame({"model": ["a", "b"], "runs": [30, 1200], "missing": lost})
    assert text.runs_sentence(missing) == sentence


def test_runs_of_one_model():
    missing = pd.DataFrame({"model": ["a", "a"], "runs": [30, 30], "missing": [0, 0]})
    assert text.runs_sentence(missing).startswith("Runs: 60, of 1 model;")


def test_the_reference_is_named_and_counted_once_a_respondent(results):
    reference = pd.DataFrame({"respondent": ["a", "a", "b"], "synthetic": [False] * 3})
    ceiling = pd.DataFrame(
        [("ranking", 0.1, 0.0, 0.2), ("rating", 0.357, -0.02, 0.4)], columns=["mode", "mean", "low", "high"]
    )
    text.keep_reference(results, reference, ceiling)
    assert kept(results)["reference"] == "human reference"
    assert kept(results)["respondents"] == "2"
    assert kept(results)["ceiling.mean"] == "0.36"
    assert kept(results)["ceiling.interval"] == "[−0.02, 0.40]"


def test_recovery_counts_what_was_held(results):
    text.keep_recovery(results, pd.DataFrame({"held": [True, False, True]}))
    assert (kept(results)["instrument.held"], kept(results)["instrument.compared"]) == ("2", "3")


@pytest.mark.parametrize(
    ("held", "beginning"),
    [
        ([True, False, True], "Of 3 fidelities and spreads known in advance, in their 95% intervals: 2."),
        ([], "No reference agent"),
    ],
)
def test_what_is_known_is_held_by_all_some_or_none(held, beginning):
    assert text.recovery_sentence(pd.DataFrame({"held": held})).startswith(beginning)


def test_fidelity_runs_from_the_lowest_model_to_the_highest():
    table = fidelity(("rating", "low", -0.5), ("rating", "high", 1.0)).assign(reference="human reference")
    assert text.fidelity_sentence(table) == (
        "In the rating mode fidelity to the human reference runs from −0.50 (low) to 1.00 (high)"
    )
    assert text.fidelity_sentence(table.head(1)) == (
        "In the rating mode fidelity to the human reference is −0.50 (low)"
    )
    assert text.fidelity_sentence(table.assign(fidelity=float("nan"))) == (
        "No model has a fidelity in the rating mode"
    )
    assert text.fidelity_sentence(table.head(0)) == "No model has a fidelity in the rating mode"


def test_extremes_name_every_model_that_is_as_far_in_what_is_written():
    table = fidelity(
        ("rating", "low", -0.5), ("rating", "high", 0.9961), ("rating", "as-high", 1.0), ("ranking", "x", -1)
    )
    assert text.extremes(table) == {"lowest": (-0.5, "low"), "highest": (1.0, "high and as-high")}


def test_rounding_errors_do_not_settle_which_is_highest():
    ends = text.extremes(fidelity(("rating", "a", 0.3 + 1e-13), ("rating", "b", 0.3)))
    assert ends["lowest"] == ends["highest"] == (0.3, "a and b")


def test_coding_keeps_sentences_and_every_measure_of_agreement(results):
    sentences = pd.DataFrame({"id": ["s1", "s1", "s2"]})
    agreement = pd.DataFrame(
        [("raw agreement", 0.806, 0.69, 0.9, 62), ("Cohen's kappa", 0.773, 0.64, 0.88, 62)],
        columns=["measure", "estimate", "low", "high", "units"],
    )
    text.keep_coding(results, sentences, agreement)
    assert (kept(results)["open.sentences"], kept(results)["open.different"]) == ("3", "2")
    assert kept(results)["open.coded"] == "62"
    assert kept(results)["open.raw_agreement"] == ".81 [.69, .90]"
    assert kept(results)["open.cohens_kappa"] == ".77 [.64, .88]"


def test_the_abstract_and_the_limitation_name_the_reference():
    synthetic, people = (pd.DataFrame({"synthetic": [made] * 2}) for made in (True, False))
    assert text.abstract(0, synthetic) == (
        "A third study holds the value priorities of reference agents against a synthetic reference, in "
        "order and in spacing."
    )
    assert "of 1 language model against a human reference" in text.abstract(1, people)
    assert "of 9 language models against" in text.abstract(9, people)
    assert "synthetic" in text.limitation(synthetic) and "people" in text.limitation(people)


def test_the_studies_together_without_and_with_models(results):
    text.keep_joint(results, pd.DataFrame({"model": []}))
    assert kept(results)["text.joint"] == text.joint_sentence(0)
    assert "no model took part in more than one study" in text.joint_sentence(0)
    assert text.joint_sentence(1) == "In this build 1 model took part in more than one study."
    assert text.joint_sentence(9) == "In this build 9 models took part in more than one study."
