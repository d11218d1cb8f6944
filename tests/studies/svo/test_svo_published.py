"""The null of value rationality, held to its definition and to published scores."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from deepvalues.core import paths
from deepvalues.paper.results import Results
from deepvalues.paper.sentences import Sentences
from deepvalues.studies.svo import facts, figures
from deepvalues.studies.svo.analysis.published import (
    TRIALS,
    blind,
    by_value,
    implied,
    most_at_one_angle,
    reread,
)
from deepvalues.studies.svo.analysis.scoring import (
    full_range,
    random_value_rationality,
    targets,
    value_rationality,
)
from kept_numbers import kept


@pytest.fixture(scope="module")
def table():
    return implied(reread(pd.read_csv(paths.PUBLISHED / "hvae_value_rationality.csv")))


@given(st.floats(0, 45))
def test_one_angle_leans_to_neutral_values_by_a_constant(angle):
    (null,) = blind(np.array([angle])).to_dict("records")
    assert null["lean"] == pytest.approx((full_range() - 45) / 2)
    assert abs(null["corrected_lean"]) < 0.02


def test_ignoring_the_value_scores_higher_under_giving_values_than_the_published_models_do(tmp_path):
    def corrected(value, raw):
        random = random_value_rationality(value, TRIALS)
        return (raw - random) / (60 - random)

    # By hand: people's mean angle is 29.48 degrees; the targets are 61.39, 45, 0 and −16.26.
    raw = {"altruistic": 28.09, "prosocial": 44.48, "individualistic": 30.52, "competitive": 14.26}
    scores = [corrected(value, score) for value, score in raw.items()]
    (null,) = blind(np.array([29.48]))["corrected_giving"]
    assert null == pytest.approx((sum(scores[:2]) - sum(scores[2:])) / 2, abs=1e-3)
    assert null == pytest.approx(0.476, abs=1e-3)
    printed = pd.read_csv(paths.PUBLISHED / "hvae_value_rationality.csv")
    table = zip(printed["target_value"], printed["value_rationality"], strict=True)
    shown = printed.assign(score=[corrected(value, score) for value, score in table])
    means = shown.groupby("target_value")["score"].mean()
    giving = (means["altruistic"] + means["prosocial"] - means["individualistic"] - means["competitive"]) / 2
    results = Results("svo", tmp_path)
    facts.keep_published(results, by_value(reread(printed)), blind(np.array([29.48])))
    assert giving == pytest.approx(0.393, abs=1e-3) and kept(results)["published.giving"] == "0.39"


@given(st.floats(-60, -20) | st.floats(65, 90))
def test_beyond_the_extremes_the_lean_is_another(angle):
    (lean,) = blind(np.array([angle]))["lean"]
    assert lean < (full_range() - 45) / 2


@given(st.floats(targets()["competitive"], targets()["altruistic"]), st.floats(-16, 61))
def test_implied_angles_are_those_that_gave_the_scores(altruistic, competitive):
    angles = {"altruistic": altruistic, "competitive": competitive, "prosocial": 45.0, "individualistic": 0.0}
    scores = pd.DataFrame(
        [
            {"model": "m", "goal": True, "value": value, "raw": value_rationality(angle, value)}
            for value, angle in angles.items()
        ]
    )
    (row,) = implied(scores).to_dict("records")
    assert row["altruistic"] == pytest.approx(altruistic)
    assert row["competitive"] == pytest.approx(competitive)
    assert row["range_share"] == pytest.approx((altruistic - competitive) / full_range())


@pytest.mark.parametrize(("lower", "error"), [(0.0, 0.0), (3.0, 1.5)])
def test_neutral_scores_of_a_respondent_at_one_angle_are_predicted(lower, error):
    scores = pd.DataFrame(
        [
            {"model": "m", "goal": True, "value": value, "raw": value_rationality(20.0, value)}
            for value in targets()
        ]
    )
    scores["raw"] -= lower * (scores["value"] == "prosocial")
    (row,) = implied(scores).to_dict("records")
    assert row["range"] == pytest.approx(0)
    assert row["blind_error"] == pytest.approx(error)
    assert row["neutral"] == pytest.approx(most_at_one_angle() - lower)


def test_two_published_models_follow_the_assigned_value(table):
    with_goal = table[table["goal"]].set_index("model")
    following = with_goal.index[with_goal["range_share"] > 0.5]
    assert sorted(following) == ["Claude", "GPT-4"]
    assert with_goal.loc["GPT-4", "range"] == pytest.approx(76.25, abs=0.01)
    others = with_goal.drop(index=following)
    assert others["range"].between(-8.7, 18.3).all()
    assert others["lean"].between(10.7, 20.5).all()


def test_the_figure_shows_every_score_and_the_null(table):
    figure = figures.steering(table, targets(), 29.5)
    assert isinstance(figure, Figure)
    angles, leans = figure.axes
    assert {line.get_marker() for line in angles.lines} >= {"^", "v"}
    assert any(np.allclose(line.get_xdata(), table["blind_lean"].iloc[0]) for line in leans.lines)


ASKED = (
    "with the assigned value when asked one question at a time, by letter in nine orders of the options: by"
)
HARDLY = f"Our two language models hardly move {ASKED}"


@pytest.mark.parametrize(
    ("steering", "said"),
    [
        (
            [],
            "No language model has answered one question at a time under both the altruistic and the "
            "competitive value.",
        ),
        (
            [-0.2],
            f"Our language model hardly moves {ASKED} −0.2 of 77.65 degrees in the "
            "angle of the expected payoffs",
        ),
        ([0.1, -0.2], f"{HARDLY} −0.2 to 0.1 of 77.65 degrees in the"),
        ([0.1, 0.1], f"{HARDLY} 0.1 of 77.65 degrees in the"),
    ],
)
def test_how_far_language_models_move_in_words(steering, said):
    table = pd.DataFrame(
        {"model": [f"m{n}" for n, _ in enumerate(steering)], "steering": steering}, dtype=object
    )
    table["steering"] = table["steering"].astype(float)
    table = table.assign(place=0.2, content=0.1, likeliest_steering=math.nan)
    told = Sentences("svo")("letters", facts.letters(table, dict.fromkeys(table["model"], "language model")))
    assert told.startswith(said)
    most = table.assign(likeliest_steering=-5.0)
    changes = "on average over the orders, the angle changes by −5.0 degrees, but it jumps wherever two"
    families = dict.fromkeys(table["model"], "language model")
    assert (changes in Sentences("svo")("letters", facts.letters(most, families))) == bool(steering)
    within = table.assign(steering_low=-0.5, steering_high=0.2)
    told = Sentences("svo")("letters", facts.letters(within, dict.fromkeys(table["model"], "language model")))
    assert told.count("[−0.5,\u00a00.2]") == table["steering"].nunique()
    further = within.assign(steering_high=1.2)
    told = Sentences("svo")(
        "letters", facts.letters(further, dict.fromkeys(table["model"], "language model"))
    )
    assert "hardly" not in told
    moved = "of these models, the place of an option changes the choice more than its content does."
    assert told.endswith(moved) == bool(steering)
    content = Sentences("svo")(
        "letters", facts.letters(within.assign(place=0), dict.fromkeys(table["model"], "language model"))
    )
    assert moved not in content


def test_numbers_of_the_null_and_of_the_published_models(table, tmp_path):
    results = Results("svo", tmp_path)
    facts.keep_blind(results, blind(np.array([29.5])), table, {"high": 15.6, "read_high": 16.6})
    found = kept(results)
    assert found["blind.lean"] == "16.3" and found["blind.corrected"] in ("0.00", "−0.00", "0.01", "−0.01")
    assert found["steering.gpt_4"] == "76" and found["steering.claude"] == "71"
    assert (found["steering.gpt_4_without"], found["steering.claude_without"]) == ("73", "53")
    assert found["steering.reading"] == "1"
    assert (found["steering.others_least"], found["steering.others_most"]) == ("−9", "18")
    assert (found["steering.others_low"], found["steering.others_high"]) == ("21", "41")
    assert found["steering.full"] == "77.65"
    assert found["lean.beyond"] == "Vicuna-13B"
    assert (found["target.altruistic"], found["target.competitive"]) == ("61.4", "−16.3")
    assert (found["lean.following"], found["lean.others"]) == ("−0.5", "14.3")
    claims = (
        "lean_below_blind",
        "reading_reaches_blind",
        "two_follow",
        "others_hardly_move",
        "beyond_one_angle",
    )
    assert [found[f"claims.{claim}"] for claim in claims] == ["true"] * 5
    facts.keep_blind(
        other := Results("svo", tmp_path), blind(np.array([29.5])), table, {"high": 16.6, "read_high": 15.6}
    )
    told = kept(other)
    assert told["claims.reading_reaches_blind"] == told["claims.lean_below_blind"] == "false"
