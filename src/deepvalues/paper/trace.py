"""From a number in the text back to the answers that it rests on.

The way runs: place in the article → variable → ``numbers.json`` → cell of a notebook → the statements that
its value rests on and the tables kept of them → the records and items that the notebook read. `deepvalues
trace` prints it; the pages show its first half on each number.
"""

from __future__ import annotations

import ast
import difflib
import html
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepvalues.core.errors import UserError
from deepvalues.core.files import read_json
from deepvalues.paper import manifest
from deepvalues.paper.article import read_article
from deepvalues.paper.cells import Cell, read_cells
from deepvalues.paper.lineage import Lineage, lineage
from deepvalues.paper.site import anchors

_GIVES = ("number", "count", "share", "decimals", "interval", "text", "claim")
_CONTEXT = 45
_BANK = "data/stimuli/v"
#: A value longer than this is a phrase, which a page does not underline.
_SHORT = 24
_LINK_OR_NUMBER = re.compile(
    r"(?P<open><a\b[^>]*>)|(?P<close></a>)"
    r"|<span(?=[^>]*\bclass=\"number\")(?=[^>]*\bdata-key=\"(?P<key>[\w.]+)\")[^>]*>"
    r"(?P<text>(?:(?!</?span\b|</?a\b).)*)</span>",
    re.DOTALL,
)


class Number(NamedTuple):
    """A number, text or claim of the results: its value, and the notebook and cell that give it.

    ``cell`` is None where the results were not made in a notebook; ``giver`` is the function of the package
    that the cell called to give it, None where the cell's own code did.
    """

    key: str
    value: float | int | bool | str | None
    text: str
    file: str
    notebook: str
    cell: Cell | None
    giver: str | None

    @property
    def shown(self) -> str:
        """What a reader of the page is told of the number, in one line."""
        value = "" if isinstance(self.value, str) else f" = {self.value}"
        return f"{self.key}{value} · notebook {self.notebook}, {self.place}"

    @property
    def place(self) -> str:
        """How the cell is called: its place in the executed notebook, and its label."""
        if self.cell is None:
            return "cell unknown"
        return f"cell {self.cell.position}" + (f" ({self.cell.label})" if self.cell.label else "")


def numbers(root: Path) -> dict[str, Number]:
    """Everything that the results hand to the text, by key."""
    found = {}
    for study in manifest.studies(root):
        file = f"data/results/{study.name}/numbers.json"
        content = read_json(root / file, f"run: deepvalues notebook {study.notebook}")
        for key, leaf in _leaves(content, ()):
            cell = manifest.cell_of(root, study.notebook, study.numbers.get(key))
            giver = study.givers.get(key)
            found[key] = Number(key, leaf["value"], leaf["text"], file, study.notebook, cell, giver)
    return found


def _leaves(node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if set(node) == {"text", "value"}:
        yield ".".join(path), node
        return
    for name, inner in node.items():
        yield from _leaves(inner, (*path, name))


def trace(root: Path, key: str) -> list[str]:
    """The chain from a number to the answers, as lines to print.

    Parameters
    ----------
    root
        The project's folder.
    key
        A variable of the article, such as ``dvb.pooled.dvgr``; ``{{< var … >}}`` around it is ignored.

    Raises
    ------
    UserError
        If no results have the key (near ones are named), or the results are not complete.
    """
    key = re.sub(r"^\{\{<\s*var\s+|\s*>\}\}$", "", key.strip())
    found = numbers(root)
    if key not in found:
        raise UserError(_unknown(key, list(found)))
    number, content = found[key], manifest.read(root)
    entry = content["notebooks"].get(number.notebook)
    if entry is None:
        raise UserError(f"{manifest.MANIFEST}: lacks notebook {number.notebook}; run `make paper`")
    calls = list(_calls(number))
    found_by = _lineage(number, calls)
    chain = {
        "in the text": _uses(root, key) or ["nowhere in paper/index.qmd"],
        "written": [f"{number.text}  (paper/_variables.yml)"],
        "value": [f"{json.dumps(number.value, ensure_ascii=False)}  ({number.file})"],
        "made by": [
            f"notebooks/{number.notebook}.ipynb, {number.place}; {entry['rule']}",
            *_givers(number),
            *calls,
        ],
        "resting on": found_by.statements or ["nothing else in the notebook"],
        "parameters": [f"{name} = {value!r}" for name, value in entry["parameters"].items()],
        "tables": list(_tables(content, number.notebook, found_by.tables)) or ["none"],
        **_inputs(content, entry),
        "source": _source(root, content),
    }
    width = max(map(len, chain))
    lines = [key]
    for step, shown in chain.items():
        for place, line in enumerate(shown):
            lines.append(f"  {(step if place == 0 else '').ljust(width)}  {line}")
    faults = manifest.faults(root)
    return [
        *lines,
        *([f"  {len(faults)} entries of the manifest do not fit the files: make check"] if faults else []),
    ]


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=5, cutoff=0.5)
    inside = [name for name in known if key in name][:5]
    listed = list(dict.fromkeys([*near, *inside]))
    hint = f"did you mean {', '.join(listed)}?" if listed else "the keys are in paper/_variables.yml."
    return f"no results have the key {key!r}; {hint}"


def _uses(root: Path, key: str) -> list[str]:
    """Where the article uses a variable or makes a claim: file, line, and the words around."""
    article = read_article(root / "paper" / "index.qmd")
    lines = article.text.splitlines()
    found = sorted(set(article.contents.variables + article.contents.claims), key=lambda use: use.line)
    shown = []
    for line in (use.line for use in found if use.name == key):
        # A long line is cut to the words around the key.
        around = re.search(rf".{{0,{_CONTEXT}}}\b{re.escape(key)}\b.{{0,{_CONTEXT}}}", lines[line - 1])
        words = " ".join((around[0] if around else lines[line - 1]).split())
        shown.append(f"paper/index.qmd:{line}: … {words} …")
    return shown


