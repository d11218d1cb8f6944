"""Numbers and sentences of the manuscript on study 1, from its tables.

Sentences that depend on the direction of a result are put together here, so that a paper about other
models says what is true of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import pandas as pd

from deepvalues.dvb.arms import ARMS
from deepvalues.dvb.comparisons import direction_gaps
from deepvalues.dvb.focus import ALPHA, Sides, arm_means
from deepvalues.dvb.statistics import met_exactly
from deepvalues.formats import count, number, share


class Numbers(Protocol):
    """Keeps the numbers of the text under their keys: ``deepvalues.manuscript.results.Results``."""

    def number(self, key: str, value: float, text: str) -> None:
        """Keep a number and how it is written."""

    def count(self, key: str, value: float) -> None:
        """Keep a whole number."""

    def share(self, key: str, value: float) -> None:
        """Keep a share with three decimals."""

    def interval(self, key: str, low: float, high: float) -> None:
        """Keep an interval of shares."""

    def text(self, key: str, text: str) -> None:
        """Keep a word or sentence."""

    def claim(self, key: str, holds: bool) -> None:
        """Keep whether a sentence's claim holds."""


# ---- the instrument ----


def instrument(results: Numbers, check: pd.DataFrame) -> None:
    """How many rates the reference agents were held to, from `deepvalues.dvb.statistics.instrument_check`."""
    results.count("instrument.compared", len(check))
    results.count("instrument.within", check["within"].sum())
    results.count("instrument.exact", met_exactly(check).sum())


def recovery(results: Numbers, table: pd.DataFrame, runs: int) -> None:
    """How many parameters are recovered, from `deepvalues.dvb.statistics.recovered`.

    Parameters
    ----------
    runs
        Simulated runs behind the coverage.
    """
    results.count("instrument.recovered", table["held"].sum())
    results.count("instrument.parameters", len(table))
    results.count("instrument.runs", runs)
    results.share("instrument.lowest_coverage", table["coverage"].min())
    results.share("instrument.highest_coverage", table["coverage"].max())


# ---- the DVGR ----


def focus(results: Numbers, focused: pd.DataFrame, sides: Sides) -> None:
    """The models in focus: how many, on which side of chance, and between which rates.

    Parameters
    ----------
    focused
        Their rows of `deepvalues.dvb.statistics.dvgr_by_model`, with family.
    sides
        By the test.
    """
    results.text("focus.name", f"{focused['family'].iloc[0]}s")
    results.count("focus.models", len(focused))
    for name, models in sides._asdict().items():
        results.count(f"focus.{name}", models)
    ends = {"lowest": focused.nsmallest(1, "dvgr"), "highest": focused.nlargest(1, "dvgr")}
    for name, row in ends.items():
        results.share(f"focus.{name}", row["dvgr"].iloc[0])
        results.text(f"focus.{name}_model", row["model"].iloc[0])


def pooled(results: Numbers, table: pd.DataFrame, mean_of_rates: pd.DataFrame) -> None:
    """The pooled rate and the mean of the models' rates.

    Parameters
    ----------
    table
        From `deepvalues.dvb.focus.pooled`.
    mean_of_rates
        From `deepvalues.dvb.intervals.mean_of_rates`.
    """
    (row,), (mean,) = table.to_dict("records"), mean_of_rates.to_dict("records")
    results.count("pooled.n", row["answered"])
    results.share("pooled.dvgr", row["rate"])
    results.interval("pooled.wilson", row["wilson_low"], row["wilson_high"])
    results.interval("pooled.clustered", row["clustered_low"], row["clustered_high"])
    results.share("macro.dvgr", mean["estimate"])
    results.interval("macro.interval", mean["low"], mean["high"])


def control(results: Numbers, focused: pd.DataFrame, least: float) -> None:
    """How many models in focus fail on the control.

    Parameters
    ----------
    focused
        Their rows of `deepvalues.dvb.comparisons.control_gate`.
    least
        The accuracy that they should have.
    """
    results.share("control.least", least)
    results.count("control.flagged", focused["flagged"].sum())


# ---- print ----


