"""Read notebooks: their labelled cells, their inputs and outputs, and the dependency rules for make.

The header, the YAML in the first cell, is the only place that names files::

    reads: [data/models.yml, data/responses/svo/*.jsonl]
    makes: [data/results/svo/*, figures/svo_*]

Both are shell patterns relative to the project's folder. ``reads`` covers files below ``data/`` and the
sentences. ``makes`` lists one folder of ``data/results``, that of the notebook's numbers, and any other
files. `deepvalues.paper.execute` checks a run against both.
"""

from __future__ import annotations

import ast
import base64
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import nbformat
import yaml

from deepvalues.core.errors import UserError
from deepvalues.core.files import yaml_fault
from deepvalues.core.paths import shown

Output = TypeVar("Output")


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
        """The caption of the figure or table, as one line."""
        option = "tbl-cap" if self.label.startswith("tbl-") else "fig-cap"
        return " ".join(str(self.options.get(option) or "").split())

    @property
    def alternative(self) -> str:
        """The alternative text of the figure, as one line."""
        return " ".join(str(self.options.get("fig-alt") or "").split())

    @property
    def anchor(self) -> str:
        """The cell's id on its notebook's page."""
        # Quarto uses the label itself as the id of a table's cell; links must work in both renderings.
        if self.label.startswith("tbl-"):
            return self.label
        return f"cell-{self.label or format(self.position, '02d')}"

    @property
    def place(self) -> str:
        """The cell's name in messages."""
        label = f" ({self.label})" if self.label else ""
        return f"{shown(self.notebook)}: cell {self.position}{label}"


def read_notebook(file: Path) -> Any:
    """Read a notebook in version 4 of the format.

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
    """The parameters of an executed notebook: its defaults, overridden by those injected."""
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
            except ValueError:  # computed from others: keep the source
                yield statement.targets[0].id, ast.unparse(statement.value)


def split_options(source: str, place: str) -> tuple[dict[str, Any], str]:
    """Split a code cell into its ``#|`` options and its code."""
    lines = source.split("\n")
    count = next((i for i, line in enumerate(lines) if not line.startswith("#|")), len(lines))
    text = "\n".join(line[2:].removeprefix(" ") for line in lines[:count])
    try:
        options = yaml.load(text, Loader=yaml.CSafeLoader) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{place}: the #| lines are not YAML: {yaml_fault(error)}") from error
    if not isinstance(options, dict):
        raise UserError(f"{place}: the #| lines must read `#| option: value`.")
    return options, "\n".join(lines[count:]).strip("\n")


def labelled_cells(file: Path) -> dict[str, Cell]:
    """The labelled cells of a notebook, by label."""
    found: dict[str, Cell] = {}
    for cell in read_cells(file):
        if cell.label and cell.label in found:
            raise UserError(f"{cell.place}: the label is also on cell {found[cell.label].position}.")
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
        header = yaml.load(match[1], Loader=yaml.CSafeLoader) if match else None
    except yaml.YAMLError as error:
        raise UserError(f"{shown(file)}: cell 1: not YAML: {yaml_fault(error)}") from None
    return header if isinstance(header, dict) else {}


def figures(cell: Cell) -> list[tuple[str, bytes]]:
    """The images in a cell's outputs as (suffix, content); SVG is preferred to PNG."""
    found = []
    for data in (output.get("data", {}) for output in cell.outputs):
        if "image/svg+xml" in data:
            found.append(("svg", str(data["image/svg+xml"]).encode()))
        elif "image/png" in data:
            found.append(("png", base64.b64decode(data["image/png"])))
    return found


def figure(cell: Cell) -> tuple[str, bytes]:
    """The one image of a figure cell as (suffix, content).

    Raises
    ------
    UserError
        If the cell shows no image or several.
    """
    return _only(cell, figures(cell), "image")


def table(cell: Cell) -> str:
    """The one Markdown table of a table cell.

    Raises
    ------
    UserError
        If the cell shows no Markdown or several.
    """
    shown = [output.get("data", {}) for output in cell.outputs]
    found = [str(data["text/markdown"]) for data in shown if "text/markdown" in data]
    return _only(cell, found, "Markdown table").strip("\n")


