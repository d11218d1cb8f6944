"""Tables from the registry of columns: heads, formats, intervals, and what is refused."""

import math

import pandas as pd
import pytest

from deepvalues.core.number_format import MISSING, count, like, logit, p_value, share
from deepvalues.paper import tables
from markdown_cells import head, rows, to_the_right


@pytest.fixture
def registry(monkeypatch):
    """A registry of a few columns, under which a file ``t.csv`` says what is its own."""

    def declare(table=None, **own):
        entry = {"by": "a test", "columns": own} | ({"table": table} if table else {})
        shared = {
            "model": "name; the model",
            "rate": "share; the rate",
            "rate_low": "share; its lower end | Wilson",
            "p": "probability; p | p",
            "angle": "degrees; the angle",
        }
        formats = {"share": ".000", "probability": "p", "degrees": "0.0", "count": "0"}
        said = tables.Registry({"t.csv": entry}, shared, {}, formats)
        monkeypatch.setattr(tables, "registry", lambda: said)

    return declare


FRAME = pd.DataFrame(
    {
        "model": ["a", "b"],
        "rate": [0.5, math.nan],
        "rate_low": [0.4, math.nan],
        "rate_high": [0.6, math.nan],
        "angle": [-12.04, 1234.56],
        "p_holm": [0.0001, 0.25],
    }
)


def test_heads_and_formats_are_those_of_the_columns(registry):
    registry(["model", "rate", "rate_interval", "angle", "p_holm"])
    table = tables.table(FRAME, "t.csv")
    assert head(table) == ["model", "rate", "Wilson", "angle", "p (Holm)"]
    assert rows(table) == [
        ["a", ".500", "[.400,\u00a0.600]", "−12.0", "<.001"],
        ["b", MISSING, MISSING, "1,234.6", ".250"],
    ]
    assert to_the_right(table) == ["rate", "angle", "p (Holm)"]


def test_a_table_may_name_and_write_a_column_its_own_way(registry):
    registry([{"model": "agent"}, {"rate": "share of all | 0.0"}, {"rate_interval": "ends | 0.0"}])
    table = tables.table(FRAME, "t.csv")
    assert head(table) == ["agent", "share of all", "ends"]
    assert rows(table)[0] == ["a", "0.5", "[0.4,\u00a00.6]"]


def test_what_a_file_says_of_a_column_comes_first(registry):
    registry(["angle"], angle="count; how many | turns")
    assert tables.table(FRAME, "t.csv").startswith("|   turns |")
    assert rows(tables.table(FRAME, "t.csv"))[1] == ["1,235"]


def test_a_star_stands_for_the_other_columns(registry):
    registry(["model", {"*": "| 0.00"}])
    frame = pd.DataFrame({"one thing": [1.0], "model": ["a"], "other": [math.nan]})
    table = tables.table(frame, "t.csv")
    assert head(table) == ["model", "one thing", "other"]
    assert rows(table) == [["a", "1.00", MISSING]]


def test_a_column_that_the_frame_lacks_is_named(registry):
    registry(["model", "absent_interval"])
    with pytest.raises(KeyError, match="absent_low"):
        tables.table(FRAME, "t.csv")


def test_a_head_may_name_the_one_value_of_a_column(registry):
    registry([{"model": "model, against {against}"}])
    frame = FRAME.assign(against="people")
    assert head(tables.table(frame, "t.csv")) == ["model, against people"]
    with pytest.raises(ValueError, match="too many values"):
        tables.table(frame.assign(against=["people", "agents"]), "t.csv")


def test_two_columns_with_one_head_are_refused(registry):
    registry(["model", {"rate": "model"}])
    with pytest.raises(ValueError, match="two columns of the table are headed 'model'"):
        tables.table(FRAME, "t.csv")


def test_fractions_without_a_format_are_refused(registry):
    registry(["model", "unknown"])
    with pytest.raises(ValueError, match="'unknown' needs a format"):
        tables.table(FRAME.assign(unknown=0.123456), "t.csv")


@pytest.mark.parametrize("value", [0.0004, 0.5, 1234.5678, -3.0, math.nan])
def test_examples_write_as_the_functions_they_stand_for(value):
    for example, function in (("0", count), (".000", share), ("0.00", logit), ("p", p_value)):
        assert like(example)(value) == function(value)
