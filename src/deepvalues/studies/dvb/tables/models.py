"""What tables show of what language models do when asked, and of what can be read from them."""

from __future__ import annotations

import pandas as pd

from deepvalues.ask.registry import HEAD
from deepvalues.core.number_format import MISSING, share
from deepvalues.paper.tables import intervals, markdown

#: Digits of a check sum that a table shows.
_DIGITS = 12
_ARMS = {
    "deconfounded": "DVGR",
    "control": "control",
    "probe_value": "value probe",
    "probe_surface": "surface probe",
}
_LEARNER_ARMS = {"deconfounded": "DVGR", "value_only": "value only", "surface_only": "surface only"}


def how_asked(table: pd.DataFrame) -> pd.DataFrame:
    """How each language model was asked, from `analysis.several_sets.how_asked`, with the start of sums."""
    return table.assign(weights_sha256=table["weights_sha256"].str[:_DIGITS])


def not_asked(table: pd.DataFrame) -> str:
    """Which language models and heads of the paper were not asked, from `ask.on_record.coverage`."""
    waiting = table[(table["state"] == "not asked") & table["family"].isin(["language model", HEAD])]
    if waiting.empty:
        return "Every language model and every head that the paper lists for these sets was asked."
    places = waiting.assign(place=waiting["study"] + "/" + waiting["item_set"])
    names = places.groupby("model", sort=False)["place"].agg(", ".join).reset_index()
    return markdown(names.set_axis(["not asked", "sets"], axis="columns"))


def asked_against_read(table: pd.DataFrame) -> pd.DataFrame:
    """Rates of each open model and of the heads on it, a column an arm, from `analysis.asked_read`."""
    if table.empty:
        return table
    cells = [
        f"{share(rate)} {ends}" if ends != MISSING else share(rate)
        for rate, ends in zip(table["rate"], intervals(table), strict=True)
    ]
    by = ["model", "respondent", "n_examples"]
    wide = table.assign(cell=cells).pivot(index=by, columns="arm", values="cell")
    order = list(dict.fromkeys(table[by].itertuples(index=False, name=None)))
    return wide.reindex(order).reindex(columns=list(_ARMS)).rename(columns=_ARMS).reset_index()


def learner_rates(table: pd.DataFrame) -> pd.DataFrame:
    """What text learners make of the chosen wordings, from `stimuli.chosen_wordings.over_designs`."""
    return table.assign(arm=table["arm"].map(_LEARNER_ARMS))
