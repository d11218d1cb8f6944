"""Pairs of orders: what a model does when the two options of a test swap positions.

Position bias favours the right option in one order and the wrong one in the other, so the mean of both
orders cancels it. Whether both choices are of the same option separates position bias from learning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from scipy.special import logit

from deepvalues.core.errors import UserError
from deepvalues.stats import clusters
from deepvalues.stats.clusters import Estimate
from deepvalues.stats.rates import wilson

#: Probabilities are clipped to this distance from 0 and 1 before log odds are taken.
CLIP = 1e-6
#: What identifies a pair: a test of a cell in an arm at a number of examples.
KEYS = ("model", "family", "cell", "arm", "n_examples", "test")
#: Log odds are rounded to this many digits, so that rounding errors have no sign.
DIGITS = 9

#: The columns of `pairs`.
COLUMNS = [
    *KEYS,
    *("right", "asked", "answered", "followed_first", "followed_second", "followed"),
    *("agree", "first_option", "p", "log_odds", "mass"),
    *("first_p", "first_odds", "sampled_agree"),
]


def pairs(trials: pd.DataFrame) -> pd.DataFrame:
    """Join the two orders of each test.

    Parameters
    ----------
    trials
        From `analysis.statistics.trials` with families, one row per model and item. Optionally ``p_a``,
        the probability of option A among A and B, and ``mass``, the total probability of both letters.
        Probabilities count whether or not the reply itself could be read.

    Returns
    -------
    pandas.DataFrame
        With `COLUMNS`, one row per model, cell, arm, N and test: ``right``, the letter of the
        right option in the first order; the number of orders ``asked`` and ``answered``;
        ``followed_first`` and ``followed_second`` (1 if the right option was chosen in that order);
        ``followed``, their mean; ``agree``, 1 if both choices are of the same option; ``first_option``,
        the share of choices of option A; ``p`` and ``log_odds``, the means over both orders of the right
        option's probability and log odds; ``mass``, the mean over the orders that have one; ``first_p`` and
        ``first_odds``, the means of option A's probability and log odds; ``sampled_agree``, the probability
        of the same option twice if each choice were drawn with the option's probability.
        Columns that combine both orders are NaN unless both are known: one order alone cancels nothing.

    Raises
    ------
    UserError
        When a model answered one order of a test more than once.

    Notes
    -----
    The log odds of A change sign where B is right. If the logit of A is b + d in one order and b − d in the
    other, their mean is ((b + d) − (b − d)) / 2 = d whatever the position bias b, as long as neither
    probability is clipped; see `CLIP`.
    """
    rows = _one_order_each(trials)
    both = rows.groupby(list(KEYS), sort=True, observed=True)
    joined = pd.DataFrame({"asked": both.size(), "answered": both["followed"].count()})
    first, second = (
        rows[rows["swapped"] == order].set_index(list(KEYS)).reindex(joined.index) for order in (False, True)
    )
    joined["right"] = first["right"]
    joined["followed_first"], joined["followed_second"] = first["followed"], second["followed"]
    for name in ("followed", "first_option", "p", "log_odds", "first_p", "first_odds"):
        joined[name] = (first[name] + second[name]) / 2
    joined["sampled_agree"] = first["p"] * second["p"] + (1 - first["p"]) * (1 - second["p"])
    same = (first["followed"] == second["followed"]).astype(float)
    joined["agree"] = same.where(joined["followed"].notna())
    odds = ["log_odds", "first_odds"]
    joined[odds] = joined[odds].round(DIGITS)
    joined["mass"] = both["mass"].mean()
    return joined.reset_index()[COLUMNS]


def _one_order_each(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with the columns of a single order: first option, p and log odds of the right one, mass."""
    twice = trials.duplicated([*KEYS, "swapped"])
    if twice.any():
        one = trials[twice].iloc[0]
        raise UserError(
            f"{one['model']} has two answers to one order of {one['cell']}, {one['arm']}, "
            f"N = {one['n_examples']}, test {one['test']}: keep one repeat of each item"
        )
    weighed = trials.reindex(columns=["p_a", "mass"]).astype(float)
    p_a = weighed["p_a"]
    at_a = trials["right"] == "A"
    odds = pd.Series(logit(p_a.clip(CLIP, 1 - CLIP)), trials.index)
    chose_a = (trials["choice"] == "A").astype(float)
    return trials[[*KEYS, "swapped", "right", "followed"]].assign(
        first_option=chose_a.where(trials["followed"].notna()),
        p=p_a.where(at_a, 1 - p_a),
        log_odds=odds.where(at_a, -odds),
        mass=weighed["mass"],
        first_p=p_a,
        first_odds=odds,
    )


