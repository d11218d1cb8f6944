"""Sentences of the manuscript on study 1 that depend on the direction of a result.

They are put together here, so that a paper about other models says what is true of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from deepvalues.core.number_format import count, equal_or_less, interval, listed, number, plural, share
from deepvalues.studies.dvb.analysis.comparisons import FACTOR_NAMES
from deepvalues.studies.dvb.analysis.pooled_rates import ALPHA, Sides, arm_means, sides_by_interval

#: The learner that brings knowledge of language besides what its prompt says.
ENCODER = "learner-encoder"

# ---- the models as a whole ----


def _counted(sides: Sides) -> str:
    """How many models lie on either side of chance, in a clause."""
    if sum(sides) == 1:
        side = "lies below chance" if sides.below else "lies above chance" if sides.above else None
        return f"the one model {side or 'is not told from chance'}"
    return f"of {count(sum(sides))} models {_lie(sides.below)} below chance and {_lie(sides.above)} above it"


def _lie(models: int) -> str:
    return "none lies" if models == 0 else "1 lies" if models == 1 else f"{count(models)} lie"


def finding(
    language_models: Sequence[str], learners: Sequence[str], dvgr: float, sides: Sides, passes: str
) -> str:
    """What was found, in a sentence or two.

    Parameters
    ----------
    language_models, learners
        Those that answered; without a language model the finding is about text learners.
    dvgr
        Pooled over the models in focus.
    sides
        These models by the test.
    passes
        How many of them pass the control, from `passing`.
    """
    counted = (
        f"the pooled DVGR is {share(dvgr)}; after Holm's correction, {_counted(sides)}; {passes}, short of "
        "which a DVGR says little."
    )
    if language_models:
        asked = f"{plural('language model', len(language_models))} asked"
        return f"For the {asked} ({', '.join(language_models)}), {counted}"
    small = f"small models fitted to the text of one prompt{_encoder(learners)}"
    return f"For text learners, {small}, {counted}"


def _encoder(learners: Sequence[str]) -> str:
    """What must be said of the learner that knows more than the words of its prompt, as an apposition."""
    return ", one of them on frozen sentence embeddings" if ENCODER in learners else ""


# ---- the DVGR ----


def split(sides: Sides) -> str:
    """How many models lie on which side of chance."""
    below, above, undecided = (count(models) if models else "none" for models in sides)
    return f"{below} below chance, {above} above it, {undecided} not told from it"


def sides(family: str, by_test: Sides, by_interval: Sides) -> str:
    """On which side of chance the models in focus lie, by the test and by the clustered intervals."""
    return (
        f"Of {sum(by_test)} {plural(family, sum(by_test))}, by the exact test with Holm's correction: "
        f"{split(by_test)}. By the intervals clustered by cell: {split(by_interval)}."
    )


def span(focused: pd.DataFrame) -> str:
    """Between which rates the models in focus lie.

    Parameters
    ----------
    focused
        Their rows of `analysis.statistics.dvgr_by_model`.
    """
    known = focused.dropna(subset="dvgr")
    if known.empty:
        return "There is no rate, as no reply could be read"
    (low, lowest), (high, highest) = (
        (share(rows["dvgr"].iloc[0]), rows["model"].iloc[0])
        for rows in (known.nsmallest(1, "dvgr"), known.nlargest(1, "dvgr"))
    )
    if len(known) == 1:
        return f"The one rate is {low} ({lowest})"
    if low == high:
        return f"The {count(len(known))} rates are all {low}"
    return f"The {count(len(known))} rates run from {low} ({lowest}) to {high} ({highest})"


def control(focused: pd.DataFrame, family: str, least: float) -> str:
    """How many models in focus fail on the control.

    Parameters
    ----------
    focused
        Their rows of `analysis.comparisons.control_gate`.
    least
        The accuracy that they should have.
    """
    if _unread(focused):
        return "On the confounded control no reply could be read"
    failed, models = int(focused["flagged"].sum()), len(focused)
    if models == 1:
        falls = "falls" if failed else "does not fall"
        return f"On the confounded control the one {family} {falls} below an accuracy of {share(least)}"
    who = f"{count(failed) if failed else 'none'} of {count(models)} {plural(family, models)}"
    fall = "falls" if failed < 2 else "fall"
    return f"On the confounded control {who} {fall} below an accuracy of {share(least)}"


def _unread(focused: pd.DataFrame) -> bool:
    """Whether nobody has an accuracy; models without one are flagged, too."""
    return "accuracy" in focused and bool(focused["accuracy"].isna().all())


def passing(focused: pd.DataFrame, least: float) -> str:
    """How many models in focus pass the control, in a clause; from the same table as `control`."""
    if _unread(focused):
        return f"no reply could be read that would show an accuracy of {share(least)} on the control"
    passed = int((~focused["flagged"].astype(bool)).sum())
    if len(focused) == 1:
        return f"it {'reaches' if passed else 'does not reach'} an accuracy of {share(least)} on the control"
    who = f"{count(passed) if passed else 'none'} of {count(len(focused))}"
    return f"{who} {'reaches' if passed < 2 else 'reach'} an accuracy of {share(least)} on the control"


def learners(table: pd.DataFrame) -> str:
    """How far programs get that learn from the words of one prompt, whichever family is in focus.

    Parameters
    ----------
    table
        From `analysis.statistics.dvgr_by_model`, with family.
    """
    found = table[table["family"] == "text learner"]
    if found.empty:
        return "How far the words of a prompt lead by themselves, no text learner tells in this build"
    above, models = sides_by_interval(found).above, len(found)
    followed, answered = found["followed"].sum(), found["answered"].sum()
    pooled = f"a pooled DVGR of {share(followed / answered)}" if answered else "no reply that could be read"
    return (
        f"Of {count(models)} {plural('text learner', models)}, fitted to the text of one prompt"
        f"{_encoder(list(found['model']))}, {_lie(above)} on the side of the value by the intervals "
        f"clustered by cell, with {pooled}"
    )


def leave_one_out(table: pd.DataFrame) -> str:
    """Between which rates the pooled DVGR runs; follows on a sentence that gives it.

    Parameters
    ----------
    table
        From `analysis.pooled_rates.leave_one_out`.
    """
    if table.empty:
        return "It rests on one model: there is no other to leave out."
    known = table.dropna(subset="rate").sort_values(["rate", "left_out"])
    if known.empty:
        return "Without any reply that could be read there is nothing to leave out."
    ends = known.iloc[[0, -1]]
    (low, without_low), (high, without_high) = zip(ends["rate"].map(share), ends["left_out"], strict=True)
    if low == high:
        return f"Leaving out one model at a time, it stays at {low}."
    return (
        f"Leaving out one model at a time, it runs from {low} (without {without_low}) to {high} "
        f"(without {without_high})."
    )


#: Rates that differ by less are about equal.
_ABOUT_EQUAL = 0.02


def layers(focused: pd.DataFrame) -> str:
    """Which layer's probe is answered right more often.

    Parameters
    ----------
    focused
        The rows of the models in focus of ``rates(frame, ["model", "arm", "n_examples"])``.
    """
    means = arm_means(focused)
    value, surface = (float(means.get((f"probe_{layer}", 20), math.nan)) for layer in ("value", "surface"))
    if math.isnan(value - surface):
        return "The probes have no answers to compare."
    if abs(value - surface) < _ABOUT_EQUAL:
        by_chance = max(abs(value - 0.5), abs(surface - 0.5)) < _ABOUT_EQUAL
        often = "about as often as by chance" if by_chance else "about equally often"
        return f"Both probes are answered right {often} ({share(value)} and {share(surface)})."
    better = "value" if value > surface else "surface"
    return f"Of the two layers, the {better} is the one whose probe is answered right more often."


def sensitivities(focused: pd.DataFrame, family: str) -> str:
    """For how many models in focus a layer outweighs the other.

    Parameters
    ----------
    focused
        Their rows of `analysis.statistics.sensitivities`.
    """
    known = focused.dropna(subset="b_v")
    if known.empty:
        return f"None of the {family}s has an estimate."
    surface, value = int((known["d_high"] < 0).sum()), int((known["d_low"] > 0).sum())
    return (
        f"Of {count(len(known))} {plural(family, len(known))} with an estimate, {_have(surface)} an "
        "interval of the difference that lies wholly on the side of the surface, and "
        f"{_have(value)} one wholly on the side of the value."
    )


def _have(models: int) -> str:
    return "none has" if models == 0 else "1 has" if models == 1 else f"{count(models)} have"


# ---- factors and pairs ----


def factors(tests: pd.DataFrame) -> str:
    """Which factors the tests with clusters leave, and which the others would add.

    Parameters
    ----------
    tests
        From `analysis.comparisons.factor_tests`.
    """
    clustered = tests["wald_p_holm"] < ALPHA
    pooled = (tests["p_value"] < ALPHA) & ~clustered
    left, added = (
        [FACTOR_NAMES[factor] for factor in tests.loc[rows, "factor"]] for rows in (clustered, pooled)
    )
    between = [
        f"{FACTOR_NAMES[factor]} (p {equal_or_less(p)})"
        for factor, p in tests.loc[(tests["wald_p"] < ALPHA) & ~clustered, ["factor", "wald_p"]].to_numpy()
    ]
    if tests[["wald_p", "p_value"]].isna().all(axis=None):
        return "No factor can be tested, as choices do not vary."
    lost = f" With clusters but without correction: also {listed(between)}." if between else ""
    return (
        f"Significant with clusters and Holm's correction: {listed(left)}. On pooled trials without "
        f"correction: {f'also {listed(added)}' if added else 'no other'}.{lost}"
    )


def regression(tests: pd.DataFrame) -> str:
    """Which factors of the regressions are significant.

    Parameters
    ----------
    tests
        From `analysis.regression.factors_of`, of the regressions "logit" and "gee".
    """
    significant = tests[tests["p_value"] < ALPHA]
    logit, gee = (
        listed(
            [FACTOR_NAMES[factor] for factor in significant.loc[significant["regression"] == name, "factor"]]
        )
        for name in ("logit", "gee")
    )
    untested = sorted({FACTOR_NAMES[factor] for factor in tests.loc[tests["p_value"].isna(), "factor"]})
    unsaid = f" Not to be tested in both: {listed(untested)}." if untested else ""
    significant_in = f"Significant in the logit, clustered as published: {logit}"
    return f"{significant_in}; by GEE with cells as groups: {gee}.{unsaid}"


def pairs(paired: pd.DataFrame, bound: float) -> str:
    """How many pairs of models differ, and how many are equivalent.

    Parameters
    ----------
    paired
        From `deepvalues.stats.contrasts.paired_contrasts`.
    bound
        Of equivalence.
    """
    if paired.empty:
        return "With one model in focus there are no pairs."
    different, clustered, equivalent = (
        count((paired[p] < ALPHA).sum()) for p in ("p_mcnemar_holm", "p_clustered_holm", "p_equivalence")
    )
    pairs_of = plural("pair", len(paired))
    return (
        f"{different} of {count(len(paired))} {pairs_of} of models in focus differ by McNemar's test, which "
        f"takes items as independent, and {clustered} by the test clustered by cell, both after Holm's "
        f"correction; {equivalent} are equivalent within {number(bound, 2, bounded=True)}, without "
        "correction."
    )


def agreement(developers: pd.DataFrame) -> str:
    """How often two models in focus agree, and in what interval.

    Parameters
    ----------
    developers
        From `analysis.comparisons.developer_agreement`.
    """
    (row,) = developers[developers["comparison"] == "all pairs"].to_dict("records")
    if math.isnan(row["agreement"]):
        return "Agreement needs two models."
    of_cells, of_both = (interval(row[f"{kind}_low"], row[f"{kind}_high"]) for kind in ("cells", "both"))
    both = "" if math.isnan(row["both_low"]) else f", {of_both} with models resampled as well"
    return (
        f"On average two of them choose the same option on a share of {share(row['agreement'])} of the items "
        f"({of_cells} with cells resampled{both})."
    )


# ---- choices and probabilities ----


def soft(table: pd.DataFrame, expected: Mapping[str, float]) -> str:
    """The soft DVGR of the models that have one, beside what their choices give.

    Parameters
    ----------
    table
        From `analysis.soft.soft_dvgr`.
    expected
        What the rules of models with a rule imply, by model.
    """
    if table.empty:
        return "No model of this build has them on record."
    parts = [
        f"{model}, a soft DVGR of {share(rate)} where {_implied(expected.get(model))}its choices give "
        f"{share(hard)}"
        for model, rate, hard in table[["model", "soft", "hard"]].itertuples(index=False, name=None)
    ]
    return f"The record holds them for {'; for '.join(parts)}."


def _implied(rate: float | None) -> str:
    return "" if rate is None else f"its rule implies {share(rate)} and "
