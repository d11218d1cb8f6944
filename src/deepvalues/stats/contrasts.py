"""Contrasts between rates: differences, tests, effect sizes, equivalence; also of rounded, printed rates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from scipy.optimize import brentq
from statsmodels.stats.proportion import proportion_confint

from deepvalues.core.errors import UserError
from deepvalues.stats.clusters import Clusters, Floats, mean
from deepvalues.stats.rates import CONFIDENCE, NO_INTERVAL, Interval, cohens_g, exact_test, holm, wilson


def tango(only_first: int, only_second: int, n: int) -> Interval:
    """Tango's score interval for a difference of paired rates, (only_first − only_second)/n.

    It contains the differences δ that the score test does not reject: |only_first − only_second − nδ| ≤
    z √(n (2q + δ(1 − δ))), with q the most likely share of pairs of the second kind under δ, the larger root
    of 2n q² + B q + C = 0, B = −only_first − only_second + (2n − only_first + only_second) δ and
    C = −only_second δ (1 − δ). NaN without pairs. At δ = 0 it is McNemar's test without correction.
    Implemented here because pingouin, statsmodels and scipy have no interval for a paired difference.

    References
    ----------
    Tango (1998), Statistics in Medicine 17.
    """
    if n == 0:
        return NO_INTERVAL
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))

    def score(delta: float, side: int) -> float:
        b = -only_first - only_second + (2 * n - only_first + only_second) * delta
        c = -only_second * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = max(n * (2 * q + delta * (1 - delta)), 0.0)
        return only_first - only_second - n * delta - side * z * math.sqrt(variance)

    # At the observed difference the score may be 0, so the search for the bounds starts next to it.
    observed, step = (only_first - only_second) / n, 1e-9
    low = -1.0 if only_second == n else float(brentq(score, -1, observed - step, args=(1,)))
    high = 1.0 if only_first == n else float(brentq(score, observed + step, 1, args=(-1,)))
    return Interval(low, high)


class Paired(NamedTuple):
    """Comparison of two models on the items that both answered: first minus second."""

    items: int
    rate_a: float
    rate_b: float
    only_a: int
    only_b: int
    difference: float
    clustered_low: float
    clustered_high: float
    tango_low: float
    tango_high: float
    cohens_g: float
    p_mcnemar: float
    p_clustered: float
    p_equivalence: float


def paired(
    first: Floats, second: Floats, clusters: Clusters, bound: float, units: Clusters | None = None
) -> Paired:
    """Compare two models' outcomes on the same items.

    Parameters
    ----------
    first, second
        1, 0 or NaN (no answer) per item; items without both answers are left out.
    clusters
        The cluster of each item.
    bound
        Differences smaller than this count as equivalent.
    units
        The unit that each item belongs to, such as a test that is asked in two orders; by default each item
        is a unit.

    Returns
    -------
    Paired
        McNemar's test (1947, Psychometrika 12), exact and two-sided, assumes independent units; each counts
        for the model that followed more of its items, ties not at all. Tango's interval, which assumes
        independent items, only_a, only_b and Cohen's g refer to items. The clustered interval, p_clustered
        (t-test of the mean difference) and p_equivalence (TOST) allow for clusters. All are NaN without
        common items; Cohen's g and the tests are NaN without discordant items.
    """
    both = ~(np.isnan(first) | np.isnan(second))
    n = int(both.sum())
    if not n:
        return Paired(0, math.nan, math.nan, 0, 0, *[math.nan] * 9)
    a, b = first[both], second[both]
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    estimate = mean(a - b, np.asarray(clusters)[both])
    discordant = only_a + only_b
    g = cohens_g(only_a / discordant) if discordant else math.nan
    codes = np.arange(n) if units is None else pd.factorize(np.asarray(units)[both])[0]
    net = np.bincount(codes, weights=a - b)
    # Always exact, so that the test does not depend on the number of pairs.
    p_mcnemar = exact_test(int((net > 0).sum()), int((net != 0).sum()))
    tests = (p_mcnemar, estimate.p_value, estimate.equivalence(bound))
    intervals = (*estimate.interval, *tango(only_a, only_b, n))
    means = (float(a.mean()), float(b.mean()))
    return Paired(n, *means, only_a, only_b, estimate.value, *intervals, g, *tests)


def outcome_matrix(frame: pd.DataFrame, outcome: str = "followed") -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Outcomes of shape (items, models), and the cell of each item.

    Raises
    ------
    UserError
        When a model has more than one answer to an item.
    """
    twice = frame.duplicated(["model", "item"])
    if twice.any():
        model, item = frame.loc[twice, ["model", "item"]].iloc[0]
        raise UserError(f"{model} has the item {item} more than once; choose one repeat before contrasting")
    wide = frame.pivot(index="item", columns="model", values=outcome).sort_index()
    cells = frame.drop_duplicates("item").set_index("item")["cell"].reindex(wide.index)
    return wide.astype(float), cells


