"""Fenced divs that only Quarto understands: content for one format, and callouts."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from deepvalues.core.errors import UserError
from deepvalues.paper.markup import CODE, blank, parse_attributes

Target = Literal["html", "typst"]

FORMATS: dict[Target, frozenset[str]] = {
    "html": frozenset({"html", "html:js", "html5"}),
    "typst": frozenset({"typst"}),
}
CALLOUTS = ("note", "tip", "important", "warning", "caution")

_OPEN = re.compile(r"^(?P<colons>:{3,})[ \t]*(?P<attributes>\{.*\}|[\w.-]+)[ \t]*:*[ \t]*$")
_CLOSE = re.compile(r"^:{3,}[ \t]*$")
_TITLED = re.compile(
    r"^(?P<head>:{3,}[ \t]*\{[^}]*\.callout-\w+[^}]*)\}[ \t]*\n(?:[ \t]*\n)*#{1,6}[ \t]+(?P<title>.+)$",
    re.MULTILINE,
)


class _Div(NamedTuple):
    """A div as the target knows it: its first and last lines, and whether its content is shown."""

    opening: list[str]
    closing: list[str]
    shown: bool = True


def raw(text: str, target: Target) -> str:
    """Inline text that pandoc hands to the output as it is."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}{{={target}}}"


def raw_block(text: str, target: Target) -> list[str]:
    """Lines of a block that pandoc hands to the output as it is."""
    return ["", f"```{{={target}}}", text, "```", ""]


def resolve_divs(text: str, target: Target) -> str:
    """Drop content meant for other formats and write callouts so that pandoc knows them.

    Raises
    ------
    UserError
        If a div is not closed, or closed without having been opened.
    """
    text = _TITLED.sub(_title_as_attribute, text)
    written: list[str] = []
    stack: list[_Div] = []
    for line, masked in zip(text.split("\n"), blank(text, CODE).split("\n"), strict=True):
        new = [line]
        closed = None
        if match := _OPEN.match(masked):
            stack.append(_div(line, match["colons"], target))
            new = stack[-1].opening
        elif _CLOSE.match(masked):
            if not stack:
                raise UserError("A `:::` closes a div that was never opened.")
            closed = stack.pop()
            new = closed.closing
        if all(div.shown for div in [*stack, *([closed] if closed else [])]):
            written.extend(new)
    if stack:
        raise UserError("A div (`:::`) is not closed.")
    return "\n".join(written)


def _title_as_attribute(match: re.Match[str]) -> str:
    title = match["title"].strip().replace('"', "”")
    return f'{match["head"]} title="{title}"}}'


def _div(line: str, colons: str, target: Target) -> _Div:
    _, classes, pairs = parse_attributes(line.strip(": \t"))
    if "content-visible" in classes or "content-hidden" in classes:
        return _Div([""], [""], shown=_is_shown(classes, pairs, target))
    kind = next((name for name in CALLOUTS if f"callout-{name}" in classes), None)
    if kind is None:
        return _Div(["", line], [colons, ""])
    title = pairs.get("title", kind.capitalize())
    if target == "html":
        opening = ["", f"{colons} {{.callout .callout-{kind}}}", f"[{title}]{{.callout-title}}", ""]
        return _Div(opening, [colons, ""])
    opening = ["", f"{raw('#callout[', target)}{title}{raw('][', target)}", ""]
    return _Div(opening, raw_block("]", target))


def _is_shown(classes: tuple[str, ...], pairs: dict[str, str], target: Target) -> bool:
    formats = FORMATS[target]
    if "when-format" in pairs:
        fits = pairs["when-format"] in formats
    elif "unless-format" in pairs:
        fits = pairs["unless-format"] not in formats
    else:
        raise UserError(
            "The plain rendering knows content-visible and content-hidden "
            'only with when-format="…" or unless-format="…".'
        )
    return fits if "content-visible" in classes else not fits
