"""Tables of what the record holds."""

from __future__ import annotations

import pandas as pd

from deepvalues.formats import count
from deepvalues.tables.markdown import markdown


def record(table: pd.DataFrame) -> str:
    """Models that have answered each set, from `deepvalues.query.coverage.by_set`."""
    shown = table.rename(columns={"item_set": "set"}).rename(columns=lambda name: name.replace("_", " "))
    return markdown(shown, dict.fromkeys(shown.columns[2:], count))


def orphans(table: pd.DataFrame) -> str:
    """Models that have answers which no set asks for, from `deepvalues.asking.orphans`."""
    left = table[table["orphans"] > 0].rename(columns={"orphans": "answers left over"})
    return markdown(left, {"answers left over": count}) if len(left) else "No answer on record is left over."
