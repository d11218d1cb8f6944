"""Pass numbers from a notebook to the article: ``numbers.json`` → ``_variables.yml``.

A notebook writes its numbers as a nested mapping with leaves from `number`, `text` or `claim`:
``{"dvb": {"pooled": {"dvgr": {"value": 0.3024, "text": ".302"}}}}``. The article inserts the text with
``{{< var dvb.pooled.dvgr >}}``; the value is for programs and tests.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from operator import eq
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypedDict

import numpy as np
import yaml

from deepvalues.core.errors import UserError
from deepvalues.core.files import read_json, write_text, yaml_fault
from deepvalues.core.number_format import settled
from deepvalues.core.paths import shown

HEADER = (
    "# Generated from data/results/*/numbers.json by `make paper`; do not edit.\n"
    "# Every value is a text, so that .302 does not become 0.302.\n"
)

_REMEDY = "the notebook of that study writes it: deepvalues notebook NAME"
_KEY = re.compile(r"[A-Za-z_]\w*\Z")


class Leaf(TypedDict):
    """One number, text or claim: its value for programs and its text for readers."""

    value: float | int | bool | str | None
    text: str


def number(value: float, text: str, digits: int = 6) -> Leaf:
    """A leaf for a number; the value is rounded to significant digits, to be the same on every machine."""
    if isinstance(value, (int, np.integer)):
        return {"value": int(value), "text": text}
    return {"value": float(f"{settled(value):.{digits}g}") if math.isfinite(value) else None, "text": text}


def text(value: str) -> Leaf:
    """A leaf for a word or phrase that the results decide."""
    return {"value": value, "text": value}


def claim(holds: bool) -> Leaf:
    """A leaf for a statement in the article: whether the results support it."""
    return {"value": bool(holds), "text": "true" if holds else "false"}


def texts(node: Mapping[str, Any]) -> Any:
    """A tree of numbers for templates: texts as attributes by key, and for each claim whether it holds.

    ``n.pooled.dvgr`` is a text such as ".302", and ``n.claims.below_chance`` is true or false.
    """
    if set(node) == {"value", "text"}:
        return node["value"] if isinstance(node["value"], bool) else node["text"]
    return SimpleNamespace(**{name: texts(inner) for name, inner in node.items()})


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two trees of numbers; a leaf of ``other`` overrides one of ``one``."""
    both = {**one, **other}
    for name in one.keys() & other.keys():
        if set(other[name]) != {"value", "text"}:
            both[name] = merged(one[name], other[name])
    return both


def write_numbers(numbers: Mapping[str, Any], target: Path) -> None:
    """Write a notebook's numbers as sorted JSON, reproducibly."""
    dict(leaves(numbers, (), shown(target)))
    content = json.dumps(numbers, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(target, content + "\n")


def write_variables(numbers_files: Sequence[Path], target: Path) -> None:
    """Merge all ``numbers.json`` into the variables file that the article reads.

    Raises
    ------
    UserError
        If a file is missing or malformed, or two files set the same variable; lists all such faults.
    """
    merged: dict[tuple[str, ...], str] = {}
    origin: dict[tuple[str, ...], Path] = {}
    for file in sorted(numbers_files):
        for path, leaf in leaves(read_json(file, _REMEDY), (), shown(file)):
            # Either the paths are equal, or one leads through the other's leaf.
            clash = next((old for old in merged if all(map(eq, old, path))), None)
            if clash is not None:
                raise UserError(
                    f"{shown(file)}: {'.'.join(path)} collides with {'.'.join(clash)} of "
                    f"{shown(origin[clash])}; rename one of them in its notebook."
                )
            merged[path], origin[path] = leaf["text"], file
    content = HEADER + "\n".join(_yaml_lines(merged)) + "\n"
    write_text(target, content, keep_time=True)


def read_variables(file: Path) -> dict[str, str]:
    """The texts in the variables file by dotted name; empty if the file does not exist."""
    if not file.is_file():
        return {}
    try:
        return dict(_flat(yaml.safe_load(file.read_text(encoding="utf-8")) or {}, ""))
    except yaml.YAMLError as error:
        reason = yaml_fault(error)
        raise UserError(f"{shown(file)}: not YAML: {reason}; `deepvalues variables` rewrites it") from None


def _flat(variables: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in variables.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", str(value)


def leaves(node: Any, path: tuple[str, ...], file: str) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """Yield path and leaf for each leaf of a tree in ``file``; every path begins with ``path``.

    Raises
    ------
    UserError
        If a node is neither leaf nor mapping, a leaf lacks a text, or a key is not an identifier.
    """
    if not isinstance(node, Mapping):
        raise UserError(
            f"{file}: {'.'.join(path) or 'the whole'} is {node!r}; "
            'expected a mapping, or a leaf such as {"value": 0.3024, "text": ".302"}.'
        )
    if set(node) == {"value", "text"}:
        if not isinstance(node["text"], str) or not node["text"].strip() or not path:
            raise UserError(f"{file}: {'.'.join(path)} has no text.")
        yield path, Leaf(value=node["value"], text=node["text"])
        return
    for name, inner in node.items():
        if not _KEY.match(name):
            raise UserError(
                f"{file}: the key {name!r} of {'.'.join(path) or 'the whole'} must be letters, digits "
                "and underscores and begin with a letter."
            )
        yield from leaves(inner, (*path, name), file)


def _yaml_lines(merged: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    """Sorted nested YAML with quoted values (every JSON string is a YAML string)."""
    above: tuple[str, ...] = ()
    for path in sorted(merged):
        for depth, name in enumerate(path[:-1]):
            if path[: depth + 1] != above[: depth + 1]:
                yield "  " * depth + f"{name}:"
        yield "  " * (len(path) - 1) + f"{path[-1]}: {json.dumps(merged[path], ensure_ascii=False)}"
        above = path[:-1]
