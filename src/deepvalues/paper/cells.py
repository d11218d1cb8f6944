"""Labelled cells of executed notebooks: their options, figures and tables."""

from __future__ import annotations

import ast
import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml

from deepvalues.core.errors import UserError
from deepvalues.core.files import yaml_fault
from deepvalues.core.paths import shown

FIGURE_TYPES = {"image/svg+xml": "svg", "image/png": "png"}


@dataclass(frozen=True)
class Cell:
    """A notebook cell without its ``#|`` option lines.

    ``position`` counts from 1; ``options`` are the parsed option lines; ``outputs`` are as the
    notebook format stores them.
    """

    notebook: Path
    position: int
    kind: str
    source: str
    options: Mapping[str, Any]
    outputs: Sequence[Mapping[str, Any]]
    tags: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The label by which an article embeds the cell; empty if it has none."""
        return str(self.options.get("label", ""))

    @property
    def caption(self) -> str:
        """The caption of the figure or table, on one line."""
        option = "tbl-cap" if self.label.startswith("tbl-") else "fig-cap"
        return " ".join(str(self.options.get(option) or "").split())

    @property
    def alternative(self) -> str:
        """The text that stands in for the figure, on one line."""
        return " ".join(str(self.options.get("fig-alt") or "").split())

    @property
    def anchor(self) -> str:
        """The cell's id on its notebook's page."""
        # Quarto gives a table's cell the label itself as its id; links must hold in both renderings.
        if self.label.startswith("tbl-"):
            return self.label
        return f"cell-{self.label or format(self.position, '02d')}"

    @property
    def place(self) -> str:
        """How messages name the cell."""
        label = f" ({self.label})" if self.label else ""
        return f"{shown(self.notebook)}: cell {self.position}{label}"


def read_notebook(file: Path) -> Any:
    """A notebook in version 4 of its format.

    Raises
    ------
    UserError
        If the file is missing or is not a notebook.
    """
    if not file.is_file():
        raise UserError(f"{shown(file)}: the notebook is missing")
    try:
        return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]
    except nbformat.reader.NotJSONError:
        raise UserError(f"{shown(file)}: not a notebook: its JSON is damaged") from None
    except nbformat.ValidationError as error:
        raise UserError(f"{shown(file)}: not a notebook: {error.message}") from None


def read_cells(file: Path) -> list[Cell]:
    """All cells of a notebook."""
    cells = []
    for position, raw in enumerate(read_notebook(file).cells, start=1):
        options: dict[str, Any] = {}
        source = raw.source
        if raw.cell_type == "code":
            options, source = split_options(raw.source, f"{shown(file)}: cell {position}")
        tags = tuple(raw.metadata.get("tags", ()))
        outputs = raw.get("outputs", [])
        cells.append(Cell(file, position, raw.cell_type, source, options, outputs, tags))
    return cells


def executed_parameters(executed: Path) -> dict[str, Any]:
    """The parameters with which a notebook ran: its defaults, and over them what was set from outside."""
    found: dict[str, Any] = {}
    for tag in ("parameters", "injected-parameters"):
        for cell in read_cells(executed):
            if tag in cell.tags:
                found |= dict(_assignments(cell.source))
    return found


def _assignments(source: str) -> Iterator[tuple[str, Any]]:
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            try:
                yield statement.targets[0].id, ast.literal_eval(statement.value)
            except ValueError:  # computed from others: as it is written
                yield statement.targets[0].id, ast.unparse(statement.value)


def split_options(source: str, place: str) -> tuple[dict[str, Any], str]:
    """Cut a code cell into its ``#|`` options and its code."""
    lines = source.split("\n")
    count = next((i for i, line in enumerate(lines) if not line.startswith("#|")), len(lines))
    text = "\n".join(line[2:].removeprefix(" ") for line in lines[:count])
    try:
        options = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{place}: the #| lines are not YAML: {yaml_fault(error)}") from error
    if not isinstance(options, dict):
        raise UserError(f"{place}: the #| lines must read `#| option: value`.")
    return options, "\n".join(lines[count:]).strip("\n")


def labelled_cells(file: Path) -> dict[str, Cell]:
    """The cells of a notebook that have a label."""
    found: dict[str, Cell] = {}
    for cell in read_cells(file):
        if cell.label and cell.label in found:
            raise UserError(f"{cell.place}: the label stands on cell {found[cell.label].position} too.")
        if cell.label:
            found[cell.label] = cell
    return found


def notebook_header(file: Path) -> dict[str, Any]:
    """The YAML between lines of ``---`` in a notebook's first raw or Markdown cell; empty if there is none.

    Raises
    ------
    UserError
        If it is not YAML, or the notebook can't be read.
    """
    first = next(iter(read_notebook(file).cells), None)
    if first is None or first.cell_type not in ("raw", "markdown"):
        return {}
    match = re.match(r"\s*---\n(.*?)\n---", first.source, re.DOTALL)
    try:
        header = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError as error:
        raise UserError(f"{shown(file)}: cell 1: not YAML: {yaml_fault(error)}") from None
    return header if isinstance(header, dict) else {}


def notebook_title(file: Path) -> str:
    """The title in a notebook's header; its file name if there is none."""
    return str(notebook_header(file).get("title") or file.stem)


def figures(cell: Cell) -> list[tuple[str, bytes]]:
    """The images among a cell's outputs as (suffix, content); SVG is preferred to PNG."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        kind = next((kind for kind in FIGURE_TYPES if kind in data), None)
        if kind == "image/svg+xml":
            found.append(("svg", str(data[kind]).encode()))
        elif kind == "image/png":
            found.append(("png", base64.b64decode(data[kind])))
    return found


def figure(cell: Cell) -> tuple[str, bytes]:
    """The one image of a figure cell as (suffix, content).

    Raises
    ------
    UserError
        If the cell shows no image or several.
    """
    found = figures(cell)
    if len(found) != 1:
        raise UserError(f"{cell.place}: shows {len(found)} outputs of kind image, not one.")
    return found[0]


def table(cell: Cell) -> str:
    """The one Markdown table of a table cell.

    Raises
    ------
    UserError
        If the cell shows no Markdown or several.
    """
    shown = [output.get("data", {}) for output in cell.outputs]
    found = [str(data["text/markdown"]) for data in shown if "text/markdown" in data]
    if len(found) != 1:
        raise UserError(f"{cell.place}: shows {len(found)} outputs of kind Markdown table, not one.")
    return found[0].strip("\n")
