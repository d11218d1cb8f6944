"""Executed notebooks as Markdown, for the notebook pages of the plain rendering."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from deepvalues.paper.cells import Cell, figures, read_cells
from deepvalues.paper.project import Notebook

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_TAGS = {"parameters": "Parameters", "injected-parameters": "Parameters of this run"}


class Page(NamedTuple):
    """A notebook's Markdown and its images, by path below the notebook's folder."""

    markdown: str
    images: dict[str, bytes]


def notebook_page(notebook: Notebook, numbers: Mapping[str, str]) -> Page:
    """Write a notebook as Markdown: text, code without its option lines, and outputs.

    Parameters
    ----------
    notebook
        The notebook, which has been run.
    numbers
        What the captions of its labelled cells begin with.
    """
    parts: list[str] = []
    images: dict[str, bytes] = {}
    for cell in read_cells(notebook.file):
        if cell.kind == "markdown":
            parts.append(cell.source)
        elif cell.kind == "code" and cell.options.get("include", True):
            shown, own = _code_cell(cell, numbers.get(cell.label, ""))
            parts.append(shown)
            images |= own
    return Page("\n\n".join(parts) + "\n", images)


def fenced(text: str, attributes: str) -> str:
    """A code block, with attributes as in braces, whose fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence} {{{attributes}}}\n{text}\n{fence}"


def _code_cell(cell: Cell, number: str) -> tuple[str, dict[str, bytes]]:
    anchor = cell.anchor
    lines = [f":::::: {{#{anchor} .cell}}", ""]
    for tag in cell.tags:
        if tag in _TAGS and not cell.options.get("code-fold"):
            lines += [f"[{_TAGS[tag]}]{{.tag}}", ""]
    if cell.source and cell.options.get("echo", True):
        lines += [*_code(cell), ""]
    images: dict[str, bytes] = {}
    if cell.options.get("output", True):
        shown, images = _outputs(cell, anchor, number)
        lines += shown
    return "\n".join([*lines, "", "::::::"]), images


def _code(cell: Cell) -> list[str]:
    """The lines of a cell's code, folded where the cell asks for it as in Quarto."""
    code = fenced(cell.source, ".python")
    if not cell.options.get("code-fold"):
        return [code]
    summary = html.escape(str(cell.options.get("code-summary", "Code")))
    return [_raw(f"<details>\n<summary>{summary}</summary>"), "", code, "", _raw("</details>")]


def _outputs(cell: Cell, anchor: str, number: str) -> tuple[list[str], dict[str, bytes]]:
    stem = f"{cell.notebook.stem}_files/{anchor}"
    images = {f"{stem}-{i}.{suffix}": data for i, (suffix, data) in enumerate(figures(cell), 1)}
    caption = f"**{number}.** {cell.caption}" if number else cell.caption
    lines: list[str] = []
    if images:
        lines += _figure(cell, list(images), caption)
    for output in cell.outputs:
        lines += ["", *_output(output, cell, caption), ""]
    return lines, images


def _figure(cell: Cell, paths: list[str], caption: str) -> list[str]:
    alternative = html.escape(cell.alternative or cell.caption or "Figure")
    shown = "\n".join(f'<img src="{html.escape(path)}" alt="{alternative}" />' for path in paths)
    if not caption:
        return [_raw(f"<figure>\n{shown}\n</figure>")]
    opening, closing = _raw(f"<figure>\n{shown}\n<figcaption>"), _raw("</figcaption>\n</figure>")
    return [opening, "", caption, "", closing]


def _output(output: Mapping[str, Any], cell: Cell, caption: str) -> list[str]:
    """The lines of one output; images are shown elsewhere."""
    if output["output_type"] == "stream":
        return [] if output["name"] == "stderr" else [_text(output["text"])]
    if output["output_type"] == "error":
        return [_text("\n".join(output["traceback"]))]
    data = output["data"]
    if any(kind.startswith("image/") for kind in data):
        return []
    if "text/markdown" in data:
        own = ["", f": {caption}"] if cell.label.startswith("tbl-") and caption else []
        return [str(data["text/markdown"]).strip("\n"), *own]
    if "text/html" in data:
        frame = f'<div class="scroll" tabindex="0" role="region" aria-label="Output of cell {cell.position}">'
        return [_raw(f"{frame}\n{data['text/html']}\n</div>")]
    return [_text(str(data.get("text/plain", "")))]


def _raw(text: str) -> str:
    return fenced(text, "=html")


def _text(text: str) -> str:
    return fenced(_ANSI.sub("", text).rstrip("\n"), ".output")
