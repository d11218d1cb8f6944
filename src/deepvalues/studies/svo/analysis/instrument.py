"""Does the instrument measure what it should: reference agents against what they must come to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from deepvalues.studies.svo.analysis import scoring
from deepvalues.studies.svo.analysis.statistics import CONDITION
from deepvalues.studies.svo.items import questions_of
from deepvalues.studies.svo.respondents import ReferenceAgent
from deepvalues.studies.svo.stimuli import LETTERS, N_OPTIONS, N_PRIMARY, options_of, payoffs

#: How many standard errors an agent with chance may be off: about one in 16,000 fails by chance.
MOST_ERRORS = 4.0
#: Degrees that computing may lose.
_PRECISION = 1e-6


class Moments(NamedTuple):
    """Mean and variance of the angle of one trial, in degrees."""

    mean: float
    variance: float


def trial_moments(agent: ReferenceAgent, value: str, questions: list[tuple[int, str]]) -> Moments:
    """Mean and variance of the angle of a trial, exactly: over all 9⁶ answers by their probability.

    Parameters
    ----------
    questions
        Item number and options as shown of each primary question.

    Returns
    -------
    Moments
        NaN where the agent refuses.
    """
    if value in agent.refuses:
        return Moments(math.nan, math.nan)
    shares: list[tuple[float, ...]] = [()] * N_PRIMARY
    for item, shown in questions:
        if item <= N_PRIMARY:
            of_letters = agent.rule(options_of(item, shown), value)
            by_option = dict(zip(shown, of_letters.values(), strict=True))
            # The order shown touches the last digits, and each set of shares is worked out once only.
            shares[item - 1] = tuple(round(by_option[option], 12) for option in LETTERS)
    return _moments(tuple(shares))


@lru_cache(maxsize=256)
def _moments(shares: tuple[tuple[float, ...], ...]) -> Moments:
    """Moments of the angle where each item is answered by itself with the given shares."""
    # Angles depend on two sums of whole coins alone: fold the items' distributions of coins.
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
    """Compare the mean angle of each reference agent and condition with what it must be.

    Parameters
    ----------
    frame
        From `analysis.statistics.trials`; other models are left out.
    items
        The trials that were asked.

    Returns
    -------
    pandas.DataFrame
        model, mode, value, goal, trials, complete, expected (degrees; NaN where the agent refuses),
        standard_error (of the mean; 0 for an agent without chance), angle, off (in degrees), agrees: within
        four standard errors, exactly without chance, and without any complete trial where the agent refuses.
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
    """Sum the conditions of each agent up.

    Parameters
    ----------
    check
        From `instrument`.

    Returns
    -------
    pandas.DataFrame
        model, rule (in words), conditions, agree (how many of them), largest (difference, in degrees).
    """
    measures = {"conditions": ("agrees", "size"), "agree": ("agrees", "sum"), "largest": ("off", "max")}
    table = check.assign(off=check["off"].abs()).groupby("model").agg(**measures).reset_index()
    table.insert(1, "rule", table["model"].map({name: agent.description for name, agent in agents.items()}))
    return table
