"""What respondents make of the public prompts, beside the published language models."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from deepvalues.stats.rates import wilson

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
        From `analysis.statistics.trials`; cell, n_examples and test tell a prompt.

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
        by_order = orders.mean()
        rate = prompts.mean() if len(prompts) else math.nan
        by_place = (by_order[False], by_order[True])
        rows.append((model, len(prompts), rate, *interval, *by_place, len(both), consistency))
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
    interval = wilson(deep, parsed)
    pooled = {
        "model": PUBLISHED,
        "family": "language model",
        "prompts": int(published["n_prompts"].max()),
        "dvgr": deep / parsed,
        "wilson_low": interval.low,
        "wilson_high": interval.high,
        "dvgr_first": deep / parsed,
        "dvgr_swapped": math.nan,
        "both": 0,
        "consistency": math.nan,
    }
    return pd.DataFrame([*table.to_dict("records"), pooled], columns=list(table))
