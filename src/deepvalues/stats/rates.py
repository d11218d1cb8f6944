"""Rates of success: intervals, tests and effect sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pingouin as pg
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

#: All intervals of the paper have this coverage.
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Lower and upper bound, in the unit of the estimate."""

    low: float
    high: float


NO_INTERVAL = Interval(math.nan, math.nan)


def wilson(successes: float, n: int) -> Interval:
    """Wilson's score interval of a proportion; NaN without trials. A trial may succeed by half.

    Formula: (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n), as in statsmodels.

    References
    ----------
    Wilson (1927), Journal of the American Statistical Association 22.
    """
    if n == 0:
        return NO_INTERVAL
    low, high = proportion_confint(successes, n, alpha=1 - CONFIDENCE, method="wilson")
    # At the ends the formula gives 0 and 1, its computation all but.
    return Interval(0.0 if successes == 0 else float(low), 1.0 if successes == n else float(high))


def exact_test(successes: int, n: int, chance: float = 0.5) -> float:
    """Two-sided exact binomial p-value against chance; NaN without trials."""
    return float(stats.binomtest(successes, n, chance).pvalue) if n else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected by Holm's step-down rule, as in pingouin; NaN stays NaN.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6.
    """
    if not len(p_values):
        return []
    return [float(p) for p in pg.multicomp(np.asarray(p_values, dtype=float), method="holm")[1]]


def cohens_h(rate: float, reference: float = 0.5) -> float:
    """Cohen's h, 2 asin √p − 2 asin √p₀, in radians: .2 small, .5 medium, .8 large; NaN stays NaN.

    References
    ----------
    Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, section 6.2.
    """
    return 2 * math.asin(math.sqrt(rate)) - 2 * math.asin(math.sqrt(reference))


def cohens_g(rate: float) -> float:
    """Cohen's g, the distance of a share from one half: .05 small, .15 medium, .25 large.

    References
    ----------
    Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, section 5.2.
    """
    return rate - 0.5