def published(results: Numbers, table: pd.DataFrame) -> None:
    """The published models, from `deepvalues.dvb.statistics.published_dvgr`."""
    deep, n = table["followed"].sum(), table["answered"].sum()
    results.share("published.dvgr", deep / n)
    results.count("published.deep", deep)
    results.count("published.n", n)
    results.count("published.models", len(table))
    results.share("published.lowest", table["dvgr"].min())
    results.share("published.highest", table["dvgr"].max())
    below = (table["wilson_high"] < 0.5) & (table["p_holm"] < 0.001)
    results.claim("published_below_chance", bool(below.all()))


def in_print(results: Numbers, classes: pd.DataFrame) -> None:
    """How many printed figures come back, from `deepvalues.dvb.published.classes`."""
    total = classes.iloc[-1]
    for name in ("exact", "within rounding", "differs", "not recomputable", "figures"):
        results.count(f"print.{name.replace(' ', '_')}", total[name])
    results.claim("nothing_in_print_differs", int(total["differs"]) == 0)


def sizes(results: Numbers, table: pd.DataFrame, sample: int) -> None:
    """Large against small published models, from `deepvalues.dvb.counts.large_against_small`.

    Parameters
    ----------
    sample
        The first size of a follow-up sample that has the printed power.
    """
    for middle_as, difference in zip(table["middle_as"], table["difference"], strict=True):
        results.share(f"print.size.{middle_as.replace(' ', '_')}", difference)
    below = (table["difference"] < 0) & (table["p_value"] < ALPHA)
    results.claim("large_below_small_either_way", bool(below.all()))
    results.count("print.sample", sample)


# ---- arms, values, dimensions, sensitivities ----


def arms(results: Numbers, focused: pd.DataFrame) -> None:
    """The mean rate of the models in focus in each arm.

    Parameters
    ----------
    focused
        Their rows of ``rates(frame, ["model", "arm", "n_examples"])``.
    """
    means = arm_means(focused)
    for arm in ARMS.values():
        for n in arm.n_examples:
            results.share(f"arms.{arm.name}.n{n}", means.get((arm.name, n), math.nan))


def values(results: Numbers, focused: pd.DataFrame, names: Mapping[str, str]) -> None:
    """The values that the models in focus follow least and most often, on the mean.

    Parameters
    ----------
    focused
        Their rows of the rates by model and value: v1, rate.
    names
        Names of the values.
    """
    # Rounded, so that equal means are equal, and the first of them is the lowest on any machine.
    means = focused.groupby("v1")["rate"].mean().round(9)
    for end, value in (("lowest", str(means.idxmin())), ("highest", str(means.idxmax()))):
        results.share(f"values.{end}", means[value])
        results.text(f"values.{end}_name", names[value])


def dimensions(
    results: Numbers,
    table: pd.DataFrame,
    asymmetry: pd.DataFrame,
    names: Mapping[str, tuple[str, str, str]],
) -> None:
    """The largest gap between the directions of a dimension, and in how many they differ.

    Parameters
    ----------
    table
        dimension, direction, rate.
    asymmetry
        From `deepvalues.dvb.comparisons.asymmetry`.
    names
        Names of the dimensions and their poles.
    """
    gaps = direction_gaps(table)
    results.share("dimensions.largest_gap", gaps.max())
    results.text("dimensions.largest_gap_name", names[str(gaps.idxmax())][0].lower())
    results.count("dimensions.asymmetric", (asymmetry["p_holm"] < ALPHA).sum())
    results.count("dimensions.number", len(asymmetry))


def sensitivities(results: Numbers, focused: pd.DataFrame) -> None:
    """For how many models in focus a layer outweighs the other.

    Parameters
    ----------
    focused
        Their rows of `deepvalues.dvb.statistics.sensitivities`.
    """
    known = focused.dropna(subset="b_v")
    results.count("focus.estimated", len(known))
    results.count("focus.surface_wins", (known["d_high"] < 0).sum())
    results.count("focus.value_wins", (known["d_low"] > 0).sum())


# ---- comparisons ----


