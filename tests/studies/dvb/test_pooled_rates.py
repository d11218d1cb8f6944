"""The models in focus: which they are, their pooled rate, and the side of chance on which each lies."""

import math

import pandas as pd
import pytest

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.stats.clusters import clustered
from deepvalues.stats.rates import wilson
from deepvalues.studies.dvb.analysis import statistics
from deepvalues.studies.dvb.analysis.statistics import Sides


def trials(**followed):
    """Deconfounded trials by model, one a character (a dot is a missing reply), two to a cell."""
    rows = [
        (name, "deconfounded", 4, f"c{place // 2}", math.nan if letter == "." else float(letter))
        for name, letters in followed.items()
        for place, letter in enumerate(letters)
    ]
    return pd.DataFrame(rows, columns=["model", "arm", "n_examples", "cell", "followed"])


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        (["language model", "text learner", "reference agent"], "language model"),
        (["text learner", "reference agent"], "text learner"),
    ],
)
def test_language_models_come_into_focus_where_there_are_any(families, expected):
    assert statistics.family_in_focus(families) == expected
    assert statistics.family_in_focus(dict(zip("abc", families, strict=False)).values()) == expected


@pytest.mark.parametrize("families", [["reference agent"], []])
def test_with_reference_agents_alone_there_is_nothing_to_pool(families):
    with pytest.raises(UserError, match="no language model and no text learner has answered"):
        statistics.family_in_focus(families)


@pytest.mark.parametrize(
    ("models", "kept"),
    [
        (["learner-words", "learner-latent-32", "learner-latent-8"], ["learner-words", "learner-latent-8"]),
        (["learner-latent-32", "learner-latent-8"], ["learner-latent-32", "learner-latent-8"]),
    ],
)
def test_of_two_learners_that_choose_alike_one_is_in_focus(models, kept):
    table = pd.DataFrame({"model": [*models, "agent"], "family": ["text learner"] * len(models) + ["agent"]})
    assert list(statistics.in_focus(table, "text learner")["model"]) == kept


def test_learners_left_out_of_pooled_results_choose_as_the_other_does():
    pairs = pd.read_csv(paths.RESULTS / "dvb" / "agreement.csv").set_index(["model_a", "model_b"])
    for pair in statistics.DOUBLES.items():
        assert pairs.loc[tuple(sorted(pair)), "agreement"] > 0.98


def test_the_pooled_rate_is_that_of_all_deconfounded_trials():
    frame = trials(a="1101", b="10.0")
    other_arm = frame.assign(arm="control", followed=1.0)
    (row,) = statistics.pooled(pd.concat([frame, other_arm])).to_dict("records")
    assert (row["items"], row["answered"], row["followed"]) == (8, 7, 4)
    assert row["rate"] == 4 / 7
    assert (row["wilson_low"], row["wilson_high"]) == wilson(4, 7)
    answered = frame.dropna(subset="followed")
    expected = clustered(answered["followed"], answered["cell"])
    assert (row["clustered_low"], row["clustered_high"]) == pytest.approx(expected)
    assert "pooled" not in row


def test_each_model_is_left_out_in_turn():
    frame = trials(a="1111", b="0001", c="11.0")
    table = statistics.leave_one_out(frame.iloc[::-1])
    assert list(table["left_out"]) == ["a", "b", "c"]
    assert list(table["models"]) == [2, 2, 2]
    assert list(table["rate"]) == pytest.approx([3 / 7, 6 / 7, 5 / 8])
    for name, row in zip("abc", table.to_dict("records"), strict=True):
        (expected,) = statistics.pooled(frame[frame["model"] != name]).to_dict("records")
        assert {key: row[key] for key in expected} == pytest.approx(expected, nan_ok=True)
    assert table["followed"].dtype == int, "counts are written as whole numbers"


@pytest.mark.parametrize("models", [{"a": "1101"}, {}])
def test_without_a_second_model_none_can_be_left_out(models):
    table = statistics.leave_one_out(trials(**models))
    assert len(table) == 0
    assert list(table) == list(statistics.leave_one_out(trials(a="10", b="01")))


@pytest.fixture
def table():
    rows = [
        ("low", 0.3, 0.001, 0.25, 0.35),
        ("high", 0.7, 0.049, 0.48, 0.75),
        ("open", 0.6, 0.051, 0.55, 0.65),
        ("half", 0.5, 1.0, 0.4, 0.6),
        # Never varies: without a clustered interval, so that Wilson's counts.
        ("always", 1.0, 0.001, math.nan, math.nan),
    ]
    columns = ["model", "dvgr", "p_holm", "clustered_low", "clustered_high"]
    return pd.DataFrame(rows, columns=columns).assign(wilson_low=0.96, wilson_high=1.0)


def test_sides_of_chance_by_test_and_by_interval(table):
    assert statistics.sides_by_test(table) == Sides(below=1, above=2, undecided=2)
    assert statistics.sides_by_interval(table) == Sides(below=1, above=2, undecided=2)
    assert statistics.sides_by_test(table.iloc[:0]) == Sides(0, 0, 0)


def test_arm_means_count_every_model_alike():
    rows = [("a", "control", 20, 0.9), ("b", "control", 20, 0.6), ("a", "prior", 0, 0.5)]
    means = statistics.arm_means(pd.DataFrame(rows, columns=["model", "arm", "n_examples", "rate"]))
    assert means.to_dict() == {("control", 20): pytest.approx(0.75), ("prior", 0): 0.5}
