"""Executed notebooks without what changes from run to run: times, ids, paths, progress bars."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deepvalues.paper.cells import split_options

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")


def scrub(notebook: Any, root: Path) -> None:
    """Make an executed notebook depend on its source, parameters and data alone.

    Parameters
    ----------
    notebook
        The executed notebook; it is changed in place.
    root
        The project's folder; its path is taken out of every text output.
    """
    notebook.metadata = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    taken: set[str] = set()
    for position, cell in enumerate(notebook.cells, start=1):
        cell["id"] = _cell_id(cell, position, taken)
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": list(tags)} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = list(_outputs(cell.outputs, root))


def _cell_id(cell: Any, position: int, taken: set[str]) -> str:
    """An id made from the cell's label, or from its position where it has none."""
    label = (
        split_options(cell.source, f"cell {position}")[0].get("label") if cell.cell_type == "code" else None
    )
    made = re.sub(r"[^\w-]", "-", str(label), flags=re.ASCII)[:64] if label else f"cell-{position:02d}"
    made = f"cell-{position:02d}" if made in taken else made
    taken.add(made)
    return made


def _outputs(outputs: Iterable[Any], root: Path) -> Iterator[Any]:
    """The outputs without stderr; what was printed in several pieces is one piece again."""
    printed: Any = None
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stdout" and printed is None:
                printed = output
            elif output.name == "stdout":
                printed.text += output.text
            continue
        if printed is not None:
            yield from _printed(printed, root)
            printed = None
        if "data" in output:
            output.data = {kind: _data(kind, value, root) for kind, value in output.data.items()}
        yield output
    if printed is not None:
        yield from _printed(printed, root)


def _printed(output: Any, root: Path) -> Iterator[Any]:
    output.text = _text(_OVERWRITTEN.sub("", output.text), root)
    if output.text:
        yield output


def _data(kind: str, value: Any, root: Path) -> Any:
    return _text(value, root) if kind.startswith("text/") and isinstance(value, str) else value


def _text(text: str, root: Path) -> str:
    """A text without the project's path and without addresses in memory."""
    return _ADDRESS.sub("", text.replace(f"{root}/", "").replace(str(root), "."))
