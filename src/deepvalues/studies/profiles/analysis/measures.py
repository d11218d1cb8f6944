"""Profile fidelity and its components: pure functions of two profiles over the six themes.

Fidelity is our reconstruction from the abstract of Lau and others (arXiv 2506.12617), whose formula is not
public. With population moments m, s and c of a model's profile x and a reference's h,

    r = c / (s_x s_h)            ordering
    v = s_x / s_h                spread: above 1 exaggerates differences, below 1 flattens them
    F = 2c / (s_x² + s_h²)       fidelity, = r · 2 / (v + 1/v)

All functions are vectorized over leading axes, because a bootstrap needs thousands of profiles; pingouin and
scipy take one pair at a time. The tests compare each function with pingouin, scipy or the definition.
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from deepvalues.core.errors import UserError

Array = NDArray[np.float64]

#: The number of themes.
THEMES = 6
_PAIRS = np.array(list(combinations(range(THEMES), 2)))
#: All 720 orders of the themes, the identity first.
_ORDERS = np.array(list(permutations(range(THEMES))))
#: Digits kept before comparing, because sums of the same numbers in another order differ by rounding.
_DIGITS = 9

MEASURES = ("r", "rho", "v", "fidelity", "ccc", "icc_a1", "pair_mae", "sign_agreement")


class Measures(NamedTuple):
    """The measures of `fidelity`, each with the shape of the leading axes."""

    r: Array
    rho: Array
    v: Array
    fidelity: Array
    ccc: Array
    icc_a1: Array
    pair_mae: Array
    sign_agreement: Array


class Parts(NamedTuple):
    """The squared distance of two profiles, and the parts that sum to it."""

    total: Array
    elevation: Array
    scatter: Array
    shape: Array


class PermutationP(NamedTuple):
    """Exact p-values over the 720 orders, for a correlation as high and for one as far from zero."""

    greater: float
    two_sided: float


def profile(values: ArrayLike, name: str = "profile") -> Array:
    """Check that values are finite profiles over the six themes, shape (..., 6).

    Raises
    ------
    UserError
        When they are not; the message names the profile.
    """
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: not numeric ({error}); give six numbers, one per theme") from None
    if array.ndim == 0 or array.shape[-1] != THEMES:
        raise UserError(f"{name}: its shape is {array.shape}; give six numbers, one per theme")
    if not np.isfinite(array).all():
        raise UserError(f"{name}: contains a missing or infinite number; leave such profiles out")
    return array


def _ratio(above: Array, below: Array) -> Array:
    """Quotient, with NaN where ``below`` is zero."""
    zero = below == 0
    return np.asarray(np.where(zero, np.nan, above / np.where(zero, 1.0, below)))


def _centred(x: Array) -> Array:
    """Deviations from the mean over themes, exactly zero for a flat profile despite rounding."""
    centred = x - x.mean(axis=-1, keepdims=True)
    flat = np.ptp(x, axis=-1, keepdims=True) == 0
    return np.asarray(np.where(flat, 0.0, centred))


def correlation(x: Array, h: Array) -> Array:
    """Pearson's r over the last axis; NaN if either profile is flat."""
    return of_moments(moments(x, h))["r"]


class Moments(NamedTuple):
    """Population moments of two profiles: variances, covariance, and the difference of their means."""

    var_x: Array
    var_h: Array
    c: Array
    shift: Array


def moments(x: Array, h: Array) -> Moments:
    """Moments over the last axis."""
    a, b = _centred(x), _centred(h)
    return Moments((a**2).mean(-1), (b**2).mean(-1), (a * b).mean(-1), x.mean(-1) - h.mean(-1))


def of_moments(given: Moments) -> dict[str, Array]:
    """The measures that depend only on moments: r, v, fidelity, ccc, icc_a1.

    ICC(A,1) of two raters is (MSR − MSE) / (MSR + MSE + 2(MSC − MSE)/n); with n = 6 themes MSR − MSE = 12/5
    c, MSR + MSE = 6/5 (s_x² + s_h²), MSE = 3/5 (s_x² + s_h² − 2c) and MSC = 3 (m_x − m_h)².
    """
    var_x, var_h, c, shift = given
    both = var_x + var_h
    error, columns = 0.6 * (both - 2 * c), 3 * shift**2
    return {
        "r": _ratio(c, np.sqrt(var_x) * np.sqrt(var_h)),
        "v": _ratio(np.sqrt(var_x), np.sqrt(var_h)),
        "fidelity": _ratio(2 * c, both),
        "ccc": _ratio(2 * c, both + shift**2),
        "icc_a1": _ratio(2.4 * c, 1.2 * both + 2 / THEMES * (columns - error)),
    }


