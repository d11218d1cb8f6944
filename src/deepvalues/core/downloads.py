"""Files that are downloaded to the user's machine, verified by checksum, and never redistributed.

They are other authors' data and the weights of open models. `data/sources.yml` lists the data; if no checksum
is published, that of the first download is recorded in `data/sources.lock`, in the format of ``sha256sum``,
and required from then on.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, NamedTuple

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml, write_text, writing
from deepvalues.core.paths import shown
from deepvalues.core.schema import STRICT, Text, checked, like

#: Timeouts in seconds for connecting and for receiving data.
TIMEOUT = 10.0, 60.0
_LOCK_LINE = re.compile(r"([0-9a-f]{64})  downloads/(\S.*)")


class OriginError(Exception):
    """Why an origin did not provide the file, in a few words."""


class Origin(NamedTuple):
    """Where a file can come from: a name for messages, and a function that writes the file to a path."""

    name: str
    write: Callable[[Path], None]


def obtain(
    what: str,
    path: Path,
    expected: str | None,
    origins: Sequence[Origin],
    *,
    size: int | None = None,
    advice: str = "",
) -> str:
    """Write a file from the first origin that provides it, unless it is there.

    The file is moved into place once it is verified; another file that is there is renamed, never replaced. A
    failed download leaves what was there before.

    Parameters
    ----------
    what, advice
        The beginning and the end of the error message.
    expected, size
        SHA-256 and number of bytes of the file, if known.

    Returns
    -------
    str
        A report: the path, where the file came from, what a file that was there is called now, and the size.

    Raises
    ------
    UserError
        When no origin provides the expected file.
    OSError
        When the file can't be saved.
    """
    before = fault(path, expected, size)
    if before is None:
        return f"{shown(path)}: already there, {path.stat().st_size / 1e6:.1f} MB"
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if size is not None and free < size:
        needed = f"the file has {size / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are free"
        raise OSError(errno.ENOSPC, needed)
    faults = []
    for origin in origins:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as beside:
            fresh = Path(beside) / path.name
            try:
                origin.write(fresh)
            except OriginError as error:
                faults.append(f"{origin.name}: {error}")
                continue
            wrong = fault(fresh, expected, size)
            if wrong is None:
                aside = _set_aside(path)
                fresh.replace(path)
                megabytes = path.stat().st_size / 1e6
                return f"{shown(path)}: downloaded from {origin.name}{aside}, {megabytes:.1f} MB"
            faults.append(f"{origin.name}: the downloaded file {wrong}")
    raise UserError(
        f"{what}: {shown(path)} {before}, and could not be downloaded ({'; '.join(faults)}). "
        f"Try again when the machine is online, or save the file there and run this again.{advice}"
    )


def _set_aside(path: Path) -> str:
    """Rename whatever is at a path to a free name; returns a note that tells the name."""
    if not os.path.lexists(path):
        return ""
    names = (path.with_name(f"{path.name}.changed{number or ''}") for number in itertools.count())
    aside = next(name for name in names if not os.path.lexists(name))
    path.rename(aside)
    return f" (the file that was there is now {shown(aside)})"


def fault(path: Path, expected: str | None, size: int | None = None) -> str | None:
    """What is wrong with a file; None if it has the expected SHA-256.

    Without one, any file will do, but a .json file must be JSON, since share links may return a web page.
    """
    if not path.is_file():
        return "is missing"
    if expected is None:
        with contextlib.suppress(ValueError):
            if path.suffix == ".json":
                json.loads(path.read_bytes())
            return None
        return f"is not JSON: it begins with {path.read_bytes()[:40]!r}"
    if size is not None and path.stat().st_size < size:
        return f"is incomplete: it has {path.stat().st_size:,} of {size:,} bytes"
    actual = sha256(path)
    return (
        None if actual == expected else f"is not the expected file: its SHA-256 is {actual}, not {expected}"
    )


def download(url: str, target: Path) -> None:
    """Download a file.

    Raises
    ------
    OriginError
        When it can't be downloaded.
    OSError
        When the disk is full.
    """
    # Not at the top: in a notebook, importing pooch warns that widgets are missing.
    import pooch

    try:
        pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)(url, str(target), None)
    except (OSError, ValueError) as error:
        # Exceptions of requests are OSErrors without errno, a few of urllib3 ValueErrors.
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OriginError(_reason(error)) from None


def _reason(error: Exception) -> str:
    """A network error in a few words; the messages of requests are several lines long."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered with status {response.status_code}"
    known = {
        "ConnectTimeout": "connecting timed out",
        "ReadTimeout": "the server stopped responding",
        "ChunkedEncodingError": "the connection was lost",
        "SSLError": "no secure connection",
        "ProxyError": "the proxy refused",
        "ConnectionError": "no connection",
    }
    return known.get(type(error).__name__, str(error))


