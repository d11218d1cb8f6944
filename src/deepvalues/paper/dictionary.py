"""The data dictionary: the meaning of every file and column below ``data/``, checked against the files.

Meanings are declared once, in ``data/dictionary.yml``. Types and allowed values come from the pandera
contract of a file or item set, if there is one, else from the file. A file or column without a description is
an error.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pandera.pandas as pa

from deepvalues.core.errors import UserError
from deepvalues.core.files import read_json, read_yaml
from deepvalues.paper.notebooks import declared, undeclared
from deepvalues.paper.sentences import Sentences
from deepvalues.paper.tables import DECLARED, Registry, registry, unknown

README = "README.md"
CROISSANT = "croissant.json"

#: Files below data/ that are not in git; mirrors .gitignore.
_NOT_IN_GIT = (
    "derived/*",
    "downloads/*",
    "responses/*/agent-*.log.jsonl",
    "responses/*/learner-*.log.jsonl",
    "responses/*/head-*.log.jsonl",
    "responses/*.lock",
    "responses/*.tmp",
    "*.ipynb_checkpoints/*",
)
_TYPES = {"integer": "integer", "floating": "number", "boolean": "boolean"}
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "text", type(None): "null so far"}
_NULL = _JSON_TYPES[type(None)]
_PUBLISHED = re.compile(r"^\| `(\S+\.csv)` \| (.+?) \| (.+?) \|$", re.MULTILINE)


class Column(NamedTuple):
    """A column of a table or field of a line: name, type, unit, meaning, and allowed values."""

    name: str
    kind: str
    unit: str
    meaning: str
    allowed: str = ""


class File(NamedTuple):
    """A file below ``data/``: relative path, pattern and title of its family, contents, and who writes it."""

    path: str
    pattern: str
    title: str
    what: str
    by: str
    columns: tuple[Column, ...]


class Items(NamedTuple):
    """The items of studies that share their columns; not in git, but the records refer to them."""

    studies: tuple[str, ...]
    columns: tuple[Column, ...]


class Dictionary(NamedTuple):
    """All files, and the items of all studies."""

    files: tuple[File, ...]
    items: tuple[Items, ...]


def files_in_git(data: Path) -> list[str]:
    """Sorted paths, relative to ``data/``, of all files that are or should be in git."""
    found = (file.relative_to(data).as_posix() for file in data.rglob("*") if file.is_file())
    kept = {path for path in found if not any(fnmatch(path, pattern) for pattern in _NOT_IN_GIT)}
    # Include the files that this module writes, so that the first and second run agree.
    return sorted(kept | {README, CROISSANT})


def describe(data: Path) -> Dictionary:
    """Describe every file and the items of every study.

    Parameters
    ----------
    data
        The folder ``data`` of a project.

    Raises
    ------
    UserError
        If files or columns lack a description; the message lists them all and says what to add where.
    """
    known = registry(data)
    problems: list[str] = []
    files = _families([_file(data, path, known, problems) for path in files_in_git(data)])
    items = tuple(_items(known, problems))
    _stop_if(problems, data)
    return Dictionary(files, items)


def columns_of_items(data: Path) -> dict[str, tuple[Column, ...]]:
    """The columns of each study's items with their meanings, by the study's name.

    Parameters
    ----------
    data
        The folder ``data`` of a project.

    Raises
    ------
    UserError
        If a column lacks a description.
    """
    problems: list[str] = []
    found = list(_items(registry(data), problems))
    _stop_if(problems, data)
    return {study: items.columns for items in found for study in items.studies}


def _stop_if(problems: Sequence[str], data: Path) -> None:
    if problems:
        shown = "\n  ".join(problems)
        raise UserError(
            f"The data dictionary is not complete; add to {data / DECLARED}:\n  {shown}\n"
            "A column is described under its file's `columns`, or for all files under `columns`, "
            'as "unit; meaning".'
        )


def _file(data: Path, path: str, known: Registry, problems: list[str]) -> File:
    found = known.entry(path)
    if found is None:
        problems.append(f"{path}: a file without a description; under `files`, with `what` and `by`")
        return File(path, path, path, "", "", ())
    pattern, entry = found
    what = entry.get("what") or _published(data, path)
    if not what:
        problems.append(f"{path}: no `what`, nor a row in published/README.md")
    kinds = {} if "names" in entry or path in (README, CROISSANT) else _kinds(data / path, entry)
    columns = _columns(path, kinds, entry.get("columns", {}), known, problems)
    if absent := unknown(entry.get("table", ()), kinds):
        problems.append(f"{path}: table: not in the file, and without a head: {', '.join(absent)}")
    by = entry.get("by") or " and ".join(_makers(data, path))
    if not by:
        problems.append(f"{path}: no `by`, nor a notebook that declares that it makes the file")
    # The path itself, or for a family of files, such as the records, their common pattern.
    title = path if path.startswith(("published/", "results/")) else entry.get("shown", pattern)
    return File(path, pattern, title, what, by, columns)


def _makers(data: Path, path: str) -> list[str]:
    """The notebooks that declare to make a file, as "notebook N"."""
    sources = sorted((data.parent / "notebooks").glob("*.ipynb"))
    makes = {f"notebook {int(source.stem[:2])}": _makes(source) for source in sources}
    return [name for name, patterns in makes.items() if not undeclared([f"data/{path}"], patterns)]


@cache
def _makes(source: Path) -> tuple[str, ...]:
    return declared(source).makes


def _families(files: Sequence[File]) -> tuple[File, ...]:
    """The files with column types merged over each family, as a field may be null in all files but one."""
    kinds: dict[tuple[str, str], str] = {}
    for file in files:
        for column in file.columns:
            which = file.title, column.name
            kinds[which] = _merged(kinds.get(which, _NULL), column.kind)
    return tuple(
        file._replace(columns=tuple(c._replace(kind=kinds[file.title, c.name]) for c in file.columns))
        for file in files
    )


def _merged(first: str, second: str) -> str:
    """The union of two types; null adds nothing."""
    if second in (_NULL, first):
        return first
    if first == _NULL:
        return second
    kinds = {*first.split(" or "), *second.split(" or ")}
    return " or ".join(sorted(kinds - {"integer"} if "number" in kinds else kinds))


def _columns(
    place: str,
    kinds: Mapping[str, tuple[str, str]],
    own: Mapping[str, str],
    known: Registry,
    problems: list[str],
) -> tuple[Column, ...]:
    columns = []
    for name, (kind, allowed) in kinds.items():
        found = known.column(name, own)
        if found is None:
            problems.append(f"{place}: column {name}: no description")
        else:
            columns.append(Column(name, kind, found.unit, found.meaning, allowed))
    stale = sorted(set(own) - set(kinds) - {"*"})
    # The entry of a pattern may describe columns that only some of its files have.
    if stale and place in known.files:
        problems.append(
            f"{place}: describes {', '.join(stale)}, which the file does not have; remove the description"
        )
    return tuple(columns)


def _published(data: Path, path: str) -> str:
    """The description of a published table in ``published/README.md``."""
    folder, _, name = path.rpartition("/")
    readme = data / "published" / "README.md"
    if folder != "published" or not readme.is_file():
        return ""
    return next((what for file, what, _ in _PUBLISHED.findall(readme.read_text("utf-8")) if file == name), "")


def _kinds(file: Path, entry: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Column names with type and allowed values, from the contract or else from the file."""
    if "contract" in entry:
        schema = _contract(entry["contract"])
        try:
            schema.validate(_read_csv(file))
        except pa.errors.SchemaError as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"{file} does not meet {entry['contract']}: {reason}") from None
        return _of_contract(schema)
    if file.suffix == ".csv":
        frame = _read_csv(file)
        return {str(name): (_csv_type(frame[name]), "") for name in frame}
    if file.suffix == ".jsonl":
        return _of_lines(file)
    if file.suffix in (".yml", ".json"):
        content = read_yaml(file) if file.suffix == ".yml" else read_json(file, "restore it from git")
        fields = content if isinstance(content, dict) else {}
        return {str(name): (_JSON_TYPES.get(type(value), "structure"), "") for name, value in fields.items()}
    return {}


