"""Asked against read: what an open model does when asked, beside what can be read from its hidden states."""

from __future__ import annotations

import re

import pandas as pd

from deepvalues.stats.clusters import clustered
from deepvalues.stats.contrasts import Paired, paired

#: The arms that are compared, in the order in which they are shown.
ARMS = ("deconfounded", "control", "probe_value", "probe_surface")
ASKED, NULL = "asked", "null"
#: Who answers, in the order in which they are shown: the model, its two heads, and the heads' null.
RESPONDENTS = (ASKED, "head, mean", "head, last", NULL)
_HEAD = re.compile(r"head-(?P<model>.+)-(?P<pooling>mean|last)(?P<shuffled>-shuffled)?")


def of_open_models(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of models that have heads, and of these heads, in the arms that are compared.

    Parameters
    ----------
    trials
        From `analysis.statistics.trials`.

    Returns
    -------
    pandas.DataFrame
        The same columns, with the open model's name as ``model``, and ``respondent``, one of `RESPONDENTS`.
        Both poolings' shuffled heads are the null. ``name`` is that of the record.
    """
    found = {name: match for name in trials["model"].unique() if (match := _HEAD.fullmatch(name))}
    open_models = {match["model"] for match in found.values()}
    who = {
        name: (match["model"], NULL if match["shuffled"] else f"head, {match['pooling']}")
        for name, match in found.items()
    }
    who |= {name: (name, ASKED) for name in open_models}
    kept = trials[trials["model"].isin(who) & trials["arm"].isin(ARMS)]
    names = kept["model"]
    return kept.assign(
        name=names,
        model=names.map({name: model for name, (model, _) in who.items()}),
        respondent=names.map({name: respondent for name, (_, respondent) in who.items()}),
    )


def asked_against_read(trials: pd.DataFrame) -> pd.DataFrame:
    """How often each open model and each head on it takes the right option.

    Every test is asked in both orders of its options, so that a liking for a place cancels out.

    Parameters
    ----------
    trials
        From `analysis.statistics.trials`.

    Returns
    -------
    pandas.DataFrame
        model, respondent (one of `RESPONDENTS`), arm, n_examples, cells, answered, rate, low, high (the 95 %
        interval, clustered by cell); in the order of `RESPONDENTS` and `ARMS` within a model. Trials without
        an answer are left out.
    """
    known = of_open_models(trials).dropna(subset="followed")
    by = ["model", "respondent", "arm", "n_examples"]
    rows = []
    for key, group in known.groupby(by):
        interval = clustered(group["followed"], group["cell"])
        rows.append((*key, group["cell"].nunique(), len(group), group["followed"].mean(), *interval))
    table = pd.DataFrame(rows, columns=[*by, "cells", "answered", "rate", "low", "high"])
    return _in_order(table, by)


def read_less_asked(trials: pd.DataFrame, bound: float = 0.05) -> pd.DataFrame:
    """How much more often a head takes the right option than the model itself, on items that both answered.

    Parameters
    ----------
    trials
        From `analysis.statistics.trials`.
    bound
        Differences smaller than this count as equivalent.

    Returns
    -------
    pandas.DataFrame
        model, respondent (a head or the null), arm, n_examples, and the fields of
        `deepvalues.stats.contrasts.Paired`, where a is the respondent and b the model when asked;
        clusters are cells.
    """
    known = of_open_models(trials).dropna(subset="followed")
    asked = known["respondent"] == ASKED
    pairs = known[~asked].merge(
        known.loc[asked, ["model", "item", "followed"]], on=["model", "item"], suffixes=("", "_asked")
    )
    by = ["model", "respondent", "arm", "n_examples"]
    rows = [
        (
            *key,
            *paired(group["followed"].to_numpy(), group["followed_asked"].to_numpy(), group["cell"], bound),
        )
        for key, group in pairs.groupby(by)
    ]
    return _in_order(pd.DataFrame(rows, columns=[*by, *Paired._fields]), by)


def _in_order(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """By model, then in the order in which respondents and arms are shown, then by N."""
    places = {name: place for names in (RESPONDENTS, ARMS) for place, name in enumerate(names)}
    ranks = table[by].replace(places) if len(table) else table[by]
    return table.loc[ranks.sort_values(by).index].reset_index(drop=True)
