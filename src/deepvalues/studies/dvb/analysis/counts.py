"""Study 1 from counts alone: what can be computed of a model whose replies are not at hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from deepvalues.core.errors import UserError
from deepvalues.stats.factors import factor_test
from deepvalues.stats.rates import cohens_h, exact_test, wilson

#: One count per model, with or without the models' names.
Counts = ArrayLike | pd.Series | Mapping[str, int]


def dvgr_summary(deep: Counts, n: Counts) -> pd.DataFrame:
    """DVGR of each model from counts alone, as print has them.

    Parameters
    ----------
    deep
        Shape (models,): replies that followed the value. A Series or mapping names the models.
    n
        Shape (models,): replies that could be read; with two Series or mappings, aligned by name.

    Returns
    -------
    pandas.DataFrame
        One row per model: dvgr (a rate), wilson_low, wilson_high (95%), p_value (exact, two-sided,
        against .5) and cohens_h (radians, against .5); NaN where a model has no replies.

    Raises
    ------
    UserError
        Where lengths or names differ, a count is negative or not whole, or deep replies outnumber replies.
    """
    followed, answered = _count_series(deep, "deep"), _count_series(n, "n")
    if len(followed) != len(answered):
        raise UserError(
            f"dvgr_summary got {len(followed)} counts of deep replies and {len(answered)} of replies"
        )
    if _is_named(deep) and _is_named(n):
        if not followed.index.is_unique or set(followed.index) != set(answered.index):
            raise UserError("dvgr_summary: deep and n name different models, or one of them twice")
        answered = answered.loc[followed.index]
    elif _is_named(n):
        followed.index = answered.index
    above = [str(name) for name, k, of in zip(followed.index, followed, answered, strict=True) if k > of]
    if above:
        raise UserError(f"dvgr_summary: more deep replies than replies for {', '.join(above)}")
    rows = []
    for k, n_read in zip(followed.astype(int), answered.astype(int), strict=True):
        dvgr = k / n_read if n_read else math.nan
        rows.append((dvgr, *wilson(k, n_read), exact_test(k, n_read), cohens_h(dvgr)))
    columns = ["dvgr", "wilson_low", "wilson_high", "p_value", "cohens_h"]
    return pd.DataFrame(rows, columns=columns, index=followed.index, dtype=float)


def _is_named(counts: Any) -> bool:
    return isinstance(counts, pd.Series | Mapping)


def _count_series(counts: Any, what: str) -> pd.Series[Any]:
    try:
        plain = dict(counts) if isinstance(counts, Mapping) else counts
        series = pd.Series(plain if _is_named(counts) else np.atleast_1d(np.asarray(counts)))
        numbers = series.astype(float)
    except (TypeError, ValueError):
        raise UserError(f"dvgr_summary: {what} holds entries that are no numbers") from None
    whole = np.isfinite(numbers.to_numpy()) & (numbers >= 0) & (numbers % 1 == 0)
    if not whole.all():
        name, count = next(iter(series[~whole].items()))
        raise UserError(f"dvgr_summary: {what} of {name} is {count}; counts are whole and not negative")
    return numbers


def deep_and_shallow(by_model: pd.DataFrame) -> pd.DataFrame:
    """Replies that followed the value and the surface, as columns deep and shallow, indexed by model."""
    deep = by_model.set_index("model")["n_deep"]
    return pd.DataFrame({"deep": deep, "shallow": by_model.set_index("model")["n_parsed"] - deep})


def size_pairs(by_model: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Larger against smaller model of each pair, tested by chi-squared with Yates' correction.

    Parameters
    ----------
    by_model
        As ``dvb_by_model.csv``: model, n_parsed, n_deep.
    pairs
        small and large, names of models.

    Returns
    -------
    pandas.DataFrame
        small, large, difference (of DVGRs, larger minus smaller), and as from `factor_test`.
    """
    counts = deep_and_shallow(by_model)
    dvgr = counts["deep"] / counts.sum(axis=1)
    rows = []
    for small, large in zip(pairs["small"], pairs["large"], strict=True):
        tested = factor_test(counts.loc[[small, large]])
        rows.append({"small": small, "large": large, "difference": dvgr[large] - dvgr[small], **tested})
    return pd.DataFrame(rows)


def large_against_small(by_model: pd.DataFrame) -> pd.DataFrame:
    """All large models pooled against all small ones, with the middle tier counted each way.

    Returns
    -------
    pandas.DataFrame
        One row per middle_as ("large", "small", "left out"): n_large, n_small (replies), dvgr_large,
        dvgr_small, difference, and as from `factor_test`. Trials are pooled as in print, as if models
        did not matter otherwise.
    """
    counts = deep_and_shallow(by_model)
    tier = by_model.set_index("model")["size_tier"]
    rows = []
    for middle_as in ("large", "small", "left out"):
        pooled = counts.groupby(tier.replace("middle", middle_as)).sum().loc[["large", "small"]]
        n, dvgr = pooled.sum(axis=1), pooled["deep"] / pooled.sum(axis=1)
        row = {"middle_as": middle_as, "n_large": n["large"], "n_small": n["small"]}
        row |= {"dvgr_large": dvgr["large"], "dvgr_small": dvgr["small"]}
        rows.append({**row, "difference": dvgr["large"] - dvgr["small"], **factor_test(pooled)})
    return pd.DataFrame(rows)


def validation_accuracies(validation: pd.DataFrame) -> pd.DataFrame:
    """Accuracies of the human and model validations from the counts in their notes.

    Parameters
    ----------
    validation
        As ``dvb_human_validation.csv``; rows without "k of n" in their note are left out.

    Returns
    -------
    pandas.DataFrame
        experiment, correct, trials, accuracy, wilson_low, wilson_high, p_value (exact, against .5) and
        cohens_h. An unsure answer counts as wrong, as in print.
    """
    found = validation["note"].astype(str).str.extract(r"^(\d+) of (\d+)")
    counted = found.dropna().astype(int).rename(columns={0: "correct", 1: "trials"})
    summary = dvgr_summary(counted["correct"], counted["trials"]).rename(columns={"dvgr": "accuracy"})
    named = validation.loc[counted.index, ["experiment"]]
    return pd.concat([named, counted, summary], axis=1).reset_index(drop=True)
