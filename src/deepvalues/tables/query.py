"""Tables of what the record holds."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from deepvalues.formats import count
from deepvalues.tables.markdown import markdown


def record(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Models that have answered each set, from `deepvalues.query.coverage.by_set`.

    Parameters
    ----------
    titles
        What readers call each study.
    """
    counts = ("items", "language_models", "text_learners", "reference_agents", "not_asked")
    names = {"title": "study", "study": "id", "item_set": "set"}
    names |= {name: name.replace("_", " ") for name in counts}
    shown = table.assign(title=table["study"].map(titles)).rename(columns=names)[list(names.values())]
    return markdown(shown, {names[name]: count for name in counts})


def orphans(table: pd.DataFrame) -> str:
    """Models that have answers which no set asks for, from `deepvalues.asking.orphans`."""
    left = table[table["orphans"] > 0].rename(columns={"orphans": "answers left over"})
    return markdown(left, {"answers left over": count}) if len(left) else "No answer on record is left over."