def excess_over_place(frame: pd.DataFrame) -> Estimate:
    """Order consistency minus 2p(1 − p), the value for choosing by position alone; clustered by cell.

    A respondent that chooses by position alone takes the first option with probability p, independently in
    each order. The two choices are of the same option if they are in different positions, which has the
    probability p(1 − p) + (1 − p)p = 2p(1 − p): 0 for one fixed position (p = 0 or 1), at most one half, for
    a fair coin. If p varies between tests, the mean of 2p(1 − p) is below its value at the mean of p
    (Jensen), so choosing by position is not mistaken for choosing options.

    Deterministic choices, as of the more probable letter, are never below this value. A test on which the
    preference for an option outweighs position bias gives an agreement and one first option; any other test
    gives the same position twice. If that is the first, a consistency of c comes with p = 1 − c/2 and an
    excess of c²/2. For such choices, the size of the excess says more than its being above 0.

    Parameters
    ----------
    frame
        From `pairs`; only pairs with both orders answered are used.
    """
    known = frame.dropna(subset="agree")
    agree, first = (known[name].to_numpy(dtype=float) for name in ("agree", "first_option"))
    return clusters.excess_over_place(agree, first, known["cell"])


def by_cell(frame: pd.DataFrame, column: str) -> Estimate:
    """The mean of a column over the pairs that have a value, clustered by cell."""
    known = frame.dropna(subset=column)
    return clusters.mean(known[column].to_numpy(dtype=float), known["cell"])


# ---- public prompts, compared with the published language models ----

#: Name of the published models, pooled into one respondent.
PUBLISHED = "published models"


def order_rates(trials: pd.DataFrame) -> pd.DataFrame:
    """DVGR of each model on prompts that were asked in both orders of their options.

    A prompt counts once, with the mean of its answered orders; prompts without an answer are left out. The
    interval is clustered by shallow dimension, as prompts about the same dimension share wordings.

    Parameters
    ----------
    trials
        From `statistics.trials`; cell, n_examples and test identify a prompt.

    Returns
    -------
    pandas.DataFrame
        model, prompts (those with an answer), dvgr, low, high (95% interval); dvgr_first and dvgr_swapped (by
        order), both (prompts answered in both orders) and consistency (the share of these with the same
        option chosen in both orders); NaN where there are no answers to compute it from.
    """
    prompt = ["cell", "n_examples", "test"]
    rows = []
    for model, group in trials.groupby("model", observed=True, sort=True):
        orders = group.pivot(index=[*prompt, "dimension"], columns="swapped", values="followed")
        orders = orders.reindex(columns=[False, True])
        prompts = orders.mean(axis="columns").dropna()
        both = orders.dropna()
        consistency = (both[False] == both[True]).mean() if len(both) else math.nan
        dvgr = clusters.mean(prompts.to_numpy(), prompts.index.get_level_values("dimension").to_numpy())
        ends = dvgr.rate_interval
        rows.append((model, len(prompts), dvgr.value, *ends, *orders.mean(), len(both), consistency))
    columns = ["prompts", "dvgr", "low", "high", "dvgr_first", "dvgr_swapped", "both"]
    return pd.DataFrame(rows, columns=["model", *columns, "consistency"])


def with_published(trials: pd.DataFrame, family: Mapping[str, str], published: pd.DataFrame) -> pd.DataFrame:
    """Each respondent's DVGR on the public prompts and, as the last row, that of the published models.

    The published models were asked other prompts of the same kind, in one order.

    Parameters
    ----------
    trials
        Of the item set ``authors``.
    family
        Families by model.
    published
        ``data/published/dvb_by_model.csv``: n_prompts (asked), n_parsed (replies), n_deep (deep ones).

    Returns
    -------
    pandas.DataFrame
        model, family, and the columns of `order_rates`; Wilson's interval for the published models.
    """
    table = order_rates(trials)
    table.insert(1, "family", table["model"].map(dict(family)))
    deep, parsed = int(published["n_deep"].sum()), int(published["n_parsed"].sum())
    asked, rate = int(published["n_prompts"].max()), deep / parsed
    rates = (rate, *wilson(deep, parsed), rate, math.nan, 0, math.nan)
    pooled = dict(zip(table, (PUBLISHED, "language model", asked, *rates), strict=True))
    return pd.DataFrame([*table.to_dict("records"), pooled], columns=list(table))
