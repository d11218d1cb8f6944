"""The guard of the paper's sources: no typed numbers, no unbound claims, nothing unresolved.

`unresolved` looks at what a renderer would stumble over; `problems` adds the rules of the project:
in sections marked ``{.results}`` and in the abstract, a digit must come from a variable, and a
sentence with a direction ("higher", "below") must be a claim that the results decide:
``[models fall below chance]{.claim key="dvb.claims.below_chance"}``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown
from deepvalues.paper.cells import Cell, figures, labelled_cells
from deepvalues.paper.markup import (
    ATTRIBUTES,
    CITATION,
    CODE,
    REFERENCE,
    SHORTCODE,
    Article,
    blank,
    citations,
    embeds,
    headings,
    labels,
    parse_attributes,
    prose,
    read_article,
    references,
    shortcodes,
)
from deepvalues.paper.numbers import flatten, lookup, read_variables

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
_LIST_MARK = re.compile(r"^[ \t]*\d+[.)](?=[ \t])", re.MULTILINE)
_CITED = re.compile(r"\[[^\[\]]*@[^\[\]]*\]")  # with its locators: [@smith2020, p. 12]
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_CLAIM = re.compile(r"\]\{[^{}]*\.claim\b[^{}]*\}")
_ABSTRACT = re.compile(r"^abstract:.*?(?=^[\w-]+:|\Z)", re.MULTILINE | re.DOTALL)
_BIB_KEY = re.compile(r"^[ \t]*@\w+\s*\{\s*([^,\s]+)\s*,", re.MULTILINE)
_CSV = re.compile(r"\]\((?:\.\./)*data/[\w./-]+\.csv\)")
_IMAGE = re.compile(r"!\[(?P<caption>[^\]\n]*)\]\([^)\n]*\)(?P<attributes>\{[^}\n]*\})?")


class Problem(NamedTuple):
    """A fault in a source file."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{shown(self.file)}:{self.line}: {self.message}"


