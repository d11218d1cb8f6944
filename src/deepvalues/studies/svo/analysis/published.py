"""The published radar figure, read again with a correction for chance.

Do models lean to neutral values (prosocial, individualistic) rather than extreme ones (altruistic,
competitive)? The raw figure says so, but random answers lean the same way. Everything here rests on the
reconstruction of value rationality, and on values read off a figure to half a unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pingouin as pg

from deepvalues.stats.rates import t_interval
from deepvalues.studies.svo.analysis.scoring import BEST, random_value_rationality, targets
from deepvalues.studies.svo.stimuli.payoffs import VALUES

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
    lean = wide[list(first)].mean(axis=1) - wide[list(second)].mean(axis=1)
    test = pg.ttest(lean, 0.0)
    low, high = t_interval(lean)
    # The mean of each side moves by the mean of its values' errors, at worst both against each other.
    per_value = {
        value: READING_ERROR
        / (BEST - random_value_rationality(value, TRIALS) if scale == "corrected" else 1.0)
        for value in VALUES
    }
    error = sum(float(np.mean([per_value[value] for value in side])) for side in (first, second))
    bounds = low - error, high + error
    return {
        "models": len(lean),
        "lean": lean.mean(),
        "low": low,
        "high": high,
        "read_low": bounds[0],
        "read_high": bounds[1],
        "p_value": float(test["p_val"].iloc[0]),
        "p_wilcoxon": float(pg.wilcoxon(lean.to_numpy())["p_val"].iloc[0]) if lean.any() else math.nan,
        "models_leaning": int((lean > 0).sum()),
        "verdict": "yes" if bounds[0] > 0 else "no" if bounds[1] < 0 else "open",
    }
