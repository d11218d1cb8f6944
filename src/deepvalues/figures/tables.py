"""Tables as Markdown: the one form that keeps its alignment in HTML and in the PDF."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from deepvalues.formats import MISSING


def markdown(frame: pd.DataFrame, formats: Mapping[str, Callable[[Any], str]] | None = None) -> str:
    """A frame as a Markdown table: text to the left, columns with a format to the right.

    Parameters
    ----------
    formats
        How to write the cells of a column; missing values become a dash.
    """
    formats = formats or {}

    def write(column: str, cell: Any) -> str:
        return MISSING if pd.isna(cell) else formats.get(column, str)(cell)

    written = frame.apply(lambda cells: [write(str(cells.name), cell) for cell in cells])
    alignment = ["right" if str(column) in formats else "left" for column in frame]
    table: str = written.to_markdown(index=False, colalign=alignment, disable_numparse=True)
    return table
