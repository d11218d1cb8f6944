"""Reanalysis of the published radar figure, with a correction for chance and a null.

Do models lean to neutral values (prosocial, individualistic) rather than extreme ones (altruistic,
competitive)? The raw figure says so, but random answers lean the same way. All of this relies on the
reconstruction of value rationality, and on scores read off a figure to half a degree.

The null is a respondent that always answers at one angle, whatever the assigned value. Value rationality is
60 − |angle − target|, and the extreme targets are the ends of the attainable range, so the scores there
determine the angles. The published scores thus show how far each model moved between the assignments; a lean
to neutral values does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pingouin as pg

from deepvalues.stats.rates import signed_ranks, t_interval
from deepvalues.studies.svo.analysis.scoring import (
    BEST,
    full_range,
    random_value_rationality,
    targets,
    value_rationality,
)
from deepvalues.studies.svo.stimuli import VALUES

#: Trials behind each published value.
TRIALS = 10
#: Largest error of a score read off the figure, in degrees.
READING_ERROR = 0.5
NEUTRAL = ("prosocial", "individualistic")
EXTREME = ("altruistic", "competitive")
GIVING = ("altruistic", "prosocial")
TAKING = ("individualistic", "competitive")
#: Degrees as read, degrees above random answers, and the latter on a scale from 0 (random) to 1 (ideal).
SCALES = ("raw", "above_chance", "corrected")


def reread(published: pd.DataFrame) -> pd.DataFrame:
    """Correct the published value rationality for random answers.

    Parameters
    ----------
    published
        ``data/published/hvae_value_rationality.csv``.

    Returns
    -------
    pandas.DataFrame
        model, value, goal, target, random (expected score of random answers to ten trials), raw (as read),
        above_chance (raw − random) and corrected (0 random, 1 ideal), with raw_low … corrected_high (bounds
        for reading errors). All but corrected in degrees.
    """
    names = {"target_value": "value", "goal_prompt": "goal", "value_rationality": "raw"}
    table = published.rename(columns=names)
    table["target"] = table["value"].map(targets())
    table["random"] = [random_value_rationality(value, TRIALS) for value in table["value"]]
    for suffix, error in (("", 0.0), ("_low", -READING_ERROR), ("_high", READING_ERROR)):
        raw = (table["raw"] + error).clip(upper=BEST)
        table[f"raw{suffix}"] = raw if suffix else table["raw"]
        table[f"above_chance{suffix}"] = raw - table["random"]
        table[f"corrected{suffix}"] = table[f"above_chance{suffix}"] / (BEST - table["random"])
    columns = ["model", "value", "goal", "target", "random"]
    return table[[*columns, *(f"{scale}{end}" for scale in SCALES for end in ("", "_low", "_high"))]]


def by_value(reread_table: pd.DataFrame) -> pd.DataFrame:
    """Mean rationality of each value over models and both kinds of prompting.

    Returns
    -------
    pandas.DataFrame
        value, models, random, and for each of `SCALES` the mean with _low and _high (Student's t over
        models) and _read_low and _read_high (if all scores were read too high, or too low).
    """
    rows = []
    for value in VALUES:
        part = reread_table[reread_table["value"] == value]
        row: dict[str, Any] = {"value": value, "models": part["model"].nunique()}
        row["random"] = part["random"].iloc[0]
        for scale in SCALES:
            means = part.groupby("model")[[scale, f"{scale}_low", f"{scale}_high"]].mean()
            low, high = t_interval(means[scale])
            row |= {scale: means[scale].mean(), f"{scale}_low": low, f"{scale}_high": high}
            row |= {f"{scale}_read_{end}": means[f"{scale}_{end}"].mean() for end in ("low", "high")}
        rows.append(row)
    return pd.DataFrame(rows)


def neutral_lean(reread_table: pd.DataFrame) -> pd.DataFrame:
    """Whether models lean to neutral values, on each of `SCALES`.

    The lean of a model is the mean of the two neutral values minus that of the two extreme ones, over both
    kinds of prompting. Each value is also contrasted with the other three, because the neutral values need
    not move together.

    Returns
    -------
    pandas.DataFrame
        scale, contrast, models, lean, low, high (Student's t over models), read_low, read_high (the interval
        widened by reading errors in one direction), p_value (t), p_wilcoxon, models_leaning (number above 0),
        verdict: "yes" if read_low is above 0, "no" if read_high is below 0, else "open".
    """
    contrasts: dict[str, tuple[Sequence[str], Sequence[str]]] = {"neutral minus extreme": (NEUTRAL, EXTREME)}
    for value in VALUES:
        contrasts[f"{value} minus the others"] = ((value,), tuple(v for v in VALUES if v != value))
    rows = [
        {"scale": scale, "contrast": name, **_lean(reread_table, scale, *sides)}
        for scale in SCALES
        for name, sides in contrasts.items()
    ]
    return pd.DataFrame(rows)


def _lean(table: pd.DataFrame, scale: str, first: Sequence[str], second: Sequence[str]) -> dict[str, Any]:
    wide = table.pivot_table(index="model", columns="value", values=scale, aggfunc="mean")
    leans = lean(wide, first, second)
    low, high = t_interval(leans)
    # Each side's mean is off by the mean of its values' errors; at worst, the two have opposite signs.
    per_value = {
        value: READING_ERROR
        / (BEST - random_value_rationality(value, TRIALS) if scale == "corrected" else 1.0)
        for value in VALUES
    }
    error = sum(float(np.mean([per_value[value] for value in side])) for side in (first, second))
    bounds = low - error, high + error
    return {
        "models": len(leans),
        "lean": leans.mean(),
        "low": low,
        "high": high,
        "read_low": bounds[0],
        "read_high": bounds[1],
        "p_value": float(pg.ttest(leans, 0.0)["p_val"].iloc[0]),
        "p_wilcoxon": signed_ranks(leans),
        "models_leaning": int((leans > 0).sum()),
        "verdict": "yes" if bounds[0] > 0 else "no" if bounds[1] < 0 else "open",
    }


# ---- the null ----


def lean(
    rationality: pd.DataFrame, first: Sequence[str] = NEUTRAL, second: Sequence[str] = EXTREME
) -> pd.Series[float]:
    """Mean of the first values (by default neutral) minus mean of the second (extreme), row by row.

    Parameters
    ----------
    rationality
        A column for each value, in degrees.
    """
    return rationality[list(first)].mean(axis=1) - rationality[list(second)].mean(axis=1)


def blind(angles: np.ndarray) -> pd.DataFrame:
    """Scores of answering at one angle, whatever the assigned value.

    Parameters
    ----------
    angles
        In degrees.

    Returns
    -------
    pandas.DataFrame
        angle, each value's raw value rationality, and lean, all in degrees; corrected_lean and
        corrected_giving (giving minus taking values), on the scale from 0 (random) to 1 (ideal). At any angle
        from 0 to 45 degrees the lean is (77.65 − 45) / 2 = 16.3.
    """
    raw = pd.DataFrame({value: [value_rationality(angle, value) for angle in angles] for value in VALUES})
    random = pd.Series({value: random_value_rationality(value, TRIALS) for value in VALUES})
    corrected = (raw - random) / (BEST - random)
    giving = lean(corrected, GIVING, TAKING)
    return raw.assign(angle=angles, lean=lean(raw), corrected_lean=lean(corrected), corrected_giving=giving)


def most_at_one_angle() -> float:
    """The largest sum of both neutral scores at one angle: at any between their targets, in degrees."""
    first, second = (targets()[value] for value in NEUTRAL)
    return 2 * BEST - abs(first - second)


def implied(reread: pd.DataFrame) -> pd.DataFrame:
    """The angles and leans implied by published scores.

    Parameters
    ----------
    reread
        From `analysis.published.reread`.

    Returns
    -------
    pandas.DataFrame
        One row per model and kind of prompting: model, goal, altruistic and competitive (implied angles under
        these assignments), range (their difference), range_share (of `full_range`), lean (neutral minus
        extreme), blind_lean (the lean of a respondent that ignores the assignment), range_low … lean_high
        (bounds if all four scores are misread by half a degree), and blind_error: the mean absolute error of
        the two neutral scores, which the inversion does not use, as predicted for a respondent that answers
        at the mean of both angles under every assignment; neutral: the sum of these two scores. All but
        range_share in degrees.
    """
    wide = reread.pivot(index=["model", "goal"], columns="value", values="raw").reset_index()
    wide.columns.name = None
    found = pd.DataFrame({"model": wide["model"], "goal": wide["goal"]})
    found["altruistic"] = targets()["altruistic"] - (BEST - wide["altruistic"])
    found["competitive"] = targets()["competitive"] + (BEST - wide["competitive"])
    found["range"] = found["altruistic"] - found["competitive"]
    found["lean"] = lean(wide)
    # The range depends on two scores with weight 1, the lean on four with weight one half.
    for name in ("range", "lean"):
        found[f"{name}_low"] = found[name] - 2 * READING_ERROR
        found[f"{name}_high"] = found[name] + 2 * READING_ERROR
    found["range_share"] = found["range"] / full_range()
    middle, neutral = (found["altruistic"] + found["competitive"]) / 2, list(NEUTRAL)
    errors = (wide[neutral] - blind(middle.to_numpy())[neutral]).abs()
    found["blind_error"] = errors.mean(axis="columns")
    found["neutral"] = wide[neutral].sum(axis="columns")
    found["blind_lean"] = float(blind(np.array([0.0]))["lean"].iloc[0])
    return found
