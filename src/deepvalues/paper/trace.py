"""Trace a number in the text back to the answers behind it.

The chain is: position in the article → variable → ``numbers.json`` → notebook cell → tables with the value →
records and items that the notebook read. `deepvalues trace` prints it; the pages show its first half for each
number (`deepvalues.paper.site.show_traces`).
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepvalues.core.errors import UserError
from deepvalues.core.files import read_json
from deepvalues.core.number_format import plural
from deepvalues.paper import manifest
from deepvalues.paper.article import read_article
from deepvalues.paper.notebooks import Cell
from deepvalues.paper.numbers import leaves

_CONTEXT = 45
#: Maximum number of code lines and of tables shown.
_LINES, _TABLES = 12, 5
#: Fewer digits would match in many tables by chance.
_LEAST_DIGITS = 3
_BANK = "data/stimuli/v"


class Number(NamedTuple):
    """A number, text or claim of the results: its value, and the notebook and cell that made it.

    ``cell`` is None if the results were not made in a notebook.
    """

    key: str
    value: float | int | bool | str | None
    text: str
    file: str
    notebook: str
    cell: Cell | None

    @property
    def shown(self) -> str:
        """One line about the number for readers of the page."""
        value = "" if isinstance(self.value, str) else f" = {self.value}"
        return f"{self.key}{value} · notebook {self.notebook}, {self.place}"

    @property
    def place(self) -> str:
        """The cell's position in the executed notebook, and its label."""
        if self.cell is None:
            return "cell unknown"
        return f"cell {self.cell.position}" + (f" ({self.cell.label})" if self.cell.label else "")


def numbers(root: Path) -> dict[str, Number]:
    """All numbers, texts and claims of the results, by key."""
    found = {}
    for step in manifest.steps(root):
        file = f"data/results/{step.results}/numbers.json"
        content = read_json(root / file, f"run: deepvalues notebook {step.notebook}")
        for path, leaf in leaves(content, (), file):
            key = ".".join(path)
            cell = manifest.cell_of(root, step.notebook, step.numbers.get(key))
            found[key] = Number(key, leaf["value"], leaf["text"], file, step.notebook, cell)
    return found


def trace(root: Path, key: str) -> list[str]:
    """The chain from a number to the answers, as lines of text.

    Parameters
    ----------
    root
        The project's folder.
    key
        A variable of the article, such as ``dvb.pooled.dvgr``; ``{{< var … >}}`` around it is ignored.

    Raises
    ------
    UserError
        If the key is unknown (names similar ones), or the results are incomplete.
    """
    key = re.sub(r"^\{\{<\s*var\s+|\s*>\}\}$", "", key.strip())
    found = numbers(root)
    if key not in found:
        raise UserError(_unknown(key, list(found)))
    number, content = found[key], manifest.read(root)
    entry = content["notebooks"].get(number.notebook)
    if entry is None:
        raise UserError(f"{manifest.MANIFEST}: lacks notebook {number.notebook}; run `make paper`")
    commit = "commit unknown: this is no git repository"
    if out := manifest.commit(root):
        commit = f"commit {out.id}{'' if out.clean else ' with changes'}"
    chain = {
        "in the text": _uses(root, key) or ["nowhere in paper/index.qmd"],
        "written": [f"{number.text}  (paper/_variables.yml)"],
        "value": [f"{json.dumps(number.value, ensure_ascii=False)}  ({number.file})"],
        "made by": [
            f"notebooks/{number.notebook}.ipynb, {number.place}; make build/{number.notebook}",
            *_code(number),
        ],
        "tables": _tables(root, content, number) or ["none holds the value or is made in this cell"],
        "parameters": [f"{name} = {value!r}" for name, value in entry["parameters"].items()],
        **_inputs(content, entry["inputs"]),
        "source": [
            _hashed("src/deepvalues", content["package"]["sha256"]),
            _hashed(manifest.LOCK, content["package"][manifest.LOCK]),
            commit,
        ],
    }
    width = max(map(len, chain))
    lines = [
        f"  {('' if place else step).ljust(width)}  {line}"
        for step, shown in chain.items()
        for place, line in enumerate(shown or ["none"])
    ]
    faults = manifest.faults(root)
    places = f"{len(faults)} {plural('place', len(faults))}"
    warning = f"  The manifest does not fit the files in {places}; `make check` names them."
    return [key, *lines, *([warning] if faults else [])]


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=5, cutoff=0.5)
    inside = [name for name in known if key in name][:5]
    listed = list(dict.fromkeys([*near, *inside]))
    hint = f"did you mean {', '.join(listed)}?" if listed else "the keys are in paper/_variables.yml."
    return f"no results have the key {key!r}; {hint}"


