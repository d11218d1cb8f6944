"""Pairs of orders: what a model does when the options of a test change places.

A liking for the first place favours the right option in one order and the other option in the other
order. The mean of both cancels it, and whether both choices are of one option tells it from learning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import pandera.pandas as pa
from scipy.special import logit

from deepvalues.core.errors import UserError
from deepvalues.stats import clusters
from deepvalues.stats.clusters import Estimate
from deepvalues.stats.rates import wilson

#: Probabilities nearer to 0 or 1 than this are moved to this distance before log odds are taken.
CLIP = 1e-6
#: What makes a pair: the test of a cell in an arm at a number of examples.
KEYS = ("model", "family", "cell", "arm", "n_examples", "test")
#: Log odds are rounded to so many digits, so that rounding errors have no sign.
DIGITS = 9

_NEEDED = (*KEYS, "swapped", "right", "status", "choice", "followed")
_SHARE = pa.Check.in_range(0, 1)
_HALVES = pa.Check.isin([0.0, 0.5, 1.0])

CONTRACT = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "family": pa.Column(str),
        "cell": pa.Column(str),
        "arm": pa.Column(str),
        "n_examples": pa.Column("int64", pa.Check.ge(0)),
        "test": pa.Column("int64", pa.Check.ge(0)),
        "right": pa.Column(str, pa.Check.isin(["A", "B"]), nullable=True),
        "asked": pa.Column("int64", pa.Check.isin([1, 2])),
        "answered": pa.Column("int64", pa.Check.isin([0, 1, 2])),
        "followed_first": pa.Column(float, pa.Check.isin([0.0, 1.0]), nullable=True),
        "followed_second": pa.Column(float, pa.Check.isin([0.0, 1.0]), nullable=True),
        "followed": pa.Column(float, _HALVES, nullable=True),
        "agree": pa.Column(float, pa.Check.isin([0.0, 1.0]), nullable=True),
        "first_option": pa.Column(float, _HALVES, nullable=True),
        "p": pa.Column(float, _SHARE, nullable=True),
        "log_odds": pa.Column(float, nullable=True),
        "mass": pa.Column(float, pa.Check.in_range(0, 1 + 1e-6), nullable=True),
    },
    unique=list(KEYS),
    strict=True,
    ordered=True,
    name="pairs of orders",
)


def pairs(trials: pd.DataFrame) -> pd.DataFrame:
    """Join the two orders of each test.

    Parameters
    ----------
    trials
        From `analysis.statistics.trials` with families, one row a model and item. Optionally ``p_a``,
        the probability of option A among A and B, and ``mass``, the probability of both letters together.
        A probability counts whether or not the reply itself could be read.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `CONTRACT`, one row a model, cell, arm, N and test: ``right``, the letter of the
        right option in the first order; how many orders were ``asked`` and ``answered``;
        ``followed_first`` and ``followed_second`` (1 where the right option was chosen in that order);
        ``followed``, their mean; ``agree``, 1 where both choices are of the same option; ``first_option``,
        the share of choices of option A; ``p``, the mean probability of the right option; ``log_odds``, the
        mean of its log odds; ``mass``, the mean over the orders that have one.
        What joins both orders is NaN unless both are known: the mean of one order cancels nothing.

    Raises
    ------
    UserError
        When a column is missing, or an order of a test was answered more than once by a model.

    Notes
    -----
    Log odds are taken of A and turned round where B is right. With a logit of A of b + d in one order
    and b − d in the other, their mean is ((b + d) − (b − d)) / 2 = d whatever the liking b for the first
    place, as long as neither probability is clipped; see `CLIP`.
    """
    rows = _one_order_each(trials)
    both = rows.groupby(list(KEYS), sort=True, observed=True)
    joined = pd.DataFrame({"asked": both.size(), "answered": both["followed"].count()})
    first, second = (
        rows[rows["swapped"] == order].set_index(list(KEYS)).reindex(joined.index) for order in (False, True)
    )
    joined["right"] = first["right"]
    joined["followed_first"], joined["followed_second"] = first["followed"], second["followed"]
    for name in ("followed", "first_option", "p", "log_odds"):
        joined[name] = (first[name] + second[name]) / 2
    same = (first["followed"] == second["followed"]).astype(float)
    joined["agree"] = same.where(joined["followed"].notna())
    joined["log_odds"] = joined["log_odds"].round(DIGITS)
    joined["mass"] = both["mass"].mean()
    return CONTRACT.validate(joined.reset_index()[list(CONTRACT.columns)])


def _one_order_each(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with what is said of one order: first option, p and log odds of the right one, mass."""
    missing = [name for name in _NEEDED if name not in trials]
    if missing:
        raise UserError(f"pairs of orders need trials with the columns {', '.join(missing)}")
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
    )


