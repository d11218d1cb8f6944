"""Asked and read: what an open model answers, compared with what its hidden states hold."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from deepvalues.stats.clusters import clustered, mean
from deepvalues.stats.contrasts import Paired, paired
from deepvalues.studies.dvb.analysis.verdicts import ENCODER, LEXICAL, MORE, RATE_DIGITS
from deepvalues.studies.dvb.stimuli.design import LADDER

#: The arms that are compared and their names, in display order.
ARMS = {
    "deconfounded": "DVGR",
    "control": "control",
    "probe_value": "value probe",
    "probe_surface": "surface probe",
}
ASKED, NULL = "asked", "null"
#: The heads on hidden states, by the state that they read, and their baseline on token embeddings.
MEAN, LAST = "head, mean", "head, last"
READ = (MEAN, LAST)
TOKENS = "head, tokens"
#: The respondents in display order; the null is that of the heads on hidden states.
RESPONDENTS = (ASKED, *READ, TOKENS, NULL)
#: What heads on hidden states are held against, in display order; the best of the lexical learners is meant.
BEST_LEXICAL = "lexical"
OTHERS = (ASKED, BEST_LEXICAL, ENCODER, TOKENS, LAST)
#: The probes by the layer that they test.
PROBES = {"value": "probe_value", "surface": "probe_surface"}
#: Differences on the probes: on each, and the first minus the second.
MEASURES = (*PROBES, "apart")
_ORDERS = {
    column: {name: place for place, name in enumerate(names)}
    for column, names in {
        "respondent": RESPONDENTS,
        "other": OTHERS,
        "arm": ARMS,
        "measure": MEASURES,
    }.items()
}
#: Columns whose values are compared separately.
_BY = ("arm", "n_examples")
_HEAD = r"^head-(?P<model>.+)-(?P<pooling>mean|last|tokens)(?P<shuffled>-shuffled)?$"


def of_open_models(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of models that have heads, and of these heads, in the arms of `ARMS`.

    Parameters
    ----------
    trials
        From `analysis.statistics.trials`.

    Returns
    -------
    pandas.DataFrame
        The same columns, with the open model's name as ``model``, and ``respondent``, one of `RESPONDENTS`.
        Heads fitted to coin-flipped choices, on either pooling, are the null. ``name`` is the respondent's
        name on record.
    """
    kept = trials[trials["arm"].isin(ARMS)]
    named = kept.assign(name=kept["model"], **respondents(kept["model"]))
    return named[named["model"].isin(named.loc[named["respondent"] != ASKED, "model"])]


def respondents(names: pd.Series[str]) -> pd.DataFrame:
    """The open model that each name belongs to (``model``), and its ``respondent``, one of `RESPONDENTS`.

    A name that is no head's is that of a model, asked.
    """
    parts = names.str.extract(_HEAD)
    heads = ("head, " + parts["pooling"]).mask(parts["shuffled"].notna(), NULL)
    return pd.DataFrame({"model": parts["model"].fillna(names), "respondent": heads.fillna(ASKED)})


def asked_against_read(trials: pd.DataFrame) -> pd.DataFrame:
    """How often each open model, and each head on it, chooses the right option.

    Every test is asked in both orders of its options, so position bias cancels.

    Parameters
    ----------
    trials
        From `analysis.statistics.trials`.

    Returns
    -------
    pandas.DataFrame
        model, respondent (one of `RESPONDENTS`), arm, n_examples, cells, answered, rate, low, high (95%
        interval, clustered by cell); within a model in the order of `RESPONDENTS` and `ARMS`. Trials without
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


def heads_compared(
    trials: pd.DataFrame,
    bound: float = 0.05,
    by: Sequence[str] = _BY,
    cluster: str = "cell",
) -> pd.DataFrame:
    """How much more often a head on hidden states chooses the right option than what it is held against.

    Parameters
    ----------
    trials
        From `analysis.statistics.trials`.
    bound
        Differences smaller than this count as equivalent.
    by
        Columns whose values are compared separately.
    cluster
        The column of the clusters.

    Returns
    -------
    pandas.DataFrame
        model, respondent (one of `READ`), ``other`` (one of `OTHERS`), the columns ``by``, and the fields of
        `deepvalues.stats.contrasts.Paired` on items that both answered, where a is the head and b the other:
        the model itself, asked; the lexical learner that is most often right on the same tests; the learner
        on sentence embeddings; the head on the model's token embeddings; and, for the head on the mean, that
        on the last token's state.
    """
    columns = ["model", "respondent", *by]
    found = []
    for other, pairs in _opponents(trials, by).items():
        rows = []
        for key, group in pairs.groupby(columns):
            outcomes = group["followed"].to_numpy(), group["followed_b"].to_numpy()
            # McNemar's unit is a test in both orders.
            tests = group.groupby(["cell", "n_examples", "test"]).ngroup().to_numpy()
            rows.append((*key, *paired(*outcomes, group[cluster], bound, tests)))
        found.append(_in_order(pd.DataFrame(rows, columns=[*columns, *Paired._fields]), columns))
        found[-1].insert(2, "other", other)
    # An empty table would turn the numbers of the others into objects.
    return pd.concat([table for table in found if len(table)] or found, ignore_index=True)


def _opponents(trials: pd.DataFrame, by: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The trials of heads by what they are held against, whose outcome on the same item is ``followed_b``."""
    known = of_open_models(trials).dropna(subset="followed")
    heads = known[known["respondent"].isin(READ)]
    of_model = ["model", "item", "followed"]
    found = {}
    for other in (ASKED, TOKENS, LAST):
        own = known.loc[known["respondent"] == other, of_model]
        found[other] = heads[heads["respondent"] != other].merge(own, on=of_model[:2], suffixes=("", "_b"))
    learners = trials[trials["item"].isin(heads["item"])].dropna(subset="followed")
    words = learners[learners["model"].isin(LEXICAL)]
    rates = words.groupby([*by, "model"])["followed"].mean().round(RATE_DIGITS).reset_index()
    # Rounded, so that ties are ties, in which the first learner wins.
    rates["place"] = rates["model"].map(list(LEXICAL).index)
    best = rates.sort_values(["followed", "place"], ascending=[False, True]).drop_duplicates(list(by))
    chosen = words.merge(best[[*by, "model"]], on=[*by, "model"])
    for other, own in ((BEST_LEXICAL, chosen), (ENCODER, learners[learners["model"] == ENCODER])):
        found[other] = heads.merge(own[["item", "followed"]], on="item", suffixes=("", "_b"))
    return {other: found[other] for other in OTHERS}


