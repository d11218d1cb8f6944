"""Whom the text is about."""

import pandas as pd

from deepvalues.studies.shared import language_models_or_all


def test_language_models_are_in_focus_where_there_are_any():
    table = pd.DataFrame({"model": ["a", "b", "a"]})
    agents = {"a": "reference agent", "b": "reference agent"}
    assert list(language_models_or_all(table, agents)["model"]) == ["a", "b", "a"]
    assert list(language_models_or_all(table, {**agents, "b": "language model"})["model"]) == ["b"]
    assert language_models_or_all(table.head(0), agents).empty
