"""Asked and read: what an open model answers, compared with what its hidden states hold."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from deepvalues.stats.clusters import clustered, mean
from deepvalues.stats.contrasts import Paired, paired
from deepvalues.studies.dvb.analysis.verdicts import ENCODER, MORE
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
#: The probes by the layer that they test.
PROBES = {"value": "probe_value", "surface": "probe_surface"}
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


def read_less_asked(trials: pd.DataFrame, bound: float = 0.05) -> pd.DataFrame:
    """How much more often a head chooses the right option than the model does, on items that both answered.

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
        `deepvalues.stats.contrasts.Paired`, where a is the respondent and b the model itself;
        clusters are cells.
    """
    known = of_open_models(trials).dropna(subset="followed")
    asked = known["respondent"] == ASKED
    own = known.loc[asked, ["model", "item", "followed"]]
    return _differences(known[~asked].merge(own, on=["model", "item"], suffixes=("", "_b")), bound)


def heads_compared(
    trials: pd.DataFrame,
    bound: float = 0.05,
    by: Sequence[str] = _BY,
    cluster: str = "cell",
) -> pd.DataFrame:
    """How much more often a head on hidden states chooses the right option than what it is held against.

    Parameters
    ----------
    trials, bound
        As for `read_less_asked`.
    by
        Columns whose values are compared separately.
    cluster
        The column of the clusters.

    Returns
    -------
    pandas.DataFrame
        model, respondent (one of `READ`), ``other``, the columns ``by``, and the fields of
        `deepvalues.stats.contrasts.Paired`, where a is the head and b the other: the learner on sentence
        embeddings (`ENCODER`), the head on the model's token embeddings (`TOKENS`) and, for the head on the
        mean, that on the last token's state (`LAST`).
    """
    known = of_open_models(trials).dropna(subset="followed")
    heads = known[known["respondent"].isin(READ)]
    of_model = ["model", "item", "followed"]
    encoder = trials.loc[trials["model"] == ENCODER, ["item", "followed"]].dropna()
    against = {ENCODER: heads.merge(encoder, on="item", suffixes=("", "_b"))}
    for other in (TOKENS, LAST):
        own = known.loc[known["respondent"] == other, of_model]
        others = heads[heads["respondent"] != other]
        against[other] = others.merge(own, on=of_model[:2], suffixes=("", "_b"))
    found = []
    for other, pairs in against.items():
        found.append(_differences(pairs, bound, by, cluster))
        found[-1].insert(2, "other", other)
    # An empty table would turn the numbers of the others into objects.
    return pd.concat([table for table in found if len(table)] or found, ignore_index=True)


def value_over_surface(trials: pd.DataFrame) -> pd.DataFrame:
    """How much more a head gains over token embeddings on the value probe than on the surface probe.

    Parameters
    ----------
    trials
        As for `read_less_asked`.

    Returns
    -------
    pandas.DataFrame
        model, respondent (one of `READ`), n_examples, cells (in which both took both probes), difference,
        low, high (Student's t over cells): in each cell, the gain in accuracy on the value probe minus that
        on the surface probe.
    """
    known = of_open_models(trials).dropna(subset="followed")
    columns = pd.MultiIndex.from_product([(*READ, TOKENS), ("probe_value", "probe_surface")])
    means = known.groupby(["model", "n_examples", "cell", "respondent", "arm"])["followed"].mean()
    wide = means.unstack(["respondent", "arm"]).reindex(columns=columns)
    rows = []
    for (model, n), of_model in wide.groupby(level=["model", "n_examples"]):
        for head in READ:
            gain = of_model[head] - of_model[TOKENS]
            apart = (gain["probe_value"] - gain["probe_surface"]).dropna()
            if len(apart):
                found = mean(apart.to_numpy(), range(len(apart)))
                rows.append((model, head, n, len(apart), found.value, *found.interval))
    return pd.DataFrame(
        rows, columns=["model", "respondent", "n_examples", "cells", "difference", "low", "high"]
    )


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


def _differences(
    pairs: pd.DataFrame, bound: float, by: Sequence[str] = _BY, cluster: str = "cell"
) -> pd.DataFrame:
    """Paired differences between ``followed`` and ``followed_b``; McNemar's unit is a test in both orders."""
    columns = ["model", "respondent", *by]
    rows = []
    for key, group in pairs.groupby(columns):
        outcomes = group["followed"].to_numpy(), group["followed_b"].to_numpy()
        # The null has the answers of two heads to each test.
        tests = group.groupby(["name", "cell", "n_examples", "test"]).ngroup().to_numpy()
        rows.append((*key, *paired(*outcomes, group[cluster], bound, tests)))
    return _in_order(pd.DataFrame(rows, columns=[*columns, *Paired._fields]), columns)


def _in_order(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Sort by model, then by respondent and arm in display order, then by N."""
    positions = {name: position for names in (RESPONDENTS, ARMS) for position, name in enumerate(names)}
    ranks = table[by].replace(positions) if len(table) else table[by]
    return table.loc[ranks.sort_values(by).index].reset_index(drop=True)