def _givers(number: Number) -> Iterator[str]:
    """The function of the package that gave the number, and its file."""
    if number.giver:
        module, _, function = number.giver.rpartition(".")
        yield f"src/{module.replace('.', '/')}.py, {function}"


def _lineage(number: Number, calls: Sequence[str]) -> Lineage:
    """What the calls rest on that hand a number on."""
    if number.cell is None:
        return Lineage([], [])
    cells = read_cells(number.cell.notebook)
    upto = [cell.source for cell in cells if cell.kind == "code" and cell.position <= number.cell.position]
    return lineage(upto, "\n".join(calls))


def _calls(number: Number) -> Iterator[str]:
    """The calls of the cell that hand the number on, as they stand in the notebook."""
    if number.cell is None:
        return
    own = number.key.split(".", 1)[1].removeprefix("claims.")
    for node in ast.walk(ast.parse(number.cell.source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _gives(node, number, own):
            yield " ".join((ast.get_source_segment(number.cell.source, node) or "").split())


def _gives(call: ast.Call, number: Number, own: str) -> bool:
    """Whether a call of a cell is the one that gives a number, whose key within its study is ``own``."""
    assert isinstance(call.func, ast.Attribute)
    if number.giver:
        module, function = number.giver.rsplit(".", 2)[1:]
        return call.func.attr == function and ast.unparse(call.func.value) == module
    # `formats.number` writes a number and hands none on.
    if not call.args or ast.unparse(call.func.value) == "formats":
        return False
    return call.func.attr in _GIVES and bool(re.fullmatch(_pattern(call.args[0]), own))


def _pattern(node: ast.expr) -> str:
    """What a key may be, as far as the code says; anything in place of what is computed."""
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_pattern, node.values))
    return ".+"


def _tables(content: Mapping[str, Any], notebook: str, names: Sequence[str]) -> Iterator[str]:
    for path, item in content["artefacts"].items():
        if item.get("notebook") == notebook and path.endswith(".csv") and Path(path).stem in names:
            yield _hashed(path, item["sha256"])


def _inputs(content: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, list[str]]:
    """What the notebook read, sorted by kind; the many small files of the bank are one line a folder."""
    hashes, answers, items = content["inputs"], content["records"], content["items"]
    records = [path for path in entry["inputs"] if path in answers]
    sets = [path for path in entry["inputs"] if path in items]
    others: dict[str, list[str]] = {}
    for path in entry["inputs"]:
        if path not in answers and path not in items:
            others.setdefault(str(Path(path).parent), []).append(path)
    return {
        "records read in that notebook": [
            _hashed(f"{path}  {answers[path]['answers']:,} answers", hashes[path]) for path in records
        ]
        or ["none"],
        "items read there": [
            _hashed(f"{path}  {items[path]['rows']:,} items", items[path]["sha256"]) for path in sets
        ]
        or ["none"],
        "other files read there": [
            f"{folder}/: {len(paths)} files" if folder.startswith(_BANK) else _hashed(path, hashes[path])
            for folder, paths in others.items()
            for path in (paths[:1] if folder.startswith(_BANK) else paths)
        ]
        or ["none"],
    }


def _hashed(text: str, sha256: str) -> str:
    return f"{text}  sha256 {sha256[:16]}"


def _source(root: Path, content: Mapping[str, Any]) -> list[str]:
    return [
        _hashed("src/deepvalues", content["package"]["sha256"]),
        *(_hashed(path, value) for path, value in content["packages"]["lock"].items()),
        _commit(root),
    ]


def _commit(root: Path) -> str:
    found = manifest.commit(root)
    if found is None:
        return "commit unknown: this is no git repository"
    return f"commit {found.id}{'' if found.clean else ' with changes'}"


def show_traces(root: Path, site: Path) -> None:
    """Make each number on the article's page a link to the cell that made it, which says so on hover.

    Both renderings mark numbers as ``<span class="number" data-key="…">``; the style sheets show the
    link's description.
    """
    found = numbers(root)
    page = site / "index.html"
    targets = {number.notebook: anchors(site, _page(number)) for number in found.values()}
    text = page.read_text(encoding="utf-8")
    page.write_text(linked(text, found, targets), encoding="utf-8")


def linked(page: str, found: Mapping[str, Number], targets: Mapping[str, Collection[str]]) -> str:
    """A page with its marked numbers as links; a number inside a link stays as it is.

    Parameters
    ----------
    page
        The page's HTML.
    found
        Numbers by key; a key that is not among them is left alone.
    targets
        The anchors of each notebook's page.
    """
    inside = 0

    def link(match: re.Match[str]) -> str:
        nonlocal inside
        inside += bool(match["open"]) - bool(match["close"])
        number = found.get(match["key"] or "")
        if number is None or inside > 0:
            return match[0]
        kind = "number" if len(number.text) <= _SHORT else "number phrase"
        href = _page(number) + _fragment(number, targets.get(number.notebook, ()))
        shown = html.escape(number.shown)
        attributes = f'class="{kind}" href="{href}" data-key="{number.key}" aria-description="{shown}"'
        return f"<a {attributes}>{match['text']}</a>"

    return _LINK_OR_NUMBER.sub(link, page)


def _page(number: Number) -> str:
    return f"notebooks/{number.notebook}-preview.html"


def _fragment(number: Number, present: Collection[str]) -> str:
    """The anchor of the number's cell, as both renderings write it; none if the page lacks it."""
    if number.cell is None:
        return ""
    anchor = number.cell.anchor
    return f"#{anchor}" if anchor in present else ""