def adjusted(results: Numbers, rates: pd.DataFrame, simulated: pd.DataFrame) -> None:
    """How far adjusted rates lie from raw ones.

    Parameters
    ----------
    rates, simulated
        From `deepvalues.dvb.regression.adjusted_rates` and `simulated_adjustment`.
    """
    known = rates.dropna(subset="conditional")
    results.share("adjusted.difference", (known["conditional"] - known["raw"]).abs().mean())
    of_print = simulated.set_index("adjusted")["difference"]["conditional"]
    results.number("adjusted.published_simulated", of_print, number(of_print, 4, bounded=True))


def pairs(results: Numbers, paired: pd.DataFrame, size_pairs: pd.DataFrame, bound: float) -> None:
    """How many pairs of models differ, and how many are equivalent.

    Parameters
    ----------
    paired
        From `deepvalues.statistics.contrasts.paired_contrasts`.
    size_pairs
        From `deepvalues.dvb.comparisons.size_pairs`.
    bound
        Of equivalence.
    """
    results.count("pairs.number", len(paired))
    results.count("pairs.different", (paired["p_mcnemar_holm"] < ALPHA).sum())
    results.count("pairs.equivalent", (paired["p_equivalence"] < ALPHA).sum())
    results.number("pairs.bound", bound, number(bound, 2, bounded=True))
    results.count("pairs.sizes", len(size_pairs))


def agreement(results: Numbers, developers: pd.DataFrame) -> None:
    """How often two models agree, from `deepvalues.dvb.comparisons.developer_agreement`."""
    (row,) = developers[developers["comparison"] == "all pairs"].to_dict("records")
    results.share("agreement.all", row["agreement"])
    results.interval("agreement.interval", row["cells_low"], row["cells_high"])


def variants(results: Numbers, differences: pd.DataFrame, items: int) -> None:
    """How many comparisons with the baseline differ.

    Parameters
    ----------
    differences
        From `deepvalues.dvb.variants.variant_differences`.
    items
        Tests that every wording asks.
    """
    results.count("variants.changed", (differences["p_mcnemar_holm"] < ALPHA).sum())
    results.count("variants.compared", differences["p_mcnemar_holm"].notna().sum())
    results.count("variants.items", items)


# ---- stimuli ----


def separability(results: Numbers, table: pd.DataFrame) -> None:
    """What classifiers tell, from `deepvalues.dvb.bank_checks.separability`."""
    for row in table[table["classifier"] == "words"].to_dict("records"):
        key = f"separability.{row['layer'].replace(' ', '_')}"
        results.share(key, row["accuracy"])
        results.share(f"{key}_chance", row["chance"])
    of_lengths = table[(table["classifier"] == "length") & (table["layer"] == "pole")]
    results.share("separability.pole_length", of_lengths["accuracy"].iloc[0])


def likeness(results: Numbers, table: pd.DataFrame) -> None:
    """How alike wordings of one trait are, from `deepvalues.dvb.bank_checks.similarity`."""
    for row in table[table["layer"].isin(["value", "pole"])].to_dict("records"):
        results.share(f"likeness.{row['layer']}", row["difference"])
        results.interval(f"likeness.{row['layer']}_interval", row["low"], row["high"])


def soft(results: Numbers, table: pd.DataFrame, expected: Mapping[str, float]) -> None:
    """The soft DVGR of the first model that has one.

    Parameters
    ----------
    table
        From `deepvalues.dvb.soft.soft_dvgr`.
    expected
        What the rules of models with a rule imply, by model.
    """
    nothing = ("no model", math.nan, math.nan)
    rows = table[["model", "soft", "hard"]].itertuples(index=False, name=None)
    model, rate, hard = next(rows, nothing)
    results.text("soft.model", model)
    results.share("soft.dvgr", rate)
    results.share("soft.hard", hard)
    results.text("soft.expected", share(expected.get(model, math.nan)))


# ---- simulations ----

#: Coverages that the text quotes: key to estimand, effects and method.
_QUOTED = {
    "pooled_wilson_none": ("pooled", "none", "wilson"),
    "pooled_wilson_cell": ("pooled", "cell", "wilson"),
    "pooled_cell_cell": ("pooled", "cell", "cell"),
    "pooled_cell_wording": ("pooled", "wording", "cell"),
    "pooled_cell_value": ("pooled", "value", "cell"),
    "value_cell_wording": ("by_value", "wording", "cell"),
    "value_wording_cell": ("by_value", "cell", "wording"),
    "value_both_wording": ("by_value", "wording", "wording_cell"),
    "value_both_cell": ("by_value", "cell", "wording_cell"),
}


