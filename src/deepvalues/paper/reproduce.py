"""`make reproduce`: ask all local models again, rebuild all results, compare them with git.

Everything happens in a temporary copy; the project's own folder is not touched. The copy computes with the
arithmetic of another kind of processor, so that identical results do not depend on this machine.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from deepvalues.ask.processes import processors
from deepvalues.ask.reask import REPLAYED
from deepvalues.ask.registry import HEAD, load_registry
from deepvalues.core import guard
from deepvalues.core.downloads import load_sources
from deepvalues.core.errors import UserError
from deepvalues.core.paths import PASSING, install
from deepvalues.paper.manifest import LOCK, MANIFEST, VARIABLES
from deepvalues.studies.dvb.items.items import AUTHORS
from deepvalues.studies.dvb.items.public_prompts import FILES

#: What is compared, with its location.
COMPARED = {
    "records": "data/responses",
    "results": "data/results",
    "figures": "figures",
    "executed notebooks": "paper/notebooks",
    "variables": VARIABLES,
}
STATES = ("identical", "differs", "missing", "extra", REPLAYED)
#: The local model that needs PyTorch, which is not in the lock.
ENCODER = "learner-encoder"

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
_NOT_SOURCE = (".git", ".venv", "build", "dist", "derived", "downloads", "_site", "__pycache__", ".*_cache")


class Compared(NamedTuple):
    """A file, its group, and the result of its comparison."""

    group: str
    path: str
    state: str


def reproduce(
    root: Path,
    *,
    encoder: bool = False,
    keep: Path | None = None,
    rebuild: Callable[[Path], None] | None = None,
) -> list[Compared]:
    """Rebuild a clean copy of the project and compare it with the committed one.

    Parameters
    ----------
    root
        The project's folder.
    encoder
        Whether to ask the encoder learner again, too; this needs PyTorch.
    keep
        An empty folder for the two copies, ``git`` and ``rebuilt``; by default they are deleted at the end.
    rebuild
        The function that rebuilds all that is compared in a folder; by default `make_results`.

    Returns
    -------
    list of Compared
        One entry per file, in the order of `COMPARED`, then by path.

    Raises
    ------
    UserError
        If PyTorch is needed and missing, ``keep`` is not empty, or the rebuild fails; in the last case, the
        files built so far are compared and printed.
    """
    if encoder and not all(map(find_spec, ("torch", "sentence_transformers"))):
        raise UserError(
            "ENCODER=1 needs PyTorch, which comes with the extra `encoder`: "
            f"{install('encoder')}; or leave it out"
        )
    with _workspace(keep) as folder:
        before, after = folder / "git", folder / "rebuilt"
        export(root, before)
        shutil.copytree(before, after)
        prompts = bring_prompts(root, after)
        if not prompts:
            print(f"The public prompts are not here: answers to them are {REPLAYED}.", flush=True)
        kept = clear(after, encoder, public_prompts=prompts)
        try:
            (rebuild or make_results)(after)
        except UserError:
            print(report(compare(before, after, kept)), flush=True)
            raise
        return compare(before, after, kept)


@contextmanager
def _workspace(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="deepvalues-reproduce-") as folder:
            yield Path(folder).resolve()
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise UserError(f"{keep}: not empty; name a new folder")
    yield keep.resolve()


def export(root: Path, target: Path) -> None:
    """Copy the committed files; without git (in an archive of the project), all files but build products."""
    if not (root / ".git").exists():
        shutil.copytree(root, target, ignore=shutil.ignore_patterns(*_NOT_SOURCE))
        return
    changed = _git(root, "status", "--porcelain").decode().splitlines()
    if changed:
        print(f"{len(changed)} files are changed or new and not committed; they are left out.", flush=True)
    with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", "HEAD"))) as archive:
        archive.extractall(target, filter="data")


def _git(root: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise UserError("git is not installed; it tells what the rebuilt files are compared with") from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"git {arguments[0]}: {error.stderr.decode(errors='replace').strip()}") from None


def bring_prompts(root: Path, target: Path) -> bool:
    """Copy the files of the public prompts, which are not in git; return whether all are present."""
    sources = load_sources(root / "data" / "sources.yml")
    files = [root / "data" / "downloads" / sources[name].file for name in FILES]
    there = all(file.is_file() for file in files)
    for file in files if there else ():
        copy = target / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    return there


def clear(folder: Path, encoder: bool = False, *, public_prompts: bool = True) -> set[str]:
    """Delete the records of local models and all notebook output; return the records that stay.

    Parameters
    ----------
    encoder
        Whether to delete the encoder learner's record as well.
    public_prompts
        Whether their texts are present; if not, the answers to them stay, as they can't be asked again.
    """
    models = load_registry(folder / "data" / "models.yml").models
    kept = set()
    for file in sorted((folder / COMPARED["records"]).rglob("*.jsonl")):
        model = models.get(file.name.removesuffix(".jsonl").removesuffix(".log"))
        # The models that the build asks, whose records can be rebuilt.
        asked = model and model.is_local and model.family != HEAD and (encoder or model.name != ENCODER)
        if asked:
            _forget(file, but_public=not public_prompts)
        else:
            kept.add(file.relative_to(folder).as_posix())
    for group in ("results", "figures", "executed notebooks"):
        shutil.rmtree(folder / COMPARED[group], ignore_errors=True)
    (folder / VARIABLES).unlink(missing_ok=True)
    return kept


def _forget(record: Path, *, but_public: bool) -> None:
    """Delete a record; with ``but_public`` keep the answers to the public prompts."""
    mark = f'"item":"{AUTHORS}.'.encode()
    lines = [line for line in record.read_bytes().splitlines(keepends=True) if but_public and mark in line]
    if lines:
        record.write_bytes(b"".join(lines))
    else:
        record.unlink()


def other_arithmetic() -> dict[str, str]:
    """Environment in which numerical libraries compute as on an older processor.

    Sums then run in another order and functions differ in their last bits, as between two machines: linear
    algebra in numpy and scipy (OpenBLAS, on x86), numpy's own loops, and the C library (glibc, on x86).
    """
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    settings = {"NPY_DISABLE_CPU_FEATURES": " ".join(found)} if found else {}
    if platform.machine() in ("x86_64", "AMD64"):
        settings["OPENBLAS_CORETYPE"] = "Prescott"
        settings["GLIBC_TUNABLES"] = "glibc.cpu.hwcaps=-AVX2,-FMA"
    return settings


def make_results(folder: Path) -> None:
    """Make all but the pages in a copy, with its source, the running Python and `other_arithmetic`.

    Raises
    ------
    UserError
        If it fails, or Python would import the package from elsewhere.
    """
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DEEPVALUES_ROOT")
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    environment |= other_arithmetic() | {"PYTHONPATH": str(folder / "src")}
    asked = [sys.executable, "-c", "import deepvalues; print(deepvalues.__file__)"]
    found = subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if not found.stdout.startswith(str(folder / "src")):
        raise UserError(f"{folder}: Python takes the package from elsewhere: {found.stdout or found.stderr}")
    command = ["make", "build/lists", f"PY={sys.executable}", "ENVIRONMENT=", f"--jobs={processors()}"]
    if guard.run(command, folder, environment):
        raise UserError("the rebuild stopped; see above")


def compare(before: Path, after: Path, kept: Collection[str] = ()) -> list[Compared]:
    """Compare every committed record, result, figure, executed notebook and variable with the rebuilt one.

    Images are compared by their pixels. Logs and lock files of new records are ignored.
    """
    rows = []
    for group, location in COMPARED.items():
        committed, rebuilt = _files(before, location), _files(after, location)
        for path in sorted({*committed, *rebuilt}):
            if path not in committed and path.endswith(PASSING):
                continue
            if path not in rebuilt:
                state = "missing"
            elif path not in committed:
                state = "extra"
            elif not same(before, after, path):
                state = "differs"
            else:
                state = REPLAYED if path in kept else "identical"
            rows.append(Compared(group, path, state))
    return rows


def _files(root: Path, path: str) -> set[str]:
    start = root / path
    found = [start] if start.is_file() else start.rglob("*")
    return {file.relative_to(root).as_posix() for file in found if file.is_file()}


def same(before: Path, after: Path, path: str) -> bool:
    """Whether a file is the same, byte by byte; images, also inside other files, pixel by pixel."""
    one, other = (before / path).read_bytes(), (after / path).read_bytes()
    if one == other:
        return True
    if path.endswith(".png"):
        return _pixels(one) == _pixels(other)
    if path.endswith(".ipynb"):
        return bool(_without_bytes(one) == _without_bytes(other))
    if path == MANIFEST:
        listed = [_manifest(root, text) for root, text in ((before, one), (after, other))]
        return bool(listed[0] == listed[1])
    return False


def _pixels(png: bytes) -> str:
    with Image.open(io.BytesIO(png)) as image:
        shown = image.convert("RGBA")
        return f"{shown.size} {hashlib.sha256(shown.tobytes()).hexdigest()}"


def _without_bytes(notebook: bytes) -> Any:
    """The notebook with the bytes of its images replaced by their pixels."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                encoded = output["data"]["image/png"]
                output["data"]["image/png"] = _pixels(base64.b64decode("".join(encoded)))
    return content


