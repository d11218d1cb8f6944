"""Side studies: variants of the prompt, ratings of the values, validation of the stimuli.

As in the published study, models rate each of the eleven values ten times on three scales from 1 to 10 (how
popular, how distinctive, how predictive of choices), and generalization is regressed on the ratings. The
validation is described in `items.validation`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm

from deepvalues.stats.agreement import icc_table
from deepvalues.stats.clusters import clustered_logit
from deepvalues.stats.contrasts import Paired, paired
from deepvalues.stats.rates import CONFIDENCE, holm, t_interval
from deepvalues.studies.dvb.analysis.statistics import missing_by_reason, rates, sign_tests
from deepvalues.studies.dvb.items.prompts import SCALES
from deepvalues.studies.shared import stop_if_stray

# ---- variants of the prompt ----

BASELINE = "dvb"
#: Display names of the studies that vary the prompt, in display order.
NAMES = {BASELINE: "baseline", "dvb-explicit": "explicit instruction", "dvb-cot": "rationale first"}
#: The published name of each study's variant.
PUBLISHED_VARIANTS = {
    "chain_of_thought": "dvb-cot",
    "baseline": BASELINE,
    "explicit_instruction": "dvb-explicit",
}


def variant_trials(trials: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the trials of several variants.

    Parameters
    ----------
    trials
        By the study's name, from `analysis.statistics.trials`.

    Returns
    -------
    pandas.DataFrame
        The deconfounded trials, with ``study`` as the first column.
    """
    frame = pd.concat(trials, names=["study"]).reset_index(level="study").reset_index(drop=True)
    return frame[frame["arm"] == "deconfounded"].reset_index(drop=True)


def variant_rates(frame: pd.DataFrame) -> pd.DataFrame:
    """DVGR of each model under each variant.

    Parameters
    ----------
    frame
        From `variant_trials`.

    Returns
    -------
    pandas.DataFrame
        As from `analysis.statistics.rates`, by study and model, with ``dvgr`` for the rate.
    """
    return rates(frame, ["study", "model"]).rename(columns={"rate": "dvgr"})


def variant_differences(frame: pd.DataFrame, bound: float = 0.05) -> pd.DataFrame:
    """Each variant compared with the baseline, on the tests that a model answered under both.

    Parameters
    ----------
    frame
        From `variant_trials`, including the baseline.
    bound
        Differences smaller than this count as equivalent.

    Returns
    -------
    pandas.DataFrame
        study, model, and the fields of `deepvalues.stats.contrasts.Paired`, where a is the variant and b the
        baseline; clusters are cells. p_mcnemar_holm is corrected over the rows.
    """
    key = ["model", "item"]
    baseline = frame.loc[frame["study"] == BASELINE, [*key, "followed"]]
    others = frame.loc[frame["study"] != BASELINE, ["study", *key, "cell", "followed"]]
    pairs = others.merge(baseline, on=key, suffixes=("", "_baseline"), validate="many_to_one")
    rows = []
    for group_key, group in pairs.groupby(["study", "model"], sort=True):
        first, second = (group[column].to_numpy(dtype=float) for column in ("followed", "followed_baseline"))
        rows.append((*group_key, *paired(first, second, group["cell"], bound)))
    table = pd.DataFrame(rows, columns=["study", "model", *Paired._fields])
    return table.assign(p_mcnemar_holm=holm(list(table["p_mcnemar"])))


