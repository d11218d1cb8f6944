"""Clustered standard errors: for means and differences, crossed clusters, and few clusters.

All are based on `sandwich`. Functions that need only the clusters' totals and sizes accept many samples at
once (a leading axis), so that a simulation can compute thousands of intervals in one call. statsmodels gives
the same one-way and two-way intervals for one sample (tested), but needs a regression for each, and has no
wild bootstrap. It is used for logistic regressions.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats
from statsmodels.tools.sm_exceptions import PerfectSeparationError

from deepvalues.stats.rates import CONFIDENCE, NO_INTERVAL, Interval

Floats = NDArray[np.float64]
#: The cluster of each trial.
Clusters = Sequence[Any] | NDArray[Any] | pd.Series

#: Up to this many clusters, all sign vectors are used; with more, they are drawn at random.
MOST_ENUMERATED = 12
#: With g clusters no p-value is below 2^(1 − g), so with fewer clusters nothing can be rejected at 5%.
FEWEST_WILD = 6
_DRAWN_SIGNS = 4_999
#: Bisections of a bracket a few standard errors wide; bounds are accurate to 10⁻⁴ standard errors.
_HALVINGS = 16


class Estimate(NamedTuple):
    """An estimate with its standard error and the degrees of freedom of Student's t.

    Without a standard error, intervals and p-values are NaN.
    """

    value: float
    error: float
    df: int

    @property
    def interval(self) -> Interval:
        """The interval with coverage `CONFIDENCE`."""
        if not self.error > 0:
            return NO_INTERVAL
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.df)) * self.error
        return Interval(self.value - half, self.value + half)

    @property
    def rate_interval(self) -> Interval:
        """The interval for a rate, which stays within 0 and 1; see `rate_intervals`."""
        variance = 0.0 if math.isnan(self.error) else self.error**2
        low, high = rate_intervals(np.asarray(self.value), np.asarray(variance), self.df + 1)
        return Interval(float(low), float(high))

    @property
    def p_value(self) -> float:
        """Two-sided p-value against zero."""
        if not self.error > 0:
            return math.nan
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.df))

    def equivalence(self, bound: float) -> float:
        """P-value of two one-sided tests (TOST) against a difference of at least `bound` in either direction.

        The larger of the p-values of t = (d + bound)/SE and t = (bound − d)/SE; below .05 exactly when
        the 90% interval lies within (−bound, bound).

        References
        ----------
        Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15.
        """
        if not self.error > 0:
            return math.nan
        return float(stats.t.sf((bound - abs(self.value)) / self.error, self.df))


def sandwich(influence: Floats) -> Floats:
    """Variance of an estimate from each cluster's influence on it, G/(G − 1) · Σ_g ψ_g².

    Parameters
    ----------
    influence
        ψ_g, the sum over the cluster's trials, in the unit of the estimate, shape (..., G).

    Returns
    -------
    numpy.ndarray
        Shape (...); NaN with fewer than two clusters.

    References
    ----------
    Liang and Zeger (1986), Biometrika 73; Cameron and Miller (2015), Journal of Human Resources 50.
    """
    groups = influence.shape[-1]
    if groups < 2:
        return np.full(influence.shape[:-1], np.nan)
    return np.asarray(groups / (groups - 1) * (influence**2).sum(axis=-1))


def from_influence(value: float, influence: Floats, clusters: Clusters) -> Estimate:
    """An estimate with its clustered standard error and G − 1 degrees of freedom; see `sandwich`.

    Parameters
    ----------
    influence
        ψ_i per trial, in the unit of the estimate; for a mean (y_i − ȳ)/n.
    """
    codes, _ = pd.factorize(clusters if isinstance(clusters, pd.Series) else np.asarray(clusters))
    sums = np.asarray(np.bincount(codes, weights=influence), dtype=np.float64)
    variance = float(sandwich(sums))
    # A variance this small is a rounding error of zero.
    return Estimate(value, math.sqrt(variance) if variance > 1e-24 else math.nan, max(len(sums) - 1, 0))


def mean(outcomes: Floats, clusters: Clusters) -> Estimate:
    """The mean of clustered outcomes (or paired differences); NaN without trials."""
    if not len(outcomes):
        return Estimate(math.nan, math.nan, 0)
    value = float(np.mean(outcomes))
    return from_influence(value, (outcomes - value) / len(outcomes), clusters)


def clustered(outcomes: pd.Series[float], clusters: pd.Series[str]) -> Interval:
    """Interval for a rate of clustered trials; see `rate_intervals`.

    Parameters
    ----------
    outcomes
        From 0 to 1 per trial; no missing values.
    clusters
        The cluster of each trial, aligned with `outcomes`.

    Returns
    -------
    Interval
        NaN with fewer than two clusters.
    """
    return mean(np.asarray(outcomes, dtype=np.float64), clusters).rate_interval


def two_groups(outcomes: Floats, first: NDArray[np.bool_], clusters: Clusters) -> Estimate:
    """Mean of the first group minus mean of the rest, which may share clusters; NaN if a group is empty."""
    n, m = int(first.sum()), int((~first).sum())
    if not n or not m:
        return Estimate(math.nan, math.nan, 0)
    high, low = float(outcomes[first].mean()), float(outcomes[~first].mean())
    influence = np.where(first, (outcomes - high) / n, (low - outcomes) / m)
    return from_influence(high - low, influence, clusters)


class Sums(NamedTuple):
    """The clusters' totals of the outcomes, shape (..., clusters), and their sizes, shape (clusters,)."""

    totals: Floats
    sizes: Floats


