"""What a statistics notebook hands on: tables, figures, numbers, claims, and a list of them all."""

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

#: Significant digits that results keep: more would differ between processors.
DIGITS = 6
#: A quantity that is smaller than this, in its own unit, is the rounding of a zero, which differs between
#: processors.
NOISE = 1e-12
#: Columns of probabilities, which may be that small: ``p``, ``p_holm``, ``wald_p`` and so on.
_PROBABILITY = re.compile(r"(^|_)p($|_)")
#: The texts of the public prompts. Their digests are in git: no result depends on whether they are here.
_TEXTS = "debug_tests"

# ---- which files a notebook reads: observed as they are opened, not declared by hand ----

_opened: set[str] = set()


def _note(event: str, arguments: tuple[object, ...]) -> None:
    """Note which files this process opens for reading.

    Python's own audit events are used, so that no function that reads has to know. Files that a
    library opens in C are not seen; Parquet is therefore read from an open file.
    """
    if event != "open":
        return
    path, _, flags = arguments
    if isinstance(path, str) and isinstance(flags, int) and not flags & (os.O_WRONLY | os.O_RDWR):
        _opened.add(os.path.abspath(path))  # noqa: PTH100 -- a Path for every open file is slow


# A notebook imports this module before it reads anything.
sys.addaudithook(_note)


def inputs(root: Path) -> list[str]:
    """The files below ``data/`` that were read since this module was imported, from the project's folder."""
    folder = str(root.resolve() / "data") + os.sep
    found = (Path(path) for path in _opened if path.startswith(folder))
    return sorted(
        path.relative_to(root.resolve()).as_posix()
        for path in found
        if path.is_file()
        and not path.name.endswith(paths.PASSING)
        and ".part" not in path.name
        # Elsewhere a file of this name is one that counts.
        and not (path.parent.name == "downloads" and path.name.startswith(_TEXTS))
    )


# ---- what it hands on ----


class Shown:
    """A figure as a notebook shows it: the very bytes that were saved."""

    def __init__(self, svg: bytes, png: bytes) -> None:
        self._svg, self._png = svg, png

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"image/svg+xml": self._svg.decode(), "image/png": self._png}


class Table:
    """A Markdown table as a notebook shows it."""

    def __init__(self, markdown: str) -> None:
        self._markdown = markdown

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/markdown": self._markdown, "text/plain": self._markdown}


class Results:
    """The results of one study, written to ``data/results/<study>`` and ``figures`` below ``root``.

    A study may have several notebooks, each for a ``part`` of it: then numbers and list lie in a folder of
    that name, and the sentences are those of ``paper/sentences/<study>_<part>.md``. A part may tell of the
    numbers of another one that it names as ``known`` and that ran before.

    Without a ``root`` that is the project's folder in a run with `paths.KEEP` set, else `paths.BY_HAND`: what
    somebody tries in a notebook does not replace the results of the paper.

    A file that can't be written is a `UserError` that names it.

    Call `close` at the end of the notebook: it writes ``numbers.json`` and ``artefacts.json``, and
    deletes what its last run made and this one did not. ``artefacts.json`` says which cell made
    which file and number (as the n-th code cell that ran), and which files below ``data/`` were read.
    """

    def __init__(self, study: str, root: Path | None = None, *, part: str = "", known: str = "") -> None:
        root = root or _place()
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
        """Where the files lie that a notebook reads."""
        return paths.ROOT if self.root == paths.BY_HAND else self.root

    def _numbers_of(self, part: str) -> Any:
        file = self._project / "data" / "results" / self.study / part / "numbers.json"
        return read_json(file, f"run the notebook whose results are {self.study}/{part}")[self.study]

    def _made(self, path: Path) -> Path:
        self.artefacts[path] = _cell()
        return path

    def table(self, frame: pd.DataFrame, name: str, *, noise: float = NOISE) -> None:
        """Write a tidy table as CSV, numbers rounded to `DIGITS` significant digits.

        Parameters
        ----------
        noise
            Numbers smaller than this in size are written as 0, but in columns of probabilities.
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
        """Write a tidy table as CSV, and return the paper's table of it for display.

        Parameters
        ----------
        shown
            The frame that is shown, where that is not the one written: some of its rows, or with words for
            codes. Its columns are those that ``data/dictionary.yml`` lists as the `table` of the file.
        nobody
            What stands in place of a table without rows; else it has its head alone.
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
        """Keep a number of the text: its value, rounded, and how it is written."""
        self._put(key, numbers.number(value, text, DIGITS))

    def count(self, key: str, value: float) -> None:
        """Keep a whole number: "3,600"."""
        self.number(key, int(value), number_format.count(value))

    def share(self, key: str, value: float) -> None:
        """Keep a share, rate or correlation with three decimals: ".302"."""
        self.number(key, value, number_format.share(value))

    def decimals(self, key: str, value: float, digits: int = 2) -> None:
        """Keep a number with a zero before its point: "0.42"."""
        self.number(key, value, number_format.number(value, digits))

    def interval(self, key: str, low: float, high: float, digits: int = 3, *, bounded: bool = True) -> None:
        """Keep an interval as the text shows it: "[.287, .318]"."""
        self.text(key, number_format.interval(low, high, digits, bounded=bounded))

    def text(self, key: str, text: str) -> None:
        """Keep a piece of text that depends on the results."""
        self._put(key, numbers.text(text))

    def sentence(self, key: str, facts: Mapping[str, Any], macro: str | None = None) -> str:
        """Keep a sentence of ``paper/sentences/<study>.md``, and return it for display.

        Parameters
        ----------
        key
            Such as ``text.rationality``.
        facts
            The arguments of the sentence's macro.
        macro
            Its name, where that is not the last part of the key.
        """
        text = self.sentences(macro or key.rpartition(".")[2], facts)
        self.text(key, text)
        return text

    def paragraph(self, name: str) -> Markdown:
        """Write a paragraph of ``paper/sentences/<study>.md`` on what has been kept so far, for display.

        Parameters
        ----------
        name
            A macro whose one argument is ``n``, which holds what was kept and what is known of another
            part: see `numbers.texts`.
        """
        kept = numbers.merged(self._known, self.numbers)
        return Markdown(self.sentences(name, {"n": numbers.texts(kept)}))  # type: ignore[no-untyped-call]

    def opening(self, name: str) -> None:
        """Keep the place of a paragraph on numbers that come further down: `close` writes it here.

        Parameters
        ----------
        name
            As for `paragraph`.
        """
        shown = display(Markdown("What the notebook finds stands here once it has run."), display_id=True)  # type: ignore[no-untyped-call]
        self._opening = (name, shown)

    def claim(self, key: str, holds: bool) -> None:
        """Keep whether a sentence's claim holds; `deepvalues check` stops on a sentence that lies."""
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
        """Write the opening, the numbers and the list of artefacts; remove what an earlier run left."""
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


def _place() -> Path:
    """Where a notebook's results go; a line says so where that is not the paper's own folder."""
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
    """Which code cell runs, counted from 1; None outside a notebook."""
    shell = get_ipython()
    # `execution_count` counts the running cell in some versions and the next one in others; the list of
    # inputs, which begins with an empty one, holds the running cell in all.
    return None if shell is None else len(shell.user_ns["In"]) - 1