def missing_by_variant(trials: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Replies by status for each variant: `analysis.statistics.missing_by_reason` with ``study``.

    Parameters
    ----------
    trials
        By the study's name.
    """
    tables = [missing_by_reason(frame).assign(study=study) for study, frame in trials.items()]
    return pd.concat(tables, ignore_index=True)


def published_variants(published: pd.DataFrame) -> pd.DataFrame:
    """The published DVGRs under the names of our studies.

    Parameters
    ----------
    published
        ``data/published/dvb_prompt_variants.csv``.

    Returns
    -------
    pandas.DataFrame
        study, published_dvgr, published_low, published_high; sorted by study.
    """
    names = {"dvgr": "published_dvgr", "ci_low": "published_low", "ci_high": "published_high"}
    table = published.assign(study=published["variant"].map(PUBLISHED_VARIANTS)).rename(columns=names)
    return table[["study", *names.values()]].sort_values("study", ignore_index=True)


# ---- ratings of the values ----


def rating_trials(items: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Join answers to their items.

    Returns
    -------
    pandas.DataFrame
        model, value, scale, repeat, status, rating: 1 to 10, NaN without an answer.

    Raises
    ------
    UserError
        When an answer belongs to no item.
    """
    stop_if_stray(answers, items)
    columns = items[["id", "value", "scale"]]
    joined = answers.merge(columns, left_on="item", right_on="id", how="left", validate="many_to_one")
    joined["rating"] = pd.to_numeric(joined["choice"].where(joined["status"] == "answered")).astype(float)
    return joined[["model", "value", "scale", "repeat", "status", "rating"]]


def rating_means(trials: pd.DataFrame) -> pd.DataFrame:
    """Mean rating of each model, value and scale.

    Parameters
    ----------
    trials
        From `rating_trials`.

    Returns
    -------
    pandas.DataFrame
        model, value, scale, asked, answered, mean, sd (over repeats), low, high (Student's interval, which
        may extend beyond the scale; NaN if all repeats agree).
    """
    rated = trials.groupby(["model", "value", "scale"], sort=True)["rating"]
    rows = [
        (*key, len(own), own.count(), own.mean(), own.std(), *t_interval(own.dropna())) for key, own in rated
    ]
    columns = ["model", "value", "scale", "asked", "answered", "mean", "sd", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def rating_profile_means(means: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Mean over models of each value on each scale, compared with the published mean over nine models.

    Parameters
    ----------
    means
        From `rating_means`, of the models to average.
    published
        ``data/published/dvb_value_dispositions.csv``.

    Returns
    -------
    pandas.DataFrame
        value, scale, models (with a mean), mean, low, high (Student's interval over models), published.
    """
    known = means.groupby(["value", "scale"], sort=True)["mean"]
    rows = [(*key, own.count(), own.mean(), *t_interval(own.dropna())) for key, own in known]
    table = pd.DataFrame(rows, columns=["value", "scale", "models", "mean", "low", "high"])
    printed = published.melt("value", var_name="scale", value_name="published")
    return table.merge(printed, on=["value", "scale"], how="left", validate="one_to_one")


def rating_consistency(trials: pd.DataFrame) -> pd.DataFrame:
    """How closely a model's repeats agree, by scale.

    The intraclass correlations of one repeat, ICC(1,1), and of the mean over repeats, ICC(1,k), from a
    one-way analysis of variance with values as targets: repeats have no order and so no systematic effect. If
    replies are missing, every value keeps as many repeats as the value with the fewest has. Computed by
    pingouin, which gives intervals to two digits.

    Parameters
    ----------
    trials
        From `rating_trials`.

    Returns
    -------
    pandas.DataFrame
        model, scale, values, repeats (used), sd (root of the mean variance over repeats), icc, icc_low,
        icc_high, icc_mean. NaN with fewer than two values or repeats, fewer than five ratings, or constant
        ratings; if repeats do not vary at all, the ICC is 1 without an interval.

    References
    ----------
    Shrout and Fleiss (1979), Psychological Bulletin 86.
    """
    rows = []
    for key, group in trials.dropna(subset="rating").groupby(["model", "scale"], sort=True):
        place = group.groupby("value").cumcount()
        repeats = int(group.groupby("value").size().min())
        used = group.assign(place=place)[place < repeats]
        within = group.groupby("value")["rating"].var()
        sd = math.sqrt(within.mean()) if within.notna().any() else math.nan
        rows.append((*key, used["value"].nunique(), repeats, sd, *_icc(used)))
    columns = ["model", "scale", "values", "repeats", "sd", "icc", "icc_low", "icc_high", "icc_mean"]
    return pd.DataFrame(rows, columns=columns)


def answered_shares(trials: pd.DataFrame) -> pd.DataFrame:
    """Share of ratings that could be read: model, scale, answered.

    Parameters
    ----------
    trials
        From `rating_trials`.
    """
    known = trials.assign(answered=trials["rating"].notna())
    return known.groupby(["model", "scale"])["answered"].mean().reset_index()


def _icc(used: pd.DataFrame) -> tuple[float, float, float, float]:
    """ICC(1,1), its interval, and ICC(1,k), of a table with the same number of repeats for every value."""
    by_value = used.groupby("value")["rating"]
    if by_value.ngroups < 2 or used["place"].nunique() < 2 or used["rating"].nunique() < 2 or len(used) < 5:
        return math.nan, math.nan, math.nan, math.nan
    if (by_value.nunique() == 1).all():
        return 1.0, math.nan, math.nan, 1.0
    table = icc_table(used.pivot(index="value", columns="place", values="rating").to_numpy(dtype=float))
    low, high = table["CI95"]["ICC(1,1)"]
    return float(table["ICC"]["ICC(1,1)"]), float(low), float(high), float(table["ICC"]["ICC(1,k)"])


def rating_odds(trials: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Logistic regression of following a value on the model's own ratings of it.

    logit P(followed) = b0 + Σ b_scale · z_scale, over the deconfounded trials, where z is the mean rating
    of the preferred value, standardized within the model (mean 0, SD 1 over its values), so that high ratings
    overall have no effect. Standard errors are clustered by model and value.

    Parameters
    ----------
    trials
        Trials of the benchmark, from `analysis.statistics.trials`.
    means
        From `rating_means`. Models that lack a mean, or have a constant scale, are left out.

    Returns
    -------
    pandas.DataFrame
        One row per scale: rating, models, clusters, trials, odds_ratio (per SD), low, high, p_value; NaN
        if no model has both, the scales are collinear, or the likelihood has no maximum.

    References
    ----------
    Liang and Zeger (1986), Biometrika 73.
    """
    scores = _standardized(means)
    deep = trials[(trials["arm"] == "deconfounded") & trials["followed"].notna()]
    joined = deep.merge(scores, left_on=["model", "v1"], right_on=["model", "value"], validate="many_to_one")
    clusters = joined.groupby(["model", "v1"]).ngroup().to_numpy()
    counts = (joined["model"].nunique(), len(np.unique(clusters)), len(joined))
    estimates = _odds(joined, clusters)
    rows = [(scale, *counts, *estimates[scale]) for scale in SCALES]
    columns = ["rating", "models", "clusters", "trials", "odds_ratio", "low", "high", "p_value"]
    return pd.DataFrame(rows, columns=columns)


def _standardized(means: pd.DataFrame) -> pd.DataFrame:
    """Means standardized within each model, one column per scale: model, value and the scales."""
    wide = means.pivot(index=["model", "value"], columns="scale", values="mean").reindex(columns=list(SCALES))
    by_model = wide.groupby(level="model")
    # A constant scale gives NaN, so the model is dropped with those that lack a mean.
    scores = (wide - by_model.transform("mean")) / by_model.transform("std").replace(0.0, math.nan)
    complete = scores.notna().all(axis=1).groupby(level="model").transform("all")
    return scores[complete].reset_index()


def _odds(joined: pd.DataFrame, clusters: Any) -> dict[str, list[float]]:
    """Odds ratio, interval and p-value by scale."""
    nothing = dict.fromkeys(SCALES, [math.nan] * 4)
    followed = joined["followed"].to_numpy(dtype=float)
    if np.unique(followed).size < 2 or len(np.unique(clusters)) <= len(SCALES) + 1:
        return nothing
    design = sm.add_constant(joined[list(SCALES)].to_numpy(dtype=float), has_constant="add")
    fit = clustered_logit(followed, design, clusters)
    if fit is None:
        return nothing
    ratios = np.exp(np.column_stack([fit.params, fit.conf_int(alpha=1 - CONFIDENCE)]))
    found = np.column_stack([ratios, fit.pvalues])[1:].tolist()
    return dict(zip(SCALES, found, strict=True))


def odds_with_published(odds: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """The odds ratios of `rating_odds`, compared with the published ones.

    Parameters
    ----------
    published
        ``data/published/dvb_value_disposition_odds.csv``.

    Returns
    -------
    pandas.DataFrame
        As `rating_odds`, with published_odds_ratio, published_low, published_high, published_p_value.
    """
    names = {"odds_ratio": "odds_ratio", "ci_low": "low", "ci_high": "high", "p_value": "p_value"}
    printed = published.set_index("rating")[list(names)].rename(columns=names).add_prefix("published_")
    return odds.merge(printed.reset_index(), on="rating", how="outer")


# ---- validation of the stimuli ----

#: The published experiment for each task; the poles have none.
PUBLISHED_TASKS = {
    "value predicts choice": ("predicts_choice", "people"),
    "which option embodies which": ("embodies_value", "people"),
    "value predicts choice, nine models": ("predicts_choice", "nine models"),
    "which option embodies which, nine models": ("embodies_value", "nine models"),
}


def validation_accuracy(trials: pd.DataFrame) -> pd.DataFrame:
    """Share of right answers by task, kind of stimuli and model, with intervals and a test.

    Parameters
    ----------
    trials
        From `analysis.statistics.trials`; here, ``followed`` means a right answer.

    Returns
    -------
    pandas.DataFrame
        task, stimulus, model, items, answered, correct, accuracy, wilson_low, wilson_high, clustered_low,
        clustered_high (by cell), p_value (`sign_tests` of questions, against .5). Both orders of a question
        are pooled.
    """
    groups = ["task", "stimulus", "model"]
    table = rates(trials, groups).rename(columns={"followed": "correct", "rate": "accuracy"})
    return table.assign(p_value=sign_tests(trials, groups, ["cell"]))


def published_validation(published: pd.DataFrame) -> pd.DataFrame:
    """The published accuracies, under the names of our tasks.

    Parameters
    ----------
    published
        ``data/published/dvb_human_validation.csv``; other experiments are left out.

    Returns
    -------
    pandas.DataFrame
        task, judges (people or nine models), trials, accuracy, ci_low, ci_high.
    """
    names = published["experiment"].map(PUBLISHED_TASKS)
    table = published[names.notna()].rename(columns={"estimate": "accuracy"})
    table[["task", "judges"]] = names.dropna().to_list()
    columns = ["task", "judges", "trials", "accuracy", "ci_low", "ci_high"]
    return table[columns].sort_values(["task", "judges"], ignore_index=True)