def paired_contrasts(
    frame: pd.DataFrame,
    bound: float = 0.05,
    unit: Sequence[str] = ("item",),
) -> pd.DataFrame:
    """Compare models pair by pair on the same items, with Holm's correction over all pairs.

    Parameters
    ----------
    frame
        Trials: model, item, cell, followed, and the columns named by ``unit``.
    bound
        Equivalence bound for the difference of rates.
    unit
        Columns that identify the unit of McNemar's test; see `paired`.

    Returns
    -------
    pandas.DataFrame
        model_a, model_b, the fields of `Paired`, p_mcnemar_holm, p_clustered_holm.

    Raises
    ------
    UserError
        When a model has more than one answer to an item.
    """
    wide, cells = outcome_matrix(frame)
    clusters = pd.factorize(cells)[0]
    items = frame.drop_duplicates("item").set_index("item", drop=False).reindex(wide.index)
    units = items.groupby([items[name] for name in unit], sort=False).ngroup().to_numpy()
    rows = [
        (a, b, *paired(wide[a].to_numpy(), wide[b].to_numpy(), clusters, bound, units))
        for a, b in combinations(wide.columns, 2)
    ]
    table = pd.DataFrame(rows, columns=["model_a", "model_b", *Paired._fields])
    for name in ("p_mcnemar", "p_clustered"):
        table[f"{name}_holm"] = holm(list(table[name]))
    return table


def factor_test(table: pd.DataFrame | ArrayLike) -> pd.Series[float]:
    """Pearson's chi-squared test of independence, with Cramér's V.

    χ² = Σ (O − E)² / E with E = row sum · column sum / total and (rows − 1)(columns − 1) degrees of
    freedom; with one degree of freedom, Yates' correction reduces each |O − E| by ½ (at most to 0).
    V = √(χ² / (total · (min(rows, columns) − 1))), from the returned χ².

    Parameters
    ----------
    table
        Shape (levels, outcomes), at least 2 × 2: numbers of trials, one row per level of the factor. They
        need not be integers, since they may be computed from rounded rates.

    Returns
    -------
    pandas.Series
        chi2, df, p_value (0 below the smallest float, about 1e-308) and cramers_v (0 to 1).

    Raises
    ------
    ValueError
        When an entry is negative, or a row or column sums to zero. Levels without trials are not dropped,
        since that would silently change the degrees of freedom.

    References
    ----------
    Pearson (1900), Philosophical Magazine 50; Yates (1934), Supplement to the Journal of the Royal
    Statistical Society 1; Cramér (1946), Mathematical Methods of Statistics, section 21.9.
    """
    counts = np.asarray(table, dtype=float)
    # pingouin's test needs one row per trial; statsmodels' has no Yates' correction.
    chi2, p_value, df, _ = stats.chi2_contingency(counts, correction=True)
    cramers_v = math.sqrt(chi2 / (counts.sum() * (min(counts.shape) - 1)))
    return pd.Series(
        {
            "chi2": float(chi2),
            "df": float(df),
            "p_value": float(p_value),
            "cramers_v": min(cramers_v, 1.0),  # rounding may carry a perfect association past 1
        }
    )


# ---- ranges of quantities that are computed from rounded figures ----


class Range(NamedTuple):
    """A quantity computed from printed inputs, and its minimum and maximum given their rounding."""

    estimate: float
    low: float
    high: float


