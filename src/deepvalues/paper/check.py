"""Check the paper's sources: no typed numbers, no unbound claims, nothing unresolved.

`unresolved` finds what a renderer could not resolve; `problems` adds the rules of the project. In sections
marked ``{.results}`` and in the abstract, a digit must come from a variable, and a sentence with a direction
("higher", "below") must be a claim that the results decide:
``[models fall below chance]{.claim key="dvb.claims.below_chance"}``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown
from deepvalues.paper.article import Article, Piece, read_article
from deepvalues.paper.notebooks import Cell, figure, table
from deepvalues.paper.numbers import read_variables

NAMES = (
    r"Study \d",
    r"Studies \d(?:(?:,| and|, and) \d)*",
    r"gpt-[\w.-]+",
    r"MiniLM-L6(?:-v2)?",
    r"all-MiniLM-L6-v2",
    r"[A-Za-z]+-\d[\w.-]*",
)
DIRECTIONS = re.compile(
    r"\b(?:more|less|higher|lower|above|below|most|fewer|better|worse|greater|larger|smaller"
    r"|increas\w*|decreas\w*|ris(?:e|es|en|ing)|rose|fall(?:s|en|ing)?|fell"
    r"|exceed\w*)\b",
    re.IGNORECASE,
)

_DIGITS = re.compile(r"\w*\d[\w.,]*\w|\d")
_BIB_KEY = re.compile(r"^[ \t]*@\w+\s*\{\s*([^,\s]+)\s*,", re.MULTILINE)
_CSV = re.compile(r"\]\((?:\.\./)*data/[\w./-]+\.csv\)")


#: A message and its line in the article (from 1).
Fault = tuple[str, int]


class Problem(NamedTuple):
    """A fault in a source file."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{shown(self.file)}:{self.line}: {self.message}"


def problems(
    paper: Path, *, names: Iterable[str] = (), declared: Collection[Path] | None = None
) -> list[Problem]:
    """Every fault in the sources of the paper.

    Parameters
    ----------
    paper
        The folder of the manuscript.
    names
        Further names that may hold digits, such as the names of models.
    declared
        The files that some rule makes; if given, any other file in ``data/results``, ``figures`` and
        ``paper/notebooks`` is a fault.
    """
    article = read_article(paper / "index.qmd")
    rules = [_poor_captions(article), _typed_numbers(article, names), _unbound_claims(article)]
    found = [*unresolved(article), *_problems(article, *rules)]
    if declared is not None:
        found += undeclared(paper.parent, declared)
    return sorted(found, key=lambda problem: (str(problem.file), problem.line, problem.message))


def summary(paper: Path) -> str:
    """One line that counts what the article uses, and the variables that it does not use."""
    article = read_article(paper / "index.qmd")
    found = article.contents
    used = {name for name, _ in [*found.variables, *found.claims]}
    unused = set(read_variables(paper / "_variables.yml")) - used
    return (
        f"{article.file.name}: {len(used)} variables, {len(found.embeds)} embedded figures and tables, "
        f"{len(found.references)} cross-references, {len(found.citations)} citations; "
        f"{len(unused)} further variables are read in the notebooks."
    )


def unresolved(article: Article) -> list[Problem]:
    """Variables, embeds, references, citations and shortcodes that a renderer could not resolve."""
    return _problems(
        article,
        article.contents.faults,
        _unknown_variables(article),
        _unknown_embeds(article),
        _unknown_references(article),
        _unknown_citations(article),
    )


def _problems(article: Article, *found: Iterable[Fault]) -> list[Problem]:
    return [Problem(article.file, line, message) for faults in found for message, line in faults]


def undeclared(root: Path, declared: Collection[Path]) -> list[Problem]:
    """Result files that no rule makes."""
    known = {path.resolve() for path in declared}
    folders = ("data/results", "figures", "paper/notebooks")
    files = (file for folder in folders for file in (root / folder).rglob("*") if file.is_file())
    return [
        Problem(file, 1, "no rule makes this file; delete it, or declare it where it is made.")
        for file in sorted(files)
        if file.resolve() not in known and not file.name.startswith(".")
    ]


def _unknown_variables(article: Article) -> Iterator[Fault]:
    file = article.file.parent / "_variables.yml"
    used = article.contents.variables
    if used and not file.is_file():
        message = f"{file.name} is missing; `make paper` makes it from data/results/*/numbers.json."
        yield message, used[0].line
        return
    variables = read_variables(file)
    for name, line in used:
        if name not in variables:
            yield f"no notebook makes the variable {name}; {file.name} lacks it.", line


