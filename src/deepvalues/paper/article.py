"""Parse the article with pandoc and collect its contents in one walk through the syntax tree.

Pandoc does not know Quarto's shortcodes. `as_words` therefore turns each into one word of private-use
characters first, so that it survives anywhere: in text, formulas, attributes and link targets.
``paper/plain/article.lua`` uses the same three characters.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pypandoc
import typst
import yaml

from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown
from deepvalues.paper.notebooks import Cell, labelled_cells

_SHORTCODE = re.compile(r"\{\{<\s*(?P<name>[\w-]+)\s*(?P<argument>.*?)\s*>\}\}", re.DOTALL)
_WORD = re.compile("\ue000([^\ue001]*)\ue001([^\ue002]*)\ue002")
_HEADER = re.compile(r"\A---[ \t]*\n(?P<header>.*?)^(?:---|\.\.\.)[ \t]*\n", re.DOTALL | re.MULTILINE)
_LABEL = re.compile(r"(?:fig|tbl|sec|eq)-[\w-]*\w", re.IGNORECASE)
_EQUATION = re.compile(r"\{#(eq-[\w-]*\w)\}")
_CELL = re.compile(r"(?P<notebook>[^#\s]+\.ipynb)#(?P<label>[\w-]+)")
_STRAY = re.compile(r":{3,}")
#: Maximum distance from one word to the next when looking up lines, in characters.
_REACH = 3_000


class Found(NamedTuple):
    """A key, label, ``notebook.ipynb#label`` or message, with its line in the article (from 1)."""

    name: str
    line: int


class Image(NamedTuple):
    """An image in the article itself."""

    path: str
    described: bool  # has a caption and an alternative text
    line: int


class Piece(NamedTuple):
    """Words of the results, and whether they are inside a claim."""

    text: str
    line: int
    claimed: bool


@dataclass
class Contents:
    """The contents of an article; each list is in the order of the text, header first."""

    variables: list[Found] = field(default_factory=list)
    embeds: list[Found] = field(default_factory=list)
    references: list[Found] = field(default_factory=list)
    citations: list[Found] = field(default_factory=list)
    labels: list[Found] = field(default_factory=list)
    claims: list[Found] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    results: list[Piece] = field(default_factory=list)
    faults: list[Found] = field(default_factory=list)


@dataclass(frozen=True)
class Article:
    """A Quarto article: file, full text and parsed header."""

    file: Path
    text: str
    header: Mapping[str, Any]

    @cached_property
    def contents(self) -> Contents:
        """The contents of the article, collected in one walk through pandoc's tree."""
        text = as_words(self.text)
        # Without `smart`, words are spelt as in the source, which is searched for their lines.
        tree = json.loads(pandoc(text, ["--from=markdown-smart", "--to=json"], self.file))
        walk = _Walk(text)
        for key, value in tree["meta"].items():
            walk.entry(key, value)
        walk.body(tree["blocks"])
        return walk.found

    @cached_property
    def cells(self) -> dict[str, Cell | str]:
        """The cell embedded by each ``notebook.ipynb#label``, or a message on what is wrong."""
        read = cache(labelled_cells)
        return {place: self._cell(place, read) for place, _ in self.contents.embeds}

    def _cell(self, place: str, read: Callable[[Path], Mapping[str, Cell]]) -> Cell | str:
        match = _CELL.fullmatch(place)
        if match is None:
            return f"embed {place}: expected notebooks/NAME.ipynb#LABEL and nothing else."
        try:
            cells = read(self.file.parent / match["notebook"])
        except UserError as error:
            return f"{error}; run: deepvalues notebook {Path(match['notebook']).stem}"
        return cells.get(match["label"], f"embed {place}: the notebook has no cell with that label.")