def _read_csv(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, keep_default_na=False, na_values=[""])


def _csv_type(column: pd.Series[Any]) -> str:
    # Inferred from the cells: booleans with empty cells have dtype object, which would look like text.
    return _TYPES.get(pd.api.types.infer_dtype(column, skipna=True), "text")


def _of_lines(file: Path) -> dict[str, tuple[str, str]]:
    """The fields of all lines, in order of appearance, with their merged types."""
    kinds: dict[str, str] = {}
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            for name, value in json.loads(line).items():
                kind = _JSON_TYPES.get(type(value), "structure")
                kinds[name] = _merged(kinds.get(name, _NULL), kind)
    return {name: (kind, "") for name, kind in kinds.items()}


def _contract(name: str) -> pa.DataFrameSchema:
    module, _, attribute = name.partition(":")
    try:
        schema = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        raise UserError(f"{DECLARED}: there is no contract {name}.") from None
    if not isinstance(schema, pa.DataFrameSchema):
        raise UserError(f"{DECLARED}: {name} is not a pandera contract.")
    return schema


def _of_contract(schema: pa.DataFrameSchema) -> dict[str, tuple[str, str]]:
    found = {}
    for name, column in schema.columns.items():
        kind = str(column.dtype)
        kinds = {"int": "integer", "float": "number", "bool": "boolean"}
        shown = next((ours for theirs, ours in kinds.items() if kind.startswith(theirs)), "text")
        rules = [text for check in column.checks if (text := _rule(check))]
        found[str(name)] = (shown, "; ".join([*rules, *(["unique"] if column.unique else [])]))
    return found


