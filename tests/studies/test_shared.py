"""What studies share: missing replies, and whom the text is about."""

import pandas as pd
import pytest

from deepvalues.core.errors import UserError
from deepvalues.studies.shared import (
    count_statuses,
    language_models_or_all,
    stop_if_missing,
)


def test_every_status_has_its_column():
    frame = pd.DataFrame({"model": ["p", "p", "q"], "status": ["answered", "refused", "answered"]})
    counts = count_statuses(frame, ["model"])
    assert list(counts) == ["answered", "refused", "unparsable", "truncated", "failed"]
    assert counts.to_numpy().tolist() == [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


def test_too_many_missing_replies_stop_the_notebook():
    table = pd.DataFrame({"model": ["p", "q", "s"], "items": 8, "missing_share": [0.5, 0.25, 0.0]})
    stop_if_missing(table, 0.5)
    with pytest.raises(UserError, match=r"more than 40% of answers missing: p \(50\.0%\); see"):
        stop_if_missing(table, 0.4)
    with pytest.raises(UserError, match=r"p in rating \(50\.0%\), q in rating \(25\.0%\); .*most_missing"):
        stop_if_missing(table.assign(mode="rating")[["model", "mode", "missing_share"]], 0.2)


def test_language_models_are_in_focus_where_there_are_any():
    table = pd.DataFrame({"model": ["a", "b", "a"]})
    agents = {"a": "reference agent", "b": "reference agent"}
    assert list(language_models_or_all(table, agents)["model"]) == ["a", "b", "a"]
    assert list(language_models_or_all(table, {**agents, "b": "language model"})["model"]) == ["b"]
    assert language_models_or_all(table.head(0), agents).empty
