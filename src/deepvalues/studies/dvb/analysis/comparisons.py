"""Comparisons beyond one rate per model: by design factor, between models, and with the prior."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.inter_rater import cohens_kappa

from deepvalues.stats import bootstrap, clusters, contrasts
from deepvalues.stats.contrasts import factor_test
from deepvalues.stats.rates import holm
from deepvalues.studies.dvb.analysis.regression import clustered_logit
from deepvalues.studies.dvb.analysis.statistics import rates
from deepvalues.studies.dvb.stimuli.bank import Bank

Floats = NDArray[np.float64]

#: Column and clusters of each factor. Estimates by value or by dimension share a few test wordings, so
#: their intervals cross wordings with cells.
FACTORS = {
    "value": ("v1", "target_value_wording"),
    "pair": ("pair", "cell"),
    "dimension": ("dimension", "target_pole_wording"),
    "direction": ("direction", "cell"),
    "domain": ("domain", "cell"),
    "activity": ("activity", "cell"),
    "n_examples": ("n_examples", "cell"),
    "position": ("right", "cell"),
    "clause_order": ("clause_order", "cell"),
}
#: Display names of factors, and of the columns that stand for them in regressions.
FACTOR_NAMES = {
    "model": "model",
    "value": "preferred value",
    "v1": "preferred value",
    "pair": "pair of values",
    "dimension": "dimension",
    "direction": "direction of the dimension",
    "domain": "domain",
    "activity": "activity",
    "n_examples": "number of examples",
    "position": "position of the target",
    "clause_order": "order of clauses",
}
#: Display names of clusters, by the columns that define them.
CLUSTER_NAMES = {
    "cell": "cell",
    "target_value_wording": "test wording of the value",
    "target_pole_wording": "test wording of the pole",
}


def _deconfounded(frame: pd.DataFrame) -> pd.DataFrame:
    deep = frame[frame["arm"] == "deconfounded"]
    return deep.assign(pair=deep["v1"] + " > " + deep["v2"])


def level_names(bank: Bank) -> dict[str, dict[str, str]]:
    """Display names of levels, by factor and level; levels that are missing here are shown as they are."""
    return {
        "value": bank.value_names,
        "domain": {domain.id: domain.name.lower() for domain in bank.domains.values()},
        "direction": {"forward": "first pole preferred", "reversed": "second pole preferred"},
        "position": {"A": "option A", "B": "option B"},
        "clause_order": {"value_first": "value first", "pole_first": "pole first"},
    }


def breakdowns(frame: pd.DataFrame) -> pd.DataFrame:
    """DVGR by each factor of the design, in one long table.

    Parameters
    ----------
    frame
        Trials; only the deconfounded ones are used.

    Returns
    -------
    pandas.DataFrame
        factor (a key of `FACTORS`), level (text), cluster (the column that defines the clusters, or two
        columns that are crossed), items, answered, followed, rate, wilson_low, wilson_high,
        clustered_low, clustered_high. Levels are sorted, numeric ones as numbers.
    """
    deep = _deconfounded(frame)
    tables = []
    for factor, (column, cluster) in FACTORS.items():
        crossed = None if cluster == "cell" else "cell"
        table = rates(deep, [column], cluster, crossed).rename(columns={column: "level"})
        table["level"] = table["level"].astype(str)
        table.insert(0, "factor", factor)
        table.insert(2, "cluster", f"{cluster} × {crossed}" if crossed else cluster)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def factor_tests(frame: pd.DataFrame) -> pd.DataFrame:
    """Does the DVGR depend on a factor? Chi-squared on pooled trials, and a clustered Wald test.

    The published chi-squared test treats trials as independent, including the two orders of a test, and
    rejects too often. The Wald test takes the factor as the only one in `clustered_logit`, clustered by
    wording (value, dimension) or by cell, over the levels that occur in enough clusters.

    Returns
    -------
    pandas.DataFrame
        factor (``model`` first, if there are several), chi2, df, p_value, cramers_v, cluster,
        wald_chi2, wald_df, wald_df_error, wald_p (of F), wald_p_holm. NaN where nothing varies.
    """
    deep = _deconfounded(frame).dropna(subset="followed")
    rows = []
    for factor, (column, cluster) in {"model": ("model", "cell"), **FACTORS}.items():
        table = pd.crosstab(deep[column], deep["followed"])
        if factor == "model" and len(table) == 1:
            continue
        pooled = factor_test(table) if min(table.shape) > 1 else pd.Series(dtype=float)
        pooled = pooled.reindex(["chi2", "df", "p_value", "cramers_v"])
        rows.append((factor, *pooled, cluster, *_wald(deep, table, column, cluster)))
    wald = ["wald_chi2", "wald_df", "wald_df_error", "wald_p"]
    columns = ["factor", "chi2", "df", "p_value", "cramers_v", "cluster", *wald]
    found = pd.DataFrame(rows, columns=columns)
    found["wald_p_holm"] = holm(list(found["wald_p"]))
    return found


def _wald(deep: pd.DataFrame, table: pd.DataFrame, column: str, cluster: str) -> tuple[float, ...]:
    """The Wald test of one factor; the reference is its most frequent level with varying outcomes."""
    varying = table[(table > 0).all(axis=1)] if table.shape[1] == 2 else table.iloc[:0]
    if len(varying) < 2:
        return (math.nan,) * 4
    reference = str(varying.sum(axis=1).idxmax())
    test = clustered_logit(deep, {column: reference}, (), (cluster,)).factors.iloc[0]
    return tuple(float(test[name]) for name in ("chi2", "df", "df_error", "p_value"))


def rate_matrix(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """DVGR of each model at each level of a column (``v1``, ``dimension`` …); models are the index."""
    deep = _deconfounded(frame)
    return deep.pivot_table(index="model", columns=column, values="followed", aggfunc="mean")


# ---- agreement between models ----


def _chose_a(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Items × models, 1 where option A was chosen, 0 for B, NaN without an answer; and the items' cells."""
    deep = _deconfounded(frame)
    chose_a = (deep["choice"] == "A").astype(float).where(deep["followed"].notna())
    return contrasts.outcome_matrix(deep.assign(chose_a=chose_a), outcome="chose_a")