def _rule(check: pa.Check) -> str:
    """The values that a contract's check allows, as text; empty for other kinds of check."""
    limits = check.statistics or {}
    forms = {
        "isin": lambda: "one of " + ", ".join(str(value) or '""' for value in limits["allowed_values"]),
        "in_range": lambda: f"{limits['min_value']} to {limits['max_value']}",
        "greater_than_or_equal_to": lambda: f"{limits['min_value']} or more",
        "equal_to": lambda: f"always {limits['value']}",
        "str_matches": lambda: f"matches {limits['pattern']}",
        "str_length": lambda: _length(limits.get("min_value"), limits.get("max_value")),
    }
    return forms[check.name]() if check.name in forms else ""


def _length(least: int | None, most: int | None) -> str:
    if least == most:
        return f"{least} characters"
    return f"{least or 0} or more characters" if most is None else f"{least or 0} to {most} characters"


def _items(known: Registry, problems: list[str]) -> Iterator[Items]:
    """The items of all studies; studies whose columns have the same meanings share an entry."""
    from deepvalues.ask import catalogue

    found: dict[tuple[Column, ...], list[str]] = {}
    for name, study in catalogue.studies().items():
        # Meanings of the study itself override those of its base study (dvb for dvb-cot).
        own = {**known.items.get(name.split("-", maxsplit=1)[0], {}), **known.items.get(name, {})}
        columns = _columns(f"items of {name}", _of_contract(study.contract), own, known, problems)
        found.setdefault(columns, []).append(name)
    for columns, names in found.items():
        yield Items(tuple(names), columns)


def readme(dictionary: Dictionary) -> str:
    """The dictionary as Markdown: a table of files, then a table of columns for each file."""
    entries: dict[str, list[File]] = {}
    for file in dictionary.files:
        entries.setdefault(file.title, []).append(file)
    families = [
        (title, files[0], list({column.name: column for file in files for column in file.columns}.values()))
        for title, files in entries.items()
    ]
    facts = {"families": families, "items": dictionary.items}
    return Sentences("dictionary", Path(__file__).parent).whole(facts).rstrip("\n") + "\n"