def gains_apart(trials: pd.DataFrame) -> pd.DataFrame:
    """How much more a head gains over what it is held against on the value probe than on the surface probe.

    Parameters
    ----------
    trials
        As for `heads_compared`.

    Returns
    -------
    pandas.DataFrame
        model, respondent (one of `READ`), other (one of `OTHERS`), n_examples, cells (in which both took both
        probes), difference, low, high (Student's t over cells): in each cell, the gain in accuracy on the
        value probe minus that on the surface probe.
    """
    by = ["model", "respondent", "n_examples"]
    rows = []
    for other, pairs in _opponents(trials, _BY).items():
        gains = (pairs["followed"] - pairs["followed_b"]).rename("gain")
        probes = pd.concat([pairs[[*by, "cell", "arm"]], gains], axis="columns")
        means = probes.groupby([*by, "cell", "arm"])["gain"].mean().unstack("arm")
        apart = (means.reindex(columns=list(PROBES.values())) * [1, -1]).sum(axis="columns", skipna=False)
        for (model, head, n), cells in apart.dropna().groupby(by):
            found = mean(cells.to_numpy(), range(len(cells)))
            rows.append((model, head, other, n, len(cells), found.value, *found.interval))
    columns = ["model", "respondent", "other", "n_examples", "cells", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def gains(compared: pd.DataFrame, apart: pd.DataFrame) -> pd.DataFrame:
    """The differences on the probes over all models: from the least to the most, and how many are certain.

    Parameters
    ----------
    compared, apart
        From `heads_compared` and `gains_apart`.

    Returns
    -------
    pandas.DataFrame
        n_examples, other, respondent, measure (value, surface, apart), least, most, models, above and below
        (numbers of models whose 95% interval lies above or below 0).
    """
    layers = {probe: layer for layer, probe in PROBES.items()}
    probes = compared.assign(measure=compared["arm"].map(layers)).dropna(subset="measure")
    probes = probes.rename(columns={"clustered_low": "low", "clustered_high": "high"})
    both = pd.concat([probes, apart.assign(measure="apart")])
    by = ["n_examples", "other", "respondent", "measure"]
    rows = [
        (
            *key,
            *group["difference"].agg(["min", "max"]),
            len(group),
            (group["low"] > 0).sum(),
            (group["high"] < 0).sum(),
        )
        for key, group in both.groupby(by)
    ]
    table = pd.DataFrame(rows, columns=[*by, "least", "most", "models", "above", "below"])
    return _in_order(table, by)


def ladder(trials: pd.DataFrame) -> pd.DataFrame:
    """What respondents gain on the probes from more examples in which value and surface still go together.

    The set ``ladder`` has the tests of the smaller sets, and its examples continue theirs. Fixed before
    anybody was asked: more examples move a respondent to the value (surface) if, with the most of them, the
    interval of the gain on the value probe minus that on the surface probe lies above (below) 0.

    Parameters
    ----------
    trials
        From `analysis.statistics.trials`, of several sets.

    Returns
    -------
    pandas.DataFrame
        model, n_examples (of the ladder), measure (value and surface: accuracy on the probe; apart: the first
        minus the second), cells (with both probes at both numbers of examples), rate_a (the measure at this
        N), rate_b (at N = 20, the most that language models were asked with), difference, low, high (a - b;
        Student's t over cells).
    """
    known = trials[trials["arm"].isin(PROBES.values())].dropna(subset="followed")
    means = known.groupby(["model", "cell", "n_examples", "arm"])["followed"].mean().unstack("arm")
    wide = means.reindex(columns=list(PROBES.values())).set_axis(list(PROBES), axis="columns").dropna()
    wide["apart"] = wide["value"] - wide["surface"]
    tall = wide.melt(var_name="measure", value_name="rate", ignore_index=False).reset_index()
    before = tall[tall["n_examples"] == MORE].drop(columns="n_examples")
    after = tall[tall["n_examples"].isin(LADDER)]
    both = after.merge(before, on=["model", "cell", "measure"], suffixes=("_a", "_b"))
    rows = []
    for key, group in both.groupby(["model", "n_examples", "measure"], sort=False):
        gain = mean((group["rate_a"] - group["rate_b"]).to_numpy(), range(len(group)))
        rates = group[["rate_a", "rate_b"]].mean()
        rows.append((*key, len(group), *rates, gain.value, *gain.interval))
    columns = ["model", "n_examples", "measure", "cells", "rate_a", "rate_b", "difference", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(columns[:2], kind="stable", ignore_index=True)


def _in_order(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Sort by columns, those in `_ORDERS` in display order."""
    ranks = table[by].replace(_ORDERS) if len(table) else table[by]
    return table.loc[ranks.sort_values(by).index].reset_index(drop=True)
