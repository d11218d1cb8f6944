"""Facts of study 1 for ``paper/sentences/dvb_*.md``: the arguments of the macro of the same name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from deepvalues.paper.sentences import spread
from deepvalues.studies.dvb.analysis.comparisons import FACTOR_NAMES, direction_gaps
from deepvalues.studies.dvb.analysis.pooled_rates import ALPHA, arm_means, sides_by_interval

# ---- the DVGR ----


def span(focused: pd.DataFrame) -> dict[str, Any]:
    """Between which rates the models in focus lie.

    Parameters
    ----------
    focused
        Their rows of `analysis.statistics.dvgr_by_model`.
    """
    return {"dvgr": spread(focused, "dvgr")}


def control(focused: pd.DataFrame, family: str) -> dict[str, Any]:
    """How many models in focus are above chance on the control; those without an accuracy are not.

    Parameters
    ----------
    focused
        Their rows of `analysis.comparisons.control_gate`.
    """
    passed, read = int((~focused["flagged"]).sum()), bool(focused["accuracy"].notna().any())
    return {"family": family, "read": read, "passed": passed, "models": len(focused)}


def learners(table: pd.DataFrame) -> dict[str, Any]:
    """How far programs get that learn from the words of one prompt, whichever family is in focus.

    Parameters
    ----------
    table
        From `analysis.statistics.dvgr_by_model`, with family.
    """
    found = table[table["family"] == "text learner"]
    followed, answered = (int(found[name].sum()) for name in ("followed", "answered"))
    above = sides_by_interval(found).above
    return {"models": list(found["model"]), "above": above, "followed": followed, "answered": answered}


def leave_one_out(table: pd.DataFrame) -> dict[str, Any]:
    """Between which rates the pooled DVGR runs without a model.

    Parameters
    ----------
    table
        From `analysis.focus.leave_one_out`.
    """
    return {"models": len(table), "rates": spread(table, "rate", "left_out")}


# ---- arms, values, dimensions ----


def layers(focused: pd.DataFrame) -> dict[str, Any]:
    """How often the probe of each layer is answered right at N = 20.

    Parameters
    ----------
    focused
        The rows of the models in focus of ``rates(frame, ["model", "arm", "n_examples"])``.
    """
    means = arm_means(focused)
    return {layer: float(means.get((f"probe_{layer}", 20), math.nan)) for layer in ("value", "surface")}


def values(focused: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    """Which values the models in focus follow least and most often, on the mean.

    Parameters
    ----------
    focused
        Their rows of the rates by model and value: v1, rate.
    names
        Names of the values.
    """
    means = focused.groupby("v1", as_index=False)["rate"].mean()
    return {"rates": spread(means.assign(name=means["v1"].map(dict(names))), "rate", "name")}


def dimensions(table: pd.DataFrame, names: Mapping[str, tuple[str, str, str]]) -> dict[str, Any]:
    """The largest gap between the directions of a dimension; NaN where none has answers in both.

    Parameters
    ----------
    table
        dimension, direction, rate.
    names
        Names of the dimensions and their poles.
    """
    gaps = direction_gaps(table)
    both = table.dropna(subset="rate").groupby("dimension")["direction"].nunique().max() == 2
    return {"gap": float(gaps.max()) if both else math.nan, "dimension": names[str(gaps.idxmax())][0]}


def sensitivities(focused: pd.DataFrame, family: str) -> dict[str, Any]:
    """For how many models in focus a layer outweighs the other.

    Parameters
    ----------
    focused
        Their rows of `analysis.statistics.sensitivities`.
    """
    known = focused.dropna(subset="b_v")
    surface, value = int((known["d_high"] < 0).sum()), int((known["d_low"] > 0).sum())
    return {"family": family, "models": len(known), "surface": surface, "value": value}


# ---- factors and pairs ----


def factors(tests: pd.DataFrame) -> dict[str, Any]:
    """Which factors the tests with clusters leave, and which the others would add.

    Parameters
    ----------
    tests
        From `analysis.comparisons.factor_tests`.
    """
    named = tests.assign(name=tests["factor"].map(FACTOR_NAMES))
    clustered = tests["wald_p_holm"] < ALPHA
    uncorrected = named[(tests["wald_p"] < ALPHA) & ~clustered]
    return {
        "testable": bool(tests[["wald_p", "p_value"]].notna().any(axis=None)),
        "clustered": list(named.loc[clustered, "name"]),
        "pooled": list(named.loc[(tests["p_value"] < ALPHA) & ~clustered, "name"]),
        "uncorrected": dict(zip(uncorrected["name"], uncorrected["wald_p"], strict=True)),
    }


def regression(tests: pd.DataFrame) -> dict[str, Any]:
    """Which factors of the regressions are significant.

    Parameters
    ----------
    tests
        From `analysis.regression.factors_of`, of the regressions "logit" and "gee".
    """
    named = tests.assign(name=tests["factor"].map(FACTOR_NAMES))
    significant = named[named["p_value"] < ALPHA]
    by_regression = {
        each: list(significant.loc[significant["regression"] == each, "name"]) for each in ("logit", "gee")
    }
    return by_regression | {"untested": sorted(set(named.loc[named["p_value"].isna(), "name"]))}


def pairs(paired: pd.DataFrame, bound: float) -> dict[str, Any]:
    """How many pairs of models differ, and how many are equivalent.

    Parameters
    ----------
    paired
        From `deepvalues.stats.contrasts.paired_contrasts`.
    bound
        Of equivalence.
    """
    tests = {"different": "p_mcnemar_holm", "clustered": "p_clustered_holm", "equivalent": "p_equivalence"}
    counts = {name: int((paired[p] < ALPHA).sum()) for name, p in tests.items()}
    return {"pairs": len(paired), **counts, "bound": bound}


def agreement(developers: pd.DataFrame) -> dict[str, Any]:
    """How often two models in focus agree, and in what interval.

    Parameters
    ----------
    developers
        From `analysis.comparisons.developer_agreement`.
    """
    (row,) = developers[developers["comparison"] == "all pairs"].to_dict("records")
    ends = {kind: (row[f"{kind}_low"], row[f"{kind}_high"]) for kind in ("cells", "both")}
    return {"agreement": row["agreement"], **ends}


def most_alike(pairs: pd.DataFrame) -> dict[str, Any]:
    """The two models that agree most often; none where there are no two.

    Parameters
    ----------
    pairs
        From `analysis.comparisons.pairwise_agreement`.
    """
    known = pairs.dropna(subset="agreement")
    if known.empty:
        return {"models": [], "agreement": math.nan}
    row = known.sort_values("agreement", kind="stable").iloc[-1]
    return {"models": [row["model_a"], row["model_b"]], "agreement": row["agreement"]}


# ---- choices and probabilities ----


def soft(table: pd.DataFrame, expected: Mapping[str, float]) -> dict[str, Any]:
    """The soft DVGR of the models that have one, beside what their choices give.

    Parameters
    ----------
    table
        From `analysis.soft.soft_dvgr`.
    expected
        What the rules of models with a rule imply, by model.
    """
    return {"models": table.assign(implied=table["model"].map(dict(expected))).to_dict("records")}
