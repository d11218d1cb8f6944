"""Pairs of orders: recomputed from their definitions, trial by trial, and identities that must hold."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.analysis import orders
from respondents import answers

ROOM = {"model": "m", "family": "language model", "arm": "control", "n_examples": 4, "test": 0}


def trial(cell, swapped, right, choice, **more):
    followed = math.nan if choice is None else float(choice == right)
    status = "unparsable" if choice is None else "answered"
    return {**ROOM, "cell": cell, "swapped": swapped, "right": right, "choice": choice,
            "followed": followed, "status": status, **more}  # fmt: skip


def both(cell, right, first, second, **more):
    other = {"A": "B", "B": "A"}[right]
    return [trial(cell, False, right, first, **more), trial(cell, True, other, second, **more)]


def one_pair(*trials):
    (row,) = orders.pairs(pd.DataFrame(trials)).to_dict("records")
    return row


# ---- one pair ----


def test_the_same_option_is_chosen_at_two_places():
    row = one_pair(*both("c000", "A", "A", "B"))
    assert (row["followed_first"], row["followed_second"], row["followed"], row["agree"]) == (1, 1, 1, 1)
    assert (row["first_option"], row["right"], row["asked"], row["answered"]) == (0.5, "A", 2, 2)


def test_the_same_place_is_two_options():
    row = one_pair(*both("c000", "B", "A", "A"))
    assert (row["followed_first"], row["followed_second"], row["followed"], row["agree"]) == (0, 1, 0.5, 0)
    assert row["first_option"] == 1


def test_half_a_pair_says_nothing_of_the_pair():
    row = one_pair(*both("c000", "A", "A", None))
    assert (row["followed_first"], row["asked"], row["answered"]) == (1, 2, 1)
    assert all(math.isnan(row[name]) for name in ("followed", "followed_second", "agree", "first_option"))
    alone = one_pair(trial("c000", False, "A", "A", p_a=0.9))
    assert alone["asked"] == 1
    assert all(math.isnan(alone[name]) for name in ("followed", "agree", "p", "log_odds"))


def test_probabilities_of_the_right_option():
    first, second = both("c000", "A", "A", "A", mass=0.9)
    row = one_pair(first | {"p_a": 0.8}, second | {"p_a": 0.6})
    assert row["p"] == pytest.approx((0.8 + 0.4) / 2)
    assert row["log_odds"] == pytest.approx((math.log(4) - math.log(1.5)) / 2)
    assert row["mass"] == pytest.approx(0.9)


def test_a_probability_counts_without_a_reply_that_can_be_read():
    row = one_pair(*both("c000", "A", None, None, p_a=0.5))
    assert (row["answered"], row["p"], row["log_odds"]) == (0, 0.5, 0)


@pytest.mark.parametrize(("first", "second", "expected"), [(1.0, 1.0, 0), (1.0, 0.0, 1), (0.0, 1.0, -1)])
def test_certainty_is_clipped_alike_at_both_ends(first, second, expected):
    one, other = both("c000", "A", "A", "B")
    most = math.log((1 - orders.CLIP) / orders.CLIP)
    assert one_pair(one | {"p_a": first}, other | {"p_a": second})["log_odds"] == pytest.approx(
        expected * most, abs=1e-8
    )


# ---- many pairs ----


@st.composite
def many(draw):
    """Trials of up to six cells, some orders unanswered."""
    letters = st.sampled_from(["A", "B", None])
    probability = st.floats(0.001, 0.999)
    rows = []
    for number in range(draw(st.integers(2, 6))):
        pair = both(f"c{number:03d}", draw(st.sampled_from("AB")), draw(letters), draw(letters))
        rows += [row | {"p_a": draw(probability)} for row in pair]
    return pd.DataFrame(rows)


@settings(max_examples=30)
@given(many())
def test_which_order_is_called_the_first_changes_nothing(frame):
    table = orders.pairs(frame)
    turned = orders.pairs(frame.assign(swapped=~frame["swapped"]))
    same = ["followed", "agree", "first_option", "p", "log_odds", "asked", "answered"]
    pd.testing.assert_frame_equal(table[same], turned[same])
    pd.testing.assert_series_equal(table["followed_first"], turned["followed_second"], check_names=False)
    assert orders.excess_over_place(table) == orders.excess_over_place(turned)


@settings(max_examples=30)
@given(st.floats(-6, 6), st.lists(st.floats(-6, 6), min_size=1, max_size=5))
def test_a_liking_for_a_place_cancels_in_log_odds(b0, leans):
    rows = []
    for number, lean in enumerate(leans):
        for row in both(f"c{number:03d}", "AB"[number % 2], "A", "A"):
            side = 1 if row["right"] == "A" else -1
            rows.append(row | {"p_a": float(expit(b0 + side * lean))})
    assert orders.pairs(pd.DataFrame(rows))["log_odds"].to_numpy() == pytest.approx(leans, abs=1e-6)


@settings(max_examples=30)
@given(many())
def test_definitions_trial_by_trial(frame):
    """Each pair by a walk over its two trials."""
    for row in orders.pairs(frame).to_dict("records"):
        own = frame[frame["cell"] == row["cell"]]
        chosen = list(own["choice"])
        if own["choice"].isna().any():
            assert math.isnan(row["agree"])
        else:
            assert row["agree"] == (chosen[0] != chosen[1])
            assert row["first_option"] == chosen.count("A") / 2
            assert row["followed"] == sum(own["choice"] == own["right"]) / 2
        p = [q if right == "A" else 1 - q for q, right in zip(own["p_a"], own["right"], strict=True)]
        assert row["p"] == pytest.approx(sum(p) / 2)
        assert row["log_odds"] == pytest.approx(sum(math.log(q / (1 - q)) for q in p) / 2, abs=1e-8)


def test_the_excess_over_place_from_its_definition():
    """Estimate by counting, standard error by leaving out each cell in turn (jackknife)."""
    rng = np.random.default_rng(5)
    rows = []
    for number in range(300):
        p = rng.choice([0.5, 0.9])
        first, second = ("A" if rng.random() < p else "B" for _ in range(2))
        rows += both(f"c{number:03d}", rng.choice(["A", "B"]), first, second)
    table = orders.pairs(pd.DataFrame(rows))

    def excess(frame):
        p = frame["first_option"].mean()
        return frame["agree"].mean() - 2 * p * (1 - p)

    found = orders.excess_over_place(table)
    assert found.value == pytest.approx(excess(table))
    left_out = np.array([excess(table.drop(index)) for index in table.index])
    error = math.sqrt((len(table) - 1) * np.var(left_out))
    assert found.error == pytest.approx(error, rel=0.01)


def test_place_alone_agrees_as_often_as_derived(items_n4):
    rng = np.random.default_rng(3)
    for p in (0.2, 0.5, 0.9):
        table = orders.pairs(answers(items_n4, "m", p, rng))
        assert len(table) == 4400
        assert table["agree"].mean() == pytest.approx(2 * p * (1 - p), abs=0.025)
        assert orders.excess_over_place(table).interval.low < 0.01


def test_without_chance_the_excess_is_half_the_square_of_the_consistency():
    """The first place always, but for 30 tests of 100 on which an option is liked more."""
    liked = [pair for number in range(30) for pair in both(f"c{number:03d}", "A", "A", "B")]
    place = [pair for number in range(30, 100) for pair in both(f"c{number:03d}", "A", "A", "A")]
    table = orders.pairs(pd.DataFrame(liked + place))
    assert table["agree"].mean() == 0.3
    assert orders.excess_over_place(table).value == pytest.approx(0.3**2 / 2)


# ---- faults ----


def test_two_answers_to_one_order_are_refused():
    rows = both("c000", "A", "A", "B")
    with pytest.raises(UserError, match="m has two answers to one order of c000, control, N = 4, test 0"):
        orders.pairs(pd.DataFrame([*rows, rows[0]]))


def test_without_trials_there_are_no_rows():
    empty = orders.pairs(pd.DataFrame(both("c000", "A", "A", "B")).iloc[:0])
    assert list(empty) == orders.COLUMNS


def test_what_the_first_option_gets_and_what_sampling_would_agree_on():
    """P(A) is .8 in the first order and .6 in the second; the right option is first, then second."""
    both = trial("c000", False, "A", "A", p_a=0.8), trial("c000", True, "B", "A", p_a=0.6)
    row = one_pair(*both)
    assert row["first_p"] == pytest.approx(0.7)
    assert row["first_odds"] == pytest.approx((logit(0.8) + logit(0.6)) / 2)
    # The right option twice, or the other one twice.
    assert row["sampled_agree"] == pytest.approx(0.8 * 0.4 + 0.2 * 0.6)
    alone = one_pair(both[0])
    assert all(math.isnan(alone[name]) for name in ("first_p", "first_odds", "sampled_agree"))
