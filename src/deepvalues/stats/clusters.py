"""Clustered standard errors: of means and differences, of clusters that cross, and of few clusters.

All rest on `sandwich`. What needs the clusters' totals and sizes only takes totals of many samples at once
(a leading axis), so that a simulation asks for thousands of intervals in one call. statsmodels gives the
same one-way and two-way intervals of one sample (tested), at the cost of a regression each, and has no wild
bootstrap. Logistic regressions are its own.
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

#: Up to this many clusters all sign vectors are gone through; beyond it they are drawn.
MOST_ENUMERATED = 12
#: With g clusters no p-value is below 2^(1 − g): fewer clusters than this cannot reject at 5%.
FEWEST_WILD = 6
_DRAWN_SIGNS = 4_999
#: Halvings of a bracket a few standard errors wide: bounds are good to 10⁻⁴ standard errors.
_HALVINGS = 16


class Estimate(NamedTuple):
    """An estimate with its standard error and the degrees of freedom of Student's t.

    Without a standard error there is nothing to test: the properties are NaN.
    """

    value: float
    error: float
    df: int

    @property
    def interval(self) -> Interval:
        """The interval of coverage `CONFIDENCE`."""
        if not self.error > 0:
            return NO_INTERVAL
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.df)) * self.error
        return Interval(self.value - half, self.value + half)

    @property
    def rate_interval(self) -> Interval:
        """The interval of a rate, which stays within 0 and 1; see `rate_intervals`."""
        variance = 0.0 if math.isnan(self.error) else self.error**2
        low, high = rate_intervals(np.asarray(self.value), np.asarray(variance), self.df + 1)
        return Interval(float(low), float(high))

    @property
    def p_value(self) -> float:
        """Two-sided, against no difference."""
        if not self.error > 0:
            return math.nan
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.df))

    def equivalence(self, bound: float) -> float:
        """P-value of two one-sided tests (TOST) against a difference of `bound` or more either way.

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
    """Variance of an estimate from the influence of each cluster on it, G/(G − 1) · Σ_g ψ_g².

    Parameters
    ----------
    influence
        ψ_g, the sum of its trials' influence, in the unit of the estimate, shape (..., G).

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
    """An estimate with its clustered standard error, on G − 1 degrees of freedom; see `sandwich`.

    Parameters
    ----------
    influence
        ψ_i per trial, in the unit of the estimate: for a mean (y_i − ȳ)/n.
    """
    codes, _ = pd.factorize(clusters if isinstance(clusters, pd.Series) else np.asarray(clusters))
    sums = np.asarray(np.bincount(codes, weights=influence), dtype=np.float64)
    variance = float(sandwich(sums))
    # What rounding leaves of a sum of zeros is no variation.
    return Estimate(value, math.sqrt(variance) if variance > 1e-24 else math.nan, max(len(sums) - 1, 0))


def mean(outcomes: Floats, clusters: Clusters) -> Estimate:
    """The mean of outcomes (or of paired differences) that come in clusters; NaN without trials."""
    if not len(outcomes):
        return Estimate(math.nan, math.nan, 0)
    value = float(np.mean(outcomes))
    return from_influence(value, (outcomes - value) / len(outcomes), clusters)


def clustered(outcomes: pd.Series[float], clusters: pd.Series[str]) -> Interval:
    """Interval of a rate whose trials come in clusters; see `rate_intervals`.

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
    """Mean of the first group minus mean of the rest, clusters shared or not; NaN if a group is empty."""
    n, m = int(first.sum()), int((~first).sum())
    if not n or not m:
        return Estimate(math.nan, math.nan, 0)
    high, low = float(outcomes[first].mean()), float(outcomes[~first].mean())
    influence = np.where(first, (outcomes - high) / n, (low - outcomes) / m)
    return from_influence(high - low, influence, clusters)


class Sums(NamedTuple):
    """Totals of the outcomes, shape (..., clusters), and sizes of the clusters, shape (clusters,)."""

    totals: Floats
    sizes: Floats


def cluster_sums(outcomes: pd.Series[float], clusters: pd.Series[str]) -> Sums:
    """Totals and sizes of the clusters of one sample, clusters in order of appearance."""
    codes, names = pd.factorize(clusters)
    weights = (outcomes.to_numpy(dtype=float), np.ones(len(outcomes)))
    return Sums(*(np.asarray(np.bincount(codes, one, len(names)), dtype=np.float64) for one in weights))


def mean_variance(totals: Floats, sizes: Floats) -> Floats:
    """Variance of means, from ψ_g = (T_g − ȳ n_g) / n; see `sandwich`.

    Parameters
    ----------
    totals
        Shape (..., G), one row a sample.
    sizes
        Shape (G,).
    """
    n = sizes.sum()
    return sandwich((totals - (totals.sum(axis=-1, keepdims=True) / n) * sizes) / n)


