"""Other authors' data: downloaded to the user's machine, verified by checksum, never redistributed.

`data/sources.yml` lists them. If no checksum is published, that of the first download is recorded in
`data/sources.lock`, in the format of ``sha256sum``, and required from then on.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, NamedTuple

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml, writing
from deepvalues.core.schema import STRICT, Text, checked, like

#: Timeout in seconds for receiving data.
TIMEOUT = 60.0
#: Names of exceptions of requests that mean there is no connection.
_NO_NETWORK = ("ConnectionError", "ConnectTimeout", "ProxyError")
_LOCK_LINE = re.compile(r"([0-9a-f]{64})  downloads/(\S.*)")


class NoNetworkError(UserError):
    """A file could not be downloaded because there is no connection."""


@dataclass(frozen=True)
class Source:
    """An entry of ``data/sources.yml``; ``sha256`` is None if none is published."""

    __pydantic_config__ = STRICT

    name: Text
    file: Annotated[Text, like(r"[^/]+", "a file name without folders")]
    url: Annotated[Text, like(r"https?://.+", "a URL that begins with http:// or https://")]
    sha256: Text | None
    what: Text
    cite: Text
    licence: Text


class Fetched(NamedTuple):
    """A verified file; ``recorded`` if its checksum was recorded just now."""

    name: str
    path: Path
    sha256: str
    downloaded: bool
    recorded: bool

    def __str__(self) -> str:
        size = self.path.stat().st_size / 1e6
        origin = "downloaded" if self.downloaded else "already there"
        known = "recorded in data/sources.lock" if self.recorded else "as expected"
        return (
            f"{self.name}: {paths.shown(self.path)}: {origin}, {size:.1f} MB, SHA-256 {self.sha256} {known}"
        )


@dataclass(frozen=True)
class Store:
    """The list of sources, the file of their recorded checksums, and the folder of their files."""

    sources_file: Path
    lock_file: Path
    folder: Path
    timeout: float = TIMEOUT

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

    def fetch(self, name: str) -> Fetched:
        """Download a source's file, or verify an existing one.

        A failed download leaves nothing behind. An unexpected file is kept with ``.changed`` added to its
        name.

        Raises
        ------
        UserError
            When the name is unknown, or the file can't be downloaded or is not the expected one; a
            `NoNetworkError` if there is no connection.
        """
        path = self.path(name)
        try:
            if path.exists():
                return self._admit(name, path)
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                beside = tempfile.TemporaryDirectory(dir=self.folder, prefix=".partial-")
            with beside as partial:
                fresh = Path(partial) / path.name
                self._download(self.source(name), fresh)
                return self._admit(name, fresh)
        except (OSError, ValueError) as error:
            # Exceptions of requests are OSErrors; a few of urllib3 are ValueErrors.
            kind = NoNetworkError if type(error).__name__ in _NO_NETWORK else UserError
            raise kind(self._download_failed(name, error)) from None

    def verified(self, name: str) -> Path:
        """The path of a source's verified file; downloads nothing.

        Raises
        ------
        UserError
            When the file is missing, was never verified, or is not the expected one.
        """
        path, expected = self.path(name), self.expected(name)
        if not path.exists():
            raise UserError(
                f"{paths.shown(path)}: missing; download it with: make data (or: deepvalues data {name})"
            )
        if expected is None:
            raise UserError(f"{paths.shown(path)}: not verified yet; run: deepvalues data {name}")
        actual = sha256(path)
        if actual != expected:
            raise UserError(self._difference(name, actual, f"Run: deepvalues data {name}"))
        return path

    def _download(self, source: Source, target: Path) -> None:
        # Not at the top: in a notebook, importing pooch warns that widgets are missing.
        import pooch

        # `Fetched` reports the same as pooch's log.
        pooch.get_logger().setLevel("ERROR")
        downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=self.timeout)
        # No checksum here, since pooch would delete a changed file.
        pooch.retrieve(
            source.url, known_hash=None, fname=target.name, path=target.parent, downloader=downloader
        )

    def _admit(self, name: str, candidate: Path) -> Fetched:
        """Accept a file if it is the expected one, or the first download; record a new checksum."""
        path, expected, actual = self.path(name), self.expected(name), sha256(candidate)
        if expected is None:
            _check_format(name, candidate)
            self._record(path.name, actual)
        elif actual != expected:
            changed = path.with_name(f"{path.name}.changed")
            candidate.replace(changed)
            advice = f"It was saved as {paths.shown(changed)} and is not used. {self._advice(name)}"
            raise UserError(self._difference(name, actual, advice))
        candidate.replace(path)
        return Fetched(name, path, actual, downloaded=candidate != path, recorded=expected is None)

    def _difference(self, name: str, actual: str, advice: str) -> str:
        known = self.sources_file if self.source(name).sha256 else self.lock_file
        return (
            f"{name}: {paths.shown(self.path(name))} is not the expected file: "
            f"its SHA-256 is {actual}, but {paths.shown(known)} has {self.expected(name)}. {advice}"
        )

    def _advice(self, name: str) -> str:
        again = f"Run again: deepvalues data {name}."
        if self.source(name).sha256:
            return f"{again} If the message is the same, the URL now serves another file."
        return (
            f"{again} If the message is the same, the publisher has changed the file. To use the new one, "
            f"first delete its line in {paths.shown(self.lock_file)}; results will then use other data."
        )

    def _download_failed(self, name: str, error: Exception) -> str:
        source = self.source(name)
        return (
            f"{name} could not be downloaded ({reason(error)}): {source.what}\n"
            f"  from {source.url}\n"
            "  Try again when the machine is online. Or get the file by other means, save it as "
            f"{paths.shown(self.path(name))}, and run: deepvalues data {name}"
        )

    def _recorded(self) -> dict[str, str]:
        """SHA-256 by file name, from the lock file."""
        if not self.lock_file.exists():
            return {}
        recorded = {}
        for number, line in enumerate(self.lock_file.read_text(encoding="utf-8").splitlines(), start=1):
            match = _LOCK_LINE.fullmatch(line)
            if match is None:
                raise UserError(
                    f"{paths.shown(self.lock_file)}: line {number} is not a SHA-256, two spaces and "
                    f"downloads/FILE: {line[:90]!r}; restore the file, or delete the line"
                )
            recorded[match[2]] = match[1]
        return recorded

    def _record(self, file: str, digest: str) -> None:
        sums = sorted({**self._recorded(), file: digest}.items())
        fresh = self.lock_file.with_name(f"{self.lock_file.name}.tmp")
        fresh.write_text("".join(f"{digest}  downloads/{name}\n" for name, digest in sums), encoding="utf-8")
        fresh.replace(self.lock_file)


def load_sources(path: Path) -> dict[str, Source]:
    """Read the list of sources.

    Raises
    ------
    UserError
        When the file is missing or malformed; the message names the entry.
    """
    listed = read_yaml(path)
    if not isinstance(listed, dict):
        raise UserError(f"{path}: not a list of sources by name")
    sources = {}
    for name, entry in listed.items():
        try:
            given = {**entry, "name": name} if isinstance(entry, dict) else entry
            sources[str(name)] = checked(Source, given)
        except ValueError as error:
            raise UserError(f"{path}: {name}: {error}") from None
    return sources


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_format(name: str, path: Path) -> None:
    """Check the format of a file without a known checksum, since share links may return a web page."""
    if path.suffix != ".json":
        return
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        head = path.read_bytes()[:40]
        raise UserError(
            f"{name}: the file is not JSON ({error}); it begins with {head!r} and was not recorded. "
            "Open the URL in a browser to see what it returns."
        ) from None


def reason(error: Exception) -> str:
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
