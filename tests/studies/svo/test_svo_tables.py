"""Tables of study 2 that are not their frames: what they show, and what stands where something is missing."""

import math

import pandas as pd

from deepvalues.studies.svo import tables
from markdown_cells import head, rows, shown, to_the_right


def cells(table):
    """The head and the rows of a Markdown table."""
    return head(table), rows(table)


def test_steering_has_a_column_a_condition():
    rows = [
        ("b", "controlled", False, 77.65),
        ("b", "controlled", True, math.nan),
        ("b", "faithful", False, -0.04),
    ]
    frame = pd.DataFrame(rows, columns=["model", "mode", "goal", "range"])
    header, rows = cells(shown(tables.steering(frame), "svo/steering_range"))
    assert header == ["model", "controlled", "controlled, goal prompting", "faithful"]
    assert rows == [["b", "77.7", "–", "0.0"]]


def test_rationality_in_degrees_and_corrected():
    rows = [
        ("a", "controlled", 3, "competitive", 51.849, 0.7388, 40.0),
        ("a", "faithful", 0, "all", math.nan, math.nan, -1.4),
        ("b", "controlled", 4, "", 60.0, 1.0, 60.0),
        ("b", "faithful", 4, "", -1.36, -0.356, -1.36),
    ]
    names = ["model", "mode", "values", "left_out", "rationality", "corrected", "bound_low"]
    table = shown(tables.rationality(pd.DataFrame(rows, columns=names)), "svo/value_rationality")
    header, rows = cells(table)
    assert header == [
        "model",
        "values",
        *(f"{scale}, {mode}" for scale in ("raw", "corrected") for mode in ("controlled", "faithful")),
    ]
    assert rows == [
        ["a", "3 / 0", "51.8", "–", "0.74", "–"],
        ["b", "4 / 4", "60.0", "−1.4", "1.00", "−0.36"],
    ]
    assert to_the_right(table) == header[1:]


def test_anova_names_the_prompting():
    frame = pd.DataFrame(
        {
            "goal": [False, True],
            "source": ["model", "model * value"],
            "df": [10.0, math.nan],
            "df_residual": [396.0, math.nan],
            "f": [357.943, math.nan],
            "p_value": [2e-191, math.nan],
            "eta": [0.900388, math.nan],
            "p_permutation": [0.0123, math.nan],
        }
    )
    header, rows = cells(shown(tables.anova(frame), "svo/anova"))
    assert header == ["prompting", "source", "df", "df residual", "F", "partial η²", "p", "p (permutation)"]
    assert rows == [
        ["no goal", "model", "10", "396", "357.9", ".900", "<.001", ".012"],
        ["goal", "model × value", *["–"] * 6],
    ]


def test_people_have_a_yardstick_for_each_distance():
    row = {"model": "a", "angle": -16.2602, "wasserstein": 45.74, "wasserstein_people_95": 8.8}
    row |= {
        "categories": 0.995,
        "categories_people_95": 0.2621,
        "options": math.nan,
        "options_people_95": 0.3,
    }
    table = shown(tables.against_people(pd.DataFrame([row])), "svo/against_people")
    header, rows = cells(table)
    assert header == [
        *("model", "angle", "Wasserstein (95% of people)"),
        *("categories (95% of people)", "options (95% of people)"),
    ]
    assert to_the_right(table) == header[1:]
    assert rows == [["a", "−16.3", "45.7 (8.8)", ".995 (.262)", "– (.300)"]]


def lean_frame():
    ends = {"low": [5.3, -0.11], "high": [15.6, 0.02], "read_low": [4.3, -0.14], "read_high": [16.6, 0.05]}
    return pd.DataFrame(
        {
            "scale": ["raw", "corrected"],
            "contrast": "neutral minus extreme",
            "lean": [10.4469, -0.0464],
            **ends,
            "models_leaning": [7, 2],
            "p_value": [0.002, 0.125],
            "verdict": ["yes", "open"],
        }
    )


def test_lean_in_degrees_or_corrected():
    table = shown(tables.lean(lean_frame()), "svo/published_lean")
    header, rows = cells(table)
    assert to_the_right(table) == ["lean", "leaning", "p"]
    assert header == ["scale", "contrast", "lean", "interval", "widened", "leaning", "p", "verdict"]
    assert [row[2] for row in rows] == ["10.4", "−0.05"], "raw figures as in the text"
    assert rows[0][3:5] == ["[5.3,\u00a015.6]", "[4.3,\u00a016.6]"]
    assert rows[1][3:] == ["[−0.11,\u00a00.02]", "[−0.14,\u00a00.05]", "2", ".125", "open"]


def test_a_table_leaves_its_frame_alone():
    frame = lean_frame()
    tables.lean(frame)
    pd.testing.assert_frame_equal(frame, lean_frame())
