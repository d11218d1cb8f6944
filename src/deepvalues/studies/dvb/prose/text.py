"""Numbers of the manuscript on study 1, from its tables. Its sentences are those of `sentences`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from deepvalues.core.number_format import number, share
from deepvalues.paper.keeping import Numbers
from deepvalues.studies.dvb.analysis.comparisons import direction_gaps
from deepvalues.studies.dvb.analysis.pooled_rates import ALPHA, arm_means
from deepvalues.studies.dvb.analysis.simulation import Truth
from deepvalues.studies.dvb.analysis.statistics import met_exactly
from deepvalues.studies.dvb.stimuli.arms import ARMS

# ---- the instrument ----


def instrument(numbers: Numbers, check: pd.DataFrame) -> None:
    """How many rates the reference agents were held to, from `analysis.statistics.instrument_check`."""
    numbers.count("instrument.compared", len(check))
    numbers.count("instrument.within", check["within"].sum())
    numbers.count("instrument.exact", met_exactly(check).sum())


def recovery(numbers: Numbers, table: pd.DataFrame, runs: int) -> None:
    """How many parameters are recovered, from `analysis.statistics.recovered`.

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


def focus(numbers: Numbers, family: str) -> None:
    """What the models in focus are called."""
    numbers.text("focus.name", f"{family}s")


def pooled(numbers: Numbers, table: pd.DataFrame, mean_of_rates: pd.DataFrame) -> None:
    """The pooled rate and the mean of the models' rates.

    Parameters
    ----------
    table
        From `analysis.pooled_rates.pooled`.
    mean_of_rates
        From `analysis.intervals.mean_of_rates`.
    """
    (row,), (mean,) = table.to_dict("records"), mean_of_rates.to_dict("records")
    numbers.count("pooled.n", row["answered"])
    numbers.share("pooled.dvgr", row["rate"])
    numbers.interval("pooled.wilson", row["wilson_low"], row["wilson_high"])
    numbers.interval("pooled.clustered", row["clustered_low"], row["clustered_high"])
    numbers.share("macro.dvgr", mean["estimate"])
    numbers.interval("macro.interval", mean["low"], mean["high"])


# ---- print ----


def published(numbers: Numbers, table: pd.DataFrame) -> None:
    """The published models, from `analysis.statistics.published_dvgr`."""
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
    """How many printed figures come back, from `analysis.published.classes`."""
    total = classes.iloc[-1]
    for name in ("exact", "within rounding", "not recomputable", "figures"):
        numbers.count(f"print.{name.replace(' ', '_')}", total[name])
    of_file = classes.set_index("source_file")["figures"]
    numbers.count("print.from_ratings", of_file["dvb_value_dispositions.csv"])
    numbers.claim("nothing_in_print_differs", int(total["differs"]) == 0)


def sizes(numbers: Numbers, table: pd.DataFrame) -> None:
    """Large against small published models, from `analysis.counts.large_against_small`."""
    for middle_as, difference in zip(table["middle_as"], table["difference"], strict=True):
        numbers.share(f"print.size.{middle_as.replace(' ', '_')}", difference)
    below = (table["difference"] < 0) & (table["p_value"] < ALPHA)
    numbers.claim("large_below_small_either_way", bool(below.all()))


def sample(numbers: Numbers, size: int, effect: float, power: float) -> None:
    """The follow-up sample: its first size that has the power to tell the effect, Cohen's g, from chance."""
    numbers.count("print.sample", size)
    numbers.number("print.sample_effect", effect, number(effect, 2, bounded=True))
    numbers.number("print.sample_power", power, number(power, 2, bounded=True))


