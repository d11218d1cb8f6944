"""Bootstrap of whole clusters or units, for any statistic of sums over them.

Rates, differences between models and paired differences depend only on each cluster's sums. So the table is
summed by cluster once, and a resample is a row of counts (how often each cluster was drawn) times those sums:
one matrix product for all resamples. scipy.stats.bootstrap gives the same intervals but handles one statistic
at a time, which is too slow for a table of all models. `draw_counts` returns only the counts, for statistics
that weight units by them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepvalues.core.errors import UserError
from deepvalues.stats.rates import CONFIDENCE, NO_INTERVAL, Interval

Array = NDArray[np.float64]
#: From sums, shape (..., columns), to estimates, shape (...) or (..., estimates).
Statistic = Callable[[Array], Array]

RESAMPLES = 10_000
#: Quantiles of the bounds of a percentile interval.
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
#: Maximum number of counts in memory at once.
_AT_ONCE = 2**20


class Bootstrapped(NamedTuple):
    """Estimates and their bounds, each of the shape that the statistic returns for one sample."""

    estimate: Array
    low: Array
    high: Array
    clusters: int


def ratios(sums: Array) -> Array:
    """Rates from sums of (followed, answered, …): each even column divided by the next one."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., ::2] / sums[..., 1::2])


def sums_by_cluster(columns: pd.DataFrame, clusters: pd.Series[str]) -> Array:
    """Sums of each column by cluster, in order of appearance, shape (clusters, columns).

    Raises
    ------
    UserError
        When a number or a cluster is missing.
    """
    codes, names = pd.factorize(clusters)
    numbers = columns.to_numpy(dtype=float)
    if np.isnan(numbers).any() or (codes < 0).any():
        raise UserError("bootstrap: there are missing values or clusters; drop these rows or fill them first")
    return np.column_stack([np.bincount(codes, weights=column, minlength=len(names)) for column in numbers.T])


def resampled(sums: Array, resamples: int, seed: int) -> Array:
    """Sums of as many clusters as there are, drawn with replacement, shape (resamples, columns)."""
    rng = np.random.default_rng(seed)
    clusters = len(sums)
    at_once = max(1, _AT_ONCE // clusters)
    drawn = np.empty((resamples, sums.shape[1]))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        picks = rng.integers(clusters, size=(rows, clusters)) + clusters * np.arange(rows)[:, None]
        counts = np.bincount(picks.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        drawn[start : start + rows] = counts.astype(float) @ sums
    return drawn


def draw_counts(units: int, draws: int, seed: int | np.random.Generator) -> Array:
    """How often each unit is drawn in samples with replacement of the same size.

    This uses multinomial draws, and `resampled` single picks. Their random numbers differ for the same seed,
    so changing either would change results.

    Returns
    -------
    numpy.ndarray
        Shape (draws, units).
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(units, np.full(units, 1 / units), size=draws).astype(float)


def percentiles(draws: Array) -> Interval:
    """Percentile interval of draws of one estimate, ignoring those that are not finite; NaN if none is."""
    finite = draws[np.isfinite(draws)]
    return Interval(*map(float, np.quantile(finite, TAILS))) if len(finite) else NO_INTERVAL


def bootstrap(
    sums: Array,
    statistic: Statistic = ratios,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Bootstrapped:
    """Bootstrap a statistic of sums over clusters, with percentile intervals.

    Parameters
    ----------
    sums
        From `sums_by_cluster`, shape (clusters, columns). All columns are resampled together: with a pair of
        columns for each model, differences between models are paired.
    statistic
        From sums, shape (..., columns), to estimates, shape (...) or (..., estimates); called once with
        the sums of the sample and once with those of all resamples.
    seed
        The random seed of the resamples.

    Returns
    -------
    Bootstrapped
        Bounds are NaN with fewer than two clusters, if an estimate does not vary between resamples, or if a
        resample has none.

    References
    ----------
    Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13; Davison and Hinkley
    (1997), Bootstrap Methods and their Application, section 3.8, on resampling whole clusters only.
    """
    estimate = np.asarray(statistic(sums.sum(axis=0)), dtype=float)
    missing = np.full_like(estimate, np.nan)
    if len(sums) < 2:
        return Bootstrapped(estimate, missing, missing, len(sums))
    draws = np.asarray(statistic(resampled(sums, resamples, seed)), dtype=float)
    low, high = np.quantile(draws, TAILS, axis=0)
    varies = np.ptp(draws, axis=0) > 0
    return Bootstrapped(estimate, np.where(varies, low, np.nan), np.where(varies, high, np.nan), len(sums))


def bootstrapped_mean(
    outcomes: pd.Series[float],
    clusters: pd.Series[str],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval:
    """Interval for a mean by resampling whole clusters; see `bootstrap`.

    Outcomes and clusters are as for `deepvalues.stats.clusters.clustered`.

    Returns
    -------
    Interval
        NaN with fewer than two clusters, or without variation between them.

    Raises
    ------
    UserError
        When an outcome or a cluster is missing.
    """
    if len(outcomes) == 0:
        return NO_INTERVAL
    columns = pd.DataFrame({"outcome": outcomes, "trials": 1.0})
    found = bootstrap(sums_by_cluster(columns, clusters), seed=seed, resamples=resamples)
    return Interval(float(found.low[0]), float(found.high[0]))
