"""Rates on the public prompts: two orders of a prompt are one trial, and what each column means."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.stats.clusters import clustered
from deepvalues.stats.rates import wilson
from deepvalues.studies.dvb.analysis.orders import PUBLISHED, order_rates, with_published

NAN = math.nan


def trials(**orders):
    """Trials of models by what they followed: a pair (first order, exchanged) for each prompt."""
    rows = [
        (model, f"c{number}", 4 + number % 2, 0, f"d{number % 3}", swapped, followed)
        for model, pairs in orders.items()
        for number, pair in enumerate(pairs)
        for swapped, followed in zip((False, True), pair, strict=True)
    ]
    return pd.DataFrame(
        rows, columns=["model", "cell", "n_examples", "test", "dimension", "swapped", "followed"]
    )


def only(frame):
    (row,) = order_rates(frame).to_dict("records")
    return row


def test_a_learner_that_follows_the_text_agrees_with_itself():
    row = only(trials(m=[(1, 1), (0, 0), (1, 1), (1, 1)]))
    assert (row["prompts"], row["dvgr"], row["dvgr_first"], row["dvgr_swapped"]) == (4, 0.75, 0.75, 0.75)
    assert (row["both"], row["consistency"]) == (4, 1)
    prompts = pd.Series([1.0, 0.0, 1.0, 1.0])
    assert (row["low"], row["high"]) == clustered(prompts, pd.Series(["d0", "d1", "d2", "d0"]))


def test_who_always_takes_the_first_option_is_at_chance_and_never_agrees():
    row = only(trials(m=[(1, 0), (0, 1), (1, 0), (1, 0)]))
    assert (row["dvgr"], row["dvgr_first"], row["dvgr_swapped"], row["consistency"]) == (0.5, 0.75, 0.25, 0)


def test_a_prompt_answered_in_one_order_counts_with_that_one():
    row = only(trials(m=[(1, NAN), (NAN, 0), (1, 1), (NAN, NAN)]))
    assert (row["prompts"], row["both"], row["consistency"]) == (3, 1, 1)
    assert row["dvgr"] == pytest.approx(2 / 3)


def test_a_model_asked_in_one_order_has_no_consistency():
    frame = trials(m=[(1, 1), (0, 0)])
    row = only(frame[~frame["swapped"]])
    assert row["dvgr"] == row["dvgr_first"] == 0.5
    assert math.isnan(row["dvgr_swapped"]) and math.isnan(row["consistency"])


def test_a_model_without_an_answer_has_no_rate():
    row = only(trials(m=[(NAN, NAN)]))
    assert row["prompts"] == row["both"] == 0
    assert all(math.isnan(row[column]) for column in ("dvgr", "low", "dvgr_first", "consistency"))


def test_groups_of_one_size_add_up_to_the_whole():
    frame = trials(m=[(1, 1), (0, 1), (1, 0), (0, 0)])
    first, second = (only(part) for _, part in frame.groupby("n_examples"))
    assert first["prompts"] + second["prompts"] == 4
    assert (first["dvgr"] + second["dvgr"]) / 2 == only(frame)["dvgr"]


@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 1])), min_size=1, max_size=12))
def test_the_rate_is_the_mean_of_the_orders_whatever_is_called_first(pairs):
    row, other = (only(trials(m=list(these))) for these in (pairs, [pair[::-1] for pair in pairs]))
    assert row["dvgr"] == pytest.approx((row["dvgr_first"] + row["dvgr_swapped"]) / 2)
    assert row["consistency"] == sum(a == b for a, b in pairs) / len(pairs) == other["consistency"]
    assert (row["dvgr"], row["dvgr_first"]) == pytest.approx((other["dvgr"], other["dvgr_swapped"]))
    assert not row["low"] > row["dvgr"] + 1e-12 and not row["high"] < row["dvgr"] - 1e-12


def test_the_published_models_stand_below_as_one():
    published = pd.DataFrame({"n_prompts": [100, 100], "n_parsed": [100, 60], "n_deep": [20, 28]})
    table = with_published(
        trials(b=[(1, 1)], a=[(0, 1)]), {"a": "language model", "b": "text learner"}, published
    )
    assert table["model"].tolist() == ["a", "b", PUBLISHED]
    assert table["family"].tolist() == ["language model", "text learner", "language model"]
    last = table.iloc[-1]
    assert (last["prompts"], last["dvgr"], last["both"]) == (100, 0.3, 0)
    assert (last["low"], last["high"]) == wilson(48, 160)
    assert math.isnan(last["consistency"])
