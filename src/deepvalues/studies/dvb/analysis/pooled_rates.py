"""Pooled results: of which models, over all of them, without each, and on which side of chance they are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import pandas as pd

from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.analysis.statistics import rates

#: Below this a test against chance, corrected over models, tells a DVGR from chance.
ALPHA = 0.05


#: The families that pooled results can be about, the first that answered.
IN_FOCUS = ("language model", "text learner")


def family_in_focus(families: Collection[str]) -> str:
    """The family that pooled results are about: language models, or text learners without any.

    Parameters
    ----------
    families
        Of the models that answered.

    Raises
    ------
    UserError
        When there are neither, so that nothing could be pooled.
    """
    found = next((family for family in IN_FOCUS if family in families), None)
    if found is None:
        raise UserError(
            "no language model and no text learner has answered the whole set: there is nothing to pool; "
            "name one in models, or ask one with deepvalues query"
        )
    return found


def pooled(frame: pd.DataFrame) -> pd.DataFrame:
    """DVGR over all models of the trials, in one row as from `analysis.statistics.rates`."""
    deep = frame[frame["arm"] == "deconfounded"].assign(pooled="pooled")
    return rates(deep, ["pooled"]).drop(columns="pooled")


def leave_one_out(frame: pd.DataFrame) -> pd.DataFrame:
    """The pooled DVGR without each model in turn: whether one model alone makes the result.

    Returns
    -------
    pandas.DataFrame
        One row per model, in sorted order: left_out (the model), models (that stay), and as from `pooled`.
        No rows with fewer than two models, as none would stay.
    """
    columns = ["items", "answered", "followed", "rate", "wilson_low", "wilson_high"]
    columns += ["clustered_low", "clustered_high"]
    names = sorted(frame["model"].unique())
    # Without the columns of texts, of which each copy would take much memory.
    slim = frame[["model", "arm", "cell", "followed"]]
    rows = [
        (name, len(names) - 1, *pooled(slim[slim["model"] != name])[columns].iloc[0])
        for name in names
        if len(names) > 1
    ]
    table = pd.DataFrame(rows, columns=["left_out", "models", *columns])
    return table.astype(dict.fromkeys(["items", "answered", "followed"], int))


class Sides(NamedTuple):
    """Models by the side of chance on which their DVGR lies."""

    below: int
    above: int
    undecided: int


def sides_by_test(table: pd.DataFrame) -> Sides:
    """Sides of chance by the exact test with Holm's correction.

    Parameters
    ----------
    table
        From `analysis.statistics.dvgr_by_model`.
    """
    told = table.loc[table["p_holm"] < ALPHA, "dvgr"]
    return _sides(len(table), int((told < 0.5).sum()), int((told > 0.5).sum()))


def sides_by_interval(table: pd.DataFrame) -> Sides:
    """Sides of chance by the interval clustered by cell, uncorrected.

    Parameters
    ----------
    table
        From `analysis.statistics.dvgr_by_model`. A rate that is the same in every cell has no such
        interval; Wilson's stands in for it.
    """
    below = table["clustered_high"].fillna(table["wilson_high"]) < 0.5
    above = table["clustered_low"].fillna(table["wilson_low"]) > 0.5
    return _sides(len(table), int(below.sum()), int(above.sum()))


def _sides(models: int, below: int, above: int) -> Sides:
    return Sides(below, above, models - below - above)


def arm_means(arm_rates: pd.DataFrame) -> pd.Series[Any]:
    """Mean rate of the models in each arm, by arm and number of examples.

    Parameters
    ----------
    arm_rates
        From ``rates(frame, ["model", "arm", "n_examples"])``.
    """
    return arm_rates.groupby(["arm", "n_examples"])["rate"].mean()
