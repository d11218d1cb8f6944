"""Data of others: fetched onto the user's machine, checked against their check sums, never shipped.

`data/sources.yml` lists them. Where no check sum is published, that of the first copy is recorded in
`data/sources.lock`, in the format of ``sha256sum``, and holds ever after.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml, writing

#: Seconds without a byte after which a transfer has failed.
TIMEOUT = 60.0
#: Exceptions of requests, by name, that say that nothing could be reached.
_NO_NETWORK = ("ConnectionError", "ConnectTimeout", "ProxyError")
_LOCK_LINE = re.compile(r"([0-9a-f]{64})  downloads/(\S.*)")


class NoNetworkError(UserError):
    """A file that could not be fetched for want of a connection."""


@dataclass(frozen=True)
class Source:
    """An entry of ``data/sources.yml``; ``sha256`` is None where none is published."""

    name: str
    file: str
    url: str
    sha256: str | None
    what: str
    cite: str
    licence: str


class Fetched(NamedTuple):
    """A verified file; ``recorded`` when its check sum was recorded just now."""

    name: str
    path: Path
    sha256: str
    downloaded: bool
    recorded: bool

    def __str__(self) -> str:
        size = self.path.stat().st_size / 1e6
        came = "fetched" if self.downloaded else "already there"
        known = "recorded in data/sources.lock" if self.recorded else "as expected"
        return f"{self.name}: {paths.shown(self.path)}: {came}, {size:.1f} MB, SHA-256 {self.sha256} {known}"


@dataclass(frozen=True)
class Store:
    """Where sources are listed, their check sums recorded, and their files kept."""

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
            When the list cannot be read, or an entry lacks a key or has a strange one.
        """
        return load_sources(self.sources_file)

    def source(self, name: str) -> Source:
        """Find a source; an unknown name is a `UserError`."""
        if name not in self.sources:
            raise UserError(f"unknown data set {name!r}; there are {', '.join(self.sources)}")
        return self.sources[name]

    def path(self, name: str) -> Path:
        """Where a source's file is, or would be."""
        return self.folder / self.source(name).file

    def expected(self, name: str) -> str | None:
        """The SHA-256 that a source's file must have: published, else recorded, else None."""
        source = self.source(name)
        return source.sha256 or self._recorded().get(source.file)

    def fetch(self, name: str) -> Fetched:
        """Fetch a source's file, or verify the one that is there.

        A transfer that breaks off leaves nothing behind. A file that is not the expected one is kept
        beside its place, with ``.changed`` added to its name.

        Raises
        ------
        UserError
            When the name is unknown, the file cannot be had, or it is not the expected one. It is a
            `NoNetworkError` where there is no connection.
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
            # What requests raises are OSErrors; urllib3 has a few that are ValueErrors.
            kind = NoNetworkError if type(error).__name__ in _NO_NETWORK else UserError
            raise kind(self._out_of_reach(name, error)) from None

    def verified(self, name: str) -> Path:
        """The path of a source's file, for those who read it; nothing is fetched.

        Raises
        ------
        UserError
            When the file is not there, was never checked, or is not the expected one.
        """
        path, expected = self.path(name), self.expected(name)
        if not path.exists():
            raise UserError(
                f"{paths.shown(path)}: not there yet; fetch it with: make data (or: deepvalues data {name})"
            )
        if expected is None:
            raise UserError(f"{paths.shown(path)}: not checked yet; run: deepvalues data {name}")
        found = sha256(path)
        if found != expected:
            raise UserError(self._difference(name, found, f"Run: deepvalues data {name}"))
        return path

    def _download(self, source: Source, target: Path) -> None:
        # Here, and not above: inside a notebook pooch's import warns that there are no widgets for its bars.
        import pooch

        # pooch tells its log what is told below in the project's own words.
        pooch.get_logger().setLevel("ERROR")
        downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=self.timeout)
        # The check is ours, as pooch would throw a changed file away.
        pooch.retrieve(
            source.url, known_hash=None, fname=target.name, path=target.parent, downloader=downloader
        )

    def _admit(self, name: str, candidate: Path) -> Fetched:
        """Let a file in when it is the expected one, or the first of its kind."""
        path, expected, found = self.path(name), self.expected(name), sha256(candidate)
        if expected is None:
            _check_form(name, candidate)
            self._record(path.name, found)
        elif found != expected:
            aside = path.with_name(f"{path.name}.changed")
            candidate.replace(aside)
            kept = f"It was kept as {paths.shown(aside)}, and nothing uses it. {self._advice(name)}"
            raise UserError(self._difference(name, found, kept))
        candidate.replace(path)
        return Fetched(name, path, found, downloaded=candidate != path, recorded=expected is None)

    def _difference(self, name: str, found: str, advice: str) -> str:
        known = self.sources_file if self.source(name).sha256 else self.lock_file
        return (
            f"{name}: {paths.shown(self.path(name))} is not the file that is expected: "
            f"its SHA-256 is {found}, but {paths.shown(known)} has {self.expected(name)}. {advice}"
        )

    def _advice(self, name: str) -> str:
        again = f"Run again: deepvalues data {name}."
        if self.source(name).sha256:
            return f"{again} If it comes out the same, the address gives another file than it used to."
        return (
            f"{again} If it comes out the same, the publisher has changed the file. To use the new one, "
            f"delete its line in {paths.shown(self.lock_file)} first; results are then of other data."
        )

    def _out_of_reach(self, name: str, error: Exception) -> str:
        source = self.source(name)
        return (
            f"{name} could not be fetched ({reason(error)}): {source.what}\n"
            f"  from {source.url}\n"
            "  Try again when the machine is online. Or fetch it by other means, save it as "
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
                    f"downloads/ with a file's name: {line[:90]!r}; restore the file, or delete the line"
                )
            recorded[match[2]] = match[1]
        return recorded

    def _record(self, file: str, found: str) -> None:
        sums = sorted({**self._recorded(), file: found}.items())
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
    keys = {field.name for field in fields(Source)} - {"name"}
    for name, entry in listed.items():
        if not isinstance(entry, dict) or entry.keys() != keys:
            raise UserError(f"{path}: {name}: needs the keys {', '.join(sorted(keys))}, and no others")
        texts = {key: text for key, text in entry.items() if key != "sha256" or text is not None}
        if (
            not all(isinstance(text, str) for text in texts.values())
            or Path(entry["file"]).name != entry["file"]
        ):
            raise UserError(f"{path}: {name}: every key holds a text, and file is a name without folders")
        if not entry["url"].startswith(("http://", "https://")):
            raise UserError(f"{path}: {name}: the url must begin with http:// or https://")
    return {str(name): Source(str(name), **entry) for name, entry in listed.items()}


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_form(name: str, path: Path) -> None:
    """Hold a file without a known check sum to its form: share links may give a page instead."""
    if path.suffix != ".json":
        return
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        head = path.read_bytes()[:40]
        raise UserError(
            f"{name}: the file is not JSON ({error}); it begins {head!r} and was not recorded. "
            "Open the address in a browser to see what it gives now."
        ) from None


def reason(error: Exception) -> str:
    """An error of the network in a few words; requests' own texts run over several lines."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered with status {response.status_code}"
    known = {
        "ConnectTimeout": "no connection within the time limit",
        "ReadTimeout": "the server fell silent",
        "ChunkedEncodingError": "the connection was cut",
        "SSLError": "no secure connection",
        "ProxyError": "the proxy refused",
        "ConnectionError": "no connection",
    }
    return known.get(type(error).__name__, str(error))
