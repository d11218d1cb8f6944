"""Tables of study 2: their columns, how cells are written, and what stands where something is missing."""

import math

import pandas as pd
import pytest

from deepvalues.studies.svo import tables
from markdown_cells import head, rows, to_the_right


def cells(table):
    """The head and the rows of a Markdown table."""
    return head(table), rows(table)


def missing_frame():
    statuses = {"answered": [1200, 960], "refused": [0, 240], "unparsable": 0, "truncated": 0, "failed": 0}
    return pd.DataFrame({"model": ["a", "b"], **statuses, "no_choice_share": [0.0, 0.2]})


def test_missing_counts_by_status():
    table = tables.missing(missing_frame())
    header, rows = cells(table)
    statuses = ["answered", "refused", "unparsable", "truncated", "failed"]
    assert header == ["model", *statuses, "without a choice"]
    assert rows == [
        ["a", "1,200", "0", "0", "0", "0", ".000"],
        ["b", "960", "240", "0", "0", "0", ".200"],
    ]
    assert to_the_right(table) == header[1:]


def test_instrument_names_agent_and_rule():
    frame = pd.DataFrame([("a", "most for itself", 20, 19, 5.7491)])
    frame.columns = ["model", "rule", "conditions", "agree", "largest"]
    header, rows = cells(tables.instrument(frame))
    assert header == ["agent", "rule", "conditions", "agree", "largest difference (degrees)"]
    assert rows == [["a", "most for itself", "20", "19", "5.7"]]


def weights_frame():
    weight = {"weight": [69.04, math.nan], "weight_low": [60.9, math.nan], "weight_high": [77.1, math.nan]}
    precision = {"precision": [0.131, 0.02], "precision_low": [0.105, -0.01], "precision_high": [0.157, 0.05]}
    truth = {"true_weight": [75.0, 30.0], "true_precision": 0.12}
    return pd.DataFrame(
        {"value": ["altruistic", "none"], "choices": [240, 6], **truth, **weight, **precision}
    )


def test_weights_beside_the_truth():
    header, rows = cells(tables.weights(weights_frame()))
    assert header == [
        *("assigned value", "choices", "true weight (°)", "weight (°)", "interval of the weight"),
        *("true precision", "precision", "interval of the precision"),
    ]
    assert rows == [
        ["altruistic", "240", "75.0", "69.0", "[60.9,\u00a077.1]", ".120", ".131", "[.105,\u00a0.157]"],
        ["none", "6", "30.0", "–", "–", ".120", ".020", "[−.010,\u00a0.050]"],
    ]


def test_weights_of_an_agent_that_was_not_asked():
    header, rows = cells(tables.weights(weights_frame().head(0)))
    assert header[0] == "assigned value" and rows == []


def test_steering_has_a_column_a_condition():
    rows = [
        ("b", "controlled", False, 77.65),
        ("b", "controlled", True, math.nan),
        ("b", "faithful", False, -0.04),
    ]
    frame = pd.DataFrame(rows, columns=["model", "mode", "goal", "range"])
    header, rows = cells(tables.steering(frame))
    assert header == ["model", "controlled", "controlled, goal prompting", "faithful"]
    assert rows == [["b", "77.7", "–", "0.0"]]


def test_rationality_in_degrees_and_corrected():
    rows = [
        ("a", "controlled", 3, "competitive", 51.849, 0.7388, 40.0),
        ("a", "faithful", 0, "all", math.nan, math.nan, -1.4),
        ("b", "controlled", 4, "", 60.0, 1.0, 60.0),
        ("b", "faithful", 4, "", -1.36, -0.356, -1.36),
    ]
    columns = ["model", "mode", "values", "left_out", "rationality", "corrected", "bound_low"]
    table = tables.rationality(pd.DataFrame(rows, columns=columns))
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


def test_goal_with_and_without_anything_to_test():
    frame = pd.DataFrame(
        {
            "model": ["a", "b"],
            "pairs": [40, 1030],
            "angle_change": [0.0, -5.66],
            "closer": [0.0, -2.5],
            "closer_low": [math.nan, -10.2],
            "closer_high": [math.nan, 4.2],
            "p_holm": [math.nan, 0.0004],
        }
    )
    header, rows = cells(tables.goal(frame))
    assert header == ["model", "pairs", "angle change", "nearer", "interval", "p (Holm)"]
    assert rows == [
        ["a", "40", "0.0", "0.0", "–", "–"],
        ["b", "1,030", "−5.7", "−2.5", "[−10.2,\u00a04.2]", "<.001"],
    ]


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
    header, rows = cells(tables.anova(frame))
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
    table = tables.against_people(pd.DataFrame([row]))
    header, rows = cells(table)
    assert header == [
        *("model", "angle", "Wasserstein (95% of people)"),
        *("categories (95% of people)", "options (95% of people)"),
    ]
    assert to_the_right(table) == header[1:]
    assert rows == [["a", "−16.3", "45.7 (8.8)", ".995 (.262)", "– (.300)"]]


def test_position_beside_what_is_expected():
    row = {"model": "a", "choices": 600, "first_share": 1.0, "first_low": 0.994, "first_high": 1.0}
    row |= {"first_expected": 0.12, "excess": 0.88, "p_holm": 0.006}
    header, rows = cells(tables.position(pd.DataFrame([row])))
    assert header == [
        *("model", "choices", "first place", "interval", "expected", "total variation", "p (Holm)")
    ]
    assert rows == [["a", "600", "1.000", "[.994,\u00a01.000]", ".120", ".880", ".006"]]


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
    table = tables.lean(lean_frame())
    header, rows = cells(table)
    assert to_the_right(table) == ["lean", "leaning", "p"]
    assert header == ["scale", "contrast", "lean", "interval", "widened", "leaning", "p", "verdict"]
    assert [row[2] for row in rows] == ["10.4", "−0.05"], "raw figures as in the text"
    assert rows[0][3:5] == ["[5.3,\u00a015.6]", "[4.3,\u00a016.6]"]
    assert rows[1][3:] == ["[−0.11,\u00a00.02]", "[−0.14,\u00a00.05]", "2", ".125", "open"]


@pytest.mark.parametrize(("draw", "frame"), [(tables.missing, missing_frame()), (tables.lean, lean_frame())])
def test_tables_leave_their_frames_alone(draw, frame):
    before = frame.copy()
    draw(frame)
    pd.testing.assert_frame_equal(frame, before)
