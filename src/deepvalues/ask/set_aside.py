"""Answers for which the disk of their record has no room: files in another folder, one for each.

The next reading of the record takes them in, as it does what worker processes have written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def pattern(record: Path) -> str:
    """The names of such files, which tell records in different folders apart."""
    # A worker's part belongs to the record that it lies beside.
    place = os.fsencode(record.resolve().with_suffix(""))
    return f"deepvalues-{hashlib.blake2b(place, digest_size=8).hexdigest()}-*.jsonl"


def _folders() -> Iterator[Path]:
    """Where there may be room: the temporary folders, and the user's own."""
    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir())
    yield Path("/var/tmp")
    with contextlib.suppress(RuntimeError):
        yield Path.home()


def set_aside(record: Path, line: bytes) -> bool:
    """Write a line to a file of its own; whether there was room for it anywhere."""
    before, after = pattern(record).split("*")
    for folder in _folders():
        with contextlib.suppress(OSError):
            descriptor, name = tempfile.mkstemp(after, before, folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(line)
            except OSError:
                Path(name).unlink()
                raise
            return True
    return False


def found(record: Path) -> list[Path]:
    """The files of a record's answers; what other users put there is none."""
    files = {file for folder in _folders() for file in folder.glob(pattern(record))}
    return sorted(file for file in files if _is_own(file))


def _is_own(file: Path) -> bool:
    about = file.lstat()
    return stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid()