@dataclass(frozen=True)
class Source:
    """An entry of ``data/sources.yml``; ``sha256`` is None if none is published."""

    __pydantic_config__ = STRICT

    file: Annotated[Text, like(r"[^/]+", "a file name without folders")]
    url: Annotated[Text, like(r"https?://.+", "a URL that begins with http:// or https://")]
    sha256: Text | None
    what: Text
    cite: Text
    licence: Text


@dataclass(frozen=True)
class Store:
    """The list of sources, the file of their recorded checksums, and the folder of their files."""

    sources_file: Path
    lock_file: Path
    folder: Path

    @classmethod
    def project(cls) -> Store:
        """The store of this clone."""
        return cls(paths.SOURCES, paths.SOURCES_LOCK, paths.DOWNLOADS)

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The sources by name.

        Raises
        ------
        UserError
            When the list can't be read, or an entry has a missing or unknown key.
        """
        return load_sources(self.sources_file)

    def source(self, name: str) -> Source:
        """Find a source; an unknown name is a `UserError`."""
        if name not in self.sources:
            raise UserError(f"unknown data set {name!r}; there are {', '.join(self.sources)}")
        return self.sources[name]

    def path(self, name: str) -> Path:
        """The path of a source's file, which need not exist."""
        return self.folder / self.source(name).file

    def expected(self, name: str) -> str | None:
        """The SHA-256 that a source's file must have: the published or else the recorded one, if any."""
        source = self.source(name)
        return source.sha256 or self._recorded().get(source.file)

    def fetch(self, name: str) -> str:
        """Download a source's file unless it is there, verify it, and record the checksum of a first one.

        Returns
        -------
        str
            A one-line report.

        Raises
        ------
        UserError
            When the name is unknown, or the expected file can't be downloaded or saved.
        """
        source, path, expected = self.source(name), self.path(name), self.expected(name)
        lock = shown(self.lock_file)
        advice = (
            f" If the publisher has changed it, delete its line in {lock} to use the new one; results will "
            "then use other data."
        )
        with writing(self.folder):
            report = obtain(
                name,
                path,
                expected,
                [Origin(source.url, partial(download, source.url))],
                advice=advice if expected and not source.sha256 else "",
            )
        if expected is None:
            self._record(path)
        return f"{name}: {report}, SHA-256 {'as expected' if expected else f'recorded in {lock}'}"

    def verified(self, name: str) -> Path:
        """The path of a source's verified file; downloads nothing.

        Raises
        ------
        UserError
            When the file is missing, was never verified, or is not the expected one.
        """
        path, expected = self.path(name), self.expected(name)
        wrong = fault(path, expected) or (None if expected else "is not verified yet")
        if wrong:
            raise UserError(f"{shown(path)} {wrong}; run: make data (or: deepvalues data {name})")
        return path

    def _recorded(self) -> dict[str, str]:
        """SHA-256 by file name, from the lock file."""
        if not self.lock_file.exists():
            return {}
        recorded = {}
        for number, line in enumerate(self.lock_file.read_text(encoding="utf-8").splitlines(), start=1):
            match = _LOCK_LINE.fullmatch(line)
            if match is None:
                raise UserError(
                    f"{shown(self.lock_file)}: line {number} is not a SHA-256, two spaces and "
                    f"downloads/FILE: {line[:90]!r}; restore the file, or delete the line"
                )
            recorded[match[2]] = match[1]
        return recorded

    def _record(self, path: Path) -> None:
        sums = sorted({**self._recorded(), path.name: sha256(path)}.items())
        fresh = self.lock_file.with_name(f"{self.lock_file.name}.tmp")
        write_text(fresh, "".join(f"{digest}  downloads/{name}\n" for name, digest in sums))
        fresh.replace(self.lock_file)


def load_sources(path: Path) -> dict[str, Source]:
    """Read the list of sources.

    Raises
    ------
    UserError
        When the file is missing or malformed; the message names the entry.
    """
    listed = read_yaml(path)
    try:
        return checked(dict[str, Source], listed)
    except ValueError as error:
        raise UserError(f"{shown(path)}: {error}") from None


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
