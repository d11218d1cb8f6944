"""Validation of the instrument against reference agents, and estimates of a model's weights for coins.

The angle of the slider measure summarizes a trial. A logit model of all single choices estimates the weights
of one's own and the other's coins, and the precision of the choices. The true values of the reference agents
are known, so both measures can be tested.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.special import softmax

from deepvalues.stats.rates import CONFIDENCE
from deepvalues.studies.svo.analysis import scoring
from deepvalues.studies.svo.analysis.statistics import CONDITION
from deepvalues.studies.svo.respondents import ReferenceAgent
from deepvalues.studies.svo.stimuli import (
    LETTERS,
    N_OPTIONS,
    N_PRIMARY,
    Floats,
    options_of,
    payoffs,
    questions_of,
)

#: Tolerance for random agents in standard errors: about one in 16,000 exceeds it by chance.
MOST_ERRORS = 4.0
#: Tolerance for rounding errors, in degrees.
_PRECISION = 1e-6


class Moments(NamedTuple):
    """Mean and variance of the angle of one trial, in degrees."""

    mean: float
    variance: float


def trial_moments(agent: ReferenceAgent, value: str, questions: list[tuple[int, str]]) -> Moments:
    """Exact mean and variance of the angle of a trial, over all 9⁶ answers weighted by probability.

    Parameters
    ----------
    questions
        Item number and options as shown, for each question.

    Returns
    -------
    Moments
        NaN if the agent refuses.
    """
    if value in agent.refuses:
        return Moments(math.nan, math.nan)
    shares: list[tuple[float, ...]] = [()] * N_PRIMARY
    for item, shown in questions:
        if item <= N_PRIMARY:
            of_letters = agent.rule(options_of(item, shown), value)
            by_option = dict(zip(shown, of_letters.values(), strict=True))
            # Rounded, as the order shown affects the last digits and would defeat the cache.
            shares[item - 1] = tuple(round(by_option[option], 12) for option in LETTERS)
    return _moments(tuple(shares))


@lru_cache(maxsize=256)
def _moments(shares: tuple[tuple[float, ...], ...]) -> Moments:
    """Moments of the angle if the items are answered independently with the given shares."""
    # The angle depends only on two sums of whole coins, so convolve the items' distributions of coins.
    pay = payoffs()
    sums: dict[tuple[float, float], float] = {(0.0, 0.0): 1.0}
    for item, of_item in enumerate(shares):
        folded: dict[tuple[float, float], float] = {}
        for (own, other), mass in sums.items():
            for option in range(N_OPTIONS):
                if of_item[option]:
                    reached = own + pay.own[item, option], other + pay.other[item, option]
                    folded[reached] = folded.get(reached, 0.0) + mass * of_item[option]
        sums = folded
    coins, masses = np.array(list(sums)), np.array(list(sums.values()))
    angles = scoring.angles_of(coins[:, 0] / N_PRIMARY, coins[:, 1] / N_PRIMARY)
    mean = float(masses @ angles)
    return Moments(mean, max(0.0, float(masses @ (angles - mean) ** 2)))


def instrument(
    frame: pd.DataFrame, items: pd.DataFrame, agents: Mapping[str, ReferenceAgent]
) -> pd.DataFrame:
    """Compare the mean angle of each reference agent and condition with its expectation.

    Parameters
    ----------
    frame
        From `analysis.statistics.trials`; other models are left out.
    items
        The trials that were asked.

    Returns
    -------
    pandas.DataFrame
        model, mode, value, goal, trials, complete, expected (degrees; NaN if the agent refuses),
        standard_error (of the mean; 0 for a deterministic agent), angle, off (degrees), agrees: within four
        standard errors or, if the agent refuses, no complete trial.
    """
    asked = items[["id", "item_order", "option_orders"]].itertuples(index=False, name=None)
    questions = {id: questions_of(order, options) for id, order, options in asked}
    known = frame[frame["model"].isin(list(agents))]
    rows = []
    for key, group in known.groupby(list(CONDITION), sort=True):
        agent, value = agents[str(key[0])], str(key[2])
        moments = [trial_moments(agent, value, questions[id]) for id in group["id"]]
        n, complete = len(group), int(group["angle"].notna().sum())
        expected = float(np.mean([part.mean for part in moments]))
        error = math.sqrt(sum(part.variance for part in moments)) / n
        angle = group["angle"].mean()
        off = angle - expected
        agrees = complete == 0 if math.isnan(expected) else abs(off) <= MOST_ERRORS * error + _PRECISION
        rows.append((*key, n, complete, expected, error, angle, off, bool(agrees)))
    columns = ["trials", "complete", "expected", "standard_error", "angle", "off", "agrees"]
    return pd.DataFrame(rows, columns=[*CONDITION, *columns])


def by_agent(check: pd.DataFrame, agents: Mapping[str, ReferenceAgent]) -> pd.DataFrame:
    """Summarize the conditions of each agent in `instrument`.

    Returns
    -------
    pandas.DataFrame
        model, rule (in words), conditions, agree (number of them), largest (difference, in degrees).
    """
    measures = {"conditions": ("agrees", "size"), "agree": ("agrees", "sum"), "largest": ("off", "max")}
    table = check.assign(off=check["off"].abs()).groupby("model").agg(**measures).reset_index()
    table.insert(1, "rule", table["model"].map({name: agent.description for name, agent in agents.items()}))
    return table


# ---- weights of the coins ----

_STEPS = 100
#: Above this precision, in logits per coin, the estimate diverges: some weights explain all choices.
_MOST_PRECISION = 20.0


class Weights(NamedTuple):
    """Weight angle φ in degrees and precision in logits per coin, with their intervals.

    Utility is cos φ · self + sin φ · other: only self at φ = 0, both equally at 45, only the other at 90, and
    against the other below 0.
    """

    choices: int
    weight: float
    weight_low: float
    weight_high: float
    precision: float
    precision_low: float
    precision_high: float


def fit(items: npt.ArrayLike, options: npt.ArrayLike) -> Weights:
    """Estimate weights by maximum likelihood of a conditional logit on both sides' coins.

    P(option) ∝ exp(b_self · self + b_other · other); weight φ = arctan2(b_other, b_self), precision
    = √(b_self² + b_other²). Intervals use the delta method, for independent choices given the weights.

    Parameters
    ----------
    items, options
        Item number (1 to 15) and option index (0 to 8) of each choice.

    Returns
    -------
    Weights
        NaN if the likelihood has no finite maximum, as for a model that always maximizes something. Only the
        weight is NaN if the choices may be random (Wald's test of both coefficients).

    References
    ----------
    McFadden (1974), in Zarembka (ed.), Frontiers in Econometrics.
    """
    rows, chosen = np.asarray(items, dtype=int) - 1, np.asarray(options, dtype=int)
    found = _maximum(np.stack(payoffs(), axis=2)[rows], chosen) if len(rows) else None
    if found is None:
        nan = math.nan
        return Weights(len(rows), nan, nan, nan, nan, nan, nan)
    estimate, covariance = found
    (own, other), precision = estimate, float(np.hypot(*estimate))
    angle = math.atan2(other, own)
    along, across = np.array([own, other]) / precision, np.array([-other, own]) / precision**2
    z = stats.norm.ppf((1 + CONFIDENCE) / 2)
    half_angle, half_precision = (
        z * math.sqrt(gradient @ covariance @ gradient) for gradient in (across, along)
    )
    if estimate @ np.linalg.solve(covariance, estimate) < stats.chi2.ppf(CONFIDENCE, 2):
        angle = math.nan
    return Weights(
        len(rows),
        math.degrees(angle),
        math.degrees(angle - half_angle),
        math.degrees(angle + half_angle),
        precision,
        precision - half_precision,
        precision + half_precision,
    )


def _maximum(coins: Floats, chosen: npt.NDArray[np.int64]) -> tuple[Floats, Floats] | None:
    """Coefficients and covariance by Newton's method; None if the likelihood has no finite maximum.

    statsmodels' ConditionalLogit gives the same numbers (tested), but takes a second for a model's six
    hundred choices instead of milliseconds.

    Parameters
    ----------
    coins
        Shape (choices, options, 2).
    """
    b = np.zeros(2)
    for _ in range(_STEPS):
        shares = softmax(coins @ b, axis=1)
        mean = np.einsum("no,nok->nk", shares, coins)
        score = (coins[np.arange(len(chosen)), chosen] - mean).sum(axis=0)
        information = np.einsum("no,nok,nol->kl", shares, coins, coins) - mean.T @ mean
        if np.hypot(*b) > _MOST_PRECISION or np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, score)
        # The likelihood is concave; short steps keep the first ones from overshooting.
        b = b + step * min(1.0, 0.5 / np.hypot(*step)) if np.hypot(*step) > 0 else b
        if np.hypot(*step) < 1e-10:
            return b, np.linalg.inv(information)
    return None


def weights(asked: pd.DataFrame) -> pd.DataFrame:
    """Estimate the weights of each model under each value.

    Parameters
    ----------
    asked
        From `analysis.statistics.choices`.

    Returns
    -------
    pandas.DataFrame
        model, value, and the fields of `Weights`.
    """
    given = asked[asked["option"] >= 0].groupby(["model", "value"], sort=True)
    rows = [(*key, *fit(group["item"], group["option"])) for key, group in given]
    return pd.DataFrame(rows, columns=["model", "value", *Weights._fields])


def recovery(table: pd.DataFrame, true_weights: Mapping[str, float], precision: float) -> pd.DataFrame:
    """Compare the estimates for an agent with its true weights.

    Parameters
    ----------
    table
        The agent's rows of `weights`, one per assigned value.
    true_weights
        Weight angle under each assigned value, in degrees.
    precision
        Its precision, in logits per coin.

    Returns
    -------
    pandas.DataFrame
        ``table`` with true_weight, true_precision, and weight_held and precision_held (whether the interval
        contains the true value).
    """
    truth = table["value"].map(true_weights).astype(float)
    found = table.assign(true_weight=truth, true_precision=precision)
    for name in ("weight", "precision"):
        found[f"{name}_held"] = found[f"true_{name}"].between(found[f"{name}_low"], found[f"{name}_high"])
    return found
