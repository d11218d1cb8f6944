"""What tables of the Deep Value Benchmark show where that is not the frame itself.

Their columns are in ``data/dictionary.yml``, but for those of the verdicts, several of which stand in a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from deepvalues.ask.registry import HEAD
from deepvalues.core.number_format import MINUS, MISSING, beside, count, interval, logit, share
from deepvalues.paper.tables import intervals as bounds
from deepvalues.paper.tables import markdown, nobody
from deepvalues.studies.dvb.analysis.public_prompt_rates import PUBLISHED
from deepvalues.studies.dvb.analysis.verdicts import NAMES as VERDICT_NAMES
from deepvalues.studies.dvb.analysis.verdicts import N as VERDICT_N

Format = Callable[[Any], str]

#: The order in which families follow each other.
_FAMILIES = ("language model", HEAD, "text learner", "reference agent")
_PARAMETERS = {"b0": "$b_0$", "b_v": "$b_v$", "b_s": "$b_s$", "d": "$d$"}


def _in_families(table: pd.DataFrame) -> pd.DataFrame:
    """With families that sort in their order."""
    return table.assign(family=pd.Categorical(table["family"], _FAMILIES, ordered=True))


def recovery(table: pd.DataFrame) -> pd.DataFrame:
    """Known parameters beside their estimates, from `analysis.statistics.recovered`."""
    held = table["held"].map({True: "yes", False: "no"}).where(table["estimate"].notna())
    return table.assign(parameter=table["parameter"].map(_PARAMETERS), held=held)


def dvgr(table: pd.DataFrame) -> pd.DataFrame:
    """The DVGR of each model, from `analysis.statistics.dvgr_by_model` with families.

    Families follow each other as everywhere; within one, rates fall.
    """
    return _in_families(table).sort_values(["family", "dvgr", "model"], ascending=[True, False, True])


def authors(table: pd.DataFrame) -> pd.DataFrame:
    """Respondents on the public prompts, from `analysis.public_prompt_rates.beside_published`.

    Families follow each other as everywhere; the published models stand below.
    """
    last = table["model"] == PUBLISHED
    return _in_families(table).assign(last=last).sort_values(["last", "family", "model"])


def intervals(pooled: pd.DataFrame, mean_of_rates: pd.DataFrame, methods: Mapping[str, str]) -> pd.DataFrame:
    """One rate under every interval, and the mean of the models' rates below.

    Parameters
    ----------
    pooled
        The rows of one group, from `analysis.intervals.intervals`.
    mean_of_rates
        From the function of that name beside it.
    methods
        What the methods are called.
    """
    named = pooled.assign(method=pooled["method"].map(dict(methods)))
    mean = mean_of_rates.assign(method="mean of the models' rates, cells resampled")
    rows = pd.concat([named, mean], ignore_index=True)
    counts = zip(rows["clusters"], rows["crossed"], strict=True)
    clusters = [count(one) if pd.isna(other) else f"{count(one)} × {count(other)}" for one, other in counts]
    return rows.assign(clusters=clusters, width=rows["high"] - rows["low"])


def control(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on the confounded control, from `analysis.comparisons.control_gate`."""
    return table.assign(flagged=table["flagged"].map({True: "flagged", False: ""}))


# ---- print ----


#: What the files of print hold.
_PRINTED = {
    "dvb_agreement.csv": "agreement of models",
    "dvb_by_domain.csv": "by domain",
    "dvb_by_model.csv": "by model",
    "dvb_by_n_examples.csv": "by number of examples",
    "dvb_by_value.csv": "by value",
    "dvb_factor_tests.csv": "tests of the factors",
    "dvb_human_validation.csv": "validation",
    "dvb_logit.csv": "logistic regression",
    "dvb_model_by_value.csv": "by model and value",
    "dvb_prompt_variants.csv": "prompt variants",
    "dvb_size_pairs.csv": "pairs of model sizes",
    "dvb_statistics.csv": "single numbers of the text",
    "dvb_value_disposition_odds.csv": "odds by rating",
    "dvb_value_dispositions.csv": "ratings of the values",
    "all files": "all",
}


