"""The data dictionary: what every file and column below ``data/`` means, checked against the files.

Meanings are declared once, in ``data/dictionary.yml``. Types and allowed values come from the pandera
contracts where a file or an item set has one, else from the file. A file or a column that nobody
described is an error.
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

#: What lies below data/ and is not in git, as .gitignore has it.
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
    """A column of a table, or a field of a line: name, type, unit, meaning, and what a contract allows."""

    name: str
    kind: str
    unit: str
    meaning: str
    allowed: str = ""


class File(NamedTuple):
    """A file below ``data/``: path from there, pattern and title of its family, what it holds, by whom."""

    path: str
    pattern: str
    title: str
    what: str
    by: str
    columns: tuple[Column, ...]


class Items(NamedTuple):
    """The items of studies that share their columns: not in git, but records name them."""

    studies: tuple[str, ...]
    columns: tuple[Column, ...]


class Dictionary(NamedTuple):
    """Every file and the items of every study."""

    files: tuple[File, ...]
    items: tuple[Items, ...]


def files_in_git(data: Path) -> list[str]:
    """Paths from ``data/`` of every file that is in git or would be, sorted."""
    found = (file.relative_to(data).as_posix() for file in data.rglob("*") if file.is_file())
    kept = {path for path in found if not any(fnmatch(path, pattern) for pattern in _NOT_IN_GIT)}
    # What this module writes counts as there, so that a first run and a second one agree.
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
        If files or columns are not described; the message lists them all and says what to add where.
    """
    said = registry(data)
    problems: list[str] = []
    files = _families([_file(data, path, said, problems) for path in files_in_git(data)])
    items = tuple(_items(said, problems))
    _stop_if(problems, data)
    return Dictionary(files, items)


def columns_of_items(data: Path) -> dict[str, tuple[Column, ...]]:
    """What the columns of each study's items mean, by the study's name.

    Parameters
    ----------
    data
        The folder ``data`` of a project.

    Raises
    ------
    UserError
        If a column is not described.
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


def _file(data: Path, path: str, said: Registry, problems: list[str]) -> File:
    found = said.entry(path)
    if found is None:
        problems.append(f"{path}: a file without a description; under `files`, with `what` and `by`")
        return File(path, path, path, "", "", ())
    pattern, entry = found
    what = entry.get("what") or _published(data, path)
    if not what:
        problems.append(f"{path}: no `what`, nor a row in published/README.md")
    kinds = {} if "names" in entry or path in (README, CROISSANT) else _kinds(data / path, entry)
    columns = _columns(path, kinds, entry.get("columns", {}), said, problems)
    if absent := unknown(entry.get("table", ()), kinds):
        problems.append(f"{path}: table: not in the file, and without a head: {', '.join(absent)}")
    by = entry.get("by") or " and ".join(_makers(data, path))
    if not by:
        problems.append(f"{path}: no `by`, nor a notebook that declares that it makes the file")
    # Its path; for a file of a family, such as the records, how the paths of the family look.
    title = path if path.startswith(("published/", "results/")) else entry.get("shown", pattern)
    return File(path, pattern, title, what, by, columns)


def _makers(data: Path, path: str) -> list[str]:
    """The notebooks that declare that they make a file, by the numbers in their names."""
    sources = sorted((data.parent / "notebooks").glob("*.ipynb"))
    makes = {f"notebook {int(source.stem[:2])}": _makes(source) for source in sources}
    return [name for name, patterns in makes.items() if not undeclared([f"data/{path}"], patterns)]


@cache
def _makes(source: Path) -> tuple[str, ...]:
    return declared(source).makes


def _families(files: Sequence[File]) -> tuple[File, ...]:
    """Files with the types of their family: a field may be null in every file but one."""
    kinds: dict[tuple[str, str], str] = {}
    for file in files:
        for column in file.columns:
            place = file.title, column.name
            kinds[place] = _merged(kinds.get(place, _NULL), column.kind)
    return tuple(
        file._replace(columns=tuple(c._replace(kind=kinds[file.title, c.name]) for c in file.columns))
        for file in files
    )


def _merged(first: str, second: str) -> str:
    """The type of what is of one type here and of another there; null gives way."""
    if second in (_NULL, first):
        return first
    if first == _NULL:
        return second
    kinds = {*first.split(" or "), *second.split(" or ")}
    # Every integer is a number.
    return " or ".join(sorted(kinds - {"integer"} if "number" in kinds else kinds))


def _columns(
    place: str,
    kinds: Mapping[str, tuple[str, str]],
    own: Mapping[str, str],
    said: Registry,
    problems: list[str],
) -> tuple[Column, ...]:
    columns = []
    for name, (kind, allowed) in kinds.items():
        found = said.said(name, own)
        if found is None:
            problems.append(f"{place}: column {name}: no description")
        else:
            columns.append(Column(name, kind, found.unit, found.meaning, allowed))
    stale = sorted(set(own) - set(kinds) - {"*"})
    # A pattern may describe more than each of its files has.
    if stale and place in said.files:
        problems.append(f"{place}: describes {', '.join(stale)}, which the file does not have; take out")
    return tuple(columns)


def _published(data: Path, path: str) -> str:
    """What ``published/README.md`` says of one of its tables."""
    folder, _, name = path.rpartition("/")
    readme = data / "published" / "README.md"
    if folder != "published" or not readme.is_file():
        return ""
    return next((what for file, what, _ in _PUBLISHED.findall(readme.read_text("utf-8")) if file == name), "")


def _kinds(file: Path, entry: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Column name to type and allowed values, from the contract or else from the file itself."""
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
    # Of the cells: yes and no with empty ones are read as objects, which would pass for text.
    return _TYPES.get(pd.api.types.infer_dtype(column, skipna=True), "text")


