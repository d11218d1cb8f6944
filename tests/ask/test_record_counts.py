"""Counts of what the record holds, checked by hand, and their display."""

import math

import pandas as pd
import pytest

from deepvalues.ask import record_counts
from deepvalues.ask.registry import FAMILIES
from deepvalues.core.number_format import MISSING
from markdown_cells import column, head, rows
from markdown_cells import shown as published


@pytest.fixture
def table():
    """Two sets of one study; a text learner is partly recorded."""
    rows = [
        ("two", "b", "gpt-x", "language model", 10, 0, "not asked"),
        ("two", "b", "gpt-y", "language model", 10, 10, "complete"),
        ("two", "b", "agent", "reference agent", 10, 10, "complete"),
        ("two", "b", "head", "head on hidden states", 10, 10, "complete"),
        ("two", "b", "learner", "text learner", 10, 4, "partial"),
        ("one", "a", "gpt-x", "language model", 1200, 0, "not asked"),
        ("one", "a", "gpt-y", "language model", 1200, 0, "not asked"),
    ]
    columns = ["study", "item_set", "model", "family", "items", "recorded", "state"]
    return pd.DataFrame(rows, columns=columns)


def test_families_are_those_of_the_registry():
    assert sorted(record_counts.FAMILY_COUNTS.values()) == sorted(FAMILIES)


def test_models_are_counted_by_set_and_family_in_the_order_of_the_sets(table):
    counted = record_counts.by_set(table)
    assert counted.to_dict("records") == [
        {
            **{"study": "two", "item_set": "b", "items": 10, "language_models": 1},
            **{"heads": 1, "text_learners": 0, "reference_agents": 1, "not_asked": 1},
        },
        {
            **{"study": "one", "item_set": "a", "items": 1200, "language_models": 0},
            **{"heads": 0, "text_learners": 0, "reference_agents": 0, "not_asked": 2},
        },
    ]


def test_counts_are_of_one_set_and_models_that_answered_all_of_it(table):
    assert record_counts.counts(table, "two", "b") == {
        **{"language_models": 1, "heads": 1, "text_learners": 0, "reference_agents": 1, "not_asked": 1},
        "answers": 30,
    }


def test_without_answers_the_numbers_are_zero(table):
    found = record_counts.counts(table, "one", "a")
    assert (found["answers"], found["language_models"], found["not_asked"]) == (0, 0, 2)


@pytest.mark.parametrize(
    ("numbers", "who"),
    [
        ((8, 8, 0, 0), "8 reference agents, 8 text learners and no language model"),
        ((1, 0, 0, 1), "1 reference agent, no text learner and 1 language model"),
        ((0, 1, 6, 2), "no reference agent, 1 text learner, 6 heads on hidden states and 2 language models"),
        ((1, 1, 1, 1), "1 reference agent, 1 text learner, 1 head on hidden states and 1 language model"),
    ],
)
def test_models_sentence(numbers, who):
    names = ("reference_agents", "text_learners", "heads", "language_models")
    assert record_counts.models_sentence(dict(zip(names, numbers, strict=True))) == who


def test_the_record_is_shown_set_by_set(table):
    titled = record_counts.titled(record_counts.by_set(table), {"one": "Study 1", "two": "Study 2, again"})
    shown = published(titled, "query/coverage")
    assert head(shown)[:4] == ["study", "id", "set", "items"]
    assert head(shown)[4:] == ["language", "heads", "learners", "agents", "not asked"]
    assert column(shown, "study") == ["Study 2, again", "Study 1"]
    assert column(shown, "id") == ["two", "one"]
    assert column(shown, "items") == ["10", "1,200"]
    assert column(shown, "not asked") == ["1", "2"]


def test_unlisted_models_are_named_with_their_studies():
    frame = pd.DataFrame([("dvb", "b"), ("svo", "a"), ("svo", "b")], columns=["study", "model"])
    assert record_counts.unlisted(frame).endswith("so in no result: a (svo); b (dvb, svo).")
    assert (
        record_counts.unlisted(frame.head(0)) == "Every model with answers on record is a model of the paper."
    )


def test_replies_and_orphans_are_counted_by_study():
    frame = pd.DataFrame(
        [("svo", "a", 1200, 3), ("dvb", "a", 0, 0), ("svo", "b", 0, 0), ("svo", "c", 7, 0)],
        columns=["study", "model", "answers", "orphans"],
    )
    counted = record_counts.by_study(frame)
    assert counted.to_numpy().tolist() == [["svo", 2, 1207, 3], ["dvb", 0, 0, 0]]
    shown = published(record_counts.titled(counted, {"svo": "Study 2", "dvb": "Study 1"}), "query/orphans")
    assert rows(shown) == [["Study 2", "2", "1,207", "3"], ["Study 1", "0", "0", "0"]]


@pytest.fixture
def to_ask():
    """A set that three models have not been asked; one has no price and longer replies."""
    rows = [
        ("svo", "standard", "dear", 1540, 2000, 100, 10.126, 9.0),
        ("svo", "standard", "cheap", 1540, 2000, 100, 0.094, 0.094),
        ("svo", "standard", "free", 1540, 2000, 900, math.nan, math.nan),
        ("dvb", "smoke", "free", 45, 10, 10, math.nan, math.nan),
    ]
    columns = ["study", "item_set", "model", "requests", "input_tokens", "output_tokens"]
    return pd.DataFrame(rows, columns=[*columns, "dollars", "dollars_cached"])


def test_costs_range_from_the_cheapest_to_the_most_expensive_model(to_ask):
    titled = record_counts.titled(record_counts.to_ask_by_set(to_ask), {"svo": "Study 2", "dvb": "Study 1"})
    shown = published(titled, "query/to_ask")
    assert head(shown)[2:6] == ["not asked", "requests", "input tokens", "output tokens"]
    assert rows(shown) == [
        ["Study 2", "standard", "3", "1,540", "2,000", "900", "0.09", "10.13"],
        ["Study 1", "smoke", "1", "45", "10", "10", MISSING, MISSING],
    ]


def test_nothing_is_shown_if_every_model_was_asked(to_ask):
    assert record_counts.titled(record_counts.to_ask_by_set(to_ask.head(0)), {}).empty
