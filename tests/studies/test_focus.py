"""Whom the text is about."""

import pandas as pd

from deepvalues.studies.focus import in_focus


def test_language_models_are_in_focus_where_there_are_any():
    table = pd.DataFrame({"model": ["a", "b", "a"]})
    agents = {"a": "reference agent", "b": "reference agent"}
    assert list(in_focus(table, agents)["model"]) == ["a", "b", "a"]
    assert list(in_focus(table, {**agents, "b": "language model"})["model"]) == ["b"]
    assert in_focus(table.head(0), agents).empty
