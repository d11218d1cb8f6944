"""Tables of the Deep Value Benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from deepvalues.ask.registry import HEAD
from deepvalues.core.number_format import (
    MINUS,
    MISSING,
    beside,
    coefficient,
    count,
    interval,
    logit,
    number,
    p_value,
    share,
)
from deepvalues.paper.markdown import intervals as bounds
from deepvalues.paper.markdown import markdown, nobody
from deepvalues.studies.dvb.analysis.public_prompt_rates import PUBLISHED
from deepvalues.studies.dvb.analysis.verdicts import NAMES as VERDICT_NAMES
from deepvalues.studies.dvb.analysis.verdicts import N as VERDICT_N

Format = Callable[[Any], str]

#: The order in which families follow each other.
_FAMILIES = ("language model", HEAD, "text learner", "reference agent")
_STATUSES = ("answered", "refused", "unparsable", "truncated", "failed")
#: How columns are written that have the same head in several tables.
_FORMATS: dict[str, Format] = {
    **dict.fromkeys(["n", "df", "df error", "items", "models", "trials", *_STATUSES], count),
    **dict.fromkeys(["DVGR", "difference", "accuracy", "chance", "missing share", "V"], share),
    **dict.fromkeys(["p", "p (Holm)", "p (Wald)", "p (F)"], p_value),
    **dict.fromkeys(["h", "g"], logit),
    "χ²": lambda chi2: number(chi2, 1),
}


def _table(frame: pd.DataFrame, heads: Mapping[str, str], formats: Mapping[str, Format] | None = None) -> str:
    """Columns of a frame under the heads that readers see, in the order of these.

    Parameters
    ----------
    heads
        Heads by column.
    formats
        By head, how columns are written beside those of `_FORMATS`.
    """
    known = {**_FORMATS, **(formats or {})}
    shown = frame[list(heads)].set_axis(list(heads.values()), axis="columns")
    return markdown(shown, {head: known[head] for head in shown if head in known})


def _as_they_are(*columns: str) -> dict[str, str]:
    """Heads of columns that are called as their heads are, but for underscores."""
    return {column: column.replace("_", " ") for column in columns}


def missing(table: pd.DataFrame) -> str:
    """Replies by status, from `analysis.statistics.missing_by_reason`."""
    return _table(table, _as_they_are("model", "items", *_STATUSES, "missing_share"))


def instrument(table: pd.DataFrame) -> str:
    """How many of their rates reference agents meet, from `analysis.statistics.instrument_by_agent`."""
    heads = {"model": "agent", "rule": "rule", "compared": "rates compared", "exact": "exact"}
    heads |= {"within": "in the interval", "largest": "largest difference"}
    counted = dict.fromkeys(["rates compared", "exact", "in the interval"], count)
    return _table(table, heads, {**counted, "largest difference": share})


_PARAMETERS = {"b0": "$b_0$", "b_v": "$b_v$", "b_s": "$b_s$", "d": "$d$"}


def recovery(table: pd.DataFrame) -> str:
    """Known parameters beside their estimates, from `analysis.statistics.recovered`."""
    shown = table.assign(
        parameter=table["parameter"].map(_PARAMETERS),
        interval=bounds(table, bounded=False),
        held=table["held"].map({True: "yes", False: "no"}).where(table["estimate"].notna()),
    )
    heads = {**_as_they_are("parameter", "true", "estimate"), "interval": "95% interval"}
    heads |= {"held": "holds the truth", "coverage": "coverage"}
    # Three decimals: with two, an interval can seem to end at the truth that it misses.
    return _table(shown, heads, {**dict.fromkeys(["true", "estimate"], number), "coverage": share})


#: The columns of a table of DVGRs with tests, and their heads.
_TESTED = {
    "answered": "n",
    "dvgr": "DVGR",
    "wilson": "Wilson",
    "clustered": "clustered",
    "p_holm": "p (Holm)",
    "cohens_h": "h",
    "cohens_g": "g",
    "bounds": "bounds",
}


def dvgr(table: pd.DataFrame) -> str:
    """The DVGR of each model, from `analysis.statistics.dvgr_by_model` with families.

    Families follow each other as everywhere; within one, rates fall.
    """
    shown = table.assign(
        wilson=bounds(table, "wilson"),
        clustered=bounds(table, "clustered"),
        bounds=bounds(table, "bound"),
        family=pd.Categorical(table["family"], _FAMILIES, ordered=True),
    ).sort_values(["family", "dvgr", "model"], ascending=[True, False, True])
    return _table(shown, {"model": "model", **_TESTED})


def published(table: pd.DataFrame) -> str:
    """The published models, from `analysis.statistics.published_dvgr`."""
    shown = table.assign(wilson=bounds(table, "wilson"), bounds=bounds(table, "bound"))
    heads = {"model": "model", "size_tier": "size", **_TESTED}
    del heads["clustered"]
    return _table(shown, heads)


def authors(table: pd.DataFrame) -> str:
    """Respondents on the public prompts, from `analysis.public_prompt_rates.beside_published`.

    Families follow each other as everywhere; the published models stand below.
    """
    shown = table.assign(
        wilson=bounds(table, "wilson"),
        family=pd.Categorical(table["family"], _FAMILIES, ordered=True),
        last=table["model"] == PUBLISHED,
    ).sort_values(["last", "family", "model"])
    heads = {"model": "respondent", "prompts": "prompts", "dvgr": "DVGR", "wilson": "Wilson"}
    heads |= {"dvgr_first": "first order", "dvgr_swapped": "exchanged", "consistency": "order consistency"}
    rates = dict.fromkeys(["first order", "exchanged", "order consistency"], share)
    return _table(shown, heads, {"prompts": count, **rates})


def intervals(pooled: pd.DataFrame, mean_of_rates: pd.DataFrame, methods: Mapping[str, str]) -> str:
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
    rows = rows.assign(
        clusters=[
            count(one) if pd.isna(other) else f"{count(one)} × {count(other)}" for one, other in counts
        ],
        interval=bounds(rows),
        width=rows["high"] - rows["low"],
    )
    heads = _as_they_are("method", "clusters", "estimate", "interval", "width")
    return _table(rows, heads, {"clusters": str, **dict.fromkeys(["estimate", "width"], share)})


def leave_one_out(table: pd.DataFrame) -> str:
    """The pooled DVGR without each model in turn, from `analysis.pooled_rates.leave_one_out`."""
    if table.empty:
        return "There is no second model in focus that would stay."
    shown = table.assign(wilson=bounds(table, "wilson"), clustered=bounds(table, "clustered"))
    heads = {"left_out": "left out", "answered": "n", "rate": "DVGR", "wilson": "Wilson"}
    return _table(shown.sort_values(["rate", "left_out"]), {**heads, "clustered": "clustered"})


def control(table: pd.DataFrame) -> str:
    """Accuracy on the confounded control, from `analysis.comparisons.control_gate`."""
    shown = table.assign(
        Wilson=bounds(table, "wilson"),
        clustered=bounds(table, "clustered"),
        flagged=table["flagged"].map({True: "flagged", False: ""}),
    )
    return _table(shown, _as_they_are("model", "answered", "accuracy", "Wilson", "clustered", "flagged"))


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
    "dvb_statistics.csv": "single figures of the text",
    "dvb_value_disposition_odds.csv": "odds by rating",
    "dvb_value_dispositions.csv": "ratings of the values",
    "all files": "all",
}


def classes(table: pd.DataFrame) -> str:
    """Printed figures by how they come back, from `analysis.published.classes`."""
    shown = table.assign(source_file=table["source_file"].map(_PRINTED))
    heads = {**_as_they_are(*table.columns), "source_file": "published figures"}
    return _table(shown, heads, dict.fromkeys(table.columns[1:], count))


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


def side_by_side(table: pd.DataFrame, names: Mapping[str, str]) -> str:
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
    shown = known.assign(
        quantity=known["quantity"].replace(_FIGURES).str.replace("_", " "),
        where=where.str.replace(r"^(\d+)$", r"N = \1", regex=True),
        printed=known["printed"].astype(str).str.replace("-", MINUS),
        recomputed=list(map(beside, known["recomputed"], known["unit"])),
        range=[
            f"{beside(low, unit)} to {beside(high, unit)}" if low < high else MISSING
            for low, high, unit in ranges
        ],
    )
    heads = {"quantity": "figure", "where": "of", "printed": "published"}
    heads |= _as_they_are("recomputed", "range", "class")
    return _table(shown, heads, dict.fromkeys(["published", "recomputed"], str))


def large_against_small(table: pd.DataFrame) -> str:
    """Large against small models, from `analysis.counts.large_against_small`."""
    heads = {"middle_as": "the middle model counts as", "n_large": "n, large", "n_small": "n, small"}
    heads |= {"dvgr_large": "DVGR, large", "dvgr_small": "DVGR, small", "difference": "difference"}
    heads |= {"chi2": "χ²", "p_value": "p", "cramers_v": "V"}
    counts, rates = (["n, large", "n, small"], ["DVGR, large", "DVGR, small"])
    return _table(table, heads, {**dict.fromkeys(counts, count), **dict.fromkeys(rates, share)})


# ---- comparisons ----


def factors(table: pd.DataFrame, names: Mapping[str, str], clusters: Mapping[str, str]) -> str:
    """Tests of the factors, from `analysis.comparisons.factor_tests`.

    Parameters
    ----------
    names, clusters
        What factors and clusters are called.
    """
    shown = table.assign(
        factor=table["factor"].map(dict(names)), cluster=table["cluster"].map(dict(clusters))
    )
    heads = {"factor": "factor", "chi2": "χ²", "df": "df", "p_value": "p", "cramers_v": "V"}
    heads |= {"cluster": "clusters", "wald_df_error": "df error", "wald_p": "p (Wald)"}
    return _table(shown, {**heads, "wald_p_holm": "p (Holm)"})


def prior(corrected: pd.DataFrame, position: pd.DataFrame) -> str:
    """Each model against its own prior, and its position bias.

    Parameters
    ----------
    corrected, position
        From `analysis.comparisons.prior_corrected` and `position_bias`. A model without common
        tests has no row in the first, or one without pairs.
    """
    both = corrected.merge(position, on="model", how="outer")
    columns = ["pairs", "difference", "clustered_low", "clustered_high"]
    shown = both.assign(
        corrected=[
            f"{share(difference)} {interval(low, high)}" if pairs > 0 else MISSING
            for pairs, difference, low, high in both[columns].itertuples(index=False, name=None)
        ],
        position=[f"{share(gap)} {ends}" for gap, ends in zip(both["gap"], bounds(both, "gap"), strict=True)],
    )
    heads = {"model": "model", "prior": "prior", "corrected": "DVGR − prior", "chose_a": "chose A"}
    return _table(shown, {**heads, "position": "position gap"}, dict.fromkeys(["prior", "chose A"], share))


def regression(table: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Wald tests of the regressions, from `analysis.regression.factors_of`.

    Parameters
    ----------
    names
        What factors are called.
    """
    shown = table.assign(
        regression=table["regression"].replace("gee", "GEE"), factor=table["factor"].map(dict(names))
    )
    heads = {"regression": "regression", "factor": "factor", "chi2": "χ²", "df": "df"}
    return _table(shown, {**heads, "df_error": "df error", "p_value": "p (F)"})