# ---- arms, values, dimensions ----


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
    """Say which values the models in focus follow least and most often, on the mean: ``text.values``.

    Parameters
    ----------
    focused
        Their rows of the rates by model and value: v1, rate.
    names
        Names of the values.
    """
    # Rounded, so that equal means are equal, and the first of them is the lowest on any machine.
    means = focused.groupby("v1")["rate"].mean().dropna().round(9)
    if means.empty:
        return numbers.text("text.values", "is not known")
    low, high = share(means.min()), share(means.max())
    if low == high:
        return numbers.text("text.values", f"is {low} for each value")
    lowest, highest = (names[str(value)] for value in (means.idxmin(), means.idxmax()))
    return numbers.text("text.values", f"runs from {low} ({lowest}) to {high} ({highest})")


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
        From `analysis.comparisons.asymmetry`.
    names
        Names of the dimensions and their poles.
    """
    gaps = direction_gaps(table)
    if table.dropna(subset="rate").groupby("dimension")["direction"].nunique().max() != 2:
        found = "can't be compared"
    elif share(gaps.max()) == share(0):
        found = "have the same rate in every dimension"
    else:
        found = f"differ by up to {share(gaps.max())} ({names[str(gaps.idxmax())][0].lower()})"
    numbers.text("text.dimensions", found)
    numbers.count("dimensions.asymmetric", (asymmetry["p_holm"] < ALPHA).sum())
    numbers.count("dimensions.number", len(asymmetry))


# ---- comparisons ----


def adjusted(numbers: Numbers, rates: pd.DataFrame, simulated: pd.DataFrame, printed: str) -> None:
    """How far adjusted rates lie from raw ones.

    Parameters
    ----------
    rates
        The rows of the models in focus of `analysis.regression.adjusted_rates`.
    simulated
        From `analysis.regression.simulated_adjustment`.
    printed
        The published mean difference, as printed.
    """
    known = rates.dropna(subset="conditional")
    of_print = simulated.set_index("adjusted")["difference"]["conditional"]
    differences = {
        "difference": (known["conditional"] - known["raw"]).abs().mean(),
        "published_simulated": of_print,
    }
    for name, difference in differences.items():
        numbers.number(f"adjusted.{name}", difference, number(difference, 4, bounded=True))
    numbers.number("adjusted.printed", float(printed), printed)


def variants(numbers: Numbers, differences: pd.DataFrame, items: int) -> None:
    """How many comparisons with the baseline differ.

    Parameters
    ----------
    differences
        From `variants.variant_differences`.
    items
        Tests that every wording asks.
    """
    numbers.count("variants.changed", (differences["p_mcnemar_holm"] < ALPHA).sum())
    numbers.count("variants.compared", differences["p_mcnemar_holm"].notna().sum())
    numbers.count("variants.items", items)


# ---- stimuli ----


def separability(numbers: Numbers, table: pd.DataFrame) -> None:
    """What classifiers tell, from `stimuli.bank_checks.separability`."""
    for row in table[table["classifier"] == "words"].to_dict("records"):
        key = f"separability.{row['layer'].replace(' ', '_')}"
        numbers.share(key, row["accuracy"])
        numbers.share(f"{key}_chance", row["chance"])
    of_lengths = table[(table["classifier"] == "length") & (table["layer"] == "pole")]
    numbers.share("separability.pole_length", of_lengths["accuracy"].iloc[0])


def likeness(numbers: Numbers, table: pd.DataFrame) -> None:
    """How alike wordings of one trait are beyond those of its rivals, and whether both layers are the same.

    Parameters
    ----------
    table
        From `stimuli.bank_checks.similarity`.
    """
    rows = {row["layer"]: row for row in table.to_dict("records")}
    for name, layer in (("value", "value"), ("pole", "pole"), ("contrast", "value - pole")):
        row = rows[layer]
        numbers.share(f"likeness.{name}", row["difference"])
        numbers.interval(f"likeness.{name}_interval", row["low"], row["high"])
    contrast = rows["value - pole"]
    numbers.claim("layers_equally_alike", bool(contrast["low"] <= 0 <= contrast["high"]))


# ---- simulations ----

#: Coverages that the text quotes: key to estimand, effects and method.
_QUOTED = {
    "pooled_wilson_none": ("pooled", "none", "wilson"),
    "pooled_wilson_cell": ("pooled", "cell", "wilson"),
    "pooled_cell_cell": ("pooled", "cell", "cell"),
    "pooled_cell_wording": ("pooled", "wording", "cell"),
    "pooled_cell_value": ("pooled", "value", "cell"),
    "pooled_value_value": ("pooled", "value", "value"),
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
        The rows of that scope of `analysis.simulation.coverage`.
    runs
        Simulated studies of each kind.
    """
    numbers.count("coverage.runs", runs)
    for item_set, group in population.groupby("item_set"):
        rates = group.set_index(["estimand", "effects", "method"])["coverage"]
        for key, place in _QUOTED.items():
            rate = rates[place]
            numbers.number(f"coverage.{item_set}.{key}", rate, number(rate, 2, bounded=True))


def effects(numbers: Numbers, truths: Mapping[str, Truth]) -> None:
    """The sizes of the effects that are put into simulated studies, in logits.

    Parameters
    ----------
    truths
        `analysis.simulation.EFFECTS`.
    """
    sizes = {
        "cell": truths["cell"].cell_sd,
        "wording": truths["wording"].value_wording_sd,
        "value": truths["value"].value_sd,
    }
    for name, size in sizes.items():
        numbers.number(f"coverage.sd.{name}", size, number(size, 1))


#: The true DVGR of the small effect whose power the text gives.
SMALL_EFFECT = 0.45


def power(numbers: Numbers, table: pd.DataFrame) -> None:
    """The power for a small effect with all cells, from `analysis.simulation.power`, of one method."""
    small = table[(table["cells"] == table["cells"].max()) & (table["true_dvgr"] == SMALL_EFFECT)]
    numbers.share("power.small_effect", small["power"].iloc[0])
    numbers.number("power.true_dvgr", SMALL_EFFECT, number(SMALL_EFFECT, 2, bounded=True))
    numbers.count("power.cells", small["cells"].iloc[0])