def _only(cell: Cell, found: Sequence[Output], kind: str) -> Output:
    if len(found) != 1:
        raise UserError(f"{cell.place}: shows {len(found)} outputs of kind {kind}, not one.")
    return found[0]


# ---- inputs and outputs of a notebook, as declared in its header and as found from its imports ----

_RESULTS = "data/results/"


class Declared(NamedTuple):
    """The patterns in a notebook's header for the files that it reads and makes."""

    reads: tuple[str, ...]
    makes: tuple[str, ...]

    @property
    def results(self) -> str | None:
        """The folder in ``data/results`` where the notebook writes its numbers; None if it declares none."""
        folders = (each.removeprefix(_RESULTS) for each in self.makes if each.startswith(_RESULTS))
        return next((each.removesuffix("/*") for each in folders if each.endswith("/*")), None)


def declared(source: Path) -> Declared:
    """Read the declarations of a notebook; empty if its header has none.

    Raises
    ------
    UserError
        If a declaration is not a list of patterns.
    """
    header = notebook_header(source)
    lists = [header.get(name) or [] for name in Declared._fields]
    for name, patterns in zip(Declared._fields, lists, strict=True):
        if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
            raise UserError(f"{shown(source)}: `{name}` in the first cell must be a list of files")
    return Declared(*map(tuple, lists))


def undeclared(paths: Collection[str], patterns: Collection[str]) -> list[str]:
    """The paths that match no pattern, with the matching rules of make and the shell."""
    return [path for path in paths if not any(PurePosixPath(path).match(each) for each in patterns)]


def package_files(root: Path, source: Path) -> set[str]:
    """The package files that a notebook or module imports, directly or indirectly, relative to ``root``.

    Imports inside functions count; imports by a computed name are not seen, with one exception: the catalogue
    finds each study by its folder, so whatever imports the catalogue depends on all studies.
    """
    package = root / "src" / "deepvalues"
    catalogue, studies = package / "ask" / "catalogue.py", set(package.glob("studies/*/study.py"))
    if source.suffix == ".ipynb":
        codes = [cell.source for cell in read_cells(source) if cell.kind == "code"]
    else:
        codes = [source.read_text(encoding="utf-8")]
    found: set[Path] = set()
    while codes:
        new = {file for code in codes for name in _imported(code) for file in _files(root / "src", name)}
        if catalogue in new:
            new |= studies
        codes = [file.read_text(encoding="utf-8") for file in new - found]
        found |= new
    return {file.relative_to(root).as_posix() for file in found}


def _imported(code: str) -> Iterator[str]:
    """The names that code imports at run time, without the imports for type checkers."""
    nodes = list(ast.walk(ast.parse(code)))
    unread = {
        inner
        for node in nodes
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in node.body
    }
    for node in nodes:
        if node in unread:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(folder: Path, name: str) -> Iterator[Path]:
    """The files executed when a name of the package is imported: its module and the parent packages."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1) if parts[0] == "deepvalues" else ():
        module = folder.joinpath(*parts[:count])
        yield from (file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file())


def stamp(root: Path, name: str) -> Path:
    """The file that marks that a notebook ran here; its results are in git and may have any date."""
    return root / "build" / name


def write_rule(root: Path, source: Path, reads: Collection[str], files: Collection[str]) -> None:
    """Write the dependencies of a notebook that has just run to ``build/NAME.d``, and its stamp.

    Parameters
    ----------
    root
        The project's folder.
    source
        The notebook.
    reads
        Patterns of the files that the notebook reads, so that new files count as well.
    files
        The files that it read and made, relative to ``root``: if one is changed or deleted, the notebook runs
        again.
    """
    target = stamp(root, source.stem)
    known = " \\\n ".join(sorted({*files, *package_files(root, source)}))
    # Logs only say when a record was written; no result depends on them.
    new = f"$(filter-out %.log.jsonl,$(wildcard {' '.join(reads)}))"
    target.parent.mkdir(exist_ok=True)
    # The second rule, without a recipe, makes a deleted file count as changed.
    rule = f"build/{source.stem}: {known} \\\n {new}\n\n{known}:\n"
    target.with_suffix(".d").write_text(rule, encoding="utf-8")
    target.touch()
