"""How well judges see in the stimuli what these are meant to show: see `items.validation`."""

from __future__ import annotations

import pandas as pd

from deepvalues.studies.dvb.analysis.statistics import rates, sign_tests

#: The published experiments by task; that of the poles has no counterpart.
PUBLISHED_NAMES = {
    "value predicts choice": ("predicts_choice", "people"),
    "which option embodies which": ("embodies_value", "people"),
    "value predicts choice, nine models": ("predicts_choice", "nine models"),
    "which option embodies which, nine models": ("embodies_value", "nine models"),
}


def validation_accuracy(trials: pd.DataFrame) -> pd.DataFrame:
    """Share of right answers per task, kind of stimuli and model, with intervals and a test.

    Parameters
    ----------
    trials
        From `analysis.statistics.trials`, where ``followed`` means a right answer here.

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
    """The published accuracies under the names of our tasks.

    Parameters
    ----------
    published
        ``data/published/dvb_human_validation.csv``; rows of other experiments are left out.

    Returns
    -------
    pandas.DataFrame
        task, judges (people or nine models), trials, accuracy, ci_low, ci_high.
    """
    names = published["experiment"].map(PUBLISHED_NAMES)
    table = published[names.notna()].rename(columns={"estimate": "accuracy"})
    table[["task", "judges"]] = names.dropna().to_list()
    columns = ["task", "judges", "trials", "accuracy", "ci_low", "ci_high"]
    return table[columns].sort_values(["task", "judges"], ignore_index=True)