def measures(x: ArrayLike, h: ArrayLike) -> Measures:
    """All measures of profiles x against profiles h, broadcast over leading axes; see `fidelity`.

    Parameters
    ----------
    x, h
        Shapes (..., 6).

    Raises
    ------
    UserError
        When a profile has the wrong shape or a number is not finite.
    """
    x, h = np.broadcast_arrays(profile(x, "x"), profile(h, "h"))
    dx, dh = (np.round(y[..., _PAIRS[:, 0]] - y[..., _PAIRS[:, 1]], _DIGITS) for y in (x, h))
    return Measures(
        **of_moments(moments(x, h)),
        rho=correlation(stats.rankdata(x, axis=-1), stats.rankdata(h, axis=-1)),
        pair_mae=np.abs(dx - dh).mean(-1),
        sign_agreement=(np.sign(dx) == np.sign(dh)).mean(-1),
    )


def fidelity(x: ArrayLike, h: ArrayLike) -> pd.Series[float]:
    """Fidelity of a profile x to a reference profile h, with related measures.

    F = 2c / (s_x² + s_h²) = r · 2 / (v + 1/v) is the concordance of all 15 pairwise differences between
    themes, and Lin's concordance coefficient of the mean-centred profiles. It is our reconstruction.

    Parameters
    ----------
    x, h
        Six numbers each, one per theme, in the same order of themes.

    Returns
    -------
    pandas.Series
        r (Pearson) and rho (Spearman): ordering; v = s_x / s_h: above 1, x exaggerates the differences, below
        1 it flattens them; fidelity: F; ccc: Lin's coefficient, uncentred; icc_a1: ICC(A,1), uncentred;
        pair_mae: mean absolute difference of the 15 pairwise differences, in the unit of the profiles;
        sign_agreement: share of the 15 pairs in the same order, where a tie agrees only with a tie.
        If x is flat, r and rho are NaN, and v, F and ccc are 0; if h is flat, v is also NaN; if both are, so
        is F.

    Raises
    ------
    UserError
        When a profile has the wrong shape or a number is not finite.

    References
    ----------
    Lin (1989), Biometrics 45; McGraw and Wong (1996), Psychological Methods 1.
    """
    x, h = profile(x, "x"), profile(h, "h")
    for name, one in (("x", x), ("h", h)):
        if one.ndim != 1:
            raise UserError(f"{name}: its shape is {one.shape}; give one profile of six numbers")
    found = measures(x, h)
    return pd.Series([float(number) for number in found], index=list(MEASURES), dtype=float)


def cronbach_gleser(x: ArrayLike, h: ArrayLike) -> Parts:
    """Squared distance Σ(x − h)² as elevation + scatter + shape.

    n·Δ² (means) + n(s_x − s_h)² (spreads) + 2n·s_x·s_h(1 − r) (orders and proportions), with n = 6.

    Parameters
    ----------
    x, h
        Shapes (..., 6).

    References
    ----------
    Cronbach and Gleser (1953), Psychological Bulletin 50.
    """
    x, h = np.broadcast_arrays(profile(x, "x"), profile(h, "h"))
    a, b = _centred(x), _centred(h)
    s_x, s_h = np.sqrt((a**2).mean(-1)), np.sqrt((b**2).mean(-1))
    # s_x s_h (1 − r) is s_x s_h − c, which also works for flat profiles.
    shape = 2 * THEMES * (s_x * s_h - (a * b).mean(-1))
    elevation = THEMES * (x.mean(-1) - h.mean(-1)) ** 2
    return Parts(((x - h) ** 2).sum(-1), elevation, THEMES * (s_x - s_h) ** 2, shape)


def residuals(x: ArrayLike, h: ArrayLike) -> Array:
    """Centred residual of each theme, (x − m_x) − (h − m_h), shape (..., 6), in the profiles' unit."""
    return _centred(profile(x, "x")) - _centred(profile(h, "h"))


def permutation_p(x: ArrayLike, h: ArrayLike, statistic: str = "r") -> PermutationP:
    """Exact p-values of the ordering, over all 720 ways to assign x's six numbers to the themes.

    A permutation does not change the spread, so the p-value of r is also that of F. With ties, several
    permutations give the same profile; all 720 are counted. The smallest one-sided p-value is 1/720.

    Parameters
    ----------
    statistic
        ``r`` (Pearson) or ``rho`` (Spearman).

    Returns
    -------
    PermutationP
        NaN if either profile is flat.

    Raises
    ------
    UserError
        When a profile is not six finite numbers.

    References
    ----------
    Pitman (1937), Supplement to the Journal of the Royal Statistical Society 4.
    """
    one, other = profile(x, "x"), profile(h, "h")
    if statistic == "rho":
        one, other = stats.rankdata(one), stats.rankdata(other)
    found = np.round(correlation(one[_ORDERS], other), _DIGITS)
    if np.isnan(found[0]):
        return PermutationP(np.nan, np.nan)
    far = np.abs(found) >= abs(found[0])
    return PermutationP(float((found >= found[0]).mean()), float(far.mean()))