def _unknown_embeds(article: Article) -> Iterator[Fault]:
    reported: set[str] = set()  # a missing notebook is reported once, however many cells are embedded
    for place, line in article.contents.embeds:
        cell = article.cells[place]
        message = cell if isinstance(cell, str) else _cell_fault(cell)
        if message and message not in reported:
            yield message, line
        reported.add(message)


def _cell_fault(cell: Cell) -> str:
    """Why a cell can't be embedded; empty if it can."""
    if not cell.label.startswith(("fig-", "tbl-")):
        return f"embed {cell.label}: the label must begin with fig- or tbl-."
    try:
        figure(cell) if cell.label.startswith("fig-") else table(cell)
    except UserError as error:
        return str(error)
    return ""


def _unknown_references(article: Article) -> Iterator[Fault]:
    counts = Counter(found.name for found in article.contents.labels)
    for label, line in article.contents.references:
        if label not in counts:
            yield f"@{label} points to nothing; no such label is in the article.", line
    for label, line in article.contents.labels:
        if counts.pop(label, 1) > 1:
            yield f"the label {label} is used more than once.", line


def _unknown_citations(article: Article) -> Iterator[Fault]:
    known: set[str] = set()
    listed = article.header.get("bibliography", [])
    listed = [listed] if isinstance(listed, str) else listed
    for name in listed:
        file = article.file.parent / name
        if file.is_file():
            known |= set(_BIB_KEY.findall(file.read_text(encoding="utf-8")))
        else:
            yield f"the bibliography {name} is missing.", 1
    for cited, line in article.contents.citations:
        if cited not in known:
            place = ", ".join(listed) or "a bibliography, as the header names none"
            yield f"@{cited} is not in {place}.", line


def _poor_captions(article: Article) -> Iterator[Fault]:
    for place, line in article.contents.embeds:
        cell = article.cells[place]
        if not isinstance(cell, str):
            for fault in _caption_faults(cell):
                yield f"{cell.place}: {fault}", line
    for image in article.contents.images:
        if not image.described:
            yield 'an image needs a caption and {fig-alt="…"}.', image.line


def _caption_faults(cell: Cell) -> Iterator[str]:
    """What a figure or table lacks: a caption that links to its cell and data, an alternative text."""
    kind = cell.label.split("-")[0]
    source = f"{cell.notebook.parent.name}/{cell.notebook.stem}-preview.html#{cell.anchor}"
    if not cell.caption:
        yield f"no `#| {kind}-cap:`."
    elif source not in cell.caption:
        yield f"the caption lacks a link to {source}."
    if cell.caption and not _CSV.search(cell.caption):
        yield "the caption lacks a link to its CSV below data/."
    if kind == "fig" and not cell.alternative:
        yield "no `#| fig-alt:`."


def _typed_numbers(article: Article, names: Iterable[str]) -> Iterator[Fault]:
    text = "".join(piece.text for piece in article.contents.results)
    for name in [*map(re.escape, names), *NAMES]:
        text = re.sub(rf"(?<!\w){name}(?!\w)", lambda match: " " * len(match[0]), text)
    for match in _DIGITS.finditer(text):
        line = _line(article.contents.results, match.start())
        yield f"the number {match[0]} is typed; results come from {{{{< var … >}}}}.", line


def _unbound_claims(article: Article) -> Iterator[Fault]:
    variables = read_variables(article.file.parent / "_variables.yml")
    for key, line in article.contents.claims:
        value = variables.get(key)
        if value is None:
            yield f"the claim's key {key or '(none)'} is not in _variables.yml.", line
        elif value != "true":
            yield f"the claim {key} is {value} for the present results; reword the sentence.", line
    pieces = article.contents.results
    free = "".join(" " * len(piece.text) if piece.claimed else piece.text for piece in pieces)
    for match in DIRECTIONS.finditer(free):
        message = (
            f"“{match[0]}” states a direction outside a claim: write "
            '[…]{.claim key="…"}, or a variable that the notebook switches.'
        )
        yield message, _line(pieces, match.start())


def _line(pieces: Iterable[Piece], position: int) -> int:
    """The line of a position in the joined text of the pieces."""
    for piece in pieces:
        position -= len(piece.text)
        if position < 0:
            return piece.line
    raise IndexError(position)
