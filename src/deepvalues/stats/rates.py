"""Rates of success: intervals, tests and effect sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pingouin as pg
import statsmodels.api as sm
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


def clustered(outcomes: pd.Series[float], clusters: pd.Series[str]) -> Interval:
    """Interval of a mean whose trials come in clusters.

    The sandwich standard error, SE² = G/(G − 1) · Σ_g (Σ_{i in g} (y_i − ȳ))² / n², with Student's t on
    G − 1 degrees of freedom; computed by statsmodels as a regression on a constant.

    Parameters
    ----------
    outcomes
        0 or 1 per trial, or any number; no missing values.
    clusters
        The cluster of each trial, aligned with `outcomes`.

    Returns
    -------
    Interval
        NaN where fewer than two clusters or no variation leave nothing to estimate: a rate of exactly
        0 or 1 has no clustered interval.

    References
    ----------
    Liang and Zeger (1986), Biometrika 73; Cameron and Miller (2015), Journal of Human Resources 50.
    """
    groups = clusters.astype("category").cat.codes.to_numpy()
    y = outcomes.to_numpy(dtype=float)
    if len(np.unique(groups)) < 2 or np.ptp(y) == 0:
        return NO_INTERVAL
    fit = sm.OLS(y, np.ones_like(y)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": True}, use_t=True
    )
    low, high = fit.conf_int(alpha=1 - CONFIDENCE)[0]
    return Interval(float(low), float(high))


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