def excess_over_place(frame: pd.DataFrame) -> Estimate:
    """Order consistency less 2p(1 − p), what answering by place alone would give; clustered by cell.

    Somebody who answers by place alone takes the first option with a rate p, in each order anew. Both
    choices are of the same option when they are of different places, first and then second or second and
    then first, which has the probability p(1 − p) + (1 − p)p = 2p(1 − p). Who takes the same place
    always (p = 0 or 1) never agrees, who flips a fair coin agrees half of the time, and no rate of places
    gives more. Where p differs from test to test the mean of 2p(1 − p) is below its value at the mean of p
    (Jensen), so that such a place-chooser is not taken for one who chooses options.

    Choices without chance, as of the likelier letter, never agree less than that. A test on which a liking
    for an option outweighs that for the place gives an agreement and one first option, every other test
    the same place twice; where that is the first, a consistency c comes with p = 1 − c/2 and an excess of
    c²/2. Of such choices the size of the excess says more than that it is above 0.

    Parameters
    ----------
    frame
        From `pairs`; those with both orders answered are used.
    """
    known = frame.dropna(subset="agree")
    agree, first = (known[name].to_numpy(dtype=float) for name in ("agree", "first_option"))
    return clusters.excess_over_place(agree, first, known["cell"])


def by_cell(frame: pd.DataFrame, column: str) -> Estimate:
    """The mean of a column over the pairs that have it, clustered by cell."""
    known = frame.dropna(subset=column)
    return clusters.mean(known[column].to_numpy(dtype=float), known["cell"])


# ---- public prompts, beside the published language models ----

#: What the published models are called as one respondent.
PUBLISHED = "published models"


def order_rates(trials: pd.DataFrame) -> pd.DataFrame:
    """DVGR of each model on prompts that were asked in both orders of their options.

    A prompt counts once, with the mean of its answered orders; one without an answer is left out. Wilson's
    interval takes it for one trial. Means of two orders vary no more than single replies do, so that the
    interval is wide enough however much the orders depend on each other.

    Parameters
    ----------
    trials
        From `statistics.trials`; cell, n_examples and test tell a prompt.

    Returns
    -------
    pandas.DataFrame
        model, prompts (those with an answer), dvgr, wilson_low, wilson_high; dvgr_first and dvgr_swapped (by
        order), both (prompts answered in both orders) and consistency (the share of these whose replies
        chose the same option, in whichever place); NaN where there is nothing to tell it from.
    """
    rows = []
    for model, group in trials.groupby("model", observed=True, sort=True):
        orders = group.pivot(index=["cell", "n_examples", "test"], columns="swapped", values="followed")
        orders = orders.reindex(columns=[False, True])
        prompts = orders.mean(axis="columns").dropna()
        both = orders.dropna()
        consistency = (both[False] == both[True]).mean() if len(both) else math.nan
        interval = wilson(float(prompts.sum()), len(prompts))
        rows.append((model, len(prompts), prompts.mean(), *interval, *orders.mean(), len(both), consistency))
    columns = ["prompts", "dvgr", "wilson_low", "wilson_high", "dvgr_first", "dvgr_swapped", "both"]
    return pd.DataFrame(rows, columns=["model", *columns, "consistency"])


def beside_published(
    trials: pd.DataFrame, family: Mapping[str, str], published: pd.DataFrame
) -> pd.DataFrame:
    """Each respondent's DVGR on the public prompts, and below it that of the published language models.

    Those were asked other prompts of the same kind, in one order.

    Parameters
    ----------
    trials
        Of the item set ``authors``.
    family
        Families by model.
    published
        ``data/published/dvb_by_model.csv``: n_prompts asked, n_parsed replies, n_deep of them deep.

    Returns
    -------
    pandas.DataFrame
        model, family, and as from `order_rates`.
    """
    table = order_rates(trials)
    table.insert(1, "family", table["model"].map(dict(family)))
    deep, parsed = int(published["n_deep"].sum()), int(published["n_parsed"].sum())
    asked, rate = int(published["n_prompts"].max()), deep / parsed
    rates = (rate, *wilson(deep, parsed), rate, math.nan, 0, math.nan)
    pooled = dict(zip(table, (PUBLISHED, "language model", asked, *rates), strict=True))
    return pd.DataFrame([*table.to_dict("records"), pooled], columns=list(table))
