"""Reading an article in Quarto's Markdown: shortcodes, labels, references, headings.

Nothing is rendered here. Patterns are searched in a *masked* text, in which code and comments are
blanked out character by character, so that every offset still points into the article's own text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown

KINDS = {"fig": "Figure", "tbl": "Table", "sec": "Section", "eq": "Equation"}

_FENCE = r"^[ \t]*(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^[ \t]*(?P=fence)[`~]*[ \t]*$"
_TICKS = r"(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n\n).)+?(?<!`)(?P=ticks)(?!`)(?:\{=\w+\})?"
_DISPLAY = r"\$\$.*?\$\$"
_INLINE = r"(?<![\\$\w])\$(?=\S)(?:(?!\n\n)[^$])+?(?<=\S)\$(?!\d)"
CODE = re.compile(f"{_FENCE}|<!--.*?-->|{_TICKS}", re.MULTILINE | re.DOTALL)
CODE_AND_MATH = re.compile(f"{CODE.pattern}|{_DISPLAY}|{_INLINE}", re.MULTILINE | re.DOTALL)

SHORTCODE = re.compile(r"\{\{<\s*(?P<name>[\w-]+)\s*(?P<argument>.*?)\s*>\}\}")
ATTRIBUTES = re.compile(r"\{(?=[#.\w-])(?:[^{}\"]|\"[^\"]*\")*\}")
HEADING = re.compile(
    r"^(?P<marks>#{1,6})[ \t]+(?P<title>.*?)[ \t]*(?P<attributes>\{[^{}]*\})?[ \t]*$", re.MULTILINE
)
LABEL = re.compile(r"\{#(?P<label>(?:fig|tbl|sec|eq)-[\w-]*\w)")
REFERENCE = re.compile(r"(?<![\w@\\])-?@(?P<label>(?:[Ff]ig|[Tt]bl|[Ss]ec|[Ee]q)-[\w-]*\w)")
CITATION = re.compile(r"(?<![\w@\\])-?@(?:\{(?P<braced>[^{}\s]+)\}|(?P<key>\w(?:[\w:.#$%&+?<>~/-]*\w)?))")
LINK_TARGET = re.compile(r"(?<=\])\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)")
URL = re.compile(r"<?\bhttps?://[^\s<>)\]]+>?")

_HEADER = re.compile(r"\A---[ \t]*\n(?P<header>.*?)^(?:---|\.\.\.)[ \t]*\n", re.DOTALL | re.M)
_ATTRIBUTE = re.compile(
    r'#(?P<id>[\w-]+)|\.(?P<cls>[\w-]+)|(?P<key>[\w-]+)=(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s}]+))'
)
_EMBED = re.compile(r"(?P<notebook>[^#\s]+\.ipynb)#(?P<label>[\w-]+)")


class Found(NamedTuple):
    """Something found in an article: a label, key or path, and its place in the text."""

    name: str
    offset: int


class Embed(NamedTuple):
    """An ``{{< embed notebook#label >}}``."""

    notebook: str
    label: str
    offset: int


class Heading(NamedTuple):
    """A heading, with the section it opens: text offsets ``start`` to ``end``."""

    level: int
    title: str
    attributes: str
    start: int
    end: int

    @property
    def numbered(self) -> bool:
        """Whether the heading takes part in the numbering of sections."""
        return not re.search(r"\.unnumbered\b|(?<=[{\s])-(?=[}\s])", self.attributes)


@dataclass(frozen=True)
class Article:
    """A Quarto article: its file, whole text, parsed header, and where its body begins."""

    file: Path
    text: str
    header: Mapping[str, Any]
    body_at: int

    @property
    def body(self) -> str:
        """The text below the YAML header."""
        return self.text[self.body_at :]

    def line(self, offset: int) -> int:
        """The line (counted from 1) of a place in the text."""
        return self.text.count("\n", 0, offset) + 1


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
    if match is None:
        return Article(file, text, {}, 0)
    try:
        header = yaml.safe_load(match["header"]) or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else 1
        raise UserError(f"{shown(file)}:{line}: the header is not YAML: {error.problem}") from error
    return Article(file, text, header, match.end())


def blank(text: str, pattern: re.Pattern[str]) -> str:
    """Replace every match by spaces, keeping line ends, so that offsets stay true."""
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def outside(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, bool]]:
    """Cut a text into pieces: (piece, whether it lies outside all matches)."""
    at = 0
    for match in pattern.finditer(text):
        yield text[at : match.start()], True
        yield match[0], False
        at = match.end()
    yield text[at:], True


def parse_attributes(text: str) -> tuple[str, tuple[str, ...], dict[str, str]]:
    """Read ``{#id .class key="value"}`` (or a bare class name): id, classes, key-value pairs."""
    if not text.startswith("{"):
        return "", (text,) if text else (), {}
    identifier, classes, pairs = "", [], {}
    for match in _ATTRIBUTE.finditer(text):
        if match["id"]:
            identifier = match["id"]
        elif match["cls"]:
            classes.append(match["cls"])
        else:
            pairs[match["key"]] = match["quoted"] if match["quoted"] is not None else match["bare"]
    return identifier, tuple(classes), pairs


def shortcodes(text: str, name: str) -> Iterator[Found]:
    """Every ``{{< name argument >}}`` outside code and comments: its argument and place."""
    for match in SHORTCODE.finditer(blank(text, CODE)):
        if match["name"] == name:
            yield Found(match["argument"], match.start())


def embeds(text: str) -> Iterator[Embed]:
    """Every embedded notebook cell; one without ``notebook.ipynb#label`` has an empty label."""
    for argument, offset in shortcodes(text, "embed"):
        match = _EMBED.fullmatch(argument)
        yield Embed(*((match["notebook"], match["label"]) if match else (argument, "")), offset)


def labels(text: str) -> list[Found]:
    """Every label that a reference can point to, in the order of the text."""
    masked = blank(text, CODE)
    own = [Found(match["label"], match.start()) for match in LABEL.finditer(masked)]
    embedded = [Found(embed.label, embed.offset) for embed in embeds(text) if embed.label]
    return sorted(own + embedded, key=lambda found: found.offset)


def prose(text: str) -> str:
    """The text with code, mathematics, shortcodes, links' targets and addresses blanked out."""
    for pattern in (CODE_AND_MATH, SHORTCODE, LINK_TARGET, URL):
        text = blank(text, pattern)
    return text


def references(text: str) -> Iterator[Found]:
    """Every ``@fig-x``, ``@tbl-x``, ``@sec-x``, ``@eq-x``; the label in lower case at its head."""
    for match in REFERENCE.finditer(prose(text)):
        label = match["label"]
        yield Found(label[0].lower() + label[1:], match.start())


def citations(text: str) -> Iterator[Found]:
    """Every cited key."""
    masked = blank(prose(text), REFERENCE)
    for match in CITATION.finditer(masked):
        yield Found(match["braced"] or match["key"], match.start())


def headings(text: str) -> list[Heading]:
    """Every heading outside code, with the extent of its section."""
    matches = list(HEADING.finditer(blank(text, CODE)))
    found = []
    for place, match in enumerate(matches):
        level = len(match["marks"])
        after = (m.start() for m in matches[place + 1 :] if len(m["marks"]) <= level)
        end = next(after, len(text))
        title = text[match.start("title") : match.end("title")]
        found.append(Heading(level, title, match["attributes"] or "", match.start(), end))
    return found


def section_numbers(text: str) -> dict[int, str]:
    """The number of each numbered heading ("2.1"), keyed by the heading's offset."""
    found = [heading for heading in headings(text) if heading.numbered]
    top = min((heading.level for heading in headings(text)), default=1)
    counts: list[int] = []
    numbers = {}
    for heading in found:
        depth = heading.level - top + 1
        counts = (counts + [0] * depth)[:depth]
        counts[-1] += 1
        numbers[heading.start] = ".".join(map(str, counts))
    return numbers


def numbering(text: str) -> dict[str, str]:
    """The number that a reference to each label shows, for example ``{"fig-x": "2"}``."""
    by_line = {text.count("\n", 0, at): number for at, number in section_numbers(text).items()}
    counts = dict.fromkeys(KINDS, 0)
    numbers = {}
    for label, offset in labels(text):
        kind = label.split("-")[0]
        if kind == "sec":
            numbers[label] = by_line.get(text.count("\n", 0, offset), "")
        elif kind in counts:
            counts[kind] += 1
            numbers[label] = str(counts[kind])
    return numbers