def cluster_sums(outcomes: pd.Series[float], clusters: pd.Series[str]) -> Sums:
    """Totals and sizes of one sample's clusters, in order of appearance."""
    codes, names = pd.factorize(clusters)
    weights = (outcomes.to_numpy(dtype=float), np.ones(len(outcomes)))
    return Sums(*(np.asarray(np.bincount(codes, one, len(names)), dtype=np.float64) for one in weights))


def mean_variance(totals: Floats, sizes: Floats) -> Floats:
    """Variance of means, from ψ_g = (T_g − ȳ n_g) / n; see `sandwich`.

    Parameters
    ----------
    totals
        Shape (..., G), one row per sample.
    sizes
        Shape (G,).
    """
    n = sizes.sum()
    return sandwich((totals - (totals.sum(axis=-1, keepdims=True) / n) * sizes) / n)


def rate_intervals(rates: Floats, variances: Floats, clusters: int) -> tuple[Floats, Floats]:
    """Lower and upper bounds of rates, by Wilson's score interval at the effective number of trials.

    n = p(1 − p) / variance is the number of independent trials that would give the same variance. With
    t = t(G − 1) for Wilson's z, the bounds are (p + c/2 ± √(t² variance + c²/4)) / (1 + c), c = t²/n. Unlike
    p ± t · SE, they stay within 0 and 1. A rate of 0 or 1 has no estimate of its variance and counts as one
    trial per cluster, the minimum; any other rate that is the same in all clusters has a zero-width interval.

    Parameters
    ----------
    rates, variances
        Of the same shape; the variance of a rate of 0 or 1 is ignored.
    clusters
        Their number G.

    Returns
    -------
    tuple of numpy.ndarray
        Of the same shape; NaN with fewer than two clusters.

    References
    ----------
    Franco, Little, Louis and Slud (2019), Journal of Survey Statistics and Methodology 7.
    """
    df = clusters - 1
    t = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) if df > 0 else math.nan
    spread = np.clip(rates * (1 - rates), 0, None)
    variances = np.where(spread > 0, np.clip(variances, 0, None), 0)
    per_trial = np.divide(
        variances, spread, out=np.full(np.shape(rates), 1 / max(clusters, 1)), where=spread > 0
    )
    c = t**2 * per_trial
    half = np.sqrt(t**2 * variances + c**2 / 4)
    low, high = (rates + c / 2 - half) / (1 + c), (rates + c / 2 + half) / (1 + c)
    # Exact at the ends, where rounding errors would leave nearly 0 or 1.
    return np.where(rates <= 0, 0 * low, low), np.where(rates >= 1, 1 + 0 * high, high)


