"""The same rates with every kind of interval: what changes if trials are not taken as independent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pandas as pd

from deepvalues.core.errors import UserError
from deepvalues.stats.bootstrap import RESAMPLES, bootstrap, bootstrapped_mean, ratios, sums_by_cluster
from deepvalues.stats.clusters import clustered, two_way, wild
from deepvalues.stats.rates import NO_INTERVAL, Interval, wilson

#: What each method treats as clusters, and how; in the order of the table's rows.
METHODS = {
    "wilson": "Wilson, every trial independent",
    "cell": "clustered by cell",
    "cell_bootstrap": "cells resampled, percentile",
    "value": "clustered by preferred value",
    "value_wild": "clustered by preferred value, wild bootstrap",
    "value_dimension": "clustered by preferred value and directed dimension, crossed",
    "wording": "clustered by the test wording that the group is about",
    "wording_cell": "clustered by that wording and cell, crossed",
}


def wording_column(by: Sequence[str]) -> str | None:
    """The wording that the groups are about, as in `statistics.rates_by_wording`, or None."""
    if "v1" in by:
        return "target_value_wording"
    return "target_pole_wording" if "dimension" in by else None


def intervals(
    frame: pd.DataFrame, by: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Rate of followed targets with every kind of interval, one row per group and method.

    No arm is selected: pass the trials of one arm for its rates. ``wording`` and ``wording_cell`` apply only
    to groups by value or by dimension. There, clusters by value or by directed dimension are few, or only
    one, so their intervals are wide or missing.

    Parameters
    ----------
    frame
        From `statistics.trials`.
    by
        Columns that define the groups; groups are sorted.
    seed, resamples
        For the bootstrap over cells. Models that answered in the same cells get the same resamples.

    Returns
    -------
    pandas.DataFrame
        ``by``, method (a key of `METHODS`), clusters (trials for Wilson's), crossed (the number of clusters
        of the second kind if two are crossed, otherwise NaN), estimate, low, high. Bounds are NaN without
        answers, with fewer than two clusters (six for the wild bootstrap), without variation, or if some
        trials have no cluster, as in the released data, which has no wordings.

    Raises
    ------
    UserError
        When a column that the groups need is missing.
    """
    absent = sorted({*by, "followed"} - set(frame.columns))
    if absent:
        raise UserError(
            f"intervals: the trials have no column {', '.join(absent)}; pass them as from trials()"
        )
    wording = wording_column(by)
    # Trials are looked up by label below, so each needs its own.
    frame = frame.reset_index(drop=True)
    known = frame.dropna(subset="followed")
    codes = {name: _codes(known, columns) for name, columns in _CLUSTERS.items()}
    if wording is not None:
        codes["wording"] = _codes(known, [wording])
    clusters = pd.DataFrame(codes, index=known.index).assign(followed=known["followed"])
    rows = []
    for key, group in frame.groupby(list(by), observed=True, sort=True):
        answered = clusters.loc[group.index[group["followed"].notna()]]
        estimate = float(answered["followed"].mean())
        for method, counts, interval in _each(answered, seed, resamples):
            first, crossed = (*counts, math.nan)[:2]
            rows.append((*key, method, first, crossed, estimate, *interval))
    return pd.DataFrame(rows, columns=[*by, "method", "clusters", "crossed", "estimate", "low", "high"])


def mean_of_rates(frame: pd.DataFrame, *, seed: int, resamples: int = RESAMPLES) -> pd.DataFrame:
    """The mean of the models' rates, with a bootstrap interval over cells.

    Every model has the same weight, however many of its trials were answered.

    Parameters
    ----------
    frame
        From `statistics.trials`, of one arm and several models.

    Returns
    -------
    pandas.DataFrame
        One row: clusters, estimate, low, high, as from `intervals`. The bounds are also NaN if too few cells
        have an answer of some model, so that a resample might lack it.
    """
    answered = frame.dropna(subset="followed")
    sums: dict[str, pd.Series[float]] = {}
    for model in sorted(answered["model"].unique()):
        own = answered["model"] == model
        sums |= {f"{model} followed": own * answered["followed"], f"{model} answered": own * 1.0}
    by_cell = sums_by_cluster(pd.DataFrame(sums), answered["cell"])
    found = bootstrap(by_cell, lambda of: ratios(of).mean(axis=-1), seed=seed, resamples=resamples)
    row = (found.clusters, float(found.estimate), float(found.low), float(found.high))
    return pd.DataFrame([row], columns=["clusters", "estimate", "low", "high"])


_CLUSTERS = {"cell": ["cell"], "value": ["v1"], "directed": ["dimension", "direction"]}
#: The code of a trial without a cluster.
_BLANK = -1


def _codes(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series[int]:
    """Number the clusters that the columns define together; `_BLANK` where one of them is missing."""
    if not set(columns) <= set(frame.columns):
        return pd.Series(_BLANK, index=frame.index)
    parts = frame[list(columns)]
    # Groups with a missing entry get no number of their own.
    return parts.where(parts != "").groupby(list(columns), sort=False, dropna=True).ngroup().fillna(_BLANK)


def _each(
    answered: pd.DataFrame, seed: int, resamples: int
) -> Iterator[tuple[str, tuple[int, ...], Interval]]:
    """(method, numbers of clusters, interval) for one group's answered trials and their cluster codes."""
    y = answered["followed"]
    yield "wilson", (len(y),), wilson(int(y.sum()), len(y))
    resampled = partial(bootstrapped_mean, seed=seed, resamples=resamples)
    yield "cell", *_checked(clustered, answered, "cell")
    yield "cell_bootstrap", *_checked(resampled, answered, "cell")
    yield "value", *_checked(clustered, answered, "value")
    yield "value_wild", *_checked(wild, answered, "value")
    yield "value_dimension", *_checked(two_way, answered, "value", "directed")
    if "wording" in answered:
        yield "wording", *_checked(clustered, answered, "wording")
        yield "wording_cell", *_checked(two_way, answered, "wording", "cell")


def _checked(
    method: Callable[..., Interval], answered: pd.DataFrame, *names: str
) -> tuple[tuple[int, ...], Interval]:
    """(clusters of each kind, interval); no interval without trials or if some have no cluster."""
    clusters = [answered[name] for name in names]
    if len(answered) == 0 or any((codes == _BLANK).any() for codes in clusters):
        return (0,) * len(names), NO_INTERVAL
    return tuple(codes.nunique() for codes in clusters), method(answered["followed"], *clusters)
