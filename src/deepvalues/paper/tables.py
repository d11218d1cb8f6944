"""Tables as Markdown, which keeps its alignment in HTML and PDF; heads and formats come from a registry.

The registry, ``data/dictionary.yml``, defines once a column's meaning, unit, head in tables and number
format. The tables of the paper, the data dictionary and the metadata are made from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from deepvalues.core import number_format, paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.core.number_format import MISSING, interval


def markdown(frame: pd.DataFrame, formats: Mapping[str, Callable[[Any], str]] | None = None) -> str:
    """A frame as a Markdown table: text left-aligned, columns with a format right-aligned.

    Parameters
    ----------
    formats
        Functions that format the cells of a column; missing values become a dash.

    Raises
    ------
    ValueError
        If a column of fractions has no format, or a format is given for an unknown column.
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
    """A table with one sentence in place of rows; without a table, its caption would go to another one.

    Parameters
    ----------
    why
        The sentence: why there are no rows.
    """
    return markdown(pd.DataFrame({"respondent": [why]}))


#: Maximum width of a text column, in characters.
_WIDEST = 44


def _width(cells: Sequence[str]) -> int:
    """A column's relative width: pandoc divides the width of a wide table by the dashes in its rule.

    At least the longest word, so that words don't run into the next column; otherwise at most `_WIDEST`.
    Long words get some more, as letters are wider than the digits of other columns.
    """
    longest_word = max(len(word) for cell in cells for word in cell.split() or [""])
    return max(longest_word + longest_word // 8, min(_WIDEST, max(len(cell) for cell in cells))) + 2


def intervals(frame: pd.DataFrame, name: str = "", digits: int = 3, *, bounded: bool = True) -> list[str]:
    """Intervals as text, from the columns ``name_low`` and ``name_high``, or ``low`` and ``high``."""
    low, high = (f"{name}_{end}" if name else end for end in ("low", "high"))
    return [interval(*ends, digits, bounded=bounded) for ends in zip(frame[low], frame[high], strict=True)]


DECLARED = "dictionary.yml"

_ENTRY = frozenset({"what", "by", "columns", "contract", "names", "shown", "table"})
#: Suffixes of columns whose meaning follows from that of the column they are named after.
ENDS = {
    "_low": "lower end of the 95% interval of",
    "_high": "upper end of the 95% interval of",
    "_median": "median of",
    **{f"_q{percent:02}": f"{percent} % quantile of" for percent in (5, 25, 75, 95)},
}
_INTERVAL = "interval"


class Entry(NamedTuple):
    """The entry of a column; ``head`` and ``written`` (the number format) may be empty."""

    unit: str
    meaning: str
    head: str = ""
    written: str = ""


class Registry(NamedTuple):
    """The content of ``data/dictionary.yml``."""

    files: Mapping[str, Mapping[str, Any]]
    columns: Mapping[str, str]
    items: Mapping[str, Mapping[str, str]]
    formats: Mapping[str, str]

    def entry(self, path: str) -> tuple[str, Mapping[str, Any]] | None:
        """The first pattern that matches a path below ``data/``, and its entry; None without a match."""
        return next(((p, entry) for p, entry in self.files.items() if fnmatch(path, p)), None)

    def column(self, column: str, own: Mapping[str, str]) -> Entry | None:
        """The entry of a column, from the file, from all files, or derived from its name; None if missing."""
        text = own.get(column) or self.columns.get(column) or own.get("*")
        if text is not None:
            about, head, written = _parts(text)
            unit, _, meaning = about.partition("; ")
            return Entry(unit, meaning, head, written)
        for ending, end in ENDS.items():
            of = column.removesuffix(ending)
            if of != column and (found := self.column(of, own)):
                return Entry(found.unit, f"{end} {of}", "", found.written)
        of = column.removesuffix("_holm")
        if of != column and (found := self.column(of, own)):
            return Entry("probability", f"{of} after Holm's correction", f"{found.head or of} (Holm)")
        return None

    def written(self, column: Entry) -> str:
        """The number format of a column, by example; empty for text."""
        return column.written or self.formats.get(column.unit, "")


def _parts(text: str) -> tuple[str, str, str]:
    """The parts of ``first | second | third``; missing ones are empty."""
    first, second, third, *_ = [part.strip() for part in text.split("|")] + ["", ""]
    return first, second, third


@cache
def registry(data: Path = paths.DATA) -> Registry:
    """Read ``data/dictionary.yml``.

    Raises
    ------
    UserError
        If it is missing, is not YAML, or an entry does not have the documented form.
    """
    file = data / DECLARED
    content = read_yaml(file)
    if not isinstance(content, dict) or set(content) != set(Registry._fields):
        raise UserError(f"{paths.shown(file)}: has to have the keys {', '.join(Registry._fields)}.")
    for pattern, entry in content["files"].items():
        if not isinstance(entry, dict) or not set(entry) <= _ENTRY:
            raise UserError(f"{paths.shown(file)}: {pattern}: an entry may have {', '.join(sorted(_ENTRY))}.")
    own = [entry.get("columns", {}) for entry in content["files"].values()]
    for columns in [content["columns"], *own, *content["items"].values()]:
        for name, text in columns.items():
            if not isinstance(text, str) or ("; " not in text and name != "*"):
                raise UserError(
                    f'{paths.shown(file)}: column {name}: is written "unit; meaning", not {text!r}.'
                )
    return Registry(**content)


def table(frame: pd.DataFrame, path: str) -> str:
    """A frame as the Markdown table declared in the registry for a file.

    Parameters
    ----------
    frame
        A frame with the table's columns. A missing ``x_interval`` is made from ``x_low`` and ``x_high``, and
        ``interval`` from ``low`` and ``high``.
    path
        The file, such as ``results/svo/missing.csv``. Its entry lists the columns under ``table``; by default
        these are all columns of the frame.

    Raises
    ------
    KeyError
        If the frame lacks a column.
    ValueError
        If a column of fractions has no format, a head refers to a column with several values, or two columns
        have the same head.
    """
    known = registry()
    _, entry = known.entry(path) or (path, {})
    shown: dict[str, Any] = {}
    formats: dict[str, Callable[[Any], str]] = {}
    for name, of_table, own_format in _listed(entry.get("table", ["*"]), frame):
        is_interval = name not in frame and name.endswith(_INTERVAL)
        found = known.column(_ends(name)[0] if is_interval else name, entry.get("columns", {})) or Entry(
            "", ""
        )
        written = own_format or known.written(found)
        default = _INTERVAL if is_interval else name.replace("_", " ")
        head = _filled(of_table, frame) or found.head or default
        if head in shown:
            raise ValueError(f"{path}: two columns of the table are headed {head!r}")
        shown[head] = _intervals(frame, name, written) if is_interval else frame[name]
        if written and not is_interval:
            formats[head] = number_format.like(written)
    return markdown(pd.DataFrame(shown), formats)


def unknown(columns: Iterable[Any], known: Collection[str]) -> list[str]:
    """Columns of a declared table that are not in the file and have no head or format of their own."""
    return [
        name
        for name, head, written in _given(columns)
        if not (head or written or name in known or (name.endswith(_INTERVAL) and {*_ends(name)} <= {*known}))
    ]


def _given(columns: Iterable[Any]) -> list[tuple[str, str, str]]:
    """Name, head and format of each declared column."""
    return [
        (str(name), *_parts(text)[:2])
        for column in columns
        for name, text in (column if isinstance(column, Mapping) else {column: ""}).items()
    ]


def _listed(columns: Iterable[Any], frame: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """The same, with the star replaced by the frame's other columns."""
    given = _given(columns)
    named = {column for name, *_ in given for column in (name, *_ends(name))}
    for name, head, written in given:
        rest = [str(other) for other in frame if other not in named] if name == "*" else [name]
        yield from ((other, head, written) for other in rest)


def _filled(head: str, frame: pd.DataFrame) -> str:
    """A head with column names in braces replaced by the single value of that column."""
    for name in re.findall(r"\{(\w+)\}", head):
        (value,) = set(frame[name])
        head = head.replace(f"{{{name}}}", str(value))
    return head


def _ends(name: str) -> tuple[str, str]:
    """The columns with the ends of ``x_interval``."""
    of = name.removesuffix(_INTERVAL)
    return f"{of}low", f"{of}high"


def _intervals(frame: pd.DataFrame, name: str, written: str) -> list[str]:
    of, decimals = name.removesuffix(_INTERVAL).rstrip("_"), written.partition(".")[2]
    return intervals(frame, of, len(decimals), bounded=written.startswith("."))
