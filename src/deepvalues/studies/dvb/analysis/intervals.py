"""The same rates with every kind of interval: what changes if trials are not taken as independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import pandas as pd

from deepvalues.stats.bootstrap import RESAMPLES, bootstrap, bootstrapped_mean, ratios, sums_by_cluster
from deepvalues.stats.clusters import clustered, two_way, wild
from deepvalues.stats.rates import wilson

#: What each method treats as clusters, and how; in the order of the table's rows.
METHODS = {
    "wilson": "Wilson, every trial independent",
    "cell": "clustered by cell",
    "cell_bootstrap": "cells resampled, percentile",
    "value": "clustered by preferred value",
    "value_wild": "clustered by preferred value, wild bootstrap",
    "value_dimension": "clustered by preferred value and directed dimension, crossed",
}


def intervals(
    frame: pd.DataFrame, by: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Rate of followed targets with every kind of interval, one row per group and method.

    No arm is selected: pass the trials of one arm for its rates.

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
        answers, with fewer than two clusters (six for the wild bootstrap), or without variation.
    """
    resampled = partial(bootstrapped_mean, seed=seed, resamples=resamples)
    rows = []
    for key, group in frame.groupby(list(by), observed=True, sort=True):
        known = group.dropna(subset="followed")
        y, cell, value = known["followed"], known["cell"], known["v1"]
        directed = known["dimension"] + " " + known["direction"]
        found = {
            "wilson": ((len(y),), wilson(int(y.sum()), len(y))),
            "cell": ((cell.nunique(),), clustered(y, cell)),
            "cell_bootstrap": ((cell.nunique(),), resampled(y, cell)),
            "value": ((value.nunique(),), clustered(y, value)),
            "value_wild": ((value.nunique(),), wild(y, value)),
            "value_dimension": ((value.nunique(), directed.nunique()), two_way(y, value, directed)),
        }
        for method, (counts, interval) in found.items():
            rows.append((*key, method, *(*counts, math.nan)[:2], y.mean(), *interval))
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
