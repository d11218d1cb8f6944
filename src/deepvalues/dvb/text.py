"""Numbers and sentences of the manuscript on study 1, from its tables.

Sentences that depend on the direction of a result are put together here, so that a paper about other
models says what is true of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from deepvalues.dvb.arms import ARMS
from deepvalues.dvb.comparisons import direction_gaps
from deepvalues.dvb.focus import ALPHA, Sides, arm_means, sides_by_interval
from deepvalues.dvb.statistics import met_exactly
from deepvalues.formats import count, number, share
from deepvalues.keeping import Numbers

# ---- the instrument ----


def instrument(numbers: Numbers, check: pd.DataFrame) -> None:
    """How many rates the reference agents were held to, from `deepvalues.dvb.statistics.instrument_check`."""
    numbers.count("instrument.compared", len(check))
    numbers.count("instrument.within", check["within"].sum())
    numbers.count("instrument.exact", met_exactly(check).sum())


def recovery(numbers: Numbers, table: pd.DataFrame, runs: int) -> None:
    """How many parameters are recovered, from `deepvalues.dvb.statistics.recovered`.

    Parameters
    ----------
    runs
        Simulated runs behind the coverage.
    """
    numbers.count("instrument.recovered", table["held"].sum())
    numbers.count("instrument.parameters", len(table))
    numbers.count("instrument.runs", runs)
    numbers.share("instrument.lowest_coverage", table["coverage"].min())
    numbers.share("instrument.highest_coverage", table["coverage"].max())


# ---- the DVGR ----


def focus(numbers: Numbers, focused: pd.DataFrame, sides: Sides) -> None:
    """The models in focus: how many, on which side of chance, and between which rates.

    Parameters
    ----------
    focused
        Their rows of `deepvalues.dvb.statistics.dvgr_by_model`, with family.
    sides
        By the test.
    """
    numbers.text("focus.name", f"{focused['family'].iloc[0]}s")
    numbers.count("focus.models", len(focused))
    for name, models in sides._asdict().items():
        numbers.count(f"focus.{name}", models)
    ends = {"lowest": focused.nsmallest(1, "dvgr"), "highest": focused.nlargest(1, "dvgr")}
    for name, row in ends.items():
        numbers.share(f"focus.{name}", row["dvgr"].iloc[0])
        numbers.text(f"focus.{name}_model", row["model"].iloc[0])


def learners(numbers: Numbers, table: pd.DataFrame) -> None:
    """How far programs get that learn from the words of one prompt, whichever family is in focus.

    Parameters
    ----------
    table
        From `deepvalues.dvb.statistics.dvgr_by_model`, with family.
    """
    found = table[table["family"] == "text learner"]
    numbers.count("learners.models", len(found))
    numbers.count("learners.above", sides_by_interval(found).above)
    numbers.share(
        "learners.dvgr", found["followed"].sum() / found["answered"].sum() if len(found) else math.nan
    )


def pooled(numbers: Numbers, table: pd.DataFrame, mean_of_rates: pd.DataFrame) -> None:
    """The pooled rate and the mean of the models' rates.

    Parameters
    ----------
    table
        From `deepvalues.dvb.focus.pooled`.
    mean_of_rates
        From `deepvalues.dvb.intervals.mean_of_rates`.
    """
    (row,), (mean,) = table.to_dict("records"), mean_of_rates.to_dict("records")
    numbers.count("pooled.n", row["answered"])
    numbers.share("pooled.dvgr", row["rate"])
    numbers.interval("pooled.wilson", row["wilson_low"], row["wilson_high"])
    numbers.interval("pooled.clustered", row["clustered_low"], row["clustered_high"])
    numbers.share("macro.dvgr", mean["estimate"])
    numbers.interval("macro.interval", mean["low"], mean["high"])


def control(numbers: Numbers, focused: pd.DataFrame, least: float) -> None:
    """How many models in focus fail on the control.

    Parameters
    ----------
    focused
        Their rows of `deepvalues.dvb.comparisons.control_gate`.
    least
        The accuracy that they should have.
    """
    numbers.share("control.least", least)
    numbers.count("control.flagged", focused["flagged"].sum())


# ---- print ----


def published(numbers: Numbers, table: pd.DataFrame) -> None:
    """The published models, from `deepvalues.dvb.statistics.published_dvgr`."""
    deep, n = table["followed"].sum(), table["answered"].sum()
    numbers.share("published.dvgr", deep / n)
    numbers.count("published.deep", deep)
    numbers.count("published.n", n)
    numbers.count("published.models", len(table))
    numbers.share("published.lowest", table["dvgr"].min())
    numbers.share("published.highest", table["dvgr"].max())
    below = (table["wilson_high"] < 0.5) & (table["p_holm"] < 0.001)
    numbers.claim("published_below_chance", bool(below.all()))
    numbers.claim("published_bounds_below_chance", bool((table["bound_high"] < 0.5).all()))


def in_print(numbers: Numbers, classes: pd.DataFrame) -> None:
    """How many printed figures come back, from `deepvalues.dvb.published.classes`."""
    total = classes.iloc[-1]
    for name in ("exact", "within rounding", "differs", "not recomputable", "figures"):
        numbers.count(f"print.{name.replace(' ', '_')}", total[name])
    numbers.claim("nothing_in_print_differs", int(total["differs"]) == 0)


def sizes(numbers: Numbers, table: pd.DataFrame, sample: int) -> None:
    """Large against small published models, from `deepvalues.dvb.counts.large_against_small`.

    Parameters
    ----------
    sample
        The first size of a follow-up sample that has the printed power.
    """
    for middle_as, difference in zip(table["middle_as"], table["difference"], strict=True):
        numbers.share(f"print.size.{middle_as.replace(' ', '_')}", difference)
    below = (table["difference"] < 0) & (table["p_value"] < ALPHA)
    numbers.claim("large_below_small_either_way", bool(below.all()))
    numbers.count("print.sample", sample)


# ---- arms, values, dimensions, sensitivities ----


def arms(numbers: Numbers, focused: pd.DataFrame) -> None:
    """The mean rate of the models in focus in each arm.

    Parameters
    ----------
    focused
        Their rows of ``rates(frame, ["model", "arm", "n_examples"])``.
    """
    means = arm_means(focused)
    for arm in ARMS.values():
        for n in arm.n_examples:
            numbers.share(f"arms.{arm.name}.n{n}", means.get((arm.name, n), math.nan))


def values(numbers: Numbers, focused: pd.DataFrame, names: Mapping[str, str]) -> None:
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
        numbers.share(f"values.{end}", means[value])
        numbers.text(f"values.{end}_name", names[value])


def dimensions(
    numbers: Numbers,
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
    numbers.share("dimensions.largest_gap", gaps.max())
    numbers.text("dimensions.largest_gap_name", names[str(gaps.idxmax())][0].lower())
    numbers.count("dimensions.asymmetric", (asymmetry["p_holm"] < ALPHA).sum())
    numbers.count("dimensions.number", len(asymmetry))


def sensitivities(numbers: Numbers, focused: pd.DataFrame) -> None:
    """For how many models in focus a layer outweighs the other.

    Parameters
    ----------
    focused
        Their rows of `deepvalues.dvb.statistics.sensitivities`.
    """
    known = focused.dropna(subset="b_v")
    numbers.count("focus.estimated", len(known))
    numbers.count("focus.surface_wins", (known["d_high"] < 0).sum())
    numbers.count("focus.value_wins", (known["d_low"] > 0).sum())


# ---- comparisons ----


def adjusted(numbers: Numbers, rates: pd.DataFrame, simulated: pd.DataFrame) -> None:
    """How far adjusted rates lie from raw ones.

    Parameters
    ----------
    rates, simulated
        From `deepvalues.dvb.regression.adjusted_rates` and `simulated_adjustment`.
    """
    known = rates.dropna(subset="conditional")
    numbers.share("adjusted.difference", (known["conditional"] - known["raw"]).abs().mean())
    of_print = simulated.set_index("adjusted")["difference"]["conditional"]
    numbers.number("adjusted.published_simulated", of_print, number(of_print, 4, bounded=True))


def pairs(numbers: Numbers, paired: pd.DataFrame, size_pairs: pd.DataFrame, bound: float) -> None:
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
    numbers.count("pairs.number", len(paired))
    numbers.count("pairs.different", (paired["p_mcnemar_holm"] < ALPHA).sum())
    numbers.count("pairs.equivalent", (paired["p_equivalence"] < ALPHA).sum())
    numbers.number("pairs.bound", bound, number(bound, 2, bounded=True))
    numbers.count("pairs.sizes", len(size_pairs))


def agreement(numbers: Numbers, developers: pd.DataFrame) -> None:
    """How often two models agree, from `deepvalues.dvb.comparisons.developer_agreement`."""
    (row,) = developers[developers["comparison"] == "all pairs"].to_dict("records")
    numbers.share("agreement.all", row["agreement"])
    numbers.interval("agreement.interval", row["cells_low"], row["cells_high"])


def variants(numbers: Numbers, differences: pd.DataFrame, items: int) -> None:
    """How many comparisons with the baseline differ.

    Parameters
    ----------
    differences
        From `deepvalues.dvb.variants.variant_differences`.
    items
        Tests that every wording asks.
    """
    numbers.count("variants.changed", (differences["p_mcnemar_holm"] < ALPHA).sum())
    numbers.count("variants.compared", differences["p_mcnemar_holm"].notna().sum())
    numbers.count("variants.items", items)


# ---- stimuli ----


def separability(numbers: Numbers, table: pd.DataFrame) -> None:
    """What classifiers tell, from `deepvalues.dvb.bank_checks.separability`."""
    for row in table[table["classifier"] == "words"].to_dict("records"):
        key = f"separability.{row['layer'].replace(' ', '_')}"
        numbers.share(key, row["accuracy"])
        numbers.share(f"{key}_chance", row["chance"])
    of_lengths = table[(table["classifier"] == "length") & (table["layer"] == "pole")]
    numbers.share("separability.pole_length", of_lengths["accuracy"].iloc[0])


def likeness(numbers: Numbers, table: pd.DataFrame) -> None:
    """How alike wordings of one trait are, from `deepvalues.dvb.bank_checks.similarity`."""
    for row in table[table["layer"].isin(["value", "pole"])].to_dict("records"):
        numbers.share(f"likeness.{row['layer']}", row["difference"])
        numbers.interval(f"likeness.{row['layer']}_interval", row["low"], row["high"])
    of_layer = table.set_index("layer")["difference"]
    numbers.claim("values_more_alike_than_poles", bool(of_layer["value"] > of_layer["pole"]))


def soft(numbers: Numbers, table: pd.DataFrame, expected: Mapping[str, float]) -> None:
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
    numbers.text("soft.model", model)
    numbers.share("soft.dvgr", rate)
    numbers.share("soft.hard", hard)
    numbers.text("soft.expected", share(expected.get(model, math.nan)))


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


def coverage(numbers: Numbers, population: pd.DataFrame, runs: int) -> None:
    """How often intervals hold the truth.

    Parameters
    ----------
    population
        The rows of that scope of `deepvalues.dvb.simulation.coverage`.
    runs
        Simulated studies of each kind.
    """
    numbers.count("coverage.runs", runs)
    for item_set, group in population.groupby("item_set"):
        rates = group.set_index(["estimand", "effects", "method"])["coverage"]
        for key, place in _QUOTED.items():
            rate = rates[place]
            numbers.number(f"coverage.{item_set}.{key}", rate, number(rate, 2, bounded=True))


def power(numbers: Numbers, table: pd.DataFrame) -> None:
    """The power for a small effect with all cells, from `deepvalues.dvb.simulation.power`, of one method."""
    small = table[(table["cells"] == table["cells"].max()) & (table["true_dvgr"] == 0.45)]
    numbers.share("power.small_effect", small["power"].iloc[0])


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
    return "These numbers describe the instrument and the stimuli. They are no finding about language models."


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