def pairwise_agreement(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of items on which two models choose the same option, among items that both answered.

    Returns
    -------
    pandas.DataFrame
        model_a, model_b, items, agreement, clustered_low, clustered_high (by cell), kappa (Cohen's, of
        choosing A or B; NaN where both always choose the same letter).
    """
    wide, cells = _chose_a(frame)
    rows = []
    for a, b in combinations(wide.columns, 2):
        both = wide[[a, b]].dropna()
        same = np.asarray(both[a] == both[b], dtype=np.float64)
        table = pd.crosstab(both[a], both[b]).reindex(index=[0, 1], columns=[0, 1], fill_value=0).to_numpy()
        # scikit-learn's version takes thirty times as long, and there are hundreds of pairs.
        kappa = float(cohens_kappa(table, return_results=False)) if table.max() < len(both) else math.nan
        estimate = clusters.mean(same, cells[both.index])
        rows.append((a, b, len(both), estimate.value, *estimate.rate_interval, kappa))
    columns = ["model_a", "model_b", "items", "agreement", "clustered_low", "clustered_high", "kappa"]
    return pd.DataFrame(rows, columns=columns)


def agreement_matrix(pairwise: pd.DataFrame) -> pd.DataFrame:
    """`pairwise_agreement` as a square matrix of models, 1 on the diagonal."""
    mirrored = pairwise.rename(columns={"model_a": "model_b", "model_b": "model_a"})
    square = pd.concat([pairwise, mirrored]).pivot(index="model_a", columns="model_b", values="agreement")
    return square.mask(np.eye(len(square), dtype=bool), 1.0)


def mean_agreement(frame: pd.DataFrame, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How often two models choose the same option, over all pairs of models.

    Agreement is the share of agreeing pairs of answers to the same item, as published. The bootstrap draws
    cells (the same models on other items), models (other models on the same items; a model drawn twice makes
    no pair with itself), or both.

    Returns
    -------
    pandas.DataFrame
        One row: pairs, agreement, and for each of cells, models and both: ``<name>_low``, ``<name>_high``
        (percentile intervals; draws without a pair are skipped). NaN without a pair.
    """
    wide, cells = _chose_a(frame)
    first, second = np.triu_indices(wide.shape[1], 1)
    x = wide.to_numpy()
    common = ~np.isnan(x[:, first]) & ~np.isnan(x[:, second])
    codes = pd.factorize(cells)[0]
    equal, both = (
        pd.DataFrame(kind).groupby(codes).sum().to_numpy(dtype=float)
        for kind in (common & (x[:, first] == x[:, second]), common)
    )

    def share(by_cell: Floats, by_model: Floats) -> Floats:
        weight = by_model[:, first] * by_model[:, second]
        with np.errstate(invalid="ignore"):
            found: Floats = (weight * (by_cell @ equal)).sum(axis=1) / (weight * (by_cell @ both)).sum(axis=1)
        return found

    rng = np.random.default_rng(seed)
    by_cell, by_model = (bootstrap.draw_counts(n, draws, rng) for n in (len(both), wide.shape[1]))
    all_cells, all_models = np.ones((1, len(both))), np.ones((1, wide.shape[1]))
    row = {"pairs": len(first), "agreement": float(share(all_cells, all_models)[0])}
    for name, drawn in (
        ("cells", share(by_cell, all_models)),
        ("models", share(all_cells, by_model)),
        ("both", share(by_cell, by_model)),
    ):
        row[f"{name}_low"], row[f"{name}_high"] = bootstrap.percentiles(drawn)
    return pd.DataFrame([row])


# ---- one model against itself ----


def prior_corrected(frame: pd.DataFrame) -> pd.DataFrame:
    """DVGR minus the rate on the same tests without examples, paired test by test.

    Tests are the same if model, cell, test number and option order are; tests without a prior are skipped.

    Returns
    -------
    pandas.DataFrame
        model, pairs (both answered), dvgr and prior on them, difference, clustered_low, clustered_high
        (by cell), p_value.
    """
    test = ["model", "cell", "test", "swapped"]
    prior = frame.loc[frame["arm"] == "prior", [*test, "followed"]].rename(columns={"followed": "prior"})
    pairs = _deconfounded(frame).merge(prior, on=test, validate="many_to_one")
    rows = []
    for model, group in pairs.groupby("model"):
        both = group.dropna(subset=["followed", "prior"])
        estimate = clusters.mean((both["followed"] - both["prior"]).to_numpy(), both["cell"])
        means = (float(both["followed"].mean()), float(both["prior"].mean()))
        rows.append((model, len(both), *means, estimate.value, *estimate.interval, estimate.p_value))
    columns = ["pairs", "dvgr", "prior", "difference", "clustered_low", "clustered_high", "p_value"]
    return pd.DataFrame(rows, columns=["model", *columns])


def position_bias(frame: pd.DataFrame) -> pd.DataFrame:
    """How often option A is chosen, and how the DVGR depends on the target's position.

    If every test is asked in both orders, both sides of the gap rest on the same tests.

    Returns
    -------
    pandas.DataFrame
        model, answered, chose_a with chose_a_low and chose_a_high, dvgr_a and dvgr_b (target is option A
        or B), gap = dvgr_a − dvgr_b with gap_low, gap_high and gap_p. Intervals clustered by cell.
    """
    rows = []
    for model, group in _deconfounded(frame).dropna(subset="followed").groupby("model"):
        chose_a = (group["choice"] == "A").astype(float)
        share = (float(chose_a.mean()), *clusters.clustered(chose_a, group["cell"]))
        by_position = _two_rates(group["followed"], group["right"] == "A", group["cell"])
        rows.append((model, len(group), *share, *by_position))
    columns = ["model", "answered", "chose_a", "chose_a_low", "chose_a_high", "dvgr_a", "dvgr_b"]
    return pd.DataFrame(rows, columns=[*columns, "gap", "gap_low", "gap_high", "gap_p"])


def _two_rates(followed: pd.Series[Any], first: pd.Series[bool], of: pd.Series[str]) -> tuple[float, ...]:
    """(rate of the first group, of the other, their difference, low, high, p-value), clustered."""
    gap = clusters.two_groups(followed.to_numpy(), first.to_numpy(), of)
    rates = float(followed[first].mean()), float(followed[~first].mean())
    return (*rates, gap.value, *gap.interval, gap.p_value)


def asymmetry(frame: pd.DataFrame) -> pd.DataFrame:
    """DVGR with a dimension's first pole preferred, minus the DVGR with its second: preference for a pole.

    Intervals are clustered by the target's pole wording, of which a dimension has few.

    Returns
    -------
    pandas.DataFrame
        dimension, forward and reversed (DVGRs), difference, clustered_low, clustered_high,
        p_value, p_holm (over the whole table). NaN where a direction was not asked.
    """
    rows = []
    answered = _deconfounded(frame).dropna(subset="followed")
    for dimension, group in answered.groupby("dimension"):
        forward = group["direction"] == "forward"
        rows.append((dimension, *_two_rates(group["followed"], forward, group["target_pole_wording"])))
    columns = ["dimension", "forward", "reversed", "difference", "clustered_low", "clustered_high", "p_value"]
    table = pd.DataFrame(rows, columns=columns)
    table["p_holm"] = holm(list(table["p_value"]))
    return table


def direction_gaps(table: pd.DataFrame) -> pd.Series[float]:
    """The absolute difference between the DVGRs of a dimension's two directions, by dimension.

    Parameters
    ----------
    table
        dimension, direction, rate. A dimension with one direction has a gap of 0.
    """
    wide = table.pivot(index="dimension", columns="direction", values="rate")
    wide = wide.reindex(columns=["forward", "reversed"])
    # Rounded, so that equal counts give equal gaps and the first largest one is the same on any machine.
    return (wide["forward"] - wide["reversed"]).abs().fillna(0.0).round(9)


def control_gate(frame: pd.DataFrame, n_examples: int = 20) -> pd.DataFrame:
    """Accuracy on the control. For a model that learned nothing there, the DVGR means little.

    Parameters
    ----------
    n_examples
        The control is asked at each N; this is the N to use.

    Returns
    -------
    pandas.DataFrame
        model, items, answered, accuracy, wilson_low, wilson_high, clustered_low, clustered_high,
        flagged (whether the clustered interval is not above .5, or nothing was answered).
    """
    control = frame[(frame["arm"] == "control") & (frame["n_examples"] == n_examples)]
    table = rates(control, ["model"]).rename(columns={"rate": "accuracy"}).drop(columns="followed")
    return table.assign(flagged=~(table["clustered_low"] > 0.5))