def coverage(results: Numbers, population: pd.DataFrame, runs: int) -> None:
    """How often intervals hold the truth.

    Parameters
    ----------
    population
        The rows of that scope of `deepvalues.dvb.simulation.coverage`.
    runs
        Simulated studies of each kind.
    """
    results.count("coverage.runs", runs)
    for item_set, group in population.groupby("item_set"):
        rates = group.set_index(["estimand", "effects", "method"])["coverage"]
        for key, place in _QUOTED.items():
            rate = rates[place]
            results.number(f"coverage.{item_set}.{key}", rate, number(rate, 2, bounded=True))


def power(results: Numbers, table: pd.DataFrame) -> None:
    """The power for a small effect with all cells, from `deepvalues.dvb.simulation.power`, of one method."""
    small = table[(table["cells"] == table["cells"].max()) & (table["true_dvgr"] == 0.45)]
    results.share("power.small_effect", small["power"].iloc[0])


# ---- sentences ----


def title(language_models: Sequence[str]) -> str:
    """The title: without a language model this is a paper about an instrument."""
    about = (
        "what language models learn from watching a person choose"
        if language_models
        else "a reproducible instrument, checked with agents and text learners"
    )
    return f"Deep values or the surface of choices: {about}"


def _counted(sides: Sides) -> str:
    """How many models lie on either side of chance, in a clause."""
    if sum(sides) == 1:
        side = "lies below chance" if sides.below else "lies above chance" if sides.above else None
        return f"the one model {side or 'is not told from chance'}"
    return f"of {count(sum(sides))} models {_lie(sides.below)} below chance and {_lie(sides.above)} above it"


def _lie(models: int) -> str:
    return "none lies" if models == 0 else "1 lies" if models == 1 else f"{count(models)} lie"


def finding(language_models: Sequence[str], dvgr: float, sides: Sides) -> str:
    """What was found, in a sentence or two.

    Parameters
    ----------
    language_models
        Those that answered; without any, the finding is about text learners.
    dvgr
        Pooled over the models in focus.
    sides
        These models by the test.
    """
    counted = f"the pooled DVGR is {share(dvgr)}; after Holm's correction, {_counted(sides)}."
    if language_models:
        return f"Put to language models ({', '.join(language_models)}), {counted}"
    learners = "small models fitted to the text of one prompt, one of them on frozen sentence embeddings"
    return f"No language model was asked in this build. For text learners, {learners}, {counted}"


def scope(language_models: Sequence[str]) -> str:
    """What the finding is about."""
    if language_models:
        others = "Text learners and reference agents, which are not language models,"
        return f"{others} stand beside them as controls."
    return "These results describe the instrument and the stimuli. They are no finding about language models."


def split(sides: Sides) -> str:
    """How many models lie on which side of chance."""
    return f"{sides.below} below chance, {sides.above} above chance, {sides.undecided} not told from chance"


def sides(family: str, by_test: Sides, by_interval: Sides) -> str:
    """On which side of chance the models in focus lie, by the test and by the clustered intervals."""
    models = family if sum(by_test) == 1 else f"{family}s"
    return (
        f"Of {sum(by_test)} {models}, by the exact test with Holm's correction: {split(by_test)}. "
        f"By the intervals clustered by cell: {split(by_interval)}."
    )


def leave_one_out(table: pd.DataFrame) -> str:
    """Between which rates the pooled DVGR runs; follows on a sentence that gives it.

    Parameters
    ----------
    table
        From `deepvalues.dvb.focus.leave_one_out`.
    """
    if table.empty:
        return "It rests on one model: there is no other to leave out."
    ends = table.sort_values(["rate", "left_out"]).iloc[[0, -1]]
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
        return "The probes were not asked."
    if abs(value - surface) < _ABOUT_EQUAL:
        return "Both probes are answered about equally well."
    better = "value" if value > surface else "surface"
    return f"Of the two layers, the {better} is the one whose probe is answered right more often."
