"""Tables of what language models do when asked, and of what can be read from them."""

from __future__ import annotations

import pandas as pd

from deepvalues.ask.registry import HEAD
from deepvalues.core.number_format import MISSING, count, share
from deepvalues.paper.markdown import intervals as bounds
from deepvalues.paper.markdown import markdown, nobody
from deepvalues.studies.dvb.analysis.verdicts import N

#: Digits of a check sum that a table shows.
_DIGITS = 12
_ARMS = {
    "deconfounded": "DVGR",
    "control": "control",
    "probe_value": "value probe",
    "probe_surface": "surface probe",
}


def how_asked(table: pd.DataFrame) -> str:
    """How each language model was asked, from `analysis.several_sets.how_asked`."""
    if table.empty:
        return nobody("No language model was asked.")
    shown = table.assign(weights=table["weights_sha256"].str[:_DIGITS])
    heads = {
        "model": "model",
        "endpoint": "endpoint",
        "served_as": "served as",
        "billions": "billions",
        "weights": "SHA-256",
        "mode": "asked by",
        "cells": "cells",
        "items": "items",
        "letter_mass": "letter mass",
        "read_anew": "read anew",
    }
    formats = {"billions": lambda size: f"{size:g}", **dict.fromkeys(["cells", "items"], count)}
    named = shown[list(heads)].rename(columns=heads)
    return markdown(named, {**formats, **dict.fromkeys(["letter mass", "read anew"], share)})


def rules(table: pd.DataFrame) -> str:
    """The verdicts in the order of their rules, from `analysis.verdicts.rules`."""
    heads = {"number": "no.", "rule": f"rule, at N = {N}"}
    return markdown(table.rename(columns=heads), {"no.": count})


def not_asked(table: pd.DataFrame) -> str:
    """Which language models and heads of the paper were not asked, from `ask.on_record.coverage`."""
    waiting = table[(table["state"] == "not asked") & table["family"].isin(["language model", HEAD])]
    if waiting.empty:
        return "Every language model and every head that the paper lists for these sets was asked."
    places = waiting.assign(place=waiting["study"] + "/" + waiting["item_set"])
    names = places.groupby("model", sort=False)["place"].agg(", ".join).reset_index()
    return markdown(names.set_axis(["not asked", "sets"], axis="columns"))


def asked_against_read(table: pd.DataFrame) -> str:
    """Rates of each open model and of the heads on it, from `analysis.asked_read`."""
    if table.empty:
        return nobody("No head on hidden states is on record.")
    cells = [
        f"{share(rate)} {ends}" if ends != MISSING else share(rate)
        for rate, ends in zip(table["rate"], bounds(table), strict=True)
    ]
    by = ["model", "respondent", "n_examples"]
    wide = table.assign(cell=cells).pivot(index=by, columns="arm", values="cell")
    order = list(dict.fromkeys(table[by].itertuples(index=False, name=None)))
    shown = wide.reindex(order).reindex(columns=list(_ARMS)).rename(columns=_ARMS).reset_index()
    shown = shown.rename(columns={"n_examples": "N"})
    return markdown(shown, {"N": count, **dict.fromkeys(_ARMS.values(), str)})


def learner_rates(table: pd.DataFrame) -> str:
    """What text learners make of the chosen wordings, from `stimuli.chosen_wordings.over_designs`."""
    named = table.assign(
        arm=table["arm"].map(
            {"deconfounded": "DVGR", "value_only": "value only", "surface_only": "surface only"}
        )
    )
    heads = {"model": "learner", "arm": "arm", "n_examples": "N", "designs": "designs", "items": "tests"}
    heads |= {"rate": "rate", "least": "least", "most": "most"}
    counts = dict.fromkeys(["N", "designs", "tests"], count)
    rates = dict.fromkeys(["rate", "least", "most"], share)
    return markdown(named[list(heads)].rename(columns=heads), {**counts, **rates})
