"""Which files of the project a notebook reads: observed as they are opened, not declared by hand."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

#: What lies beside a record for the run that writes it; no result depends on it.
PASSING = (".lock", ".tmp", ".log.jsonl")
#: The texts of the public prompts. Their digests are in git: no result depends on whether they are here.
TEXTS = "debug_tests"

_opened: set[str] = set()


@cache
def watch() -> None:
    """Note from now on which files this process opens for reading.

    Python's own audit events are used, so that no function that reads has to know. Files that a
    library opens in C are not seen; Parquet is therefore read from an open file.
    """

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event != "open":
            return
        path, _, flags = arguments
        if isinstance(path, str) and isinstance(flags, int) and not flags & (os.O_WRONLY | os.O_RDWR):
            _opened.add(os.path.abspath(path))  # noqa: PTH100 -- a Path for every open file is slow

    sys.addaudithook(note)


def inputs(root: Path) -> list[str]:
    """The files below ``data/`` that were read since `watch`, relative to the project's folder."""
    folder = str(root.resolve() / "data") + os.sep
    found = (Path(path) for path in _opened if path.startswith(folder))
    return sorted(
        path.relative_to(root.resolve()).as_posix()
        for path in found
        if path.is_file()
        and not path.name.endswith(PASSING)
        and ".part" not in path.name
        # Elsewhere a file of this name is one that counts.
        and not (path.parent.name == "downloads" and path.name.startswith(TEXTS))
    )