def adjustment(table: pd.DataFrame) -> str:
    """Adjusted against raw rates, from `analysis.regression.simulated_adjustment`."""
    shown = table.assign(range=bounds(table, digits=4))
    heads = {"adjusted": "adjusted rate", "difference": "mean difference from the raw rate"}
    heads |= {"range": "middle 95% of runs"}
    return _table(shown, heads, {heads["difference"]: lambda size: number(size, 4, bounded=True)})


def pairs(table: pd.DataFrame) -> str:
    """Models pair by pair, from `deepvalues.stats.contrasts.paired_contrasts`."""
    if table.empty:
        return "There is no second model in focus to compare with."
    shown = table.assign(interval=bounds(table, "clustered"))
    heads = {"model_a": "model", "model_b": "against", "difference": "difference", "interval": "95% interval"}
    heads |= {"p_mcnemar_holm": "p (McNemar, Holm)", "p_equivalence": "p (equivalence)"}
    return _table(shown, heads, dict.fromkeys(["p (McNemar, Holm)", "p (equivalence)"], p_value))


def missing_variants(table: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Replies to the variants by status, from `variants.missing_by_variant`.

    Parameters
    ----------
    names
        What each study's wording of the question is called.
    """
    shown = table.assign(study=table["study"].map(dict(names)))
    heads = _as_they_are("model", "items", *_STATUSES, "missing_share")
    return _table(shown, {"study": "wording", **heads})


# ---- ratings, validation, stimuli ----


def ratings(consistency: pd.DataFrame, answered: pd.DataFrame) -> str:
    """Consistency of the ratings over repeats.

    Parameters
    ----------
    consistency, answered
        From `ratings.rating_consistency` and `answered_shares`.
    """
    both = consistency.merge(answered, on=["model", "scale"])
    shown = both.assign(interval=bounds(both, "icc", 2))
    heads = {**_as_they_are("model", "scale"), "answered": "share answered", "sd": "SD over repeats"}
    heads |= {"icc": "ICC"}
    formats = {"share answered": share, "SD over repeats": logit, "ICC": coefficient}
    return _table(shown, {**heads, "interval": "interval of ICC"}, formats)


def odds(table: pd.DataFrame) -> str:
    """Odds of following a value by its rating, from `ratings.odds_beside_print`."""
    shown = table.assign(
        interval=bounds(table, digits=2, bounded=False),
        printed=bounds(table, "published", 2, bounded=False),
    )
    heads = {"rating": "scale", "models": "models", "trials": "trials", "odds_ratio": "odds ratio"}
    heads |= {"interval": "interval", "published_odds_ratio": "published", "printed": "published interval"}
    return _table(shown, heads, dict.fromkeys(["odds ratio", "published"], logit))


def validation(table: pd.DataFrame, printed: pd.DataFrame) -> str:
    """Accuracy in the validation tasks, the published ones below.

    Parameters
    ----------
    table, printed
        From `validation.validation_accuracy` and `published_validation`. The published
        tasks were about training stimuli.
    """
    ours = table.assign(
        judges=table["model"], Wilson=bounds(table, "wilson"), clustered=bounds(table, "clustered")
    )
    theirs = printed.assign(
        judges="published: " + printed["judges"],
        stimulus="training",
        answered=printed["trials"],
        Wilson=bounds(printed, "ci"),
        clustered=MISSING,
    )
    heads = _as_they_are("task", "stimulus", "judges", "answered", "accuracy", "Wilson", "clustered")
    shown = pd.concat([ours[list(heads)], theirs[list(heads)]], ignore_index=True)
    return _table(shown.assign(task=shown["task"].str.replace("_", " ")), heads)


def separability(table: pd.DataFrame) -> str:
    """How often classifiers tell test wordings, from `stimuli.bank_checks.separability`."""
    shown = table.assign(interval=bounds(table, "clustered"))
    return _table(shown, _as_they_are("layer", "classifier", "n", "accuracy", "interval", "chance", "p"))


def likeness(table: pd.DataFrame) -> str:
    """How alike wordings of one trait and of rivals are, from `stimuli.bank_checks.similarity`."""
    shown = table.assign(interval=bounds(table), layer=table["layer"].str.replace("-", "−"))
    heads = {"layer": "layer", "traits": "traits", "same": "cosine, same trait", "rivals": "cosine, rivals"}
    heads |= _as_they_are("difference", "interval", "p")
    return _table(
        shown, heads, {"traits": count, **dict.fromkeys(["cosine, same trait", "cosine, rivals"], share)}
    )


def soft(table: pd.DataFrame, expected: Mapping[str, float]) -> str:
    """The soft DVGR beside the DVGR of the same items.

    Parameters
    ----------
    table
        From `analysis.soft.soft_dvgr`.
    expected
        What the rules of models with a rule imply, by model.
    """
    shown = table.assign(expected=table["model"].map(dict(expected)), interval=bounds(table, "clustered"))
    heads = {"model": "model", "answered": "n", "coverage": "covered", "expected": "expected"}
    heads |= {"soft": "soft DVGR", "interval": "interval", "hard": "DVGR"}
    return _table(shown, heads, dict.fromkeys(["covered", "expected", "soft DVGR"], share))


# ---- verdicts ----


def _estimates(table: pd.DataFrame, heads: Mapping[str, str], write: Format = share) -> pd.DataFrame:
    """Respondents in order, each measure with its interval in one cell, under the heads of `heads`.

    The two have a plain space between them, at which narrow columns break.
    """
    family = pd.Categorical(table["family"], _FAMILIES, ordered=True)
    ordered = table.assign(family=family).sort_values(["family", "model"]).reset_index(drop=True)
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
    """The verdict on each respondent, whether it answers, and what it does with a place.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`, as in the three functions below.
    """
    heads = {"letter_mass": "letter mass", "readable": "readable", "order_consistency": "order consistency"}
    heads["first_option_rate"] = "first option, p"
    shown = _estimates(table, heads).rename(columns={"by_place": "2p(1 − p)"})
    columns = ["model", "verdict", *list(heads.values())[:3], "2p(1 − p)", "first option, p"]
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
