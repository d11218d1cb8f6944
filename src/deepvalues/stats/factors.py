"""Does a count depend on a factor? Chi-squared tests of contingency tables."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from deepvalues.core.errors import UserError


def factor_test(table: pd.DataFrame | ArrayLike) -> pd.Series[float]:
    """Pearson's chi-squared test of independence, with Cramér's V.

    χ² = Σ (O − E)² / E with E = row sum · column sum / total, on (rows − 1)(columns − 1) degrees of
    freedom; with one degree of freedom Yates' correction, which takes ½ (at most |O − E|) off each
    |O − E|. V = √(χ² / (total · (min(rows, columns) − 1))), from the χ² that is returned.

    Parameters
    ----------
    table
        Shape (levels, outcomes), at least 2 × 2: numbers of trials, one row per level of the factor.
        Numbers worked back from rounded rates need not be whole.

    Returns
    -------
    pandas.Series
        chi2, df, p_value (0 where it is below the smallest float, about 1e-308) and cramers_v (0 to 1).

    Raises
    ------
    UserError
        Where the table has another shape, an entry is missing, infinite, negative or no number, or a row
        or column sums to zero. A level without trials is not dropped: that would change the degrees of
        freedom unasked.

    References
    ----------
    Pearson (1900), Philosophical Magazine 50; Yates (1934), Supplement to the Journal of the Royal
    Statistical Society 1; Cramér (1946), Mathematical Methods of Statistics, section 21.9.
    """
    counts = _counts(table)
    _stop_at_empty(table, counts)
    # pingouin's test wants one row per trial, statsmodels' has no Yates' correction.
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


def _counts(table: pd.DataFrame | ArrayLike) -> NDArray[np.float64]:
    try:
        counts = np.asarray(table, dtype=float)
    except (TypeError, ValueError):
        raise UserError("the table of a factor test holds entries that are no numbers") from None
    if counts.ndim != 2 or min(counts.shape) < 2:
        raise UserError(
            f"a factor test needs a table of two or more levels (rows) by two or more outcomes (columns), "
            f"got shape {counts.shape}"
        )
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise UserError("the table of a factor test holds missing, infinite or negative counts: mend them")
    return counts


def _stop_at_empty(table: pd.DataFrame | ArrayLike, counts: NDArray[np.float64]) -> None:
    frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(counts)
    for kind, labels, sums in (
        ("level", frame.index, counts.sum(axis=1)),
        ("outcome", frame.columns, counts.sum(axis=0)),
    ):
        empty = [str(label) for label, total in zip(labels, sums, strict=True) if total == 0]
        if empty:
            raise UserError(
                f"a factor test needs trials in every {kind} and has none in {', '.join(empty)}: leave it out"
            )
