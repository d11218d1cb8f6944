"""What the text says about study 2: numbers under their keys, and sentences that go by the results."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from deepvalues.core import number_format
from deepvalues.paper.keeping import Numbers
from deepvalues.studies.svo.analysis import scoring
from deepvalues.studies.svo.stimuli.payoffs import N_PRIMARY

#: Below this a p-value, corrected by Holm, counts as a difference.
SIGNIFICANCE = 0.05
#: What each verdict on the lean to neutral values means.
VERDICTS = {
    "yes": "the models lean to the neutral values",
    "no": "the models lean away from them",
    "open": "no lean to either side can be told",
}
_GIVING, _TAKING = ["altruistic", "prosocial"], ["individualistic", "competitive"]


def models(numbers: Numbers, family: Mapping[str, str], trials: int) -> None:
    """Say who was asked: ``models``, ``text.models``, ``trials``.

    Parameters
    ----------
    family
        Of each model.
    trials
        Of all models together.
    """
    counts = pd.Series(family, dtype="str").value_counts(sort=False)
    numbers.text(
        "text.models",
        "; ".join(f"{count} {number_format.plural(str(kind), count)}" for kind, count in counts.items()),
    )
    numbers.count("models", len(family))
    numbers.count("trials", trials)


def instrument(check: pd.DataFrame) -> str:
    """Say whether the reference agents have the angles that their rules imply.

    Parameters
    ----------
    check
        From `analysis.instrument.instrument`.
    """
    if check.empty:
        return "No reference agent was asked."
    agrees, refused = check["agrees"].astype(bool), check["expected"].isna()
    if refused.all():
        return (
            f"No rule implies an angle; {_of(agrees)} conditions in which it refuses have no complete trial."
        )
    sentence = f"{_of(agrees[~refused])} conditions with an implied angle have it"
    if refused.any():
        sentence += f", and {_of(agrees[refused])} in which the rule refuses have no complete trial"
    others = list(check.loc[~agrees, "model"].unique())
    return sentence + (f"; those that do not are of {number_format.listed(others)}." if others else ".")


def _of(agrees: pd.Series[bool]) -> str:
    return f"{number_format.count(agrees.sum())} of {number_format.count(len(agrees))}"


def goal(numbers: Numbers, effects: pd.DataFrame) -> None:
    """Count the comparisons with goal prompting that leave anything to test, and those that differ.

    Parameters
    ----------
    effects
        From `analysis.statistics.goal_effect`.
    """
    numbers.count("goal.compared", effects["p_holm"].notna().sum())
    numbers.count("goal.changed", (effects["p_holm"] < SIGNIFICANCE).sum())


def rationality(means: pd.DataFrame) -> str:
    """Say between which models corrected value rationality lies, mode by mode.

    Parameters
    ----------
    means
        From `analysis.statistics.mean_rationality`, of the models in focus.
    """
    modes = [
        f"in {mode} mode {_span(part)}"
        for mode, part in means.dropna(subset="corrected").groupby("mode", sort=True)
    ]
    return (
        f"Corrected for chance, {number_format.listed(modes)}."
        if modes
        else "No model has a value rationality."
    )


def _span(means: pd.DataFrame) -> str:
    """Between which models the corrected means of one mode lie, in a clause."""
    ends = means.assign(corrected=means["corrected"].map(number_format.settled)).sort_values(
        ["corrected", "model"]
    )
    low, high = (_all_at(ends, ends["corrected"].iloc[place]) for place in (0, -1))
    return f"it is {low}" if low == high else f"it runs from {low} to {high}"


def _all_at(means: pd.DataFrame, corrected: float) -> str:
    """A corrected mean with all models that have it."""
    there = means["corrected"].map(number_format.logit) == number_format.logit(corrected)
    return f"{number_format.logit(corrected)} ({number_format.listed(list(means.loc[there, 'model']))})"


def rationality_left_out(means: pd.DataFrame) -> str:
    """Say which values the means of value rationality leave out, and what these could at worst be.

    Parameters
    ----------
    means
        From `analysis.statistics.mean_rationality`.
    """
    gaps = means[means["left_out"] != ""]
    if gaps.empty:
        return "Each mean is over all values."
    alike = gaps.assign(
        means=[_worst(*means) for means in gaps[["rationality", "bound_low"]].itertuples(index=False)]
    ).groupby(["model", "left_out", "means"], sort=False)["mode"]
    models = [
        f"{model} in {number_format.listed(list(modes))} mode has no complete trial of the "
        f"{_values(str(left_out))}; {means}"
        for (model, left_out, means), modes in alike
    ]
    return f"Values without a complete trial are left out of the means. {'. '.join(models)}."


def _values(names: str) -> str:
    """Values in words, from their names with commas between them."""
    listed = names.split(", ")
    return f"{number_format.listed(listed)} value" + ("s" if len(listed) > 1 else "")


def _worst(mean: float, worst: float) -> str:
    """What a mean without some values could be at worst, in a clause."""
    if math.isnan(mean):
        return f"at their worst its raw mean would be {number_format.number(worst, 1)}"
    return (
        f"with these choices at their worst its raw mean would be {number_format.number(worst, 1)} "
        f"instead of {number_format.number(mean, 1)}"
    )


def anova_left_out(anova: pd.DataFrame, left_out: pd.DataFrame) -> str:
    """Say which models the analysis of variance leaves out, and why.

    Parameters
    ----------
    anova
        From `analysis.effects.anova`.
    left_out
        From `analysis.effects.left_out`.
    """
    if anova["f"].isna().all():
        return "There is no analysis of variance: it needs two models with a complete trial of every value."
    if left_out.empty:
        return "The analysis of variance leaves no model out."
    models = [
        f"{model} ({', '.join(map(_none_of, rows['value'], rows['lacking'], rows['analyses']))})"
        for model, rows in left_out.groupby("model", sort=False)
    ]
    return (
        "The analysis of variance, which needs a complete trial of every value, leaves out "
        f"{', '.join(models)}."
    )


def _none_of(value: str, lacking: int, analyses: int) -> str:
    return f"none of {value}" + ("" if lacking == analyses else f" in {lacking} of {analyses} analyses")


def position(position: pd.DataFrame) -> str:
    """Name the models whose choices go by the place of an option.

    Parameters
    ----------
    position
        From `analysis.statistics.position_bias`.
    """
    if len(position) and position["p_holm"].isna().all():
        return "Where options are permuted, no model's choices can be tested for going by their place."
    biased = list(position.loc[position["p_holm"] < SIGNIFICANCE, "model"])
    if not biased:
        return "Where options are permuted, no model is found to choose by their place."
    verb = "chooses" if len(biased) == 1 else "choose"
    return f"Where options are permuted, {number_format.listed(biased)} {verb} by their place."


def first_place(numbers: Numbers) -> None:
    """What always taking the first place gives in the printed order: ``first_place.angle``, ``.category``."""
    angle = scoring.angles(np.zeros((1, N_PRIMARY), dtype=int))
    numbers.decimals("first_place.angle", float(angle[0]), 1)
    numbers.text("first_place.category", scoring.categories(angle).iloc[0])


def people(numbers: Numbers, norms: pd.DataFrame) -> None:
    """Say who the people are: ``people.n``, ``people.mean`` (degrees) and ``people.prosocial`` (a share).

    Parameters
    ----------
    norms
        ``data/published/svo_human_norms.csv``; of its groups "all".
    """
    (everyone,) = norms[norms["group"] == "all"].to_dict("records")
    numbers.count("people.n", everyone["n"])
    numbers.decimals("people.mean", everyone["mean"], 1)
    numbers.share("people.prosocial", everyone["prosocial_pct"] / 100)


def published(numbers: Numbers, by_value: pd.DataFrame) -> None:
    """Give each value's published means under ``published``, and say whether giving stands above taking.

    Parameters
    ----------
    by_value
        From `analysis.published.by_value`.
    """
    corrected = by_value.set_index("value")["corrected"]
    for value, mean in corrected.items():
        numbers.decimals(f"published.{value}.corrected", mean)
    numbers.claim("giving_above_taking", corrected[_GIVING].min() > corrected[_TAKING].max())


def lean(numbers: Numbers, contrasts: pd.DataFrame) -> None:
    """Say whether the published models lean to neutral values, and whether that survives the correction.

    Parameters
    ----------
    contrasts
        From `analysis.published.neutral_lean`.
    """
    neutral = contrasts[contrasts["contrast"] == "neutral minus extreme"]
    rows = {row["scale"]: row for row in neutral.to_dict("records")}
    for scale, digits in (("raw", 1), ("above_chance", 1), ("corrected", 2)):
        row = rows[scale]
        numbers.decimals(f"lean.{scale}", row["lean"], digits)
        numbers.interval(f"lean.{scale}_interval", row["low"], row["high"], digits, bounded=False)
        reading = number_format.interval(row["read_low"], row["read_high"], digits, bounded=False)
        verdict = VERDICTS[row["verdict"]]
        numbers.text(f"text.lean_{scale}", f"with reading errors {reading}, so that {verdict}")
    verdicts = rows["raw"]["verdict"], rows["corrected"]["verdict"]
    numbers.text("text.survives", survives(*verdicts))
    numbers.text("text.abstract", abstract(*verdicts))


def abstract(raw: str, corrected: str) -> str:
    """What the abstract says of the study, by the two verdicts on the published lean to neutral values."""
    if raw != "yes":
        return (
            "A second study, of assigned social values, finds no lean of the published models to neutral "
            "values."
        )
    found = "remains" if corrected == "yes" else "does not remain"
    return (
        "A second study, of assigned social values, finds that a published lean to neutral values "
        f"{found} when scores are corrected for what random answers get."
    )


def survives(raw: str, corrected: str) -> str:
    """Say whether the lean to neutral values survives the correction for chance, by its two verdicts."""
    if raw != "yes":
        return "Raw, there is no such lean that could survive the correction."
    survives = "survives" if corrected == "yes" else "does not survive"
    return f"The lean to neutral values {survives} the correction."
