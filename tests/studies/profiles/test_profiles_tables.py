"""Tables of the profiles: columns, formats, missing cells, and the reference that is named."""

import math

import pandas as pd
import pytest

from deepvalues.core.number_format import MISSING
from deepvalues.studies.profiles import tables
from deepvalues.studies.profiles.stimuli import CLOSED_MODES
from markdown_cells import column, head, rows, shown


def test_the_ceiling_names_its_reference():
    frame = pd.DataFrame(
        [("open", "human reference", 1200, 0.2271, 0.189, 0.265, -0.061, 0.403)],
        columns=[
            *("mode", "reference", "respondents", "mean", "low", "high"),
            *("fidelity_q25", "fidelity_q75"),
        ],
    )
    table = shown(tables.ceiling(frame), "profiles/ceiling")
    assert head(table)[0] == "mode, human reference"
    interval, middle = "[0.19,\u00a00.27]", "[−0.06,\u00a00.40]"
    assert rows(table) == [["open", "1,200", "0.23", interval, middle]]


def test_convergence_of_one_model_is_a_dash():
    frame = pd.DataFrame(
        [("rating", 9, 0.567, 0.0, 0.99, 0.51, 0.0001), ("ranking", 1, *[math.nan] * 5)],
        columns=["mode", "models", "w", "w_low", "w_high", "correlation", "p_value"],
    )
    one, several = rows(shown(tables.by_mode(frame), "profiles/convergence"))
    assert several == ["rating", "9", "0.57", "[.00,\u00a0.99]", "0.51", "<.001"]
    assert one == ["ranking", "1", MISSING, MISSING, MISSING, MISSING]


def test_single_respondents_of_one_mode():
    rows_given = [
        ("rating", "a", 0.52, 0.25, 0.74, 1.05, 0.54),
        ("ranking", "a", 0.1, 0.0, 0.2, math.inf, 1.0),
    ]
    columns = ["mode", "model", "fidelity_median", "fidelity_q25", "fidelity_q75", "v_median", "exaggerates"]
    frame = pd.DataFrame(rows_given, columns=columns).assign(reference="human reference")
    table = shown(tables.single_respondents(frame), "profiles/single_respondents")
    assert head(table)[0] == "model, against single respondents of the human reference"
    assert rows(table) == [["a", "0.52", "[0.25,\u00a00.74]", "1.05", ".540"]]
    # Against flat respondents every profile exaggerates without bounds.
    flat = frame[frame["mode"] == "ranking"].assign(mode="rating")
    (row,) = rows(shown(tables.single_respondents(flat), "profiles/single_respondents"))
    assert row[3:] == [MISSING, "1.000"]


@pytest.fixture
def recovered():
    """Two agents in two modes; one spread in the other mode is not held."""
    rows = [
        (model, mode, measure, implied, implied + 0.01, implied - 0.1, implied + 0.2, held)
        for model in ("a", "b")
        for mode in ("ranking", "rating")
        for measure, implied in (("fidelity", 0.8), ("v", 2.0))
        for held in [not (model == "b" and mode == "ranking" and measure == "v")]
    ]
    columns = ["model", "mode", "measure", "implied", "estimate", "low", "high", "held"]
    return pd.DataFrame(rows, columns=columns).assign(reference="human reference")


def test_agents_stand_beside_what_is_implied(recovered):
    first, second = rows(shown(tables.agents(recovered), "profiles/instrument"))
    assert first[:4] == ["a", "0.80", "0.81", "[0.70,\u00a01.00]"]
    assert first[4:] == ["2.00", "2.01", "[1.90,\u00a02.20]", "4 of 4"]
    assert second[-1] == "3 of 4"
    columns = head(shown(tables.agents(recovered), "profiles/instrument"))
    assert columns[0] == "agent, against a human reference"
    assert len(set(columns)) == len(columns), "every column has a name of its own"


def test_without_agents_there_is_nothing_to_show(recovered):
    assert tables.agents(recovered.head(0)).empty


def test_estimates_of_agents_are_those_from_ratings(recovered):
    recovered.loc[recovered["mode"] == "rating", "estimate"] = 0.123
    assert column(shown(tables.agents(recovered), "profiles/instrument"), "F") == ["0.12", "0.12"]


