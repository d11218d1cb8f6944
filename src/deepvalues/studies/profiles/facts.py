"""Facts of study 3 for its sentences, ``paper/sentences/profiles.md``, and the numbers of the text.

Facts are the arguments of the macro of the same name; `keep_…` functions put numbers under their keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepvalues.core import number_format
from deepvalues.paper.sentences import spread
from deepvalues.studies.profiles.analysis.reference import label

if TYPE_CHECKING:
    from deepvalues.paper.results import Results

#: The mode whose fidelity the text reports.
MODE = "rating"

# ---- facts ----


def runs(missing: pd.DataFrame, family: Mapping[str, str]) -> dict[str, Any]:
    """How many runs of how many models of each family there are, and how many have no answer.

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
    """How many of the agents' known fidelities and spreads lie in their intervals.

    Parameters
    ----------
    recovery
        From `analysis.recovery.recovery`.
    """
    return {"held": int(recovery["held"].sum()), "compared": len(recovery)}


def fidelity(table: pd.DataFrame) -> dict[str, Any]:
    """Between which models fidelity lies, and to which reference.

    Parameters
    ----------
    table
        From `analysis.comparison.fidelity_table`, of the models in focus.
    """
    of_mode = table[table["mode"] == MODE]
    between = spread(of_mode, "fidelity", written=number_format.logit)
    reference = next(iter(of_mode["reference"]), "")
    return {"mode": MODE, "reference": reference, "fidelity": between}


# ---- numbers ----


def keep_reference(results: Results, reference: pd.DataFrame, ceiling: pd.DataFrame) -> None:
    """Keep what the reference is called, its respondents, and how faithful they are to each other.

    Parameters
    ----------
    reference
        From `analysis.reference.check_reference`.
    ceiling
        From `analysis.comparison.human_ceiling`; that of `MODE` is numbers.
    """
    top = ceiling[ceiling["mode"] == MODE].iloc[0]
    results.text("reference", label(reference))
    results.count("respondents", reference["respondent"].nunique())
    results.decimals("ceiling.mean", top["mean"])
    results.interval("ceiling.interval", top["low"], top["high"], 2, bounded=False)


def keep_coding(results: Results, sentences: pd.DataFrame, agreement: pd.DataFrame) -> None:
    """Keep how many sentences the open answers have, and how far their coders agree.

    Parameters
    ----------
    sentences
        From `analysis.sentences.sentences_of`.
    agreement
        From `analysis.coders.coder_agreement`.
    """
    results.count("open.sentences", len(sentences))
    results.count("open.different", sentences["id"].nunique())
    results.count("open.coded", agreement["units"].max())
    for row in agreement.to_dict("records"):
        key = row["measure"].lower().replace("'", "").replace(" ", "_")
        bounds = number_format.interval(row["low"], row["high"], 2)
        results.text(f"open.{key}", f"{number_format.coefficient(row['estimate'])} {bounds}")
