"""What other wordings of the question change: rates under each prompt variant, and differences."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from deepvalues.stats.contrasts import Paired, paired
from deepvalues.stats.rates import holm
from deepvalues.studies.dvb.analysis.statistics import missing_by_reason, rates

BASELINE = "dvb"
#: What each study's wording of the question is called, in the order in which they are shown.
NAMES = {BASELINE: "baseline", "dvb-explicit": "explicit instruction", "dvb-cot": "rationale first"}
#: What the published table calls the variant of each study.
PUBLISHED_NAMES = {
    "chain_of_thought": "dvb-cot",
    "baseline": BASELINE,
    "explicit_instruction": "dvb-explicit",
}


def variant_trials(trials: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the trials of several variants under each other.

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
        As from `analysis.statistics.rates` by study and model, with ``dvgr`` for the rate.
    """
    return rates(frame, ["study", "model"]).rename(columns={"rate": "dvgr"})


def variant_differences(frame: pd.DataFrame, bound: float = 0.05) -> pd.DataFrame:
    """Each variant against the baseline, on the tests that a model answered under both.

    Parameters
    ----------
    frame
        From `variant_trials`, with the baseline.
    bound
        Differences smaller than this count as equivalent.

    Returns
    -------
    pandas.DataFrame
        study, model, and the fields of `deepvalues.stats.contrasts.Paired`, where a is the variant and b the
        baseline; clusters are cells. p_mcnemar_holm corrects over the rows.
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
    """Replies by status for each variant: as `analysis.statistics.missing_by_reason`, with ``study``.

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
    table = published.assign(study=published["variant"].map(PUBLISHED_NAMES)).rename(columns=names)
    return table[["study", *names.values()]].sort_values("study", ignore_index=True)
