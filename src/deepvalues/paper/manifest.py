"""The manifest of the results: the hash of every artefact, the cell that made it, and its inputs.

`make paper` writes ``data/results/manifest.json`` after the notebooks. The inputs of a notebook are the files
that it was observed to open, all declared in its header (`deepvalues.paper.notebooks`). A file in git can't
contain the id of its own commit, so the manifest lists the hashes of the package's source, the lock and every
input. Its copy in the rendered site also gives the commit, as does `deepvalues trace`.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from deepvalues.core.downloads import sha256
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_json, write_text
from deepvalues.core.paths import shown
from deepvalues.paper.notebooks import Cell, declared, executed_parameters, read_cells

MANIFEST = "data/results/manifest.json"
VARIABLES = "paper/_variables.yml"
RESPONSES = "data/responses/"
LOCK = "requirements.lock"
#: The parts of the manifest besides its description.
PARTS = ("artefacts", "inputs", "items", "notebooks", "package", "records")
ABOUT = (
    "Written by `make paper`; do not edit. Hashes are SHA-256 of the file; of items (Parquet, not in git) of "
    "their rows as JSON lines; of the package as `find src/deepvalues -name '*.py' | LC_ALL=C sort | "
    "xargs sha256sum | sha256sum` gives it. An artefact's inputs are those of its notebook, which `make "
    "build/NOTEBOOK` runs. The commit is named in the copy that the rendered site holds, as a file cannot "
    "name the commit that it is in; `deepvalues trace` shows it, too."
)


class Step(NamedTuple):
    """The output of one notebook, from the ``artefacts.json`` of its results.

    ``artefacts`` and ``numbers`` map each path or key to the execution count of its code cell.
    """

    notebook: str
    results: str
    artefacts: Mapping[str, int | None]
    inputs: list[str]
    numbers: Mapping[str, int | None]


class Commit(NamedTuple):
    """The commit checked out; ``clean`` if no tracked file has changed since."""

    id: str
    clean: bool


def commit(root: Path) -> Commit | None:
    """The commit checked out in a folder; None outside a git repository."""
    options = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        found = subprocess.run(["git", "-C", str(root), *options], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return Commit(found.stdout.strip().rstrip("+"), not found.stdout.strip().endswith("+"))


def package_hash(root: Path) -> str:
    """One hash of the package's source: that of the output of ``sha256sum`` for its files."""
    files = sorted((root / "src" / "deepvalues").rglob("*.py"), key=lambda file: file.as_posix().encode())
    lines = (f"{sha256(file)}  {file.relative_to(root).as_posix()}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def items_hash(file: Path) -> dict[str, Any]:
    """Number and hash of a file's items, independent of the Parquet writer."""
    frame = pd.read_parquet(file)
    text = frame.to_json(orient="records", lines=True, force_ascii=False, date_format="iso")
    return {"rows": len(frame), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def steps(root: Path) -> list[Step]:
    """The output of each notebook that declares results.

    Raises
    ------
    UserError
        If a notebook has not been run, or its listing is from an older version.
    """
    found = []
    for source in sorted((root / "notebooks").glob("*.ipynb")):
        if name := declared(source).results:
            remedy = f"run: deepvalues notebook {source.stem}"
            listing = root / "data/results" / name / "artefacts.json"
            content = read_json(listing, remedy)
            if not isinstance(content, dict) or set(content) != {"artefacts", "inputs", "numbers"}:
                raise UserError(f"{shown(listing)}: not in the format of this version; {remedy}")
            found.append(Step(source.stem, name, **content))
    return found


def made(root: Path) -> list[Path]:
    """All results, figures and executed notebooks that some rule makes."""
    results = [root / path for step in steps(root) for path in step.artefacts]
    executed = [root / "paper" / "notebooks" / file.name for file in (root / "notebooks").glob("*.ipynb")]
    return [*results, *executed, root / MANIFEST]


@cache
def _executed(file: Path, _changed: float) -> dict[int, Cell]:
    """The code cells of an executed notebook by execution count."""
    # Empty cells do not run and have no count.
    ran = [cell for cell in read_cells(file) if cell.kind == "code" and (cell.source.strip() or cell.options)]
    return dict(enumerate(ran, start=1))


def cell_of(root: Path, notebook: str, count: int | None) -> Cell | None:
    """The cell of an executed notebook with an execution count; None if unknown."""
    file = root / "paper" / "notebooks" / f"{notebook}.ipynb"
    if count is None or not file.is_file():
        return None
    return _executed(file, file.stat().st_mtime).get(count)


def build(root: Path, known_items: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Build the manifest from the files.

    Parameters
    ----------
    root
        The project's folder.
    known_items
        Entries for item files that are not to be read, by path.

    Raises
    ------
    UserError
        If an artefact or input is missing; the message says how to restore it.
    """
    found = steps(root)
    inputs = sorted({path for step in found for path in step.inputs})
    items = [path for path in inputs if path.endswith(".parquet")]
    records = [path for path in inputs if path.startswith(RESPONSES)]
    known = known_items or {}
    return {
        "about": ABOUT,
        "artefacts": _artefacts(root, found),
        "inputs": {path: _hash(root, path, "an input") for path in inputs if path not in items},
        "items": {
            path: known.get(path) or items_hash(_existing(root, path, "a file of items")) for path in items
        },
        "notebooks": {step.notebook: _notebook(root, step) for step in found},
        "package": {"sha256": package_hash(root), LOCK: _hash(root, LOCK, "the lock")},
        "records": {path: (root / path).read_bytes().count(b"\n") for path in records},
    }


def write(root: Path) -> Path:
    """Write the manifest; identical files give identical bytes."""
    text = json.dumps(build(root), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return write_text(root / MANIFEST, text, keep_time=True)


def read(root: Path) -> dict[str, Any]:
    """The manifest as written.

    Raises
    ------
    UserError
        If it is missing, is not JSON, or lacks a part.
    """
    file = root / MANIFEST
    remedy = "`deepvalues manifest` writes it"
    content: dict[str, Any] = read_json(file, remedy)
    if not isinstance(content, dict) or not set(PARTS) <= set(content):
        raise UserError(f"{shown(file)}: not in the format of this version; {remedy}")
    return content


def faults(root: Path) -> list[str]:
    """The differences between manifest and files, one line each.

    Items are skipped: they are not in git, and notebooks check them against the stimuli when reading.
    """
    written = read(root)
    try:
        present = build(root, written.get("items"))
    except UserError as error:
        return [str(error)]
    return [f"{place}; {_remedy(place)}" for place in _differences(written, present, ())]


def changed_records(root: Path) -> list[str]:
    """Records that have gained or lost answers since the manifest was written, one line each."""
    lines = []
    for path, then in read(root)["records"].items():
        now = (root / path).read_bytes().count(b"\n") if (root / path).is_file() else 0
        if now != then:
            lines.append(f"{path}: {now:,} answers now, {then:,} then")
    return lines


def _remedy(place: str) -> str:
    # Answers of models can't be rebuilt from anything else.
    if RESPONSES in place:
        return "restore it from git; after asking models: run `make paper`"
    return "run `make paper`, or restore the file"


def summary(root: Path) -> str:
    """One line that counts the contents of the manifest."""
    content = read(root)
    answers = sum(content["records"].values())
    counts = {name: len(content[name]) for name in ("artefacts", "notebooks", "inputs", "items")}
    return (
        "{artefacts} artefacts of {notebooks} notebooks, from {inputs} files and {items} files of items; "
        "{answers:,} recorded answers"
    ).format(**counts, answers=answers)


def _differences(written: Any, present: Any, place: tuple[str, ...]) -> Iterator[str]:
    if isinstance(written, Mapping) and isinstance(present, Mapping):
        for key in sorted({*written, *present}):
            if key not in written:
                yield f"the manifest lacks {' › '.join((*place, key))}"
            elif key not in present:
                yield f"the manifest lists {' › '.join((*place, key))}, which nothing makes or reads now"
            else:
                yield from _differences(written[key], present[key], (*place, key))
    elif written != present:
        yield f"{' › '.join(place)} is not what the manifest says"


def _existing(root: Path, path: str, what: str) -> Path:
    if not (root / path).is_file():
        raise UserError(f"{shown(root / path)}: {what} that the manifest lists is missing; {_remedy(path)}")
    return root / path


def _hash(root: Path, path: str, what: str) -> str:
    return sha256(_existing(root, path, what))


def _artefacts(root: Path, found: list[Step]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for step in found:
        for path, count in step.artefacts.items():
            cell = cell_of(root, step.notebook, count)
            made[path] = {
                "sha256": _hash(root, path, "an artefact"),
                "notebook": step.notebook,
                "cell": {"label": cell.label or None, "position": cell.position} if cell else None,
            }
        executed = f"paper/notebooks/{step.notebook}.ipynb"
        made[executed] = {"sha256": _hash(root, executed, "an executed notebook"), "notebook": step.notebook}
    numbers = sorted(path for path in made if path.endswith("/numbers.json"))
    made[VARIABLES] = {
        "sha256": _hash(root, VARIABLES, "an artefact"),
        "inputs": {path: made[path]["sha256"] for path in numbers},
    }
    return made


def _notebook(root: Path, step: Step) -> dict[str, Any]:
    source = f"notebooks/{step.notebook}.ipynb"
    parameters = executed_parameters(root / "paper" / source)
    return {"inputs": step.inputs, "parameters": parameters, "sha256": sha256(root / source)}
