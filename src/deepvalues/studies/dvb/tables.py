"""Display versions of the tables of study 1, where they differ from the frames.

Columns are described in ``data/dictionary.yml``, except for verdicts, where a cell combines several columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from deepvalues.ask.registry import HEAD
from deepvalues.core.number_format import MINUS, MISSING, beside, count, interval, logit, share
from deepvalues.paper.tables import intervals as bounds
from deepvalues.paper.tables import markdown, nobody
from deepvalues.studies.dvb.analysis.asked_read import (
    ARMS,
    ASKED,
    BEST_LEXICAL,
    LAST,
    MEAN,
    TOKENS,
)
from deepvalues.studies.dvb.analysis.orders import PUBLISHED
from deepvalues.studies.dvb.analysis.verdicts import ENCODER, LANGUAGE_MODEL, LEXICAL, POSITIVE, SCALES
from deepvalues.studies.dvb.analysis.verdicts import NAMES as VERDICT_NAMES
from deepvalues.studies.dvb.analysis.verdicts import N as VERDICT_N

Format = Callable[[Any], str]

#: Families in display order.
_FAMILIES = ("language model", HEAD, "text learner", "reference agent")
_PARAMETERS = {"b0": "$b_0$", "b_v": "$b_v$", "b_s": "$b_s$", "d": "$d$"}


def _in_families(table: pd.DataFrame) -> pd.DataFrame:
    """The table with family as an ordered categorical."""
    return table.assign(family=pd.Categorical(table["family"], _FAMILIES, ordered=True))


def recovery(table: pd.DataFrame) -> pd.DataFrame:
    """Known parameters and their estimates, from `analysis.statistics.recovered`."""
    held = table["held"].map({True: "yes", False: "no"}).where(table["estimate"].notna())
    return table.assign(parameter=table["parameter"].map(_PARAMETERS), held=held)


#: Simulated respondents in words.
_TRUTHS = {
    "value": "learned the value",
    "surface": "learned the surface",
    "both": "learned both equally",
    "position": "takes mostly the first option",
    "coin": "tosses a coin",
    "liking": "likes some values",
}


def verdict_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of simulated respondents, from `analysis.verdict_errors.verdict_errors`."""
    judged = table["scale"].map(dict(zip(SCALES, ("log odds", "choices"), strict=True)))
    return table.assign(truth=table["truth"].map(_TRUTHS), scale=judged)


def dvgr(table: pd.DataFrame) -> pd.DataFrame:
    """The DVGR of each model, from `analysis.statistics.dvgr_by_model` with families.

    Families are in the usual order; within each, rates decrease.
    """
    return _in_families(table).sort_values(["family", "dvgr", "model"], ascending=[True, False, True])


def in_article(table: pd.DataFrame) -> pd.DataFrame:
    """All respondents but the nulls of heads, and learners that are neither lexical nor on embeddings."""
    learners = table["model"].str.startswith("learner-") & ~table["model"].isin([*LEXICAL, ENCODER])
    return table[~learners & ~table["model"].str.endswith("-shuffled")]


def authors(table: pd.DataFrame) -> pd.DataFrame:
    """Respondents on the public prompts, from `analysis.orders.with_published`.

    Families are in the usual order; the published models come last.
    """
    last = table["model"] == PUBLISHED
    return _in_families(table).assign(last=last).sort_values(["last", "family", "model"])


def intervals(pooled: pd.DataFrame, mean_of_rates: pd.DataFrame, methods: Mapping[str, str]) -> pd.DataFrame:
    """One rate with every kind of interval and, below, the mean of the models' rates.

    Parameters
    ----------
    pooled
        The rows of one group, from `analysis.intervals.intervals`.
    mean_of_rates
        From `analysis.intervals.mean_of_rates`.
    methods
        Display names of the methods.
    """
    named = pooled.assign(method=pooled["method"].map(dict(methods)))
    mean = mean_of_rates.assign(method="mean of the models' rates, cells resampled")
    rows = pd.concat([named, mean], ignore_index=True)
    counts = zip(rows["clusters"], rows["crossed"], strict=True)
    clusters = [count(one) if pd.isna(other) else f"{count(one)} × {count(other)}" for one, other in counts]
    return rows.assign(clusters=clusters, width=rows["high"] - rows["low"])


