"""Rates, means and rank correlations of independent trials: intervals, tests, effects and sample sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pingouin as pg
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint, proportion_effectsize

from deepvalues.core.errors import UserError

#: The coverage of all intervals in the paper.
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Lower and upper bounds, in the unit of the estimate."""

    low: float
    high: float


NO_INTERVAL = Interval(math.nan, math.nan)


def wilson(successes: float, n: int) -> Interval:
    """Wilson's score interval for a proportion; NaN without trials. Half successes are allowed.

    Formula: (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n), as in statsmodels.

    References
    ----------
    Wilson (1927), Journal of the American Statistical Association 22.
    """
    if n == 0:
        return NO_INTERVAL
    low, high = proportion_confint(successes, n, alpha=1 - CONFIDENCE, method="wilson")
    # Exact at the ends, where rounding errors would leave nearly 0 or 1.
    return Interval(0.0 if successes == 0 else float(low), 1.0 if successes == n else float(high))


def t_interval(numbers: ArrayLike) -> Interval:
    """Student's t interval for a mean; NaN without variation. pingouin rounds it to two decimals."""
    known = np.asarray(numbers, dtype=float)
    if len(known) < 2 or np.ptp(known) == 0:
        return NO_INTERVAL
    low, high = stats.ttest_1samp(known, 0).confidence_interval(CONFIDENCE)
    return Interval(float(low), float(high))


def signed_ranks(differences: ArrayLike) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test, as in pingouin; NaN if all differences are 0."""
    known = np.asarray(differences, dtype=float)
    return float(pg.wilcoxon(known)["p_val"].iloc[0]) if (known != 0).any() else math.nan


def exact_test(successes: int, n: int, chance: float = 0.5) -> float:
    """Two-sided exact binomial p-value against chance; NaN without trials."""
    return float(stats.binomtest(successes, n, chance).pvalue) if n else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values with Holm's step-down correction, as in pingouin; NaN stays NaN.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6.
    """
    if not len(p_values):
        return []
    return [float(p) for p in pg.multicomp(np.asarray(p_values, dtype=float), method="holm")[1]]


def cohens_h(rate: float) -> float:
    """Cohen's h of a rate against one half, as in statsmodels: 2 asin √p − 2 asin √.5, in radians.

    References
    ----------
    Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, section 6.2.
    """
    return float(proportion_effectsize(rate, 0.5))


def cohens_g(rate: float) -> float:
    """Cohen's g, the difference between a share and one half: .05 is small, .15 medium, .25 large.

    References
    ----------
    Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, section 5.2.
    """
    return rate - 0.5


def smallest_sample(effect: float, power: float, alpha: float) -> int:
    """Smallest n at which a two-sided exact binomial test against .5 reaches a given power.

    The test rejects outside [c + 1, n − c − 1], with c the largest count for which P(K ≤ c | .5) ≤ alpha/2.
    Power is a sawtooth function of n, so some larger samples fall short again.

    Parameters
    ----------
    effect
        Cohen's g, the difference between the true rate and .5; above 0, at most .5.
    power, alpha
        Both between 0 and 1.

    Raises
    ------
    UserError
        When a parameter is out of range, or no n up to 100,000 is enough.

    References
    ----------
    Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 5.
    """
    if not (0 < effect <= 0.5 and 0 < power < 1 and 0 < alpha < 1):
        raise UserError("smallest_sample: effect must be in (0, .5], power and alpha in (0, 1)")
    block = 2_000
    for first in range(1, 100_000, block):
        reached = exact_power(np.arange(first, first + block), effect, alpha) >= power
        if reached.any():
            return first + int(reached.argmax())
    raise UserError("smallest_sample: no sample size up to 100,000 is enough")


def exact_power(n: NDArray[np.int64], effect: float, alpha: float) -> NDArray[np.float64]:
    """Power of the two-sided exact binomial test against .5 at each n; see `smallest_sample`."""
    critical = stats.binom.ppf(alpha / 2, n, 0.5)
    critical -= stats.binom.cdf(critical, n, 0.5) > alpha / 2
    low_tail = stats.binom.cdf(critical, n, 0.5 + effect)
    high_tail = stats.binom.sf(n - critical - 1, n, 0.5 + effect)
    return np.asarray(low_tail + high_tail, dtype=float)
