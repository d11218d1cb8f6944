"""What tables show of what the record holds; ``data/dictionary.yml`` has their columns."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from deepvalues.core.number_format import MISSING

#: A provider may give many; a table has room for so many.
_FINGERPRINTS = 2


def unlisted(table: pd.DataFrame) -> str:
    """Which models have answers that enter no result, from `deepvalues.ask.on_record.unlisted`."""
    if table.empty:
        return "Every model with answers on record is a model of the paper."
    names = table.groupby("model")["study"].agg(", ".join)
    found = "; ".join(f"{model} ({studies})" for model, studies in names.items())
    return f"On record, but not listed under `paper` in `data/models.yml`, and so in no result: {found}."


def titled(table: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """A table from `deepvalues.ask.record_counts`, with what readers call each study."""
    return table.assign(title=table["study"].map(titles))


def how_asked(table: pd.DataFrame) -> pd.DataFrame:
    """How each model was asked, study by study, from `deepvalues.ask.how_asked.how_asked`."""
    return table.assign(
        days=[_days(first, last) for first, last in zip(table["first"], table["last"], strict=True)],
        fingerprints=table["fingerprints"].map(_fingerprints),
    )


def _days(first: str | None, last: str | None) -> str:
    if pd.isna(first):
        return MISSING
    return f"{first}" if first == last else f"{first} to {last}"


def _fingerprints(names: str | None) -> str:
    if pd.isna(names):
        return MISSING
    found = str(names).split(", ")
    return str(names) if len(found) <= _FINGERPRINTS else f"{len(found)} of them"