def rate_intervals(rates: Floats, variances: Floats, clusters: int) -> tuple[Floats, Floats]:
    """Lower and upper bounds of rates, by Wilson's score interval at the effective number of trials.

    n = p(1 − p) / variance is how many independent trials would leave a rate as uncertain as the clusters do.
    With t = t(G − 1) for Wilson's z, the bounds are (p + c/2 ± √(t² variance + c²/4)) / (1 + c), c = t²/n.
    They stay within 0 and 1, where those of p ± t · SE can leave them. A rate of 0 or 1 has no variance to go
    by and counts as one trial a cluster, the fewest there can be; a rate between them that is the same in all
    clusters has an interval without width.

    Parameters
    ----------
    rates, variances
        Of any one shape; the variance of a rate of 0 or 1 is not looked at.
    clusters
        Their number G.

    Returns
    -------
    tuple of numpy.ndarray
        Of that shape; NaN with fewer than two clusters.

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
    # At the ends the formula gives 0 and 1, its computation all but.
    return np.where(rates <= 0, 0 * low, low), np.where(rates >= 1, 1 + 0 * high, high)


def clustered_intervals(totals: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """`clustered` of many samples at once.

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
    """Intervals of rates whose trials are clustered in two crossed ways; see `rate_intervals`.

    V = V_first + V_second − V_both, where ``both`` are the clusters that the two make together, each
    with its own G/(G − 1); the number of clusters is that of the way with fewer. The difference
    can come out at zero or below, when the two ways have little to tell apart; the larger of the two
    one-way variances then takes its place, which never makes the interval too short on that account.

    References
    ----------
    Cameron, Gelbach and Miller (2011), Journal of Business and Economic Statistics 29.
    """
    one, other = (mean_variance(*sums) for sums in (first, second))
    crossed = one + other - mean_variance(*both)
    # Rounding may leave a few ulps where the three cancel.
    usable = crossed > 1e-12 * np.maximum(one, other)
    variances = np.where(usable, crossed, np.maximum(one, other))
    rates = first.totals.sum(axis=-1) / first.sizes.sum()
    return rate_intervals(rates, variances, min(len(first.sizes), len(second.sizes)))


def two_way(outcomes: pd.Series[float], first: pd.Series[str], second: pd.Series[str]) -> Interval:
    """Interval of a rate whose trials are clustered in two crossed ways; see `two_way_intervals`.

    Outcomes and either way's clusters are as for `clustered`.

    Returns
    -------
    Interval
        NaN where either way has fewer than two clusters.
    """
    if len(outcomes) == 0 or min(first.nunique(), second.nunique()) < 2:
        return NO_INTERVAL
    pairs = pd.Series(pd.factorize(first)[0] * len(second) + pd.factorize(second)[0], index=first.index)
    sums = [cluster_sums(outcomes, clusters) for clusters in (first, second, pairs)]
    low, high = two_way_intervals(*sums)
    return Interval(float(low), float(high))


def _signs(clusters: int, seed: int) -> Floats:
    """Sign vectors, shape (vectors, clusters); the first one changes no sign.

    A vector and its negative give the same |t|, so the first cluster's sign stays.
    """
    if clusters <= MOST_ENUMERATED:
        bits = np.arange(2 ** (clusters - 1))[:, None] >> np.arange(clusters - 1)[None, :] & 1
    else:
        bits = np.random.default_rng(seed).integers(2, size=(_DRAWN_SIGNS + 1, clusters - 1))
        bits[0] = 0
    return np.column_stack([np.ones(len(bits)), 1.0 - 2.0 * bits])


