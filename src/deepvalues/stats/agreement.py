"""Agreement between raters, coders, models or runs: coefficients with bootstrap intervals over units.

Ratings are a frame with one row per unit and one column per rater, NaN where missing. A bootstrap draw
weights units by how often they were drawn, and each coefficient is a function of sums over units, so all
draws are computed at once. Libraries compute only the estimates, except for Krippendorff's alpha, whose
package is fast enough for every draw.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import krippendorff
import numpy as np
import pandas as pd
import pingouin as pg
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from deepvalues.stats.bootstrap import draw_counts, percentiles
from deepvalues.stats.rates import NO_INTERVAL, Interval

Floats = NDArray[np.float64]


class Agreement(NamedTuple):
    """A coefficient with its percentile interval, and the numbers of units and raters."""

    estimate: float
    low: float
    high: float
    units: int
    raters: int


def _coded(ratings: pd.DataFrame) -> tuple[NDArray[np.int64], list[object]]:
    """Ratings as category codes, −1 where missing, and the sorted categories."""
    flat = pd.Series(ratings.to_numpy().ravel())
    codes, categories = pd.factorize(flat, sort=True)
    return codes.reshape(ratings.shape), list(categories)


def _one_hot(codes: NDArray[np.int64], categories: int) -> Floats:
    """Indicators of shape (units, raters, categories)."""
    return np.asarray(codes[:, :, None] == np.arange(categories), dtype=float)


def _bootstrap(units: int, statistic: Callable[[Floats], Floats], draws: int, seed: int) -> Interval:
    """Percentile interval over draws of units, without draws for which there is no estimate."""
    if units < 2:
        return NO_INTERVAL
    with np.errstate(divide="ignore", invalid="ignore"):
        return percentiles(statistic(draw_counts(units, draws, seed)))


def raw_agreement(ratings: pd.DataFrame, draws: int = 2000, seed: int = 0) -> Agreement:
    """Share of agreeing pairs among all pairs of ratings of the same unit.

    With two raters this is the share of units on which they agree. Units with one rating don't count.
    """
    codes, categories = _coded(ratings)
    counts = _one_hot(codes, len(categories)).sum(axis=1)
    m = counts.sum(axis=1)
    pairs, agreeing = m * (m - 1), (counts * (counts - 1)).sum(axis=1)
    used = pairs > 0
    total = float(pairs.sum())
    estimate = float(agreeing.sum()) / total if total else math.nan
    units = int(used.sum())
    bounds = _bootstrap(units, lambda drawn: (drawn @ agreeing[used]) / (drawn @ pairs[used]), draws, seed)
    return Agreement(estimate, *bounds, units, ratings.shape[1])


def cohens_kappa(ratings: pd.DataFrame, draws: int = 2000, seed: int = 0) -> Agreement:
    """Cohen's kappa of two raters, as in scikit-learn, over the units that both rated.

    Returns
    -------
    Agreement
        NaN if both raters use only one and the same category.

    References
    ----------
    Cohen (1960), Educational and Psychological Measurement 20.
    """
    both = ratings.dropna()
    codes, categories = _coded(both)
    hot = _one_hot(codes, len(categories))
    agrees = (codes[:, 0] == codes[:, 1]).astype(float)

    def kappa(drawn: Floats) -> Floats:
        n = drawn.sum(axis=1)
        chance = ((drawn @ hot[:, 0]) * (drawn @ hot[:, 1])).sum(axis=1) / n**2
        return np.asarray((drawn @ agrees / n - chance) / (1 - chance))

    estimate = float(cohen_kappa_score(codes[:, 0], codes[:, 1])) if len(categories) > 1 else math.nan
    return Agreement(estimate, *_bootstrap(len(both), kappa, draws, seed), len(both), 2)


def icc_table(x: Floats) -> pd.DataFrame:
    """All kinds of intraclass correlation, by pingouin: ICC and CI95 (to two digits) by kind.

    Parameters
    ----------
    x
        Shape (units, raters), without missing ratings.
    """
    n, k = x.shape
    long = pd.DataFrame(
        {"unit": np.repeat(np.arange(n), k), "rater": np.tile(np.arange(k), n), "y": x.ravel()}
    )
    # With perfect agreement, pingouin divides by an error of zero.
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning), np.errstate(all="ignore"):
        table: pd.DataFrame = pg.intraclass_corr(long, targets="unit", raters="rater", ratings="y")
    return table.set_index("Type")


def krippendorff_alpha(
    ratings: pd.DataFrame, level: str = "nominal", draws: int = 2000, seed: int = 0
) -> Agreement:
    """Krippendorff's alpha, as in the package krippendorff, for any number of raters and missing ratings.

    Parameters
    ----------
    level
        ``nominal``, ``ordinal`` (categories in sorted order) or ``interval`` (numbers).

    Returns
    -------
    Agreement
        NaN if all ratings are of one category. The interval draws units with replacement.

    References
    ----------
    Krippendorff (2019), Content Analysis, 4th edition, chapter 12.
    """
    codes, categories = _coded(ratings)
    counts = _one_hot(codes, len(categories)).sum(axis=1)
    counts = counts[counts.sum(axis=1) > 1]
    # The package's type annotations are too narrow.
    measured: Any = level
    domain: Any = categories if level == "interval" else list(range(len(categories)))

    def alpha(drawn: Floats) -> float:
        used = np.repeat(counts, drawn.astype(int), axis=0)
        # The package raises an error with fewer than two categories.
        if (used.sum(axis=0) > 0).sum() < 2:
            return math.nan
        return float(
            krippendorff.alpha(value_counts=used, value_domain=domain, level_of_measurement=measured)
        )

    bounds = _bootstrap(len(counts), lambda drawn: np.array([alpha(one) for one in drawn]), draws, seed)
    return Agreement(alpha(np.ones(len(counts))), *bounds, len(counts), ratings.shape[1])
