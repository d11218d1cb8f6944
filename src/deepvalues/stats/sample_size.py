"""How many trials an exact test of a rate needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from deepvalues.core.errors import UserError


def smallest_sample(effect: float, power: float, alpha: float) -> int:
    """Smallest n at which a two-sided exact binomial test against .5 first reaches a power.

    The test rejects outside [c + 1, n − c − 1], with c the largest count for which P(K ≤ c | .5) ≤ alpha/2.
    Power is a sawtooth in n, so that some larger samples fall short again; this is the first that does not.

    Parameters
    ----------
    effect
        Cohen's g, the distance of the true rate from .5; above 0, at most .5.
    power, alpha
        Both between 0 and 1.

    Raises
    ------
    UserError
        Where a parameter is out of its range, or no n up to 100,000 is enough.

    References
    ----------
    Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 5.
    """
    if not (0 < effect <= 0.5 and 0 < power < 1 and 0 < alpha < 1):
        raise UserError("smallest_sample: effect lies in (0, .5], power and alpha between 0 and 1")
    block = 2_000
    for first in range(1, 100_000, block):
        reached = exact_power(np.arange(first, first + block), effect, alpha) >= power
        if reached.any():
            return first + int(reached.argmax())
    raise UserError("smallest_sample: no sample up to 100,000 is enough")


def exact_power(n: NDArray[np.int64], effect: float, alpha: float) -> NDArray[np.float64]:
    """Power of the two-sided exact binomial test against .5 at each n; see `smallest_sample`."""
    critical = stats.binom.ppf(alpha / 2, n, 0.5)
    critical -= stats.binom.cdf(critical, n, 0.5) > alpha / 2
    low_tail = stats.binom.cdf(critical, n, 0.5 + effect)
    high_tail = stats.binom.sf(n - critical - 1, n, 0.5 + effect)
    return np.asarray(low_tail + high_tail, dtype=float)
