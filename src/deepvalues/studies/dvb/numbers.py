"""The manuscript's numbers on study 1, from its tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from deepvalues.core.number_format import listed, number
from deepvalues.studies.dvb.analysis.statistics import ALPHA, arm_means, met_exactly
from deepvalues.studies.dvb.analysis.verdict_errors import RESPONDENTS
from deepvalues.studies.dvb.analysis.verdicts import ENCODER, LAYER_NAMED
from deepvalues.studies.dvb.stimuli.design import ARMS

if TYPE_CHECKING:
    from deepvalues.paper.results import Results
    from deepvalues.studies.dvb.analysis.simulation import Truth

# ---- the instrument ----


def instrument(results: Results, check: pd.DataFrame, redrawn: Sequence[int]) -> None:
    """Number of rates on which reference agents were checked, and of those that were missed.

    Parameters
    ----------
    check
        From `analysis.statistics.instrument_check`.
    redrawn
        From `analysis.statistics.redrawn`, of agent-sensitive.
    """
    results.count("instrument.compared", len(check))
    exact = met_exactly(check)
    results.count("instrument.exact", exact.sum())
    results.count("instrument.inexact", (~exact).sum())
    results.count("instrument.inexact_within", check.loc[~exact, "within"].sum())
    # Of 95% intervals.
    results.count("instrument.inexact_expected", round(0.95 * (~exact).sum()))
    missed = check.loc[~check["within"].astype(bool), "model"].value_counts()
    results.count("instrument.most_missed", missed.max() if len(missed) else 0)
    results.text("instrument.most_missed_agent", missed.index[0] if len(missed) else "none")
    results.count("instrument.redraws", len(redrawn))
    results.decimals("instrument.redrawn_mean", sum(redrawn) / len(redrawn), 1)
    results.count("instrument.redrawn_most", max(redrawn))
    unlucky = missed.index[:1].tolist() == ["agent-sensitive"] and missed.max() > max(redrawn)
    results.claim("unlucky_draw", unlucky)


def recovery(results: Results, table: pd.DataFrame, runs: int) -> None:
    """Coverage of the sensitive agent's intervals, from `analysis.statistics.recovered`.

    Parameters
    ----------
    runs
        Simulated runs behind the coverage.
    """
    results.count("instrument.runs", runs)
    results.count("instrument.parameters", len(table))
    results.count("instrument.parameters_held", table["held"].sum())
    results.share("instrument.lowest_coverage", table["coverage"].min())
    results.share("instrument.highest_coverage", table["coverage"].max())


# ---- the DVGR ----


def pooled(results: Results, table: pd.DataFrame) -> None:
    """The pooled rate, from `analysis.statistics.pooled`."""
    (row,) = table.to_dict("records")
    results.share("pooled.dvgr", row["rate"])
    results.interval("pooled.clustered", row["clustered_low"], row["clustered_high"])


# ---- the published figures ----


def published(results: Results, table: pd.DataFrame) -> None:
    """The published models, from `analysis.statistics.published_dvgr`."""
    deep, n = table["followed"].sum(), table["answered"].sum()
    results.share("published.dvgr", deep / n)
    results.count("published.deep", deep)
    results.count("published.n", n)
    results.count("published.models", len(table))
    results.share("published.lowest", table["dvgr"].min())
    results.share("published.highest", table["dvgr"].max())
    below = (table["wilson_high"] < 0.5) & (table["p_holm"] < 0.001)
    results.claim("published_below_chance", bool(below.all()))
    results.claim("published_bounds_below_chance", bool((table["bound_high"] < 0.5).all()))


def in_print(results: Results, classes: pd.DataFrame) -> None:
    """Number of published figures that can be reproduced, from `analysis.published.classes`."""
    total = classes.iloc[-1]
    for name in ("exact", "within rounding", "not recomputable", "figures"):
        results.count(f"print.{name.replace(' ', '_')}", total[name])
    results.claim("nothing_in_print_differs", int(total["differs"]) == 0)


def sizes(results: Results, table: pd.DataFrame) -> None:
    """Large compared with small published models, from `analysis.published.large_against_small`."""
    for middle_as, difference in zip(table["middle_as"], table["difference"], strict=True):
        results.share(f"print.size.{middle_as.replace(' ', '_')}", difference)
    below = (table["difference"] < 0) & (table["p_value"] < ALPHA)
    results.claim("large_below_small_either_way", bool(below.all()))


def sample(results: Results, size: int, effect: float, power: float) -> None:
    """The follow-up sample: the smallest with the power to detect the effect, Cohen's g, against chance."""
    results.count("print.sample", size)
    results.number("print.sample_effect", effect, number(effect, 2, bounded=True))
    results.number("print.sample_power", power, number(power, 2, bounded=True))


