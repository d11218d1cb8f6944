"""Tables as Markdown: the one form that keeps its alignment in HTML and in the PDF."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from deepvalues.core.number_format import MISSING, interval


def markdown(frame: pd.DataFrame, formats: Mapping[str, Callable[[Any], str]] | None = None) -> str:
    """A frame as a Markdown table: text to the left, columns with a format to the right.

    Parameters
    ----------
    formats
        How to write the cells of a column; missing values become a dash.

    Raises
    ------
    ValueError
        If a column holds fractions and nothing says how they are written, or a format names no column.
    """
    formats = formats or {}
    unknown = [name for name in formats if name not in frame]
    if unknown:
        raise ValueError(f"no column of the table is called {unknown}; it has {list(map(str, frame))}")

    def write(column: str, cell: Any) -> str:
        if isinstance(cell, float) and not pd.isna(cell) and column not in formats:
            raise ValueError(f"the table's column {column!r} needs a format: {cell} has too many digits")
        text = MISSING if pd.isna(cell) else formats.get(column, str)(cell)
        return text.replace("|", "\\|")

    written = pd.DataFrame({column: [write(str(column), cell) for cell in frame[column]] for column in frame})
    alignment = ["right" if str(column) in formats else "left" for column in frame]
    lines = written.to_markdown(index=False, colalign=alignment, disable_numparse=True).split("\n")
    widths = [_width([str(column), *cells]) for column, cells in written.items()]
    rule = [
        "-" * (width - 1) + ":" if side == "right" else ":" + "-" * (width - 1)
        for width, side in zip(widths, alignment, strict=True)
    ]
    return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[2:]])


def nobody(why: str) -> str:
    """A table that says why it has no rows: without a table its caption would go to another one.

    Parameters
    ----------
    why
        A sentence.
    """
    return markdown(pd.DataFrame({"respondent": [why]}))


#: The widest that a column of text is drawn, in characters.
_WIDEST = 44


def _width(cells: Sequence[str]) -> int:
    """A column's relative width: pandoc shares a wide table's width out by the dashes of its rule.

    At least the longest word, so that words don't run into the next column; at most `_WIDEST`.
    """
    longest_word = max(len(word) for cell in cells for word in cell.split() or [""])
    return max(longest_word, min(_WIDEST, max(len(cell) for cell in cells))) + 2


def intervals(frame: pd.DataFrame, name: str = "", digits: int = 3, *, bounded: bool = True) -> list[str]:
    """The intervals of a frame as text, from ``name_low`` and ``name_high``, or from ``low`` and ``high``."""
    low, high = (f"{name}_{end}" if name else end for end in ("low", "high"))
    return [interval(*ends, digits, bounded=bounded) for ends in zip(frame[low], frame[high], strict=True)]
