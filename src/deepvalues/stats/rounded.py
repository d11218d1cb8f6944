"""Ranges of quantities that are computed from rounded figures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from statsmodels.stats.proportion import proportion_confint

from deepvalues.core.errors import UserError
from deepvalues.stats.contrasts import factor_test
from deepvalues.stats.rates import CONFIDENCE, wilson


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
