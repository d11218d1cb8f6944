"""The same rates under every interval: what changes when trials are not taken as independent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from deepvalues.errors import UserError
from deepvalues.statistics.bootstrap import RESAMPLES, bootstrapped_mean
from deepvalues.statistics.clusters import two_way, wild
from deepvalues.statistics.rates import NO_INTERVAL, Interval, clustered, wilson

#: What each method takes as clusters, and how; the order of the table's rows.
METHODS = {
    "wilson": "Wilson, every trial independent",
    "cell": "clustered by cell, Student's t",
    "cell_bootstrap": "cells resampled, percentile",
    "value": "clustered by preferred value, Student's t",
    "value_wild": "clustered by preferred value, wild bootstrap",
    "value_dimension": "clustered by preferred value and directed dimension, crossed",
    "wording": "clustered by the test wording that the group is about, Student's t",
    "wording_cell": "clustered by that wording and cell, crossed",
}


def wording_column(by: Sequence[str]) -> str | None:
    """The wording that groups are about, as in `statistics.rates_by_wording_cluster`; None where none is."""
    if "v1" in by:
        return "target_value_wording"
    return "target_pole_wording" if "dimension" in by else None


def intervals(
    frame: pd.DataFrame, by: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Rate of followed targets per group under every interval, one row a group and method.

    Groups are taken as they come: pass the trials of one arm for its rates. ``wording`` and
    ``wording_cell`` belong to groups by value or by dimension only; there, clusters by value or by
    directed dimension are few or one, and their intervals wide or missing.

    Parameters
    ----------
    frame
        From `statistics.trials`.
    by
        Columns that make the groups; groups come in sorted order.
    seed, resamples
        Of the bootstrap over cells. Models that answered in the same cells get the same resamples.

    Returns
    -------
    pandas.DataFrame
        ``by``, method (a key of `METHODS`), clusters (the fewer of two; trials for Wilson's), estimate, low,
        high. Bounds are NaN where nothing can be estimated: without answers, with fewer than two
        clusters (six for the wild bootstrap), without variation, or where some trials name no cluster,
        as in the released data, which has no wordings.

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
    rows = []
    for key, group in frame.groupby(list(by), observed=True, sort=True):
        answered = group.dropna(subset="followed")
        estimate = float(answered["followed"].mean())
        for method, clusters, interval in _each(answered, wording_column(by), seed, resamples):
            rows.append((*key, method, clusters, estimate, *interval))
    return pd.DataFrame(rows, columns=[*by, "method", "clusters", "estimate", "low", "high"])


def _each(
    answered: pd.DataFrame, wording: str | None, seed: int, resamples: int
) -> Iterator[tuple[str, int, Interval]]:
    """(method, clusters, interval) of one group's answered trials."""
    y = answered["followed"]
    directed = _joint(answered, ["dimension", "direction"])
    cell, value = (_joint(answered, [column]) for column in ("cell", "v1"))
    yield "wilson", len(y), wilson(int(y.sum()), len(y))
    yield "cell", *_checked(clustered, y, cell)
    yield "cell_bootstrap", *_checked(_resampler(seed, resamples), y, cell)
    yield "value", *_checked(clustered, y, value)
    yield "value_wild", *_checked(wild, y, value)
    yield "value_dimension", *_checked(two_way, y, value, directed)
    if wording is not None:
        words = _joint(answered, [wording])
        yield "wording", *_checked(clustered, y, words)
        yield "wording_cell", *_checked(two_way, y, words, cell)


def _joint(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series[str] | None:
    """The cluster that some columns name together; None where a column or an entry is missing or blank."""
    if not set(columns) <= set(frame.columns):
        return None
    parts = frame[list(columns)]
    if (parts.isna() | (parts == "")).to_numpy().any():
        return None
    return parts.agg(" ".join, axis=1) if len(columns) > 1 else parts[columns[0]]


def _checked(
    method: Callable[..., Interval], outcomes: pd.Series[float], *clusters: pd.Series[str] | None
) -> tuple[int, Interval]:
    """(clusters, interval); none where trials or clusters are missing."""
    known = [names for names in clusters if names is not None]
    if len(outcomes) == 0 or len(known) < len(clusters):
        return 0, NO_INTERVAL
    return min(names.nunique() for names in known), method(outcomes, *known)


def _resampler(seed: int, resamples: int) -> Callable[[pd.Series[float], pd.Series[str]], Interval]:
    def resample(outcomes: pd.Series[float], clusters: pd.Series[str]) -> Interval:
        return bootstrapped_mean(outcomes, clusters, seed=seed, resamples=resamples)

    return resample