# ---- arms ----


def arms(results: Results, focused: pd.DataFrame) -> None:
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


# ---- comparisons ----


def adjusted(results: Results, rates: pd.DataFrame, simulated: pd.DataFrame, printed: str) -> None:
    """Difference between adjusted and raw rates.

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
    difference = (known["conditional"] - known["raw"]).abs().mean()
    results.number("adjusted.difference", difference, number(difference, 4, bounded=True))
    results.number("adjusted.published_simulated", of_print, number(of_print, 4, bounded=True))
    results.number("adjusted.printed", float(printed), printed)


def variants(results: Results, differences: pd.DataFrame, items: int) -> None:
    """Number of comparisons with the baseline that differ significantly.

    Parameters
    ----------
    differences
        The rows of the language models of `analysis.side_studies.variant_differences`.
    items
        Number of tests, the same for each wording.
    """
    results.count("variants.changed", (differences["p_mcnemar_holm"] < ALPHA).sum())
    results.count("variants.compared", differences["p_mcnemar_holm"].notna().sum())
    results.count("variants.items", items)


# ---- stimuli ----


def separability(results: Results, table: pd.DataFrame) -> None:
    """Accuracy of two classifiers, from `stimuli.bank_checks.separability`."""
    rows = {(row["layer"], row["classifier"]): row for row in table.to_dict("records")}
    value, lengths = rows["value", "words"], rows["pole", "length"]
    results.share("separability.value_length", rows["value pair", "length"]["accuracy"])
    results.share("separability.value", value["accuracy"])
    results.share("separability.value_chance", value["chance"])
    results.share("separability.pole_length", lengths["accuracy"])
    results.interval("separability.pole_length_interval", lengths["clustered_low"], lengths["clustered_high"])


def likeness(results: Results, table: pd.DataFrame) -> None:
    """How much more alike wordings of a trait are than those of rivals, and if the layers are equal in this.

    Parameters
    ----------
    table
        From `stimuli.bank_checks.similarity`.
    """
    rows = {row["layer"]: row for row in table.to_dict("records")}
    for name, layer in (("value", "value"), ("pole", "pole"), ("contrast", "value - pole")):
        row = rows[layer]
        # The contrast is small: with three digits, one end of its interval would be written as 0.
        digits = 4 if name == "contrast" else 3
        results.number(f"likeness.{name}", row["difference"], number(row["difference"], digits, bounded=True))
        results.interval(f"likeness.{name}_interval", row["low"], row["high"], digits)
    contrast = rows["value - pole"]
    results.claim("layers_equally_alike", bool(contrast["low"] <= 0 <= contrast["high"]))


def wordings(results: Results, means: pd.DataFrame, table: pd.DataFrame, blind: pd.DataFrame) -> None:
    """How wordings were chosen: `mean_rates`, `over_designs`, `read_blind_reading` of `stimuli.selection`."""
    deep = table.loc[table["arm"] == "deconfounded", "rate"]
    results.share("stimuli.least", deep.min())
    results.share("stimuli.most", deep.max())
    results.share("stimuli.largest_gap", (means["value_only"] - means["surface_only"]).abs().max())
    results.count("stimuli.designs", table["designs"].max())
    for name in ("read", "right", "dropped"):
        results.count(f"stimuli.{name}", blind[name].sum())
    results.claim("wordings_named", blind["read"].sum() == blind["right"].sum())
    results.text("text.limits", limits(means))


def limits(means: pd.DataFrame) -> str:
    """State whether the learners are within the limits that the bank is judged by.

    Parameters
    ----------
    means
        From `stimuli.selection.mean_rates`.
    """
    # Imported here, because the search imports scikit-learn.
    from deepvalues.studies.dvb.stimuli.selection import DVGR_WITHIN, LAYERS_WITHIN

    dvgr, layers = (number(limit, 2, bounded=True) for limit in (DVGR_WITHIN, LAYERS_WITHIN))
    wanted = f"a DVGR within .50 ± {dvgr}, and accuracies on the two layers within {layers} of each other"
    missed = list(means.loc[~means["kept"].astype(bool), "model"])
    who = (
        f"{listed(missed)} exceed{'s' * (len(missed) == 1)} at least one of"
        if missed
        else "all lexical learners keep to"
    )
    return f"On designs that the search never saw, {who} the intended limits ({wanted})."


# ---- simulations ----

#: Coverages quoted in the text: key, and its estimand, effects and method.
_QUOTED = {
    "pooled_wilson_cell": ("pooled", "cell", "wilson"),
    "pooled_cell_cell": ("pooled", "cell", "cell"),
    "pooled_cell_value": ("pooled", "value", "cell"),
}


def coverage(results: Results, population: pd.DataFrame, runs: int) -> None:
    """How often intervals cover the truth.

    Parameters
    ----------
    population
        The rows of `analysis.simulation.coverage` with this scope.
    runs
        Simulated studies per condition.
    """
    results.count("coverage.runs", runs)
    for item_set, group in population.groupby("item_set"):
        rates = group.set_index(["estimand", "effects", "method"])["coverage"]
        for key, index in _QUOTED.items():
            rate = rates[index]
            results.number(f"coverage.{item_set}.{key}", rate, number(rate, 2, bounded=True))


def effects(results: Results, truths: Mapping[str, Truth]) -> None:
    """The sizes of the effects in simulated studies, in logits.

    Parameters
    ----------
    truths
        `analysis.simulation.EFFECTS`.
    """
    for name, field in (("cell", "cell_sd"), ("wording", "value_wording_sd"), ("value", "value_sd")):
        size = getattr(truths[name], field)
        results.number(f"coverage.sd.{name}", size, number(size, 1))


#: The true DVGR of the small effect for which the text gives the power.
SMALL_EFFECT = 0.45


def power(results: Results, table: pd.DataFrame) -> None:
    """The power for a small effect with all cells, from `analysis.simulation.power`, for one method."""
    small = table[(table["cells"] == table["cells"].max()) & (table["true_dvgr"] == SMALL_EFFECT)]
    results.share("power.small_effect", small["power"].iloc[0])
    results.number("power.true_dvgr", SMALL_EFFECT, number(SMALL_EFFECT, 2, bounded=True))
    results.count("power.cells", small["cells"].iloc[0])


def verdict_errors(results: Results, table: pd.DataFrame) -> None:
    """How often simulated respondents get a right verdict, from `analysis.verdict_errors`.

    The least and the most are over respondents and scales. Respondents with likings for values are left out
    of the right verdicts and counted on their own: as the design balances values, no DVGR shows likings.
    """
    learners = [name for name, truth in RESPONDENTS.items() if truth.learned]
    nothing = [name for name in RESPONDENTS if name not in learners]
    of = dict(list(table.groupby("truth")))
    results.count("verdict_errors.runs", table["runs"].max())
    both, position, liking = (RESPONDENTS[name] for name in ("both", "position", "liking"))
    for key, size in {
        "sensitivity": both.b_v,
        "sensitivity_sd": both.slope_sd,
        "first": position.b0,
        "first_sd": position.place_sd,
        "liking_sd": liking.liking_sd,
    }.items():
        results.decimals(f"verdict_errors.set.{key}", size, 1)
    probes = {"value": ["value"], "surface": ["surface"], "both": ["value", "surface"]}
    accuracies = [rate for name in probes for layer in probes[name] for rate in of[name][f"probe_{layer}"]]
    results.share("verdict_errors.probe_least", min(accuracies))
    results.share("verdict_errors.probe_most", max(accuracies))
    for cells, rows in table.groupby("cells"):
        judged = rows[rows["truth"] != "liking"]["right"]
        results.share(f"verdict_errors.right_least_{cells}", judged.min())
        results.share(f"verdict_errors.right_most_{cells}", judged.max())
        for name in ("position", "coin"):
            results.share(f"verdict_errors.{name}_place_{cells}", rows[rows["truth"] == name]["place"].min())
        unlearned = rows[rows["truth"].isin(nothing)]["learned"]
        results.share(f"verdict_errors.false_positive_{cells}", unlearned.max())
    named = table.loc[table["truth"].isin(nothing), list(LAYER_NAMED)].sum(axis="columns")
    results.share("verdict_errors.false_layer", named.max())
    results.share("verdict_errors.learned_least", table[table["truth"].isin(learners)]["learned"].min())
    results.share("verdict_errors.liking_prior", of["liking"]["prior"].max())


def encoder(results: Results, verdicts: pd.DataFrame) -> None:
    """The accuracy of the learner on sentence embeddings on the value probe, with its interval.

    Parameters
    ----------
    verdicts
        From `analysis.verdicts.verdicts`.
    """
    own = verdicts[verdicts["model"] == ENCODER]
    value, low, high = (float(own[f"probe_value{end}"].mean()) for end in ("", "_low", "_high"))
    results.share("encoder.value", value)
    results.interval("encoder.value_interval", low, high)
