"""The three studies side by side: the measure that each has of a model, and how measures go together."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from deepvalues.stats.rates import spearman

#: What each study contributes: how far the value moves a choice (logits), value rationality corrected for
#: chance (0 random, 1 ideal), and fidelity to the reference (−1 to 1).
MEASURES = ("value_sensitivity", "value_rationality", "profile_fidelity")


def side_by_side(
    sensitivities: pd.DataFrame, rationality: pd.DataFrame, fidelity: pd.DataFrame
) -> pd.DataFrame:
    """One row for each model that has at least one of the three measures.

    A model without an estimate in some condition or mode has no average: one that refuses what is hard
    would come out the better for it.

    Parameters
    ----------
    sensitivities
        From `dvb.analysis.statistics.sensitivities`: model, b_v (logits).
    rationality
        From `svo.analysis.statistics.value_rationality`: model, corrected; averaged over conditions.
    fidelity
        From `profiles.analysis.comparison.fidelity_table`: model, fidelity; averaged over modes.

    Returns
    -------
    pandas.DataFrame
        model, and `MEASURES`, missing where the model has none; sorted by model.
    """
    columns = [
        sensitivities.set_index("model")["b_v"],
        rationality.groupby("model")["corrected"].mean(skipna=False),
        fidelity.groupby("model")["fidelity"].mean(skipna=False),
    ]
    joined = pd.concat(columns, axis=1, keys=MEASURES).rename_axis("model")
    return joined.dropna(how="all").sort_index().reset_index()


def in_several(table: pd.DataFrame) -> pd.DataFrame:
    """The models that have at least two of the three measures.

    Parameters
    ----------
    table
        From `side_by_side`.
    """
    return table[table[list(MEASURES)].notna().sum(axis=1) >= 2].reset_index(drop=True)


def rank_correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of each two measures, over the models that have both.

    Parameters
    ----------
    table
        From `side_by_side`.

    Returns
    -------
    pandas.DataFrame
        first, second, models_first and models_second (models that have the measure), models (that have
        both), rho, low, high (Fisher's z, as in pingouin), p_value; NaN with fewer than four models or
        without variation.
    """
    rows = []
    for first, second in combinations(MEASURES, 2):
        both = table[[first, second]].dropna()
        counts = table[first].notna().sum(), table[second].notna().sum(), len(both)
        rows.append((first, second, *map(int, counts), *spearman(both[first], both[second])))
    columns = ["first", "second", "models_first", "models_second", "models", "rho", "low", "high", "p_value"]
    return pd.DataFrame(rows, columns=columns)
