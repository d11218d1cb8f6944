"""What the record holds, counted by hand; and how it is shown."""

import pandas as pd
import pytest
from markdown_cells import column, head, rows

from deepvalues.query import coverage
from deepvalues.query.registry import FAMILIES
from deepvalues.tables import query as tables


@pytest.fixture
def table():
    """Two sets of one study; a text learner is partly recorded."""
    rows = [
        ("two", "b", "gpt-x", "language model", 10, 0, "not asked"),
        ("two", "b", "gpt-y", "language model", 10, 10, "complete"),
        ("two", "b", "agent", "reference agent", 10, 10, "complete"),
        ("two", "b", "learner", "text learner", 10, 4, "partial"),
        ("one", "a", "gpt-x", "language model", 1200, 0, "not asked"),
        ("one", "a", "gpt-y", "language model", 1200, 0, "not asked"),
    ]
    columns = ["study", "item_set", "model", "family", "items", "recorded", "state"]
    return pd.DataFrame(rows, columns=columns)


def test_families_are_those_of_the_registry():
    assert sorted(coverage.FAMILY_COUNTS.values()) == sorted(FAMILIES)


def test_models_are_counted_by_set_and_family_in_the_order_of_the_sets(table):
    counted = coverage.by_set(table)
    assert counted.to_dict("records") == [
        {
            **{"study": "two", "item_set": "b", "items": 10, "language_models": 1},
            **{"text_learners": 0, "reference_agents": 1, "not_asked": 1},
        },
        {
            **{"study": "one", "item_set": "a", "items": 1200, "language_models": 0},
            **{"text_learners": 0, "reference_agents": 0, "not_asked": 2},
        },
    ]


def test_the_text_s_numbers_are_of_one_set_and_of_all(table):
    orphans = pd.DataFrame({"study": ["two"], "model": ["gpt-y"], "orphans": [3]})
    assert coverage.counts(table, orphans, "two", "b") == {
        **{"language_models": 1, "text_learners": 0, "reference_agents": 1, "not_asked": 1},
        # A part of a set counts only among all answers.
        **{"answers": 20, "all_answers": 24, "orphans": 3},
    }


def test_without_answers_the_numbers_are_zero(table):
    orphans = pd.DataFrame(columns=["study", "model", "orphans"])
    found = coverage.counts(table, orphans, "one", "a")
    assert (found["answers"], found["language_models"], found["orphans"]) == (0, 0, 0)
    assert found["not_asked"] == 2


def test_the_record_is_shown_set_by_set(table):
    shown = tables.record(coverage.by_set(table), {"one": "Study 1", "two": "Study 2, again"})
    assert head(shown)[:4] == ["study", "id", "set", "items"]
    assert head(shown)[4:] == ["language models", "text learners", "reference agents", "not asked"]
    assert column(shown, "study") == ["Study 2, again", "Study 1"]
    assert column(shown, "id") == ["two", "one"]
    assert column(shown, "items") == ["10", "1,200"]
    assert column(shown, "not asked") == ["1", "2"]


def test_only_models_with_answers_left_over_are_shown():
    frame = pd.DataFrame({"study": ["dvb", "svo"], "model": ["a", "b"], "orphans": [0, 1200]})
    assert rows(tables.orphans(frame)) == [["svo", "b", "1,200"]]
    assert tables.orphans(frame.head(1)) == "No answer on record is left over."
