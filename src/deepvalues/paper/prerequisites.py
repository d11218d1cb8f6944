"""What a notebook rests on and makes: as its header declares, as its imports lead on, and as make is told.

The header, the YAML in the first cell, is the one place that names files::

    reads: [data/models.yml, data/responses/svo/*.jsonl]
    makes: [data/results/svo/*, figures/svo_*]

Patterns are those of the shell, from the project's folder; ``reads`` covers what lies below ``data/`` and the
sentences. ``makes`` has one folder of ``data/results`` as a whole, that of the notebook's numbers, and names
what else it makes. `deepvalues.paper.execute` holds a run to both.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown
from deepvalues.paper.cells import notebook_header, read_cells

_RESULTS = "data/results/"


class Declared(NamedTuple):
    """What a notebook's header declares: patterns of the files that it reads and that it makes."""

    reads: tuple[str, ...]
    makes: tuple[str, ...]

    @property
    def results(self) -> str | None:
        """The folder in ``data/results`` in which the notebook lists what it hands on."""
        folders = (each.removeprefix(_RESULTS) for each in self.makes if each.startswith(_RESULTS))
        return next((each.removesuffix("/*") for each in folders if each.endswith("/*")), None)


def declared(source: Path) -> Declared:
    """Read what a notebook declares; nothing, if its header has no such lines.

    Raises
    ------
    UserError
        If one of the lines is no list of patterns.
    """
    header = notebook_header(source)
    lists = [header.get(name) or [] for name in Declared._fields]
    for name, patterns in zip(Declared._fields, lists, strict=True):
        if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
            raise UserError(f"{shown(source)}: `{name}` in the first cell must be a list of files")
    return Declared(*map(tuple, lists))


def undeclared(paths: Collection[str], patterns: Collection[str]) -> list[str]:
    """The paths that no pattern stands for, as make and the shell read patterns."""
    return [path for path in paths if not any(PurePosixPath(path).match(each) for each in patterns)]


def package_files(root: Path, source: Path) -> set[str]:
    """The files of the package that the imports of a notebook or module lead to, relative to ``root``.

    Imports inside functions count. Those by a name that is computed are not seen, save one: the catalogue
    finds each study by its folder, so that whatever imports the catalogue rests on all studies.
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
    """The names that a code imports when it runs; what only a type checker reads does not count."""
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
    """The files that run when a name of the package is imported: its module and the packages above."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1) if parts[0] == "deepvalues" else ():
        module = folder.joinpath(*parts[:count])
        yield from (file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file())


def stamp(root: Path, name: str) -> Path:
    """The file that says that a notebook ran here: its results, being in git, may have any date."""
    return root / "build" / name


def write_rule(root: Path, source: Path, reads: Collection[str], files: Collection[str]) -> None:
    """Tell make in ``build/NAME.d`` what a notebook that has just run rests on, and stamp it.

    Parameters
    ----------
    root
        The project's folder.
    source
        The notebook.
    reads
        Patterns of the files that the notebook reads, so that a new one counts as well.
    files
        The files that it read and made, relative to ``root``: one that is changed or deleted by hand is read
        or made again.
    """
    target = stamp(root, source.stem)
    known = " \\\n ".join(sorted({*files, *package_files(root, source)}))
    # Logs tell when a record was written, which no result depends on.
    new = f"$(filter-out %.log.jsonl,$(wildcard {' '.join(reads)}))"
    target.parent.mkdir(exist_ok=True)
    # The second rule, which has no recipe, makes a file that is gone count as changed.
    rule = f"build/{source.stem}: {known} \\\n {new}\n\n{known}:\n"
    target.with_suffix(".d").write_text(rule, encoding="utf-8")
    target.touch()
