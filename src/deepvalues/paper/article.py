"""The article as pandoc reads it: its tree, and what a walk through the tree finds.

Quarto's shortcodes mean nothing to pandoc. Each becomes one word of private-use characters before
pandoc reads the text (`as_words`), so that it is whole wherever it stands: in the text, in formulas,
in attributes, in the targets of links. ``paper/plain/article.lua`` knows the same three characters.
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
#: How far ahead of the last word the next one is searched for, in characters.
_REACH = 3_000


class Found(NamedTuple):
    """A key, a label, ``notebook.ipynb#label`` or a message, and its line in the article (from 1)."""

    name: str
    line: int


class Image(NamedTuple):
    """An image that stands in the article itself."""

    path: str
    described: bool  # by a caption, and by a text that stands in for it
    line: int


class Piece(NamedTuple):
    """Words of the results, and whether they stand inside a claim."""

    text: str
    line: int
    claimed: bool


@dataclass
class Contents:
    """What an article holds, each list in the order of the text (the header comes first)."""

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
    """A Quarto article: its file, whole text and parsed header."""

    file: Path
    text: str
    header: Mapping[str, Any]

    @cached_property
    def contents(self) -> Contents:
        """What the article holds, found in one walk through pandoc's tree."""
        text = as_words(self.text)
        # Without `smart` every word of the tree is spelt as in the source, where its line is looked up.
        tree = json.loads(pandoc(text, ["--from=markdown-smart", "--to=json"], self.file))
        walk = _Walk(text)
        for key, value in tree["meta"].items():
            walk.entry(key, value)
        walk.body(tree["blocks"])
        return walk.found

    @cached_property
    def cells(self) -> dict[str, Cell | str]:
        """What each ``notebook.ipynb#label`` embeds: a cell, or in its place a line on what is wrong."""
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
    """A text with each shortcode as one word; no line moves."""

    def word(match: re.Match[str]) -> str:
        argument = "\xa0".join(match["argument"].split())
        return f"\ue000{match['name']}\ue001{argument}\ue002" + "\n" * match[0].count("\n")

    return _SHORTCODE.sub(word, text)


def pandoc(text: str, options: Sequence[str], place: Path) -> str:
    """Run the pandoc that the environment brings along, in the folder of the article.

    Raises
    ------
    UserError
        If pandoc fails, or warns where ``--fail-if-warnings`` is among the options.
    """
    command = [pypandoc.get_pandoc_path(), *options]
    result = subprocess.run(
        command, input=text, capture_output=True, text=True, encoding="utf-8", cwd=place.parent, check=False
    )
    if result.returncode:
        raise UserError(f"{shown(place)}: pandoc refuses the text: {result.stderr.strip()}")
    return result.stdout


def document(text: str, options: Sequence[str], place: Path) -> str:
    """Run `pandoc` for a whole document; a warning counts as an error."""
    # Tables keep the widths of their content instead of the widths of the source's columns.
    fixed = ["--standalone", "--wrap=none", "--columns=100000", "--fail-if-warnings"]
    return pandoc(text, [*fixed, *options], place)


def typeset(source: str | bytes, place: Path, **settings: Any) -> bytes:
    """Set a text with typst as a PDF.

    Parameters
    ----------
    source
        A file's path, or the text itself as bytes.
    place
        The file that messages name.
    settings
        What `typst.compile` is told besides.

    Raises
    ------
    UserError
        If typst refuses the text.
    """
    try:
        # Only typst's own fonts, so that every machine sets the same pages.
        return bytes(typst.compile(source, ignore_system_fonts=True, **settings))
    except typst.TypstError as error:
        raise UserError(f"{shown(place)}: typst refuses the text: {error}") from error


class _Walk:
    """One walk through pandoc's tree; each word is looked up in the source, for its line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found = Contents()
        self.at = 0  # behind the last word that was found
        self.results = 0  # level of the heading that opened a section of results; 0 outside
        self.muted = False  # inside a citation, whose words are no results
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
        """Read an element and all inside it: methods know some kinds, the others only hold something."""
        match node:
            case str():
                self._shortcodes(node)
            case list():
                for inner in node:
                    self.visit(inner)
            case {"t": str(kind), **rest}:
                known = getattr(self, f"_{kind.lower()}", self.visit)
                known(rest.get("c", []))
            case dict():
                self.visit(list(node.values()))

    def _line(self, text: str) -> int:
        """The line of the next place of a text, or of the last word where there is none near."""
        place = self.text.find(text, self.at, self.at + _REACH + len(text))
        return self.text.count("\n", 0, max(place, self.at)) + 1

    def _pass(self, text: str) -> None:
        place = self.text.find(text, self.at, self.at + _REACH + len(text))
        if place >= 0:
            self.at = place + len(text)

    def _say(self, text: str, line: int = 0) -> None:
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
        self._pass(text)
        if match := _EQUATION.match(text):
            self.found.labels.append(Found(match[1], line))
            text = text[match.end() :]
        if _STRAY.fullmatch(text):
            self.found.faults.append(Found(f"the {text} closes a div that was never opened.", line))
        self._shortcodes(text, line)
        self._say(_WORD.sub(" ", text), line)

    def _space(self, _: Any) -> None:
        self._say(" ")

    _softbreak = _linebreak = _space

    def _code(self, content: list[Any]) -> None:
        self._pass(content[1])
        self._say(" ")

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
        self._say("\n")

    _plain = _para

    def _header(self, content: list[Any]) -> None:
        level, attributes, inlines = content
        if level <= self.results:
            self.results = 0
        if "results" in attributes[1]:
            self.results = self.results or level
        self.visit(inlines)
        self._label(attributes)
        self._say("\n")

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
        self._say(" ")

    def _note(self, blocks: list[Any]) -> None:
        at = self.at  # a footnote may stand elsewhere in the source
        self.visit(blocks)
        self.at = at

    def _figure(self, content: list[Any]) -> None:
        self.visit(content[2])  # its image has the caption, too
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