def _uses(root: Path, key: str) -> list[str]:
    """The places where the article uses a variable or claim: file, line and surrounding words."""
    article = read_article(root / "paper" / "index.qmd")
    lines = article.text.splitlines()
    found = sorted(set(article.contents.variables + article.contents.claims), key=lambda use: use.line)
    shown = []
    for line in (use.line for use in found if use.name == key):
        # Cut long lines to the words around the key.
        around = re.search(rf".{{0,{_CONTEXT}}}\b{re.escape(key)}\b.{{0,{_CONTEXT}}}", lines[line - 1])
        words = " ".join((around[0] if around else lines[line - 1]).split())
        shown.append(f"paper/index.qmd:{line}: … {words} …")
    return shown


def _code(number: Number) -> list[str]:
    """The code of the number's cell, cut to `_LINES` lines."""
    lines = number.cell.source.splitlines() if number.cell else []
    more = len(lines) - _LINES
    return lines if more <= 0 else [*lines[:_LINES], f"… {more} more lines"]


def _tables(root: Path, content: Mapping[str, Any], number: Number) -> list[str]:
    """Tables of the number's notebook that contain its value, with the position; nearest cells first.

    If there are none, the tables made in its own cell. Numbers and tables have the same digits, so the value
    is searched as text. Texts, whole numbers and values with few digits are not searched.
    """
    made: dict[int, list[str]] = {}
    for path, item in content["artefacts"].items():
        if path.endswith(".csv") and item["notebook"] == number.notebook and item["cell"]:
            made.setdefault(item["cell"]["position"], []).append(path)
    here = number.cell.position if number.cell else 0
    written = f"{number.value:.6g}" if isinstance(number.value, float) else ""
    near = sorted(made, key=lambda position: abs(position - here))
    places = [(path, _place(root / path, written)) for position in near for path in made[position]]
    holding = [(path, f", {place}") for path, place in places if place]
    found = holding or [(path, ", made in this cell") for path in made.get(here, [])]
    shown = [_hashed(path + place, content["artefacts"][path]["sha256"]) for path, place in found[:_TABLES]]
    more = len(found) - _TABLES
    return [*shown, f"… {more} more"] if more > 0 else shown


def _place(table: Path, written: str) -> str:
    """The line and column of a value in a table; empty if not found or too short to be distinctive."""
    if len(re.sub(r"e.*|\D", "", written).strip("0")) < _LEAST_DIGITS:
        return ""
    with table.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        for row in rows:
            for column, cell in row.items():
                if cell == written:
                    return f"line {rows.line_num}, {column}"
    return ""


def _inputs(content: Mapping[str, Any], paths: Sequence[str]) -> dict[str, list[str]]:
    """The notebook's inputs by kind; the small files of the bank are one line per folder."""
    records, items, others = [], [], []
    bank = Counter(str(Path(path).parent) for path in paths if path.startswith(_BANK))
    for path in paths:
        if path in content["records"]:
            records.append(_hashed(f"{path}  {content['records'][path]:,} answers", content["inputs"][path]))
        elif path in content["items"]:
            set_ = content["items"][path]
            items.append(_hashed(f"{path}  {set_['rows']:,} items", set_["sha256"]))
        elif not path.startswith(_BANK):
            others.append(_hashed(path, content["inputs"][path]))
    others += [f"{folder}/: {count} files" for folder, count in bank.items()]
    return {
        "records read in that notebook": records,
        "items read there": items,
        "other files read there": others,
    }


def _hashed(text: str, sha256: str) -> str:
    return f"{text}  sha256 {sha256[:16]}"