def clustered_intervals(totals: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """`clustered` for many samples at once.

    Parameters
    ----------
    totals
        Shape (..., G).
    sizes
        Shape (G,).
    """
    rates = totals.sum(axis=-1) / sizes.sum()
    return rate_intervals(rates, mean_variance(totals, sizes), len(sizes))


def two_way_intervals(first: Sums, second: Sums, both: Sums) -> tuple[Floats, Floats]:
    """Intervals for rates of trials that are clustered in two crossed ways; see `rate_intervals`.

    V = V_first + V_second − V_both, where ``both`` are the intersections of the two, each variance with its
    own G/(G − 1); the number of clusters is the smaller one. If V is zero or negative, as can happen when
    clustering matters little, it is replaced by the larger one-way variance, which is conservative.

    References
    ----------
    Cameron, Gelbach and Miller (2011), Journal of Business and Economic Statistics 29.
    """
    one, other = (mean_variance(*sums) for sums in (first, second))
    crossed = one + other - mean_variance(*both)
    # A variance this small is a rounding error of zero.
    usable = crossed > 1e-12 * np.maximum(one, other)
    variances = np.where(usable, crossed, np.maximum(one, other))
    rates = first.totals.sum(axis=-1) / first.sizes.sum()
    return rate_intervals(rates, variances, min(len(first.sizes), len(second.sizes)))


def two_way(outcomes: pd.Series[float], first: pd.Series[str], second: pd.Series[str]) -> Interval:
    """Interval for a rate of trials that are clustered in two crossed ways; see `two_way_intervals`.

    Outcomes and both kinds of clusters are as for `clustered`.

    Returns
    -------
    Interval
        NaN if either way has fewer than two clusters.
    """
    if len(outcomes) == 0 or min(first.nunique(), second.nunique()) < 2:
        return NO_INTERVAL
    pairs = pd.Series(pd.factorize(first)[0] * len(second) + pd.factorize(second)[0], index=first.index)
    sums = [cluster_sums(outcomes, clusters) for clusters in (first, second, pairs)]
    low, high = two_way_intervals(*sums)
    return Interval(float(low), float(high))


def _signs(clusters: int, seed: int) -> Floats:
    """Sign vectors, shape (vectors, clusters); the first one is all positive.

    A vector and its negative give the same |t|, so the first cluster's sign is fixed.
    """
    if clusters <= MOST_ENUMERATED:
        bits = np.arange(2 ** (clusters - 1))[:, None] >> np.arange(clusters - 1)[None, :] & 1
    else:
        bits = np.random.default_rng(seed).integers(2, size=(_DRAWN_SIGNS + 1, clusters - 1))
        bits[0] = 0
    return np.column_stack([np.ones(len(bits)), 1.0 - 2.0 * bits])


def _p_values(totals: Floats, sizes: Floats, null: Floats, signs: Floats) -> Floats:
    """P-value of "the mean is ``null``" for each sample: the share of sign vectors with at least its |t|.

    A bootstrap sample multiplies the residuals of whole clusters by their signs, y* = null + w_g (y − null).
    With a_g their total, t*² is (Σ w_g a_g)² over Σ (w_g a_g − n_g Σ w a / n)², up to a constant factor;
    since w² = 1, the sum of squares takes two matrix products.
    """
    residuals = totals - null[..., None] * sizes
    shift = residuals @ signs.T
    squares = (residuals**2).sum(axis=-1, keepdims=True)
    spread = (residuals * sizes) @ (-2 / sizes.sum() * signs.T)
    spread *= shift
    shift *= shift
    spread += shift * ((sizes**2).sum() / sizes.sum() ** 2) + squares
    # If all signed residuals are equal, the spread is zero up to rounding and t* infinite.
    np.maximum(spread, 1e-14 * squares + np.finfo(float).tiny, out=spread)
    # The first vector gives t² itself; the factor preserves ties despite rounding.
    as_large = shift >= spread * (shift[..., :1] / spread[..., :1] * (1 - 1e-9))
    return np.asarray(np.count_nonzero(as_large, axis=-1) / len(signs))


def wild_p_values(totals: Floats, sizes: Floats, null: Floats, seed: int = 0) -> Floats:
    """Wild cluster bootstrap test of "the mean is ``null``"; see `wild_intervals`.

    Parameters
    ----------
    totals
        Shape (..., G).
    sizes
        Shape (G,).
    null
        Shape (...), one for each sample.
    seed
        The random seed of the sign vectors; unused with few clusters.
    """
    return _p_values(totals, sizes, null, _signs(len(sizes), seed))


def wild_intervals(totals: Floats, sizes: Floats, seed: int = 0) -> tuple[Floats, Floats]:
    """Intervals for means with few clusters: all values that a wild cluster bootstrap does not reject.

    It uses Rademacher weights (whole clusters keep or change the sign of their residuals), residuals under
    the null hypothesis, and a studentised mean. With up to `MOST_ENUMERATED` clusters all sign vectors are
    used, so the interval is exact and needs no seed. The bounds are found by bisection outwards from the
    mean, assuming that the p-value, a step function of the null, decreases.

    Parameters
    ----------
    totals
        Shape (..., G).
    sizes
        Shape (G,).

    Returns
    -------
    tuple of numpy.ndarray
        Lower and upper bounds, shape (...); NaN if all clusters have the same mean, or with fewer than
        `FEWEST_WILD` clusters, with which no value can be rejected.

    References
    ----------
    Cameron, Gelbach and Miller (2008), Review of Economics and Statistics 90; Webb (2023), Canadian
    Journal of Economics 56; Roodman, MacKinnon, Nielsen and Webb (2019), Stata Journal 19.
    """
    means, variances = totals.sum(axis=-1) / sizes.sum(), mean_variance(totals, sizes)
    if len(sizes) < FEWEST_WILD:
        return np.full_like(means, np.nan), np.full_like(means, np.nan)
    signs = _signs(len(sizes), seed)
    usable = variances > 1e-24
    errors = np.sqrt(np.where(usable, variances, 1.0))

    def bound(side: int) -> Floats:
        def accepted(distance: Floats) -> NDArray[np.bool_]:
            """For a distance from the mean in standard errors."""
            p = _p_values(totals, sizes, means + side * distance * errors, signs)
            return p > 1 - CONFIDENCE

        inside, outside = np.zeros_like(means), np.full_like(means, 4.0)
        while (too_near := accepted(outside) & usable).any():
            outside = np.where(too_near, 2 * outside, outside)
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            accepts = accepted(middle)
            inside, outside = np.where(accepts, middle, inside), np.where(accepts, outside, middle)
        return np.where(usable, means + side * inside * errors, np.nan)

    return bound(-1), bound(1)


def wild(outcomes: pd.Series[float], clusters: pd.Series[str], seed: int = 0) -> Interval:
    """Interval for a mean with few clusters, by the wild cluster bootstrap; see `wild_intervals`.

    Outcomes and clusters are as for `clustered`.

    Returns
    -------
    Interval
        NaN with fewer than `FEWEST_WILD` clusters, or without variation between them.
    """
    if len(outcomes) == 0:
        return NO_INTERVAL
    low, high = wild_intervals(*cluster_sums(outcomes, clusters), seed)
    return Interval(float(low), float(high))


def excess_over_place(agree: Floats, first_option: Floats, clusters: Clusters) -> Estimate:
    """Order consistency minus 2p(1 − p), its value if only the options' positions mattered.

    p is the rate of choosing the first option. With y_i whether both choices in a pair of orders are the same
    option, and a_i its share of first options, a pair's influence is (y_i − ȳ)/n − 2(1 − 2p)(a_i − p)/n.

    Parameters
    ----------
    agree
        1 or 0 for each pair of orders.
    first_option
        0, .5 or 1 for each pair.
    clusters
        The cluster of each pair.
    """
    if not len(agree):
        return Estimate(np.nan, np.nan, 0)
    p, consistency = float(first_option.mean()), float(agree.mean())
    influence = ((agree - consistency) - 2 * (1 - 2 * p) * (first_option - p)) / len(agree)
    return from_influence(consistency - 2 * p * (1 - p), influence, clusters)


#: A coefficient beyond this many logits indicates that the likelihood has no maximum.
SEPARATED = 15.0


def clustered_logit(
    outcomes: NDArray[np.float64], design: NDArray[np.float64], groups: NDArray[np.int64]
) -> Any | None:
    """Fit a logistic regression with clustered sandwich errors, by statsmodels.

    Parameters
    ----------
    outcomes
        0 or 1, shape (trials,).
    design
        Shape (trials, columns), including an intercept.
    groups
        The cluster of each trial, shape (trials,).

    Returns
    -------
    statsmodels results or None
        None if the columns are collinear or the likelihood has no maximum (separation).

    References
    ----------
    Liang and Zeger (1986), Biometrika 73; Albert and Anderson (1984), Biometrika 71 (separation).
    """
    # Rounding may hide collinearity from the fit.
    if not len(design) or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    try:
        # Separation is checked below.
        with warnings.catch_warnings(action="ignore"):
            fit = sm.Logit(outcomes, design).fit(
                disp=False, cov_type="cluster", cov_kwds={"groups": groups}, warn_convergence=False
            )
    except (PerfectSeparationError, np.linalg.LinAlgError, ValueError):
        return None
    sound = bool(fit.mle_retvals["converged"]) and bool(np.isfinite(fit.cov_params()).all())
    return fit if sound and np.abs(fit.params).max() < SEPARATED else None
