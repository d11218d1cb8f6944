"""Logistic regression with clustered standard errors, or word that its likelihood has no maximum."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray
from statsmodels.tools.sm_exceptions import PerfectSeparationError

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