def classes(table: pd.DataFrame) -> pd.DataFrame:
    """Printed figures by how they come back, from `analysis.published.classes`."""
    return table.assign(source_file=table["source_file"].map(_PRINTED))


#: Figures of print whose names are no words.
_FIGURES = {
    "dvgr": "DVGR",
    "ci_low": "interval from",
    "ci_high": "interval to",
    "chi2": "χ²",
    "p_value": "p",
    "cramers_v": "Cramér's V",
    "cohens_d": "Cohen's d",
}


def side_by_side(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Published and recomputed figures side by side, as far as they can be recomputed.

    Parameters
    ----------
    table
        From `analysis.published.side_by_side`.
    names
        What values and factors are called.
    """
    known = table[table["class"] != "not recomputable"]
    ranges = zip(known["range_low"], known["range_high"], known["unit"], strict=True)
    where = known["where"].replace(dict(names)).str.replace("_", " ")
    return known.assign(
        quantity=known["quantity"].replace(_FIGURES).str.replace("_", " "),
        where=where.str.replace(r"^(\d+)$", r"N = \1", regex=True),
        printed=known["printed"].astype(str).str.replace("-", MINUS),
        recomputed=list(map(beside, known["recomputed"], known["unit"])),
        allowed=[
            f"{beside(low, unit)} to {beside(high, unit)}" if low < high else MISSING
            for low, high, unit in ranges
        ],
    )


# ---- comparisons ----


def factors(table: pd.DataFrame, names: Mapping[str, str], clusters: Mapping[str, str]) -> pd.DataFrame:
    """Tests of the factors, from `analysis.comparisons.factor_tests`.

    Parameters
    ----------
    names, clusters
        What factors and clusters are called.
    """
    return table.assign(factor=table["factor"].map(dict(names)), cluster=table["cluster"].map(dict(clusters)))


def prior(corrected: pd.DataFrame, position: pd.DataFrame) -> pd.DataFrame:
    """Each model against its own prior, and its position bias.

    Parameters
    ----------
    corrected, position
        From `prior_corrected` and `position_bias` of `analysis.comparisons`. A model
        without common tests has no row in the first, or one without pairs.
    """
    both = corrected.merge(position, on="model", how="outer")
    columns = ["pairs", "difference", "clustered_low", "clustered_high"]
    return both.assign(
        minus_prior=[
            f"{share(difference)} {interval(low, high)}" if pairs > 0 else MISSING
            for pairs, difference, low, high in both[columns].itertuples(index=False, name=None)
        ],
        position=[f"{share(gap)} {ends}" for gap, ends in zip(both["gap"], bounds(both, "gap"), strict=True)],
    )


def regression(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Wald tests of the regressions, from `analysis.regression.factors_of`.

    Parameters
    ----------
    names
        What factors are called.
    """
    kinds = table["regression"].replace("gee", "GEE")
    return table.assign(regression=kinds, factor=table["factor"].map(dict(names)))


def validation(table: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in the validation tasks, the published ones below.

    Parameters
    ----------
    table, printed
        From `validation_accuracy` and `published_validation` of `validation`. The published tasks were
        about training stimuli.
    """
    theirs = printed.rename(
        columns={"trials": "answered", "ci_low": "wilson_low", "ci_high": "wilson_high"}
    ).assign(judges="published: " + printed["judges"], stimulus="training")
    shown = pd.concat([table.assign(judges=table["model"]), theirs], ignore_index=True)
    return shown.assign(task=shown["task"].str.replace("_", " "))


# ---- verdicts ----


def _estimates(table: pd.DataFrame, heads: Mapping[str, str], write: Format = share) -> pd.DataFrame:
    """Respondents in order, each measure with its interval in one cell, under the heads of `heads`.

    The two have a plain space between them, at which narrow columns break.
    """
    ordered = _in_families(table).sort_values(["family", "model"]).reset_index(drop=True)
    shown = ordered[["model"]].copy()
    for name, head in heads.items():
        ends = bounds(ordered, name, 3 if write is share else 2, bounded=write is share)
        cells = zip(ordered[name], ends, strict=True)
        shown[head] = [
            MISSING if pd.isna(value) else write(value) if end == MISSING else f"{write(value)} {end}"
            for value, end in cells
        ]
    return shown.assign(verdict=ordered["verdict"].map(VERDICT_NAMES), by_place=ordered["by_place"])


def _verdict_table(shown: pd.DataFrame, *columns: str, **others: Format) -> str:
    """Columns of `_estimates`, all but the names and verdicts to the right."""
    if shown.empty:
        return nobody("Nobody was asked this.")
    formats = {name: str for name in columns if name not in ("model", "verdict")}
    return markdown(shown[list(columns)], {**formats, **others})


def verdicts(table: pd.DataFrame) -> str:
    """The verdict on each respondent beside the arms that it rests on.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`, as in the four functions below.
    """
    heads = {"control": "control", "probe_value": "value probe", "probe_surface": "surface probe"}
    heads["dvgr"] = "DVGR"
    return _verdict_table(_estimates(table, heads), "model", "verdict", *heads.values())


def answering(table: pd.DataFrame) -> str:
    """Whether each respondent answers, and what it does with the position of an option."""
    heads = {"letter_mass": "letter mass", "readable": "readable", "order_consistency": "order consistency"}
    heads["first_option_rate"] = "first option, p"
    shown = _estimates(table, heads).rename(columns={"by_place": "2p(1 − p)"})
    columns = ["model", *list(heads.values())[:3], "2p(1 − p)", "first option, p"]
    return _verdict_table(shown, *columns, **{"2p(1 − p)": share})


def without_evidence(table: pd.DataFrame) -> str:
    """What each respondent does where there is nothing to learn, or nothing but to find an example again."""
    heads = {"prior": "prior", "shuffled": "shuffled", "repeat_copy": "repeat, copy"}
    heads |= {"repeat_swapped": "repeat, swapped", "control": "control"}
    return _verdict_table(_estimates(table, heads), "model", *heads.values())


def learned(table: pd.DataFrame, n: int = 4) -> str:
    """What each respondent that was asked learned from ``n`` examples, 4 or 20."""
    end = "" if n == VERDICT_N else f"_n{n}"
    heads = {"probe_value": "value probe", "probe_surface": "surface probe", "dvgr": "DVGR"}
    heads |= {"soft_dvgr": "soft DVGR", "dvgr_minus_shuffled": "DVGR − shuffled"}
    heads |= {"dvgr_minus_lexical": "DVGR − lexical"}
    if n != VERDICT_N:
        # At N = 4 control stands beside what no evidence does.
        heads = {"control": "control", **heads}
    asked = table[table[f"dvgr{end}"].notna()]
    shown = _estimates(asked, {f"{name}{end}": head for name, head in heads.items()})
    return _verdict_table(shown, "model", *heads.values())


def verdict_rules(table: pd.DataFrame) -> str:
    """What the verdicts rest on: preferences for right options, and shares that are to be equal to .5."""
    heads = {"control_lean": "control", "probe_value_lean": "value probe"}
    heads |= {"probe_surface_lean": "surface probe", "probes_lean": "value − surface"}
    shares = {"consistency_excess": "consistency − 2p(1 − p)", "control_positive": "control, positive"}
    shares |= {"repeat_positive": "repeat, positive"}
    both = _estimates(table, heads, logit)[["model", *heads.values()]]
    shown = both.merge(_estimates(table, shares)[["model", *shares.values()]], on="model")
    return _verdict_table(shown, "model", *heads.values(), *shares.values())