@pytest.fixture
def fidelities():
    rows = [
        ("rating", "a", 0.781, 0.72, 0.84, 0.0301, 1.0, 0.00138, 2.079, "exaggerates"),
        ("rating", "b", -1.0, -1.0, -0.98, 1.0, -1.0, 1.0, 1.01, "neither for certain"),
        ("rating", "flat", 0.0, math.nan, math.nan, 0.5, math.nan, math.nan, 0.0, "flattens"),
    ]
    columns = [
        "mode",
        "model",
        "fidelity",
        "fidelity_low",
        "fidelity_high",
        "p_null",
        "r",
        "p_greater",
        "v",
        "direction",
    ]
    return pd.DataFrame(rows, columns=columns).assign(reference="synthetic reference")


def test_fidelity_names_its_reference_and_speaks_of_differences_only_where_it_is_certain(fidelities):
    table = shown(tables.fidelity(fidelities), "profiles/fidelity")
    assert head(table)[1] == "model, against the synthetic reference"
    assert head(table)[3] == "interval of F"
    exaggerates, neither, flat = rows(table)
    assert exaggerates[2:] == ["0.78", "[0.72,\u00a00.84]", ".030", "1.00", ".001", "2.08", "exaggerated"]
    assert neither[-1] == MISSING
    assert flat[2:] == ["0.00", MISSING, ".500", MISSING, MISSING, "0.00", "flattened"]


def test_modes_stand_in_the_order_of_the_text(fidelities):
    modes = ["rating", "allocation", "ranking"]
    every = pd.concat([fidelities.assign(mode=mode) for mode in modes])
    written = rows(shown(tables.fidelity(every), "profiles/fidelity"))
    assert [row[0] for row in written] == [mode for mode in CLOSED_MODES for _ in range(3)]
    assert [row[1] for row in written] == ["a", "b", "flat"] * 3


def test_a_table_of_two_references_is_not_written(fidelities):
    mixed = pd.concat([fidelities, fidelities.assign(reference="human reference")])
    with pytest.raises(ValueError, match="too many values"):
        shown(tables.fidelity(mixed), "profiles/fidelity")


def test_coverage_has_a_column_for_each_measure_and_mode():
    """A mode that the reference lacks is a dash."""
    given = [("a", "rating", "v", 0.934), ("a", "rating", "fidelity", 1.0), ("a", "ranking", "v", 0.95)]
    frame = pd.DataFrame(given, columns=["model", "mode", "measure", "coverage"])
    table = shown(tables.coverage(frame.assign(reference="human reference")), "profiles/fidelity_coverage")
    assert head(table)[:3] == ["agent, against a human reference", "F, ranking", "F, rating"]
    assert rows(table) == [["a", MISSING, "1.000", MISSING, ".950", ".934", MISSING]]


def test_the_null_shows_the_middle_of_what_chance_gives():
    values = ("rating", 30, 0.0, -0.6, 0.62, 0.553, 0.1557, -0.8, 0.8, 0.45, 0.2, 0.77)
    columns = ["mode", "runs", "fidelity_median", "fidelity_low", "fidelity_high", "to_exceed", "as_people"]
    columns += ["r_low", "r_high", "v_median", "v_low", "v_high"]
    frame = pd.DataFrame([values], columns=columns).assign(reference="human reference")
    table = shown(tables.by_mode(frame), "profiles/fidelity_null")
    assert head(table)[:2] == ["mode, human reference", "median F"]
    ranges = ["[−0.60,\u00a00.62]", "[−0.80,\u00a00.80]", "[0.20,\u00a00.77]"]
    assert rows(table) == [["rating", "0.00", ranges[0], "0.55", ".156", ranges[1], "0.45", ranges[2]]]


def test_reported_figures_stay_as_they_were_printed_with_a_dash_in_ranges():
    frame = pd.DataFrame(
        [("v3", "2025-09-20", "correlation", ".97-.98"), ("v4", "2026-05-16", "models", "75")],
        columns=["version", "date", "statement", "value"],
    )
    some, more = rows(tables.reported(frame))
    assert some == ["v3", "2025-09-20", "correlation", ".97–.98"]
    assert more == ["v4", "2026-05-16", "models", "75"]