def _manifest(root: Path, text: bytes) -> Any:
    """The manifest with the hashes of images and of notebooks with images replaced by their pixels."""
    content = json.loads(text)
    for path, entry in content["artefacts"].items():
        if path.endswith(".png"):
            entry["sha256"] = _pixels((root / path).read_bytes())
        elif path.endswith(".ipynb"):
            entry["sha256"] = json.dumps(_without_bytes((root / path).read_bytes()), sort_keys=True)
    return content


def report(rows: Sequence[Compared]) -> str:
    """A table of counts, followed by every file that is not identical."""
    counts = Counter((row.group, row.state) for row in rows)
    width = max(map(len, COMPARED))
    lines = ["  ".join([" " * width, *(state.rjust(9) for state in STATES)])]
    for group in COMPARED:
        numbers = (f"{counts[group, state]:,}".rjust(max(9, len(state))) for state in STATES)
        lines.append("  ".join([group.ljust(width), *numbers]))
    others = [f"{row.path}: {row.state}" for row in rows if row.state != "identical"]
    return "\n".join([*lines, *([""] if others else []), *others])


def reproduced(rows: Sequence[Compared]) -> bool:
    """Whether no file differs, is missing, or is extra."""
    return bool(rows) and all(row.state in ("identical", REPLAYED) for row in rows)


def other_versions(root: Path) -> list[str]:
    """Installed packages whose version is not that of the lock, a likely reason for different files."""
    locked: dict[str, list[str]] = {}
    # The lock may have several versions of a package, for different Pythons.
    for name, version in _LOCKED.findall((root / LOCK).read_text(encoding="utf-8")):
        locked.setdefault(name, []).append(version)
    found = []
    for name, versions in locked.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if installed not in versions:
            found.append(f"{name} {installed} is installed; the lock has {' or '.join(versions)}")
    return found
