"""Tables of what the record holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd

from deepvalues.core.number_format import MISSING, count, number, share
from deepvalues.paper.markdown import markdown, nobody

#: A provider may give many; a table has room for so many.
_FINGERPRINTS = 2


def unlisted(table: pd.DataFrame) -> str:
    """Which models have answers that enter no result, from `deepvalues.ask.on_record.unlisted`."""
    if table.empty:
        return "Every model with answers on record is a model of the paper."
    names = table.groupby("model")["study"].agg(", ".join)
    found = "; ".join(f"{model} ({studies})" for model, studies in names.items())
    return f"On record, but not listed under `paper` in `data/models.yml`, and so in no result: {found}."


def record(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Models that have answered each set, from `deepvalues.ask.record_counts.by_set`.

    Families have short names, or there would be no room for the titles of the studies.

    Parameters
    ----------
    titles
        What readers call each study.
    """
    counts = {
        "items": "items",
        "language_models": "language",
        "heads": "heads",
        "text_learners": "learners",
        "reference_agents": "agents",
        "not_asked": "not asked",
    }
    names = {"title": "study", "study": "id", "item_set": "set", **counts}
    return _titled(table, titles, names, dict.fromkeys(counts.values(), count))


def how_asked(table: pd.DataFrame) -> str:
    """How each model was asked, study by study, from `deepvalues.ask.how_asked.how_asked`."""
    if table.empty:
        return nobody("No language model was asked.")
    names = {
        "model": "model",
        "study": "study",
        "endpoint": "endpoint",
        "served_as": "served as",
        "parameters": "parameters",
        "days": "days",
        "server": "fingerprint",
        "replies": "replies",
        "log_probabilities": "log p",
        "read": "read",
    }
    shown = table.assign(
        days=[_days(first, last) for first, last in zip(table["first"], table["last"], strict=True)],
        server=table["fingerprints"].map(_fingerprints),
    )
    formats = {"replies": count, "log p": share, "read": share}
    return markdown(shown[list(names)].rename(columns=names), formats)


def _days(first: str | None, last: str | None) -> str:
    if pd.isna(first):
        return MISSING
    return f"{first}" if first == last else f"{first} to {last}"


def _fingerprints(names: str | None) -> str:
    if pd.isna(names):
        return MISSING
    found = str(names).split(", ")
    return str(names) if len(found) <= _FINGERPRINTS else f"{len(found)} of them"


def replies(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Replies on record by study, from `deepvalues.ask.record_counts.by_study`."""
    names = {"title": "study", "models": "models", "answers": "replies", "orphans": "of these left over"}
    return _titled(table, titles, names, {"models": count, "replies": count, "of these left over": count})


def to_ask(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """What asking one model more would take, from `deepvalues.ask.record_counts.to_ask_by_set`."""
    if table.empty:
        return "Every model was asked for every set."
    counts = {
        "models": "not asked",
        "requests": "requests",
        "input_tokens": "tokens in",
        "output_tokens": "tokens out",
    }
    dollars = {"least": "least dollars", "most": "most dollars"}
    names = {"title": "study", "item_set": "set", **counts, **dollars}
    formats = dict.fromkeys(counts.values(), count) | dict.fromkeys(
        dollars.values(), partial(number, digits=2)
    )
    return _titled(table, titles, names, formats)


def _titled(
    table: pd.DataFrame,
    titles: Mapping[str, str],
    names: Mapping[str, str],
    formats: Mapping[str, Callable[[float], str]],
) -> str:
    """A table whose studies have titles, with the columns that are named."""
    titled = table.assign(title=table["study"].map(titles))
    return markdown(titled[list(names)].rename(columns=dict(names)), formats)