def _p_values(totals: Floats, sizes: Floats, null: Floats, signs: Floats) -> Floats:
    """P-value of "the mean is ``null``" for each sample: the share of sign vectors with as large a |t|.

    A bootstrap sample turns the residuals around ``null`` of whole clusters by their signs, y* = null +
    w_g (y − null). With a_g their total, t*² is (Σ w_g a_g)² over Σ (w_g a_g − n_g Σ w a / n)², up to a
    factor that all t*² share; as w² = 1 the sum of squares takes two matrix products.
    """
    residuals = totals - null[..., None] * sizes
    shift = residuals @ signs.T
    squares = (residuals**2).sum(axis=-1, keepdims=True)
    spread = (residuals * sizes) @ (-2 / sizes.sum() * signs.T)
    spread *= shift
    shift *= shift
    spread += shift * ((sizes**2).sum() / sizes.sum() ** 2) + squares
    # Where turned residuals are all alike the spread is zero and t* infinite, but for rounding.
    np.maximum(spread, 1e-14 * squares + np.finfo(float).tiny, out=spread)
    # The first one is t² itself; the factor keeps ties in spite of rounding.
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
        Of the sign vectors; without effect where all of them are gone through.
    """
    return _p_values(totals, sizes, null, _signs(len(sizes), seed))


def wild_intervals(totals: Floats, sizes: Floats, seed: int = 0) -> tuple[Floats, Floats]:
    """Intervals of means with few clusters: all values that a wild cluster bootstrap does not reject.

    Rademacher weights (whole clusters keep or change the sign of their residuals), residuals under the
    null hypothesis, and a studentised mean. With up to `MOST_ENUMERATED` clusters all sign vectors are gone
    through, so the interval is exact and needs no seed. The bounds are found by bisection from the mean
    outwards; the p-value is a step function of the null, and taken to fall outwards.

    Parameters
    ----------
    totals
        Shape (..., G).
    sizes
        Shape (G,).

    Returns
    -------
    tuple of numpy.ndarray
        Lower and upper bounds, shape (...); NaN where all clusters have one mean, and with fewer than
        `FEWEST_WILD` clusters, where no value could be rejected.

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
        """In standard errors from the mean."""

        def held(distance: Floats) -> NDArray[np.bool_]:
            p = _p_values(totals, sizes, means + side * distance * errors, signs)
            return p > 1 - CONFIDENCE

        inside, outside = np.zeros_like(means), np.full_like(means, 4.0)
        while (still := held(outside) & usable).any():
            outside = np.where(still, 2 * outside, outside)
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            keeps = held(middle)
            inside, outside = np.where(keeps, middle, inside), np.where(keeps, outside, middle)
        return np.where(usable, means + side * inside * errors, np.nan)

    return bound(-1), bound(1)


def wild(outcomes: pd.Series[float], clusters: pd.Series[str], seed: int = 0) -> Interval:
    """Interval of a mean with few clusters by the wild cluster bootstrap; see `wild_intervals`.

    Outcomes and clusters are as for `clustered`.

    Returns
    -------
    Interval
        NaN with fewer than `FEWEST_WILD` clusters or where nothing varies between them.
    """
    if len(outcomes) == 0:
        return NO_INTERVAL
    low, high = wild_intervals(*cluster_sums(outcomes, clusters), seed)
    return Interval(float(low), float(high))


def excess_over_place(agree: Floats, first_option: Floats, clusters: Clusters) -> Estimate:
    """Order consistency less 2p(1 − p), what answering by place alone gives at a rate p of first options.

    With y_i whether both choices of a pair of orders are of the same option, and a_i its share of first
    options, the influence of a pair is (y_i − ȳ)/n − 2(1 − 2p)(a_i − p)/n.

    Parameters
    ----------
    agree
        1 or 0 for each pair of orders.
    first_option
        0, .5 or 1 for each.
    clusters
        The cluster of each.
    """
    if not len(agree):
        return Estimate(np.nan, np.nan, 0)
    p, consistency = float(first_option.mean()), float(agree.mean())
    influence = ((agree - consistency) - 2 * (1 - 2 * p) * (first_option - p)) / len(agree)
    return from_influence(consistency - 2 * p * (1 - p), influence, clusters)


#: Beyond this many logits a coefficient is the sign of a likelihood without a maximum.
SEPARATED = 15.0


def clustered_logit(
    outcomes: NDArray[np.float64], design: NDArray[np.float64], groups: NDArray[np.int64]
) -> Any | None:
    """Fit a logistic regression by statsmodels, with the sandwich errors of clusters.

    Parameters
    ----------
    outcomes
        0 or 1, shape (trials,).
    design
        Shape (trials, columns), an intercept among them.
    groups
        The cluster of each trial, shape (trials,).

    Returns
    -------
    statsmodels results or None
        None where nothing tells the columns apart or the likelihood has no maximum (separation).

    References
    ----------
    Liang and Zeger (1986), Biometrika 73; Albert and Anderson (1984), Biometrika 71 (separation).
    """
    # Rounding may hide from the fit that nothing tells the columns apart.
    if not len(design) or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    try:
        # Separation is looked for below; a warning adds nothing.
        with warnings.catch_warnings(action="ignore"):
            fit = sm.Logit(outcomes, design).fit(
                disp=False, cov_type="cluster", cov_kwds={"groups": groups}, warn_convergence=False
            )
    except (PerfectSeparationError, np.linalg.LinAlgError, ValueError):
        return None
    sound = bool(fit.mle_retvals["converged"]) and bool(np.isfinite(fit.cov_params()).all())
    return fit if sound and np.abs(fit.params).max() < SEPARATED else None