class Claim(NamedTuple):
    """A claim span: its key and where the span begins and ends."""

    key: str
    start: int
    end: int


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
        The artefacts that some rule makes; if given, all others below ``data/results``,
        ``figures`` and ``paper/notebooks`` are faults.
    """
    article = read_article(paper / "index.qmd")
    found = [
        *unresolved(article),
        *_unread_captions(article),
        *_unlinked_captions(article),
        *_typed_numbers(article, names),
        *_unbound_claims(article),
    ]
    if declared is not None:
        found += undeclared(paper.parent, declared)
    return sorted(found, key=lambda problem: (str(problem.file), problem.line, problem.message))


def summary(paper: Path) -> str:
    """What the article draws on, in one line; variables that it does not use are only counted."""
    article = read_article(paper / "index.qmd")
    used = {name for name, _ in shortcodes(article.text, "var")}
    used |= {claim.key for claim in claims(article.text)}
    unused = set(flatten(read_variables(paper / "_variables.yml"))) - used
    counts = {
        "variables": len(used),
        "embedded figures and tables": len(list(embeds(article.text))),
        "cross-references": len(list(references(article.text))),
        "citations": len(list(citations(article.text))),
    }
    counted = ", ".join(f"{count} {what}" for what, count in counts.items())
    return f"{article.file.name}: {counted}; {len(unused)} further variables are not used."


def unresolved(article: Article) -> list[Problem]:
    """What a renderer would stumble over: variables, embeds, references, citations, shortcodes."""
    return [
        *_unknown_shortcodes(article),
        *_unknown_variables(article),
        *_unknown_embeds(article),
        *_unknown_references(article),
        *_unknown_citations(article),
    ]


def claims(text: str) -> list[Claim]:
    """Every claim span, found from its end back to the bracket that opens it."""
    masked = blank(text, CODE)
    found = []
    for match in _CLAIM.finditer(masked):
        depth, start = 1, match.start()
        while depth and start:
            start -= 1
            depth += {"]": 1, "[": -1}.get(masked[start], 0)
        _, _, pairs = parse_attributes(match[0][1:])
        found.append(Claim(pairs.get("key", ""), start, match.end()))
    return found


def undeclared(root: Path, declared: Collection[Path]) -> list[Problem]:
    """Files among the results that no rule makes."""
    known = {path.resolve() for path in declared}
    folders = ("data/results", "figures", "paper/notebooks")
    files = (file for folder in folders for file in (root / folder).rglob("*") if file.is_file())
    return [
        Problem(file, 1, "no rule makes this file; delete it, or declare it where it is made.")
        for file in sorted(files)
        if file.resolve() not in known and not file.name.startswith(".")
    ]


def _unknown_shortcodes(article: Article) -> Iterator[Problem]:
    for match in SHORTCODE.finditer(blank(article.text, CODE)):
        if match["name"] not in ("var", "embed"):
            message = f"the shortcode {match[0]} is not known; the article may use var and embed."
            yield _problem(article, match.start(), message)


def _unknown_variables(article: Article) -> Iterator[Problem]:
    file = article.file.parent / "_variables.yml"
    used = list(shortcodes(article.text, "var"))
    if used and not file.is_file():
        message = f"{file.name} is missing; `make paper` makes it from data/results/*/numbers.json."
        yield _problem(article, used[0].offset, message)
        return
    variables = read_variables(file)
    for name, offset in used:
        if lookup(variables, name) is None:
            message = f"no notebook makes the variable {name}; {file.name} lacks it."
            yield _problem(article, offset, message)


def _unknown_embeds(article: Article) -> Iterator[Problem]:
    notebooks: dict[str, Mapping[str, Cell] | str] = {}
    for notebook, label, offset in embeds(article.text):
        known = notebook in notebooks
        if not known:
            notebooks[notebook] = _cells_or_fault(article.file.parent / notebook)
        cells = notebooks[notebook]
        if not label:
            message = f"embed {notebook}: expected notebooks/NAME.ipynb#LABEL and nothing else."
        elif isinstance(cells, str):
            # One line for a notebook, however many of its cells are embedded.
            message = "" if known else f"{cells}; run: deepvalues notebook {Path(notebook).stem}"
        elif label not in cells:
            message = f"embed {notebook}#{label}: the notebook has no cell with that label."
        else:
            message = _cell_fault(cells[label])
        if message:
            yield _problem(article, offset, message)


def _cells_or_fault(file: Path) -> Mapping[str, Cell] | str:
    try:
        return labelled_cells(file)
    except UserError as error:
        return str(error)


def _cell_fault(cell: Cell) -> str:
    """What keeps a cell from being embedded; empty if nothing does."""
    if cell.label.startswith("fig-"):
        count, wanted = len(figures(cell)), "image"
    elif cell.label.startswith("tbl-"):
        count = sum("text/markdown" in output.get("data", {}) for output in cell.outputs)
        wanted = "Markdown table"
    else:
        return f"embed {cell.label}: the label must begin with fig- or tbl-."
    return "" if count == 1 else f"{cell.place}: shows {count} outputs of kind {wanted}, not one."


def _unknown_references(article: Article) -> Iterator[Problem]:
    counts = Counter(found.name for found in labels(article.text))
    for label, offset in references(article.text):
        if label not in counts:
            yield _problem(article, offset, f"@{label} points to nothing; no such label is in the article.")
    for label, offset in labels(article.text):
        if counts.pop(label, 1) > 1:
            yield _problem(article, offset, f"the label {label} is used more than once.")


def _unknown_citations(article: Article) -> Iterator[Problem]:
    known: set[str] = set()
    listed = _bibliographies(article.header)
    for name in listed:
        file = article.file.parent / name
        if file.is_file():
            known |= set(_BIB_KEY.findall(file.read_text(encoding="utf-8")))
        else:
            yield _problem(article, 0, f"the bibliography {name} is missing.")
    for cited, offset in citations(article.text):
        if cited not in known:
            yield _problem(article, offset, f"@{cited} is not in {', '.join(listed)}.")


def _bibliographies(header: Mapping[str, Any]) -> list[str]:
    listed = header.get("bibliography", "references.bib")
    return [str(name) for name in listed] if isinstance(listed, list) else [str(listed)]


def _unread_captions(article: Article) -> Iterator[Problem]:
    """Figures and tables without caption, figures without a text that stands in for them."""
    for notebook, label, offset in embeds(article.text):
        cells = _cells_or_fault(article.file.parent / notebook)
        if isinstance(cells, str) or label not in cells:
            continue
        kind = label.split("-")[0]
        if not cells[label].caption:
            yield _problem(article, offset, f"{cells[label].place}: no `#| {kind}-cap:`.")
        if kind == "fig" and not cells[label].alternative:
            yield _problem(article, offset, f"{cells[label].place}: no `#| fig-alt:`.")
    for match in _IMAGE.finditer(blank(article.text, CODE)):
        _, _, pairs = parse_attributes(match["attributes"] or "{}")
        if not match["caption"].strip() or not pairs.get("fig-alt", "").strip():
            yield _problem(article, match.start(), 'an image needs a caption and {fig-alt="…"}.')


def _unlinked_captions(article: Article) -> Iterator[Problem]:
    """Captions that do not lead to the notebook cell that made the figure or table, and to its data."""
    for notebook, label, offset in embeds(article.text):
        cells = _cells_or_fault(article.file.parent / notebook)
        if isinstance(cells, str) or label not in cells or not cells[label].caption:
            continue
        cell = cells[label]
        source = f"{notebook.removesuffix('.ipynb')}-preview.html#{cell.anchor}"
        if source not in cell.caption:
            yield _problem(article, offset, f"{cell.place}: the caption lacks a link to {source}.")
        if not _CSV.search(cell.caption):
            yield _problem(article, offset, f"{cell.place}: the caption lacks a link to its CSV below data/.")


def _results_ranges(article: Article) -> list[tuple[int, int]]:
    """The places that report results: the abstract, and the sections marked ``.results``."""
    found = [
        (heading.start, heading.end)
        for heading in headings(article.text)
        if "results" in parse_attributes(heading.attributes)[1]
    ]
    abstract = _ABSTRACT.search(article.text[: article.body_at])
    return [*([abstract.span()] if abstract else []), *found]


def _results_prose(article: Article) -> str:
    """The article with all but the words of results blanked out."""
    text = prose(article.text)
    for pattern in (_CITED, REFERENCE, CITATION, ATTRIBUTES, _TAG):
        text = blank(text, pattern)
    kept = [" " if char != "\n" else char for char in text]
    for start, end in _results_ranges(article):
        kept[start:end] = text[start:end]
    return "".join(kept)


def _typed_numbers(article: Article, names: Iterable[str]) -> Iterator[Problem]:
    text = blank(_results_prose(article), _LIST_MARK)
    for name in [*map(re.escape, names), *NAMES]:
        text = blank(text, re.compile(rf"(?<!\w){name}(?!\w)"))
    for match in _DIGITS.finditer(text):
        message = f"the number {match[0]} is typed; results come from {{{{< var … >}}}}."
        yield _problem(article, match.start(), message)


def _unbound_claims(article: Article) -> Iterator[Problem]:
    variables = read_variables(article.file.parent / "_variables.yml")
    text = list(_results_prose(article))
    for claim in claims(article.text):
        text[claim.start : claim.end] = " " * (claim.end - claim.start)
        value = lookup(variables, claim.key) if claim.key else None
        if value is None:
            message = f"the claim's key {claim.key or '(none)'} is not in _variables.yml."
            yield _problem(article, claim.start, message)
        elif value != "true":
            message = f"the claim {claim.key} is {value} for the present results; reword the sentence."
            yield _problem(article, claim.start, message)
    for match in DIRECTIONS.finditer("".join(text)):
        message = (
            f"“{match[0]}” states a direction outside a claim: write "
            '[…]{.claim key="…"}, or a variable that the notebook switches.'
        )
        yield _problem(article, match.start(), message)


def _problem(article: Article, offset: int, message: str) -> Problem:
    return Problem(article.file, article.line(offset), message)
