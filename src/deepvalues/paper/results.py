"""Write the output of a statistics notebook: tables, figures, numbers, claims, and a list of them all."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, Markdown, display
from matplotlib.figure import Figure

from deepvalues.core import number_format, paths
from deepvalues.core.files import read_json, write_text, writing
from deepvalues.paper import numbers, tables
from deepvalues.paper.sentences import Sentences
from deepvalues.paper.theme import image

#: Significant digits of results; further digits would differ between processors.
DIGITS = 6
#: Smaller quantities, in their own unit, are rounding errors of zero, which differ between processors.
NOISE = 1e-12
#: Columns of probabilities, which may be that small, such as ``p``, ``p_holm``, ``wald_p``.
_PROBABILITY = re.compile(r"(^|_)p($|_)")
#: The texts of the public prompts. Their digests are in git, so no result depends on the texts.
_TEXTS = "debug_tests"

# ---- files that a notebook reads, observed as they are opened ----

_opened: set[str] = set()


def _note(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook that notes which files this process opens for reading.

    With audit events, functions that read files need not cooperate. Files opened in C by a library are not
    seen; Parquet is therefore read from an open file.
    """
    if event != "open":
        return
    path, _, flags = arguments
    if isinstance(path, str) and isinstance(flags, int) and not flags & (os.O_WRONLY | os.O_RDWR):
        _opened.add(os.path.abspath(path))  # noqa: PTH100 -- a Path for every open file is slow


# Notebooks import this module before they read anything.
sys.addaudithook(_note)


def inputs(root: Path) -> list[str]:
    """The files below ``data/`` read since this module was imported, relative to the project's folder."""
    folder = str(root.resolve() / "data") + os.sep
    found = (Path(path) for path in _opened if path.startswith(folder))
    return sorted(
        path.relative_to(root.resolve()).as_posix()
        for path in found
        if path.is_file()
        and not path.name.endswith(paths.PASSING)
        and ".part" not in path.name
        # In other folders, a file of this name counts.
        and not (path.parent.name == "downloads" and path.name.startswith(_TEXTS))
    )


# ---- output ----


class Shown:
    """A figure for display in a notebook, with the bytes that were saved."""

    def __init__(self, svg: bytes, png: bytes) -> None:
        self._svg, self._png = svg, png

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"image/svg+xml": self._svg.decode(), "image/png": self._png}


class Table:
    """A Markdown table for display in a notebook."""

    def __init__(self, markdown: str) -> None:
        self._markdown = markdown

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/markdown": self._markdown, "text/plain": self._markdown}


