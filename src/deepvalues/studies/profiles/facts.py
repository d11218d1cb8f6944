"""Facts behind the sentences of study 3 in ``paper/sentences/profiles.md``, and numbers in the text.

A fact function returns the arguments of the macro of its name; a `keep_…` function stores numbers by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepvalues.core import number_format
from deepvalues.paper.sentences import spread
from deepvalues.stats.rates import CONFIDENCE
from deepvalues.studies.profiles.analysis.recovery import RECOVERED
from deepvalues.studies.profiles.analysis.reference import label

if TYPE_CHECKING:
    from deepvalues.paper.results import Results

#: The mode that the text reports.
MODE = "rating"
#: The reference agent that answers at random.
RANDOM = "agent-profile-random"
#: The theme that the published study discusses.
AGENCY = "agency"

# ---- facts ----


def runs(missing: pd.DataFrame, family: Mapping[str, str]) -> dict[str, Any]:
    """Number of runs, of runs without an answer, and of models by family.

    Parameters
    ----------
    missing
        From `analysis.responses.missing`.
    family
        Family of each model.
    """
    asked, lost = (int(missing[name].sum()) for name in ("runs", "missing"))
    families = missing.drop_duplicates("model")["model"].map(dict(family))
    return {"asked": asked, "lost": lost, "families": families.value_counts(sort=False).to_dict()}


def recovery(recovery: pd.DataFrame) -> dict[str, Any]:
    """How many known fidelities and spreads of agents lie in their intervals, from `analysis.recovery`."""
    return {"held": int(recovery["held"].sum()), "compared": len(recovery)}


def fidelity(table: pd.DataFrame) -> dict[str, Any]:
    """Range of fidelity over models, and its reference.

    Parameters
    ----------
    table
        From `analysis.comparison.fidelity_table`, for the models in focus.
    """
    of_mode = table[table["mode"] == MODE]
    between = spread(of_mode, "fidelity", written=number_format.logit)
    reference = next(iter(of_mode["reference"]), "")
    return {"mode": MODE, "reference": reference, "fidelity": between}


def at_random(table: pd.DataFrame, fidelities: pd.DataFrame) -> dict[str, Any]:
    """The fidelity of random replies in the mode that the text reports.

    Parameters
    ----------
    table
        From `analysis.recovery.null_table`.
    fidelities
        From `analysis.comparison.fidelity_table`, for the agent that answers at random.
    """
    row = table[table["mode"] == MODE].iloc[0]
    own = fidelities[(fidelities["mode"] == MODE) & (fidelities["model"] == RANDOM)]["fidelity"]
    return {
        "mode": MODE,
        "runs": row["runs"],
        "ends": (row["fidelity_low"], row["fidelity_high"]),
        "to_exceed": row["to_exceed"],
        "agent": next(iter(own), None),
    }


def coverage(table: pd.DataFrame) -> dict[str, Any]:
    """Range over agents and modes of the coverage of intervals, by measure.

    Parameters
    ----------
    table
        From `analysis.recovery.simulated_coverage`.
    """
    named = table.assign(model=table["model"] + ", " + table["mode"])
    facts = {"studies": int(table["simulated"].iloc[0]), "error": float(table["coverage_error"].max())}
    return facts | {measure: spread(named[table["measure"] == measure], "coverage") for measure in RECOVERED}


def agency(
    table: pd.DataFrame,
    stable: pd.DataFrame,
    worths: pd.DataFrame,
    by_model: pd.DataFrame,
    family: Mapping[str, str],
) -> dict[str, Any]:
    """How many of the language models' attributable profiles put Agency last.

    A profile from a form is attributable to a model if its runs agree on an order (Friedman's test), and one
    from pairs if the model does not choose by position.

    Parameters
    ----------
    table
        From `analysis.stability.profiles`.
    stable
        From `analysis.stability.stability`.
    worths, by_model
        From `analysis.pair_profiles.profiles` and `.by_model`.
    family
        Family of each model.
    """
    agreed = stable.loc[stable["p_value"] < 1 - CONFIDENCE, ["model", "mode"]]
    claims = by_model["claimed"].astype(bool)
    chosen = by_model.loc[claims, ["model"]].assign(mode="pairs")
    in_pairs = worths.assign(mode="pairs").rename(columns={"worth": "mean"})
    columns = ["model", "mode", "theme", "mean"]
    every = pd.concat([table[columns], in_pairs[columns]]).merge(pd.concat([agreed, chosen]))
    claimed = every[every["model"].map(dict(family)) == "language model"].groupby(["model", "mode"])
    last = [group.set_index("theme")["mean"].idxmin() for _, group in claimed]
    by_position = by_model.loc[~claims, "model"].map(dict(family)).eq("language model").sum()
    return {
        "claimed": len(last),
        "last": last.count(AGENCY),
        "in_pairs": all(mode == "pairs" for (_, mode), _ in claimed),
        "by_position": int(by_position),
    }


def agency_in_reference(reference: pd.DataFrame) -> dict[str, Any]:
    """How many respondents of a reference (from `check_reference`) put Agency below every other theme."""
    of_mode = reference[reference["mode"] == MODE].pivot(
        index="respondent", columns="theme", values="priority"
    )
    below = of_mode.drop(columns=AGENCY).gt(of_mode[AGENCY], axis="index").all(axis="columns")
    return {
        "reference": label(reference),
        "synthetic": bool(reference["synthetic"].all()),
        "mean_last": of_mode.mean().idxmin() == AGENCY,
        "last": int(below.sum()),
        "of": len(below),
    }


def size(table: pd.DataFrame, family: Mapping[str, str]) -> dict[str, Any]:
    """Number of language models with a fidelity.

    Parameters
    ----------
    table
        From `analysis.comparison.fidelity_table`.
    family
        Family of each model.
    """
    models = table["model"].drop_duplicates().map(dict(family)).eq("language model").sum()
    return {"models": int(models)}


# ---- numbers ----


def keep_reference(results: Results, reference: pd.DataFrame, ceiling: pd.DataFrame) -> None:
    """Keep the name of the reference, its number of respondents, and their fidelity to each other in `MODE`.

    Parameters
    ----------
    reference
        From `analysis.reference.check_reference`.
    ceiling
        From `analysis.comparison.human_ceiling`.
    """
    top = ceiling[ceiling["mode"] == MODE].iloc[0]
    results.text("reference", label(reference))
    results.count("respondents", reference["respondent"].nunique())
    results.decimals("ceiling.mean", top["mean"])
    results.interval("ceiling.interval", top["low"], top["high"], 2, bounded=False)


def keep_coding(results: Results, sentences: pd.DataFrame, agreement: pd.DataFrame) -> None:
    """Keep the number of sentences in the open answers, and the agreement of their coders.

    Parameters
    ----------
    sentences
        From `analysis.responses.sentences_of`.
    agreement
        From `analysis.responses.coder_agreement`.
    """
    results.count("open.sentences", len(sentences))
    results.count("open.different", sentences["id"].nunique())
    results.count("open.coded", agreement["units"].max())
    for row in agreement.to_dict("records"):
        key = row["measure"].lower().replace("'", "").replace(" ", "_")
        bounds = number_format.interval(row["low"], row["high"], 2)
        results.text(f"open.{key}", f"{number_format.coefficient(row['estimate'])} {bounds}")
