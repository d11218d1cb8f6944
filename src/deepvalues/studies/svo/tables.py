"""Tables of study 2: angles in degrees with one decimal, shares and corrected scores without a unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd

from deepvalues.core import number_format
from deepvalues.paper.markdown import intervals, markdown

Writer = Callable[[float], str]


def _degrees(angle: float) -> str:
    return number_format.number(angle, 1)


def _all(columns: Iterable[str], written: Writer) -> dict[str, Writer]:
    return dict.fromkeys(columns, written)


def missing(table: pd.DataFrame) -> str:
    """Questions by how they were answered.

    Parameters
    ----------
    table
        From `analysis.statistics.missing_by_reason`.
    """
    shown = table.rename(columns={"no_choice_share": "without a choice"})
    counts = shown.columns.drop(["model", "without a choice"])
    return markdown(shown, _all(counts, number_format.count) | {"without a choice": number_format.share})


def instrument(table: pd.DataFrame) -> str:
    """Reference agents against what their rules imply.

    Parameters
    ----------
    table
        From `analysis.instrument.by_agent`.
    """
    largest = "largest difference (degrees)"
    shown = table.rename(columns={"model": "agent", "largest": largest})
    return markdown(shown, _all(["conditions", "agree"], number_format.count) | {largest: _degrees})


def weights(table: pd.DataFrame) -> str:
    """Estimated weights beside the true ones.

    Parameters
    ----------
    table
        From `analysis.choice_model.recovery`.
    """
    shown = pd.DataFrame(
        {
            "assigned value": table["value"],
            "choices": table["choices"],
            "true weight (°)": table["true_weight"],
            "weight (°)": table["weight"],
            "interval of the weight": intervals(table, "weight", 1, bounded=False),
            "true precision": table["true_precision"],
            "precision": table["precision"],
            "interval of the precision": intervals(table, "precision"),
        }
    )
    degrees = _all(["true weight (°)", "weight (°)"], _degrees)
    precision = _all(["true precision", "precision"], number_format.share)
    return markdown(shown, {"choices": number_format.count, **degrees, **precision})


def steering(table: pd.DataFrame) -> str:
    """How far the assigned value moves the angle: a row a model, a column a mode and kind of prompting.

    Parameters
    ----------
    table
        From `analysis.statistics.steering_range`.
    """
    prompting = table["goal"].map({False: "", True: ", goal prompting"})
    columns = table.assign(condition=table["mode"] + prompting)
    wide = columns.pivot(index="model", columns="condition", values="range")
    return markdown(wide.reset_index(), _all(wide.columns, _degrees))


def rationality(means: pd.DataFrame) -> str:
    """Value rationality, raw and corrected for chance: a row a model, columns by mode.

    The column of values says how many of them a mean is over, in the order of the modes: "4 / 3".

    Parameters
    ----------
    means
        From `analysis.statistics.mean_rationality`.
    """
    scales = means.rename(columns={"rationality": "raw"})
    wide = scales.pivot(index="model", columns="mode", values=["raw", "corrected"])
    wide.columns = wide.columns.map(", ".join)
    values = means.assign(values=means["values"].map(number_format.count)).groupby("model")["values"]
    wide.insert(0, "values", values.agg(" / ".join))
    written = {name: _degrees if name.startswith("raw") else number_format.logit for name in wide.columns[1:]}
    return markdown(wide.reset_index(), {"values": str, **written})


def goal(table: pd.DataFrame) -> str:
    """What goal prompting changes.

    Parameters
    ----------
    table
        Rows of `analysis.statistics.goal_effect`, one a model.
    """
    shown = pd.DataFrame(
        {
            "model": table["model"],
            "pairs": table["pairs"],
            "angle change": table["angle_change"],
            "nearer": table["closer"],
            "interval": intervals(table, "closer", 1, bounded=False),
            "p (Holm)": table["p_holm"],
        }
    )
    degrees = _all(["angle change", "nearer"], _degrees)
    return markdown(shown, {"pairs": number_format.count, **degrees, "p (Holm)": number_format.p_value})


def anova(table: pd.DataFrame) -> str:
    """Analysis of variance of the angle.

    Parameters
    ----------
    table
        Rows of `analysis.effects.anova`, of one mode.
    """
    shown = pd.DataFrame(
        {
            "prompting": table["goal"].map({True: "goal", False: "no goal"}),
            "source": table["source"].str.replace("*", "×"),
            "df": table["df"],
            "df residual": table["df_residual"],
            "F": table["f"],
            "partial η²": table["eta"],
            "p": table["p_value"],
            "p (permutation)": table["p_permutation"],
        }
    )
    written = _all(["df", "df residual"], number_format.count) | {
        "F": _degrees,
        "partial η²": number_format.share,
    }
    return markdown(shown, written | _all(["p", "p (permutation)"], number_format.p_value))


def against_people(table: pd.DataFrame) -> str:
    """Distance of models from people, in brackets what 95% of samples of as many people do not exceed.

    Parameters
    ----------
    table
        Rows of `analysis.people.against_people`, one a model.
    """
    measures = {"wasserstein": _degrees, "categories": number_format.share, "options": number_format.share}
    distances = {
        f"{measure} (95% of people)": [
            f"{written(distance)} ({written(of_people)})"
            for distance, of_people in zip(table[measure], table[f"{measure}_people_95"], strict=True)
        ]
        for measure, written in measures.items()
    }
    shown = pd.DataFrame({"model": table["model"], "angle": table["angle"], **distances})
    shown.columns = shown.columns.str.replace("wasserstein", "Wasserstein")
    return markdown(shown, _all(shown.columns[2:], str) | {"angle": _degrees})


def position(table: pd.DataFrame) -> str:
    """Whether choices go by the place of an option.

    Parameters
    ----------
    table
        From `analysis.statistics.position_bias`.
    """
    shown = pd.DataFrame(
        {
            "model": table["model"],
            "choices": table["choices"],
            "first place": table["first_share"],
            "interval": intervals(table, "first"),
            "expected": table["first_expected"],
            "total variation": table["excess"],
            "p (Holm)": table["p_holm"],
        }
    )
    shares = _all(["first place", "expected", "total variation"], number_format.share)
    return markdown(shown, {"choices": number_format.count, **shares, "p (Holm)": number_format.p_value})


def letter_angles(table: pd.DataFrame) -> str:
    """Angles and value rationality by letter probability.

    Parameters
    ----------
    table
        From `analysis.letter_scoring.angles`.
    """
    if table.empty:
        return "No model has answered."
    shown = pd.DataFrame(
        {
            "model": table["model"],
            "assigned value": table["value"],
            "angle": table["angle"],
            "interval": intervals(table, "", 1, bounded=False),
            "likeliest": table["likeliest"],
            "target": table["target"],
            "rationality": table["rationality"],
            "corrected": table["corrected"],
            "without a value": table["blind"],
            "nearer": table["gain"],
            "interval of nearer": intervals(table, "gain", 1, bounded=False),
        }
    )
    degrees = ("angle", "likeliest", "target", "rationality", "without a value", "nearer")
    return markdown(shown, _all(degrees, _degrees) | {"corrected": number_format.logit})


def letter_models(table: pd.DataFrame) -> str:
    """What moves a model's letters.

    Parameters
    ----------
    table
        From `analysis.letter_scoring.by_model`.
    """
    if table.empty:
        return "No model has answered."
    shown = pd.DataFrame(
        {
            "model": table["model"],
            "letter mass": table["mass"],
            "letter A": table["first"],
            "interval of A": intervals(table, "first"),
            "likeliest letter": table["letter"],
            "by place": table["place"],
            "by option": table["content"],
            "steering (°)": table["steering"],
            "interval": intervals(table, "steering", 1, bounded=False),
        }
    )
    shares = _all(["letter mass", "letter A", "by place", "by option"], number_format.share)
    return markdown(shown, shares | {"steering (°)": _degrees})


def lean(table: pd.DataFrame) -> str:
    """Whether published models lean to neutral values: raw in degrees, corrected with two decimals.

    Parameters
    ----------
    table
        From `analysis.published.neutral_lean`.
    """
    # Figures are read off to half a point, so that degrees have no second decimal.
    parts = [
        _lean(part, 2 if scale == "corrected" else 1) for scale, part in table.groupby("scale", sort=False)
    ]
    return markdown(
        pd.concat(parts), {"lean": str, "leaning": number_format.count, "p": number_format.p_value}
    )


def _lean(table: pd.DataFrame, digits: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "scale": table["scale"].str.replace("_", " "),
            "contrast": table["contrast"],
            "lean": [number_format.number(lean, digits) for lean in table["lean"]],
            "interval": intervals(table, "", digits, bounded=False),
            "widened": intervals(table, "read", digits, bounded=False),
            "leaning": table["models_leaning"],
            "p": table["p_value"],
            "verdict": table["verdict"],
        }
    )