class Results:
    """The results of one study, written to ``data/results/<study>`` and ``figures`` below ``root``.

    A study may have several notebooks, each for a ``part``. Numbers and list are then in a folder of that
    name, and the sentences come from ``paper/sentences/<study>_<part>.md``. A part may use the numbers of
    another part, named as ``known``, that ran before.

    By default, ``root`` is the project's folder in a run with `paths.KEEP` set, else `paths.BY_HAND`, so that
    interactive work does not replace the results of the paper.

    A file that can't be written raises a `UserError` that names it.

    Call `close` at the end of the notebook. It writes ``numbers.json`` and ``artefacts.json``, and deletes
    files of the previous run that this run did not make. ``artefacts.json`` lists the cell of each file and
    number (by execution count) and the files below ``data/`` that were read.
    """

    def __init__(self, study: str, root: Path | None = None, *, part: str = "", known: str = "") -> None:
        root = root or _output_folder()
        self.study, self.root = study, root
        self.folder = root / "data" / "results" / study
        self.figures = root / "figures"
        self.lists = self.folder / part
        self.sentences = Sentences(f"{study}_{part}" if part else study)
        self.numbers: dict[str, Any] = {}
        self._known = self._numbers_of(known) if known else {}
        self._opening: tuple[str, DisplayHandle] | None = None
        self.artefacts: dict[Path, int | None] = {}
        self.cells: dict[str, int | None] = {}
        for folder in (self.lists, self.figures):
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)

    @property
    def _project(self) -> Path:
        """The folder with the files that the notebook reads."""
        return paths.ROOT if self.root == paths.BY_HAND else self.root

    def _numbers_of(self, part: str) -> Any:
        file = self._project / "data" / "results" / self.study / part / "numbers.json"
        return read_json(file, f"run the notebook whose results are {self.study}/{part}")[self.study]

    def _made(self, path: Path) -> Path:
        self.artefacts[path] = _cell()
        return path

    def table(self, frame: pd.DataFrame, name: str, *, noise: float = NOISE) -> None:
        """Write a tidy table as CSV, with numbers rounded to `DIGITS` significant digits.

        Parameters
        ----------
        noise
            Numbers smaller than this in absolute value are written as 0, except in columns of probabilities.
        """
        path = self._made(self.folder / f"{name}.csv")
        shown = frame.copy()
        for column in frame.select_dtypes("float"):
            if not _PROBABILITY.search(str(column)):
                shown[column] = frame[column].mask(frame[column].abs() < noise, 0.0)
        with writing(path):
            shown.to_csv(path, index=False, float_format=_written, lineterminator="\n")

    def publish(
        self,
        frame: pd.DataFrame,
        name: str,
        shown: pd.DataFrame | None = None,
        *,
        nobody: str = "",
        noise: float = NOISE,
    ) -> Table:
        """Write a tidy table as CSV, and return the table of the paper for display.

        Parameters
        ----------
        shown
            The frame to display, if not the one written: with fewer rows, or words instead of codes. Its
            columns are those that ``data/dictionary.yml`` lists as the `table` of the file.
        nobody
            Text that replaces a table without rows; by default only the head is shown.
        noise
            As for `table`.
        """
        self.table(frame, name, noise=noise)
        shown = frame if shown is None else shown
        if shown.empty and nobody:
            return Table(tables.nobody(nobody))
        return Table(tables.table(shown, f"results/{self.study}/{name}.csv"))

    def figure(self, figure: Figure, name: str) -> Shown:
        """Write a figure as SVG and PNG, and return it for display."""
        svg, png = image(figure, "svg"), image(figure, "png")
        for kind, content in (("svg", svg), ("png", png)):
            path = self._made(self.figures / f"{self.study}_{name}.{kind}")
            with writing(path):
                path.write_bytes(content)
        return Shown(svg, png)

    def number(self, key: str, value: float, text: str) -> None:
        """Store a number for the text: its value, rounded, and its formatted text."""
        self._put(key, numbers.number(value, text, DIGITS))

    def count(self, key: str, value: float) -> None:
        """Store a whole number, such as "3,600"."""
        self.number(key, int(value), number_format.count(value))

    def share(self, key: str, value: float) -> None:
        """Store a share, rate or correlation with three decimals, such as ".302"."""
        self.number(key, value, number_format.share(value))

    def decimals(self, key: str, value: float, digits: int = 2) -> None:
        """Store a number with a leading zero, such as "0.42"."""
        self.number(key, value, number_format.number(value, digits))

    def interval(self, key: str, low: float, high: float, digits: int = 3, *, bounded: bool = True) -> None:
        """Store an interval, such as "[.287, .318]"."""
        self.text(key, number_format.interval(low, high, digits, bounded=bounded))

    def text(self, key: str, text: str) -> None:
        """Store a text that depends on the results."""
        self._put(key, numbers.text(text))

    def sentence(self, key: str, facts: Mapping[str, Any], macro: str | None = None) -> str:
        """Store a sentence of ``paper/sentences/<study>.md``, and return it for display.

        Parameters
        ----------
        key
            Such as ``text.rationality``.
        facts
            The arguments of the sentence's macro.
        macro
            Name of the macro, if it is not the last part of the key.
        """
        text = self.sentences(macro or key.rpartition(".")[2], facts)
        self.text(key, text)
        return text

    def paragraph(self, name: str) -> Markdown:
        """Return a paragraph of ``paper/sentences/<study>.md`` on the numbers stored so far, for display.

        Parameters
        ----------
        name
            A macro with the single argument ``n``, which holds the numbers stored and those known from
            another part; see `numbers.texts`.
        """
        kept = numbers.merged(self._known, self.numbers)
        return Markdown(self.sentences(name, {"n": numbers.texts(kept)}))  # type: ignore[no-untyped-call]

    def opening(self, name: str) -> None:
        """Reserve the space for a paragraph on later numbers; `close` fills it in.

        Parameters
        ----------
        name
            As for `paragraph`.
        """
        shown = display(Markdown("What the notebook finds stands here once it has run."), display_id=True)  # type: ignore[no-untyped-call]
        self._opening = (name, shown)

    def claim(self, key: str, holds: bool) -> None:
        """Store whether a sentence's claim holds; `deepvalues check` stops at a claim that does not."""
        self._put(f"claims.{key}", numbers.claim(holds))

    def _put(self, key: str, leaf: numbers.Leaf) -> None:
        *branches, last = key.split(".")
        node = self.numbers
        for branch in branches:
            node = node.setdefault(branch, {})
        if last in node:
            raise KeyError(f"{self.study}.{key} was given twice")
        node[last] = leaf
        self.cells[f"{self.study}.{key}"] = _cell()

    def close(self) -> None:
        """Write the opening, the numbers and the list of artefacts; remove files left by an earlier run."""
        if self._opening:
            name, shown = self._opening
            shown.update(self.paragraph(name))  # type: ignore[no-untyped-call]
        numbers.write_numbers({self.study: self.numbers}, self._made(self.lists / "numbers.json"))
        listing = self._made(self.lists / "artefacts.json")
        made = {path.relative_to(self.root).as_posix(): cell for path, cell in self.artefacts.items()}
        earlier = read_json(listing, "delete it")["artefacts"] if listing.is_file() else {}
        read = [path for path in inputs(self._project) if path not in made]
        content = {"artefacts": made, "inputs": read, "numbers": self.cells}
        write_text(listing, json.dumps(content, indent=1, sort_keys=True) + "\n")
        for old in earlier.keys() - made.keys():
            with writing(self.root / old):
                (self.root / old).unlink(missing_ok=True)


def _output_folder() -> Path:
    """The folder for a notebook's results; prints it if it is not the paper's own folder."""
    if os.environ.get(paths.KEEP):
        return paths.ROOT
    print(
        f"Results go to {paths.shown(paths.BY_HAND)}/. To write those of the paper, use `deepvalues notebook "
        f"NAME`, or set {paths.KEEP}=1.",
        file=sys.stderr,
    )
    return paths.BY_HAND


def _written(value: Any) -> str:
    return f"{number_format.settled(value):.{DIGITS}g}"


def _cell() -> int | None:
    """Execution count of the running code cell, from 1; None outside a notebook."""
    shell = get_ipython()
    # `execution_count` is that of the running cell in some versions and of the next cell in others; the list
    # of inputs, which begins with an empty one, ends with the running cell in all.
    return None if shell is None else len(shell.user_ns["In"]) - 1