def control(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on the control, from `analysis.comparisons.control_gate`."""
    return table.assign(flagged=table["flagged"].map({True: "flagged", False: ""}))


# ---- the published figures ----


#: What the published files contain.
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
    """Published figures by outcome of recomputing them, from `analysis.published.classes`."""
    return table.assign(source_file=table["source_file"].map(_PRINTED))


#: Display names of published quantities whose names are not words.
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
    """Published and recomputed figures side by side, if they can be recomputed.

    Parameters
    ----------
    table
        From `analysis.published.side_by_side`.
    names
        Display names of values and factors.
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
        Display names of factors and clusters.
    """
    return table.assign(factor=table["factor"].map(dict(names)), cluster=table["cluster"].map(dict(clusters)))


def prior(corrected: pd.DataFrame, position: pd.DataFrame) -> pd.DataFrame:
    """Each model compared with its own prior, and its position bias.

    Parameters
    ----------
    corrected, position
        From `prior_corrected` and `position_bias` of `analysis.comparisons`. A model without common
        tests is missing in the first, or has a row without pairs.
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
        Display names of factors.
    """
    kinds = table["regression"].replace("gee", "GEE")
    return table.assign(regression=kinds, factor=table["factor"].map(dict(names)))


def validation(table: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in the validation tasks, with the published accuracies below.

    Parameters
    ----------
    table, printed
        From `validation_accuracy` and `published_validation` of `analysis.side_studies`. The published
        tasks used training stimuli.
    """
    theirs = printed.rename(
        columns={"trials": "answered", "ci_low": "wilson_low", "ci_high": "wilson_high"}
    ).assign(judges="published: " + printed["judges"], stimulus="training")
    shown = pd.concat([table.assign(judges=table["model"]), theirs], ignore_index=True)
    return shown.assign(task=shown["task"].str.replace("_", " "))


# ---- verdicts ----


def _with_ends(value: float, ends: str, write: Format = share) -> str:
    """A value and its interval, with an ordinary space between them, where narrow columns can break."""
    return write(value) if ends == MISSING else f"{write(value)} {ends}"


#: Headings of the columns of verdicts.
_HEADS = {
    "verdict": "verdict",
    "how": "asked",
    "answered": "answered",
    "cells": "cells",
    "control": "control",
    "probe_value": "value probe",
    "probe_surface": "surface probe",
    "dvgr": "DVGR",
    "order_consistency": "order consistency",
    "by_place": "2p(1 − p)",
    "first_option_rate": "first option, p",
    "first_option_p": "P(first)",
    "prior": "prior",
    "prior_consistency": "prior, order consistency",
    "shuffled": "shuffled",
    "repeat_copy": "repeat, copy",
    "repeat_swapped": "repeat, swapped",
    "soft_dvgr": "soft DVGR",
    "dvgr_minus_shuffled": "DVGR − shuffled",
    "dvgr_minus_lexical": "DVGR − lexical",
    "probe_value_minus_lexical": "value probe − lexical",
    "probe_surface_minus_lexical": "surface probe − lexical",
    "control_lean": "control",
    "probe_value_lean": "value probe",
    "probe_surface_lean": "surface probe",
    "probes_lean": "value − surface",
    "consistency_excess": "consistency − 2p(1 − p)",
    "control_positive": "control, positive",
    "probe_value_positive": "value probe, positive",
    "probe_surface_positive": "surface probe, positive",
    "repeat_positive": "repeat, positive",
}


def _verdict_table(table: pd.DataFrame, *columns: str, end: str = "", who: str = "respondent") -> str:
    """Respondents in order, with the measures whose names have the suffix ``end``, and their intervals.

    ``who`` is the head of the first column.
    """
    if table.empty:
        return nobody("Nobody was asked this.")
    ordered = _in_families(table).sort_values(["family", "model"])
    shown = pd.DataFrame({who: ordered["model"]})
    for column in columns:
        if column == "verdict":
            cells = list(ordered[column].map(VERDICT_NAMES))
        elif column == "cells":
            cells = list(ordered[column].map(count))
        elif column == "how":
            cells = list(ordered[column])
        elif column in ("by_place", "answered"):
            cells = list(ordered[column].map(share))
        else:
            name, write = f"{column}{end}", logit if column.endswith("_lean") else share
            ends = bounds(ordered, name, 3 if write is share else 2, bounded=write is share)
            cells = [_with_ends(value, one, write) for value, one in zip(ordered[name], ends, strict=True)]
        shown[_HEADS[column]] = cells
    formats = {str(name): str for name in shown if name not in (who, "verdict", "asked")}
    return markdown(shown, formats)


def verdicts(table: pd.DataFrame) -> str:
    """The verdict on each respondent, with the arms that it is based on.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`, as in the four functions below.
    """
    return _verdict_table(table, "verdict", "cells", "control", "probe_value", "probe_surface", "dvgr")


def answering(table: pd.DataFrame, in_words: pd.DataFrame) -> str:
    """Whether language models answer, and how they respond to position, by letter and in free text.

    Parameters
    ----------
    table, in_words
        From `analysis.verdicts.verdicts` and `analysis.verdicts.in_free_text`.
    """
    by_letter = table[table["family"] == LANGUAGE_MODEL].assign(how="letter")
    both = pd.concat([by_letter, in_words.assign(how="free text")])
    positions = ("first_option_rate", "first_option_p", "order_consistency", "by_place")
    return _verdict_table(both, "how", "cells", "answered", *positions, "control", who="model")


def without_evidence(table: pd.DataFrame) -> str:
    """What each respondent does where there is nothing to learn, or only an example to find again."""
    columns = ("prior", "prior_consistency", "shuffled", "repeat_copy", "repeat_swapped", "control")
    return _verdict_table(table, *columns)


def learned(table: pd.DataFrame, n: int = VERDICT_N) -> str:
    """What each respondent that was asked learned from ``n`` examples (4 or 20)."""
    columns = ["probe_value", "probe_surface", "dvgr", "soft_dvgr", "dvgr_minus_shuffled"]
    columns += [f"{arm}_minus_lexical" for arm in ("dvgr", "probe_value", "probe_surface")]
    end = "" if n == VERDICT_N else f"_n{n}"
    # At N = 4, the control is in the table of `without_evidence`.
    shown = columns if n == VERDICT_N else ["control", *columns]
    return _verdict_table(table[table[f"dvgr{end}"].notna()], *shown, end=end)


def verdict_rules(table: pd.DataFrame) -> str:
    """What the rules use: preferences for right options, and shares that should equal .5."""
    leans = ("control_lean", "probe_value_lean", "probe_surface_lean", "probes_lean")
    return _verdict_table(table, *leans, "consistency_excess", *POSITIVE)


# ---- language models ----

#: Digits of a checksum that a table shows.
_DIGITS = 12
_LEARNER_ARMS = {"deconfounded": "DVGR", "value_only": "value only", "surface_only": "surface only"}


def how_asked(table: pd.DataFrame) -> pd.DataFrame:
    """How each language model was asked, from `analysis.several_sets.how_asked`, with shortened checksums."""
    return table.assign(weights_sha256=table["weights_sha256"].str[:_DIGITS])


def not_asked(table: pd.DataFrame) -> str:
    """The language models and heads of the paper that were not asked, from `ask.on_record.coverage`."""
    waiting = table[(table["state"] == "not asked") & table["family"].isin(["language model", HEAD])]
    if waiting.empty:
        return "Every language model and every head that the paper lists for these sets was asked."
    places = waiting.assign(place=waiting["study"] + "/" + waiting["item_set"])
    names = places.groupby("model", sort=False)["place"].agg(", ".join).reset_index()
    return markdown(names.set_axis(["not asked", "sets"], axis="columns"))


def asked_against_read(table: pd.DataFrame) -> pd.DataFrame:
    """Rates of each open model and its heads, one column per arm, from `analysis.asked_read`."""
    if table.empty:
        return table
    cells = list(map(_with_ends, table["rate"], bounds(table)))
    by = ["model", "respondent", "n_examples", "cells"]
    wide = table.assign(cell=cells).pivot(index=by, columns="arm", values="cell")
    order = list(dict.fromkeys(table[by].itertuples(index=False, name=None)))
    return wide.reindex(order).reindex(columns=list(ARMS)).rename(columns=ARMS).reset_index()


#: What heads are held against, and the states that they read, in words.
_OTHERS = {
    ASKED: "the model itself, asked",
    BEST_LEXICAL: "best lexical learner",
    ENCODER: "sentence embeddings",
    TOKENS: "token embeddings",
    LAST: "head, last token",
}
_READ = {MEAN: "mean state", LAST: "last token"}
_GAINS = {"value": "value probe", "surface": "surface probe", "apart": "value − surface"}


def gains(table: pd.DataFrame, n: int = VERDICT_N) -> str:
    """Differences between heads and what they are held against, from `analysis.asked_read.gains`.

    From the least to the most over the models, and how many of their intervals lie above 0.
    """
    at = table[table["n_examples"] == n]
    if at.empty:
        return nobody("No head is on record.")
    by = {"head on": at["respondent"].map(_READ), "compared with": at["other"].map(_OTHERS)}
    named = at.assign(**by, cell=[_gain(row) for row in at.to_dict("records")])
    wide = named.pivot(index=list(by), columns="measure", values="cell").reindex(columns=list(_GAINS))
    order = list(dict.fromkeys(named[list(by)].itertuples(index=False, name=None)))
    shown = wide.reindex(order).fillna(MISSING).rename(columns=_GAINS).reset_index()
    return markdown(shown, dict.fromkeys(_GAINS.values(), str))


def _gain(row: Mapping[Any, Any]) -> str:
    ends = dict.fromkeys(share(row[end]) for end in ("least", "most"))
    below = f", {count(row['below'])} below" if row["below"] else ""
    return f"{' to '.join(ends)} ({count(row['above'])}/{count(row['models'])}{below})"


def learner_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Rates of text learners on the chosen wordings, from `stimuli.selection.over_designs`."""
    return table.assign(arm=table["arm"].map(_LEARNER_ARMS))