def corner_range(figure: Callable[..., float], *inputs: tuple[float, float]) -> Range:
    """Range of a function that is monotone in each input, from the corners of the inputs' ranges.

    Parameters
    ----------
    inputs
        Each a printed value and half a unit of its last digit.
    """
    corners = itertools.product(*[(value - half, value + half) for value, half in inputs])
    reached = [figure(*corner) for corner in corners]
    return Range(figure(*[value for value, _ in inputs]), min(reached), max(reached))


def wilson_ranges(rate: float, half: float, n: int) -> tuple[Range, Range]:
    """Ranges of the two bounds of Wilson's interval for a rate that is known to ± `half`."""
    least = max(math.ceil((rate - half) * n - 1e-9), 0)
    most = min(math.floor((rate + half) * n + 1e-9), n)
    at, lowest, highest = (wilson(k, n) for k in (round(rate * n), least, most))
    return Range(at.low, lowest.low, highest.low), Range(at.high, lowest.high, highest.high)


def rate_range(low: tuple[float, float], high: tuple[float, float], n: int) -> Range:
    """Range of the rate whose Wilson interval has the printed bounds; NaN if no count gives both.

    Parameters
    ----------
    low, high
        Each a printed bound and half a unit of its last digit.
    """
    counts = np.arange(n + 1)
    bounds = proportion_confint(counts, n, alpha=1 - CONFIDENCE, method="wilson")
    fits = np.ones(n + 1, dtype=bool)
    for bound, (printed, half) in zip(bounds, (low, high), strict=True):
        fits &= np.abs(bound - printed) <= half * (1 + 1e-9)
    if not fits.any():
        return Range(math.nan, math.nan, math.nan)
    least, most = counts[fits].min() / n, counts[fits].max() / n
    return Range(float(least + most) / 2, float(least), float(most))


def chi_squared_range(
    rates: NDArray[np.float64], half: float, n: NDArray[np.float64], successes: int
) -> Range:
    """Range of a factor's chi-squared for rounded rates and a known total number of successes.

    With p = successes / Σ n fixed, χ² = Σ n (r − p)² / (p (1 − p)) is convex in the rates. Its minimum is
    where the rates are as close together as rounding allows: at one common rate, clipped to each rate's
    range. Its maximum is at a corner, where all rates but one are at an end of their range.

    Parameters
    ----------
    rates, n
        Shape (levels,): printed rates and trials.
    half
        Half a unit of the rates' last digit.

    Raises
    ------
    UserError
        If no rates that round to the printed ones add up to `successes`.
    """
    low, high = np.clip(rates - half, 0, 1), np.clip(rates + half, 0, 1)
    if not n @ low <= successes <= n @ high:
        raise UserError("chi_squared_range: the printed rates do not match the number of successes")
    p = successes / n.sum()

    def chi2(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((n * (r - p) ** 2).sum(axis=-1) / (p * (1 - p)))

    common = optimize.brentq(lambda r: n @ np.clip(r, low, high) - successes, 0, 1)
    corners = _corners(low, high, n, successes)
    at_printed = factor_test(np.column_stack([n * rates, n * (1 - rates)]))["chi2"]
    return Range(at_printed, float(chi2(np.clip(common, low, high))), float(chi2(corners).max()))


def _corners(
    low: NDArray[np.float64], high: NDArray[np.float64], n: NDArray[np.float64], successes: int
) -> NDArray[np.float64]:
    """The corners of the rates' ranges that add up to the successes, shape (corners, levels)."""
    corners = []
    for free in range(len(n)):
        others = np.delete(np.arange(len(n)), free)
        at_high = np.array(list(itertools.product((False, True), repeat=len(others))))
        rates = np.empty((len(at_high), len(n)))
        rates[:, others] = np.where(at_high, high[others], low[others])
        rates[:, free] = (successes - rates[:, others] @ n[others]) / n[free]
        fits = (rates[:, free] >= low[free] - 1e-12) & (rates[:, free] <= high[free] + 1e-12)
        corners.append(rates[fits])
    return np.concatenate(corners)