def read_article(file: Path) -> Article:
    """Read an article and its YAML header.

    Raises
    ------
    UserError
        If the file is missing or its header is not YAML; file and line are named.
    """
    if not file.is_file():
        raise UserError(f"{shown(file)}: the article is missing.")
    text = file.read_text(encoding="utf-8")
    match = _HEADER.match(text)
    try:
        return Article(file, text, (yaml.safe_load(match["header"]) or {}) if match else {})
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else 1
        raise UserError(f"{shown(file)}:{line}: the header is not YAML: {error.problem}") from error


def as_words(text: str) -> str:
    """The text with each shortcode as one word; line numbers do not change."""

    def word(match: re.Match[str]) -> str:
        argument = "\xa0".join(match["argument"].split())
        return f"\ue000{match['name']}\ue001{argument}\ue002" + "\n" * match[0].count("\n")

    return _SHORTCODE.sub(word, text)


def pandoc(text: str, options: Sequence[str], file: Path) -> str:
    """Run the environment's own pandoc in the folder of the article.

    Raises
    ------
    UserError
        If pandoc fails, or warns where ``--fail-if-warnings`` is among the options.
    """
    command = [pypandoc.get_pandoc_path(), *options]
    result = subprocess.run(
        command, input=text, capture_output=True, text=True, encoding="utf-8", cwd=file.parent, check=False
    )
    if result.returncode:
        raise UserError(f"{shown(file)}: pandoc rejects the text: {result.stderr.strip()}")
    return result.stdout


def document(text: str, options: Sequence[str], file: Path) -> str:
    """Run `pandoc` for a complete document; warnings are errors."""
    # Table widths then follow the content, not the column widths in the source.
    fixed = ["--standalone", "--wrap=none", "--columns=100000", "--fail-if-warnings"]
    return pandoc(text, [*fixed, *options], file)


def typeset(source: str | bytes, file: Path, **settings: Any) -> bytes:
    """Typeset a text with typst and return the PDF.

    Parameters
    ----------
    source
        The path of a file, or the text itself as bytes.
    file
        The file named in messages.
    settings
        Further arguments of `typst.compile`.

    Raises
    ------
    UserError
        If typst rejects the text.
    """
    try:
        # Use only typst's own fonts, so that every machine produces the same pages.
        return bytes(typst.compile(source, ignore_system_fonts=True, **settings))
    except typst.TypstError as error:
        raise UserError(f"{shown(file)}: typst rejects the text: {error}") from error


