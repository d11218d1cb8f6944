"""The choice of a ridge penalty within the examples of one prompt, for heads and for tuned text learners.

Both fit the Bradley-Terry model; they choose the penalty by the same function, so that a difference between
them comes from their features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import optimize
from scipy.special import expit

#: Inverse strengths of the ridge penalty, from which the examples select one; strongest penalty first.
GRID = tuple(10.0**power for power in range(-2, 5))
#: Folds of the cross-validation, if there are that many examples.
FOLDS = 5
#: Losses are rounded to this many digits before they are compared, so that rounding errors break no ties.
DIGITS = 9


def fit(won: Any, c: float) -> Any:
    """Weights that minimize half their squared length plus ``c`` times the log loss, with both signs.

    Parameters
    ----------
    won
        Differences f(chosen) - f(rejected), shape (examples, features).
    c
        Inverse strength of the penalty.
    """
    rows = np.sqrt(2 * c) * won

    def loss(w: Any) -> float:
        return float(w @ w / 2 + 2 * c * np.logaddexp(0, -won @ w).sum())

    def gradient(w: Any) -> Any:
        return w - 2 * c * won.T @ expit(-won @ w)

    def curvature(w: Any) -> Any:
        p = expit(won @ w)
        return np.eye(len(w)) + (rows.T * (p * (1 - p))) @ rows

    # A second-order method, as the loss is convex and there are no more weights than examples.
    start, near = np.zeros(won.shape[1]), {"gtol": 1e-8 * max(1.0, c)}
    return optimize.minimize(loss, start, method="trust-exact", jac=gradient, hess=curvature, options=near).x


def held_out_loss(won: Any, c: float) -> float:
    """Mean log loss of examples under weights fitted without them, over at most `FOLDS` folds.

    Example i is in fold i modulo the number of folds, so nothing is random. With `FOLDS` examples or
    fewer, this leaves out one at a time.

    Parameters
    ----------
    won
        Differences f(chosen) - f(rejected), shape (examples, features); at least two examples.
    """
    fold = np.arange(len(won)) % min(len(won), FOLDS)
    losses = [
        np.logaddexp(0, -won[fold == left_out] @ fit(won[fold != left_out], c))
        for left_out in range(fold.max() + 1)
    ]
    return float(np.concatenate(losses).mean())


def chosen_c(won: Any) -> float:
    """The inverse strength of the penalty from `GRID` with the smallest `held_out_loss` on the examples.

    In a tie, the strongest penalty is taken. A single example can't be left out, so it gets 1.
    """
    if len(won) < 2:
        return 1.0
    losses = [round(held_out_loss(won, c), DIGITS) for c in GRID]
    return GRID[int(np.argmin(losses))]
