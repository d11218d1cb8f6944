"""The source filter of the plain rendering: Quarto's Markdown in, pandoc's Markdown out.

Pure functions from text to text. They expect sources without faults: `check.unresolved` finds
those first and names file and line.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from deepvalues.core.errors import UserError
from deepvalues.paper.cells import Cell, figure, table
from deepvalues.paper.divs import Target, raw, raw_block, resolve_divs
from deepvalues.paper.markup import (
    ATTRIBUTES,
    CODE,
    CODE_AND_MATH,
    HEADING,
    KINDS,
    REFERENCE,
    SHORTCODE,
    blank,
    numbering,
    outside,
    parse_attributes,
)
from deepvalues.paper.numbers import lookup

IMAGES = "index_files"

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_EQUATION = re.compile(r"\$\$(?P<formula>[^$]+)\$\$[ \t]*\{#(?P<label>eq-[\w-]*\w)\}")
_IMAGE = re.compile(
    r"^!\[(?P<caption>[^\n]*)\]\((?P<path>[^)\s]+)\)\{(?P<attributes>#fig-[^}]*)\}[ \t]*$", re.M
)
_TABLE_CAPTION = re.compile(
    r"^(?:Table)?:[ \t]+(?P<caption>.+?)[ \t]*\{#(?P<label>tbl-[\w-]*\w)\}[ \t]*$", re.M
)
_GROUP = re.compile(r"\[(?P<prefix>[^\[\]@;]*?)(?P<list>-?@(?:fig|tbl|sec|eq)-[^\[\]]*)\](?!\()", re.I)
_TARGET = re.compile(r"(?<=\])\([^()\n]*\)")
_SITE_LINK = re.compile(r"(?<=\]\()(?:\.\./)+(?=(?:data/published|data/results|figures|notebooks)/)")


@dataclass(frozen=True)
class Sources:
    """What an article draws on: variables, and cells keyed by (notebook, label)."""

    variables: Mapping[str, Any]
    cells: Mapping[tuple[str, str], Cell]


def resolve(text: str, sources: Sources, target: Target) -> str:
    """Turn an article's body into Markdown that pandoc understands.

    Parameters
    ----------
    text
        The body in Quarto's Markdown.
    sources
        The variables and notebook cells that it names.
    target
        The format that pandoc will write.
    """
    text = _outside(_COMMENT.sub("", text), CODE, lambda part: _SITE_LINK.sub("", part))
    text = resolve_divs(text, target)
    numbers = numbering(text)
    text = _outside(text, CODE, lambda part: _own_captions(part, numbers, target))
    text = _outside(text, CODE, lambda part: _shortcodes(part, sources, numbers, target))
    text = _outside(text, CODE, lambda part: _equations(part, numbers, target))
    return _outside(text, CODE_AND_MATH, lambda part: _references(part, numbers))


def resolve_value(value: Any, variables: Mapping[str, Any]) -> Any:
    """Resolve the variables in every text of a YAML header."""
    if isinstance(value, dict):
        return {key: resolve_value(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolve_value(inner, variables) for inner in value]
    if isinstance(value, str):
        return SHORTCODE.sub(lambda match: _variable(match, variables), value)
    return value


def images(cells: Mapping[tuple[str, str], Cell]) -> dict[str, bytes]:
    """The image files that embedded figures need, by path below the site's root."""
    found = {}
    for (_, label), cell in cells.items():
        if label.startswith("fig-"):
            suffix, content = figure(cell)
            found[f"{IMAGES}/{label}.{suffix}"] = content
    return found


def _outside(text: str, pattern: re.Pattern[str], change: Callable[[str], str]) -> str:
    """Change a text wherever the pattern does not match."""
    return "".join(change(part) if free else part for part, free in outside(text, pattern))


def _shortcodes(text: str, sources: Sources, numbers: Mapping[str, str], target: Target) -> str:
    if target == "html":
        text = marked(text, sources.variables)

    def replace(match: re.Match[str]) -> str:
        if match["name"] == "embed":
            return _embed(match["argument"], sources, numbers, target)
        return _variable(match, sources.variables)

    return SHORTCODE.sub(replace, text)


def marked(text: str, variables: Mapping[str, Any]) -> str:
    """Put in the variables, each with its key around it, wherever a text may hold HTML.

    Those in formulas, headings, attributes and the targets of links stay as they are.
    """
    free = text
    for pattern in (CODE_AND_MATH, HEADING, ATTRIBUTES, _TARGET):
        free = blank(free, pattern)

    def replace(match: re.Match[str]) -> str:
        if match["name"] != "var" or free[match.start()] != "{":
            return match[0]
        opening = f'<span class="number" data-key="{html.escape(match["argument"])}">'
        return f"{raw(opening, 'html')}{_variable(match, variables)}{raw('</span>', 'html')}"

    return SHORTCODE.sub(replace, text)