class _Walk:
    """One walk through pandoc's tree; each word is searched in the source to find its line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found = Contents()
        self.at = 0  # end of the last word found
        self.results = 0  # heading level of the current results section; 0 outside
        self.muted = False  # inside a citation, whose words are not results
        self.claimed = False

    def entry(self, key: str, value: Any) -> None:
        """Read one entry of the header."""
        match = re.search(rf"^{re.escape(key)}:", self.text, re.MULTILINE)
        self.at = match.end() if match else 0
        self.results = int(key == "abstract")
        self.visit(value)
        self.results = 0

    def body(self, blocks: list[Any]) -> None:
        """Read the text below the header."""
        match = _HEADER.match(self.text)
        self.at = match.end() if match else 0
        self.visit(blocks)

    def visit(self, node: Any) -> None:
        """Read an element and everything inside it; some kinds have a method of their own."""
        match node:
            case str():
                self._shortcodes(node)
            case list():
                for inner in node:
                    self.visit(inner)
            case {"t": str(kind), **rest}:
                handler = getattr(self, f"_{kind.lower()}", self.visit)
                handler(rest.get("c", []))
            case dict():
                self.visit(list(node.values()))

    def _line(self, text: str) -> int:
        """The line of the next occurrence of a text, or of the last word if it is not nearby."""
        place = self.text.find(text, self.at, self.at + _REACH + len(text))
        return self.text.count("\n", 0, max(place, self.at)) + 1

    def _advance(self, text: str) -> None:
        place = self.text.find(text, self.at, self.at + _REACH + len(text))
        if place >= 0:
            self.at = place + len(text)

    def _add_result(self, text: str, line: int = 0) -> None:
        if self.results and not self.muted:
            self.found.results.append(Piece(text, line or self._line(""), self.claimed))

    def _label(self, attributes: list[Any]) -> None:
        if _LABEL.fullmatch(attributes[0]):
            self.found.labels.append(Found(attributes[0], self._line(f"#{attributes[0]}")))

    def _shortcodes(self, text: str, line: int = 0) -> None:
        for name, word in _WORD.findall(text):
            argument = word.replace("\xa0", " ")
            at = line or self._line(word)
            if name == "var":
                self.found.variables.append(Found(argument, at))
            elif name == "embed":
                self.found.faults.append(Found(f"embed {argument}: it must be a paragraph of its own.", at))
            else:
                fault = f"the shortcode {{{{< {name} {argument} >}}}} is not known; the article may use "
                self.found.faults.append(Found(f"{fault}var and embed.", at))

    def _embed(self, place: str) -> None:
        line = self._line(place)
        self.found.embeds.append(Found(place.replace("\xa0", " "), line))
        if match := _CELL.fullmatch(place):
            self.found.labels.append(Found(match["label"], line))

    def _str(self, text: str) -> None:
        line = self._line(text)
        self._advance(text)
        if match := _EQUATION.match(text):
            self.found.labels.append(Found(match[1], line))
            text = text[match.end() :]
        if _STRAY.fullmatch(text):
            self.found.faults.append(Found(f"the {text} closes a div that was never opened.", line))
        self._shortcodes(text, line)
        self._add_result(_WORD.sub(" ", text), line)

    def _space(self, _: Any) -> None:
        self._add_result(" ")

    _softbreak = _linebreak = _space

    def _code(self, content: list[Any]) -> None:
        self._advance(content[1])
        self._add_result(" ")

    _codeblock = _rawinline = _rawblock = _code

    def _math(self, content: list[Any]) -> None:
        self._shortcodes(content[1])
        self._code(content)

    def _para(self, inlines: list[Any]) -> None:
        alone = _WORD.fullmatch(inlines[0]["c"]) if len(inlines) == 1 and inlines[0]["t"] == "Str" else None
        if alone and alone[1] == "embed":
            self._embed(alone[2])
        else:
            self.visit(inlines)
        self._add_result("\n")

    _plain = _para

    def _header(self, content: list[Any]) -> None:
        level, attributes, inlines = content
        if level <= self.results:
            self.results = 0
        if "results" in attributes[1]:
            self.results = self.results or level
        self.visit(inlines)
        self._label(attributes)
        self._add_result("\n")

    def _div(self, content: list[Any]) -> None:
        self._label(content[0])
        self.visit(content)

    def _span(self, content: list[Any]) -> None:
        outside = self.claimed
        if "claim" in content[0][1]:
            self.claimed = True
            self.found.claims.append(Found(dict(content[0][2]).get("key", ""), self._line("[")))
        self.visit(content[1])
        self.claimed = outside
        self.visit(content[0])

    def _cite(self, content: list[Any]) -> None:
        for key in (cited["citationId"] for cited in content[0]):
            found, label = self.found.citations, key
            if _LABEL.fullmatch(key):
                found, label = self.found.references, key[0].lower() + key[1:]
            if key != "*":
                found.append(Found(label, self._line(key)))
        outside, self.muted = self.muted, True
        self.visit(content[1])
        self.muted = outside
        self._add_result(" ")

    def _note(self, blocks: list[Any]) -> None:
        at = self.at  # the source may have the footnote elsewhere
        self.visit(blocks)
        self.at = at

    def _figure(self, content: list[Any]) -> None:
        self.visit(content[2])  # the image repeats the caption
        self._label(content[0])

    def _image(self, content: list[Any]) -> None:
        described = bool(content[1]) and bool(dict(content[0][2]).get("fig-alt", "").strip())
        self.found.images.append(Image(content[2][0], described, self._line("![")))
        self.visit(content[1:])

    def _table(self, content: list[Any]) -> None:
        attributes, caption, _, *rows = content
        self.visit(rows)
        self.visit(caption)
        self._label(attributes)
