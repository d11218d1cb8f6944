"""The published radar figure, read again with a correction for chance, and beside a null.

Do models lean to neutral values (prosocial, individualistic) rather than extreme ones (altruistic,
competitive)? The raw figure says so, but random answers lean the same way. Everything here rests on the
reconstruction of value rationality, and on values read off a figure to half a unit.

The null is whoever answers at one angle, whatever value was assigned. Value rationality is 60 − |angle −
target|, and the extreme targets lie at the ends of what can be answered, so that a score there gives the
angle back. The published scores thus say how far each model moved between the assignments, which a lean to
neutral values does not.
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
#: How far a value read off the figure may be from the one drawn.
READING_ERROR = 0.5
NEUTRAL = ("prosocial", "individualistic")
EXTREME = ("altruistic", "competitive")
#: Degrees as read, degrees above what random answers get, and the latter on a scale from 0 to 1.
SCALES = ("raw", "above_chance", "corrected")


def reread(published: pd.DataFrame) -> pd.DataFrame:
    """Put random answers beside the published value rationality, and correct for them.

    Parameters
    ----------
    published
        ``data/published/hvae_value_rationality.csv``.

    Returns
    -------
    pandas.DataFrame
        model, value, goal, target, random (expected of random answers to ten trials), raw (as read),
        above_chance (raw − random) and corrected (0 random, 1 ideal), with raw_low … corrected_high: where
        the value drawn may lie. All but corrected in degrees.
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
    """Mean over models of each value's rationality, raw and corrected, both kinds of prompting together.

    Returns
    -------
    pandas.DataFrame
        value, models, random, and for each of `SCALES` the mean with _low and _high (Student's t over
        models) and _read_low and _read_high (were all read too high, or too low).
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
    """Answer whether models lean to neutral values, raw, above chance and corrected for chance.

    Per model the mean of the two neutral values minus that of the two extreme ones, both kinds of prompting
    together; then over models. And the same for each value against the other three, since neutral values need
    not move together.

    Returns
    -------
    pandas.DataFrame
        scale, contrast, models, lean, low, high (Student's t over models), read_low, read_high (the interval
        widened by reading errors that all point one way), p_value (t), p_wilcoxon, models_leaning (how
        many are above 0), verdict: "yes" where read_low is above 0, "no" where read_high is below 0, else
        "open".
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
    # The mean of each side moves by the mean of its values' errors, at worst both against each other.
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
    """Mean of some values, the neutral ones, minus mean of others, the extreme ones, row by row.

    Parameters
    ----------
    rationality
        A column for each value, in degrees.
    """
    return rationality[list(first)].mean(axis=1) - rationality[list(second)].mean(axis=1)


def blind(angles: np.ndarray) -> pd.DataFrame:
    """What answering at one angle gets, whatever value was assigned.

    Parameters
    ----------
    angles
        In degrees.

    Returns
    -------
    pandas.DataFrame
        angle, a column for each value with its raw value rationality, and lean, all in degrees; and
        corrected_lean, the lean of scores on the scale from 0 (random answers) to 1 (ideal ones). From 0 to
        45 degrees the lean is (77.65 − 45) / 2 = 16.3, whatever the angle.
    """
    raw = pd.DataFrame({value: [value_rationality(angle, value) for angle in angles] for value in VALUES})
    random = pd.Series({value: random_value_rationality(value, TRIALS) for value in VALUES})
    corrected = (raw - random) / (BEST - random)
    return raw.assign(angle=angles, lean=lean(raw), corrected_lean=lean(corrected))


def implied(reread: pd.DataFrame) -> pd.DataFrame:
    """The angles behind published scores, and the lean that was published.

    Parameters
    ----------
    reread
        From `analysis.published.reread`.

    Returns
    -------
    pandas.DataFrame
        One row per model and kind of prompting: model, goal, altruistic and competitive (implied angles under
        these assignments), range (their difference), range_share (of `full_range`), lean (neutral minus
        extreme), blind_lean (the lean of whoever ignores the assignment), and range_low … lean_high: bounds
        if all four scores were misread by half a degree in the least favourable way. In degrees, the share
        apart.
    """
    wide = reread.pivot(index=["model", "goal"], columns="value", values="raw").reset_index()
    wide.columns.name = None
    found = pd.DataFrame({"model": wide["model"], "goal": wide["goal"]})
    found["altruistic"] = targets()["altruistic"] - (BEST - wide["altruistic"])
    found["competitive"] = targets()["competitive"] + (BEST - wide["competitive"])
    found["range"] = found["altruistic"] - found["competitive"]
    found["lean"] = lean(wide)
    # Two scores enter the range, each with the weight 1, and four the lean, each with the weight one half.
    for name in ("range", "lean"):
        found[f"{name}_low"] = found[name] - 2 * READING_ERROR
        found[f"{name}_high"] = found[name] + 2 * READING_ERROR
    found["range_share"] = found["range"] / full_range()
    found["blind_lean"] = float(blind(np.array([0.0]))["lean"].iloc[0])
    return found