def _variable(match: re.Match[str], variables: Mapping[str, Any]) -> str:
    if match["name"] != "var":
        raise UserError(f"The plain rendering does not know the shortcode {match[0]}.")
    value = lookup(variables, match["argument"])
    if value is None:
        raise UserError(f"No variable is called {match['argument']}.")
    return value


def _embed(argument: str, sources: Sources, numbers: Mapping[str, str], target: Target) -> str:
    notebook, _, label = argument.partition("#")
    cell = sources.cells.get((notebook, label))
    if cell is None:
        raise UserError(f"No cell is called {argument}.")
    if label.startswith("tbl-"):
        caption = numbered_caption(label, cell.caption, numbers)
        return f"\n\n{table(cell)}\n\n: {caption} {{#{label}}}\n\n"
    suffix, _ = figure(cell)
    path = f"{IMAGES}/{label}.{suffix}"
    return figure_markdown(
        label, path, numbered_caption(label, cell.caption, numbers), cell.alternative, target
    )


def numbered_caption(label: str, caption: str, numbers: Mapping[str, str]) -> str:
    """A caption that begins with "Figure 1." or "Table 1."."""
    kind, _, _ = label.partition("-")
    return f"**{KINDS[kind]} {numbers[label]}.** {caption}"


def figure_markdown(label: str, path: str, caption: str, alternative: str, target: Target) -> str:
    """A figure with its alternative text, as each target wants it."""
    if target == "html":
        image = f'<img src="{html.escape(path)}" alt="{html.escape(alternative)}" />'
        opening = raw_block(f'<figure id="{label}">\n{image}\n<figcaption>', target)
        return "\n".join(["", *opening, caption, *raw_block("</figcaption>\n</figure>", target)])
    image = f"image({typst_string(path)}, alt: {typst_string(alternative)})"
    opening_text = raw(f"#figure({image}, kind: image, caption: [", target)
    return f"\n\n{opening_text}{caption}{raw(f']) <{label}>', target)}\n\n"


def typst_string(text: str) -> str:
    """A string literal of the typst language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _own_captions(text: str, numbers: Mapping[str, str], target: Target) -> str:
    """Number the figures and tables that stand in the article itself."""

    def image(match: re.Match[str]) -> str:
        label, _, pairs = parse_attributes("{" + match["attributes"] + "}")
        path = f"{IMAGES}/{PurePosixPath(match['path']).name}"
        caption = numbered_caption(label, match["caption"], numbers)
        return figure_markdown(label, path, caption, pairs.get("fig-alt", ""), target)

    def caption(match: re.Match[str]) -> str:
        label = match["label"]
        return f": {numbered_caption(label, match['caption'], numbers)} {{#{label}}}"

    return _TABLE_CAPTION.sub(caption, _IMAGE.sub(image, text))


def own_images(text: str) -> list[str]:
    """The paths of the images that stand in the article itself."""
    return [match["path"] for part, free in outside(text, CODE) if free for match in _IMAGE.finditer(part)]


def _equations(text: str, numbers: Mapping[str, str], target: Target) -> str:
    def replace(match: re.Match[str]) -> str:
        label, formula = match["label"], f"$${match['formula']}$$"
        number = f"({numbers[label]})"
        if target == "html":
            lines = [f"::: {{#{label} .equation}}", formula, "", f"[{number}]{{.equation-number}}", ":::"]
            return "\n".join(["", "", *lines, "", ""])
        opening, closing = raw(f'#numbered("{number}")[', target), raw(f"] <{label}>", target)
        return f"\n\n{opening}{formula}{closing}\n\n"

    return _EQUATION.sub(replace, text)


def _references(text: str, numbers: Mapping[str, str]) -> str:
    def link(match: re.Match[str], prefix: str | None = None) -> str:
        label = match["label"][0].lower() + match["label"][1:]
        if label not in numbers:
            raise UserError(f"Nothing has the label {label}.")
        name = KINDS[label.split("-")[0]] if prefix is None else prefix
        if match[0].startswith("-"):
            name = ""
        return f"[{name}\u00a0{numbers[label]}](#{label})" if name else f"[{numbers[label]}](#{label})"

    def group(match: re.Match[str]) -> str:
        # As in Quarto, the words before the first reference take the place of its name only.
        first, *others = (part.strip() for part in match["list"].split(";"))
        prefix = match["prefix"].strip() or None
        shown = [REFERENCE.sub(lambda found: link(found, prefix), first)]
        return ", ".join([*shown, *(REFERENCE.sub(link, part) for part in others)])

    return REFERENCE.sub(link, _GROUP.sub(group, text))