def _of_lines(file: Path) -> dict[str, tuple[str, str]]:
    """Fields of all lines, in order of appearance, with their types over all lines."""
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
        raise UserError(f"{DECLARED}: {name} is no pandera contract.")
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
    """What a check of a contract allows, in words; nothing for one that has no words."""
    said = check.statistics or {}
    forms = {
        "isin": lambda: "one of " + ", ".join(str(value) or '""' for value in said["allowed_values"]),
        "in_range": lambda: f"{said['min_value']} to {said['max_value']}",
        "greater_than_or_equal_to": lambda: f"{said['min_value']} or more",
        "equal_to": lambda: f"always {said['value']}",
        "str_matches": lambda: f"matches {said['pattern']}",
        "str_length": lambda: _length(said.get("min_value"), said.get("max_value")),
    }
    return forms[check.name]() if check.name in forms else ""


def _length(least: int | None, most: int | None) -> str:
    if least == most:
        return f"{least} characters"
    return f"{least or 0} or more characters" if most is None else f"{least or 0} to {most} characters"


def _items(said: Registry, problems: list[str]) -> Iterator[Items]:
    """The items by contract; studies whose columns mean the same share an entry."""
    from deepvalues.ask import catalogue

    found: dict[tuple[Column, ...], list[str]] = {}
    for name, study in catalogue.studies().items():
        # Its own meanings, over those of the study whose name begins its name (dvb for dvb-cot).
        own = {**said.items.get(name.split("-", maxsplit=1)[0], {}), **said.items.get(name, {})}
        columns = _columns(f"items of {name}", _of_contract(study.contract), own, said, problems)
        found.setdefault(columns, []).append(name)
    for columns, names in found.items():
        yield Items(tuple(names), columns)


def readme(dictionary: Dictionary) -> str:
    """The dictionary as Markdown: a table of files, then a table of columns for each that has any."""
    entries: dict[str, list[File]] = {}
    for file in dictionary.files:
        entries.setdefault(file.title, []).append(file)
    families = [
        (title, files[0], list({column.name: column for file in files for column in file.columns}.values()))
        for title, files in entries.items()
    ]
    facts = {"families": families, "items": dictionary.items}
    return Sentences("dictionary", Path(__file__).parent).whole(facts).rstrip("\n") + "\n"
