"""The manifest of the results: for every artefact its hash, the cell that made it, and from what.

``data/results/manifest.json`` is made by `make paper` after the notebooks. What a notebook read is
what it was seen to open (`deepvalues.paper.reads`). A file in git can't name the commit that it
is in: there the manifest names the hash of the package's source, of the lock and of every input. Its copy
in the rendered site names the commit, too, and so does `deepvalues trace`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from deepvalues.core.errors import UserError
from deepvalues.core.files import read_json, writing
from deepvalues.core.paths import shown
from deepvalues.paper.cells import Cell, read_cells

MANIFEST = "data/results/manifest.json"
VARIABLES = "paper/_variables.yml"
RESPONSES = "data/responses/"
LOCK = "requirements.lock"
#: What the manifest holds beside a word about itself.
PARTS = ("artefacts", "inputs", "items", "notebooks", "package", "packages", "records")
ABOUT = (
    "Written by `make paper`; do not edit. Hashes are SHA-256 of the file; of items (Parquet, not in git) of "
    "their rows as JSON lines; of the package as `find src/deepvalues -name '*.py' | LC_ALL=C sort | "
    "xargs sha256sum | sha256sum` gives it. An artefact's inputs are those of its notebook. Packages are the "
    "versions of requirements.lock. The commit is named in the copy that the rendered site holds, as a file "
    "cannot name the commit that it is in; `deepvalues trace` shows it, too."
)

_RESULTS = re.compile(r"\bResults\(\s*[\"'](\w+)[\"']")
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
_YAML_SEED = re.compile(r"^(seed): *(\d+) *$", re.MULTILINE)
_PYTHON_SEED = re.compile(r"^((?:[A-Z]+_)*SEED)(?:: \w+)? = (\d+)", re.MULTILINE)


class Study(NamedTuple):
    """What one notebook handed on under one name: its ``artefacts.json``, and where the cells are.

    ``artefacts`` and ``numbers`` give for each path or key the n-th code cell that ran; ``givers`` the
    function of the package by which a cell gave a number.
    """

    name: str
    notebook: str
    artefacts: Mapping[str, int | None]
    givers: Mapping[str, str]
    inputs: list[str]
    numbers: Mapping[str, int | None]


class Commit(NamedTuple):
    """The commit that is checked out; ``clean`` if no tracked file was changed since."""

    id: str
    clean: bool


def commit(root: Path) -> Commit | None:
    """The commit that is checked out in a folder; None outside a git repository."""
    options = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        found = subprocess.run(["git", "-C", str(root), *options], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return Commit(found.stdout.strip().rstrip("+"), not found.stdout.strip().endswith("+"))


def sha256(file: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def package_hash(root: Path) -> str:
    """One hash of the package's source: of the lines that ``sha256sum`` prints for its files."""
    files = sorted((root / "src" / "deepvalues").rglob("*.py"), key=lambda file: file.as_posix().encode())
    lines = (f"{sha256(file)}  {file.relative_to(root).as_posix()}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def items_hash(file: Path) -> dict[str, Any]:
    """Number and hash of a file's items, whatever wrote the Parquet."""
    frame = pd.read_parquet(file)
    text = frame.to_json(orient="records", lines=True, force_ascii=False, date_format="iso")
    return {"rows": len(frame), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def studies(root: Path) -> list[Study]:
    """Every name under which results were handed on, with the notebook whose code gives it.

    Raises
    ------
    UserError
        If no notebook, or several, give a name, or its listing is of an older version.
    """
    given: dict[str, list[str]] = {}
    for source in sorted((root / "notebooks").glob("*.ipynb")):
        for cell in read_cells(source):
            for name in _RESULTS.findall(cell.source) if cell.kind == "code" else []:
                given.setdefault(name, []).append(source.stem)
    found = []
    for listing in sorted((root / "data" / "results").glob("*/artefacts.json")):
        name = listing.parent.name
        notebooks = given.get(name, [])
        if len(notebooks) != 1:
            where = " and ".join(notebooks) or "no notebook"
            raise UserError(
                f'{shown(listing.parent)}: {where} has `Results("{name}")`; expected one. Delete or rename.'
            )
        found.append(_study(listing, name, notebooks[0]))
    return found


def _study(listing: Path, name: str, notebook: str) -> Study:
    remedy = f"run: deepvalues notebook {notebook}"
    content = read_json(listing, remedy)
    if not isinstance(content, dict) or set(content) != {"artefacts", "givers", "inputs", "numbers"}:
        raise UserError(f"{shown(listing)}: not as this version writes it; {remedy}")
    return Study(name, notebook, **content)


def declared(root: Path) -> list[Path]:
    """Every file that a rule makes among results, figures and executed notebooks."""
    made = [root / path for study in studies(root) for path in study.artefacts]
    executed = [root / "paper" / "notebooks" / file.name for file in (root / "notebooks").glob("*.ipynb")]
    return [*made, *executed, root / MANIFEST]


@cache
def _executed(file: Path, _changed: float) -> dict[int, Cell]:
    """The code cells of an executed notebook by the order in which they ran."""
    # An empty cell does not run and takes no number.
    ran = [cell for cell in read_cells(file) if cell.kind == "code" and (cell.source.strip() or cell.options)]
    return dict(enumerate(ran, start=1))


def cell_of(root: Path, notebook: str, count: int | None) -> Cell | None:
    """The cell of an executed notebook that ran as the n-th; None if that is not known."""
    file = root / "paper" / "notebooks" / f"{notebook}.ipynb"
    if count is None or not file.is_file():
        return None
    return _executed(file, file.stat().st_mtime).get(count)


def build(root: Path, known_items: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Put the manifest together from the files.

    Parameters
    ----------
    root
        The project's folder.
    known_items
        What to say of items that have not been built, by path.

    Raises
    ------
    UserError
        If an artefact or input is missing; it is named with the notebook that makes or reads it.
    """
    found = studies(root)
    inputs = sorted({path for study in found for path in study.inputs})
    items = [path for path in inputs if path.endswith(".parquet")]
    package = [file.relative_to(root).as_posix() for file in sorted((root / "src/deepvalues").rglob("*.py"))]
    return {
        "about": ABOUT,
        "artefacts": _artefacts(root, found),
        "inputs": {path: _hash(root, path, "an input") for path in inputs if path not in items},
        "items": {path: _items(root, path, known_items or {}) for path in items},
        "notebooks": {name: _notebook(root, name, found) for name in sorted({s.notebook for s in found})},
        "package": {"seeds": _seeds(root, package, _PYTHON_SEED), "sha256": package_hash(root)},
        "packages": _packages(root),
        "records": {path: _answers(root / path) for path in inputs if _is_record(path)},
    }


def write(root: Path) -> Path:
    """Write the manifest; the same files give the same bytes."""
    target = root / MANIFEST
    text = json.dumps(build(root), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if not target.is_file() or target.read_text(encoding="utf-8") != text:
        with writing(target):
            target.write_text(text, encoding="utf-8")
    return target


def read(root: Path) -> dict[str, Any]:
    """The manifest as it is written down.

    Raises
    ------
    UserError
        If it is missing, is not JSON, or lacks a part.
    """
    file = root / MANIFEST
    remedy = "`deepvalues manifest` writes it anew"
    content: dict[str, Any] = read_json(file, remedy)
    if not isinstance(content, dict) or not set(PARTS) <= set(content):
        raise UserError(f"{shown(file)}: not as this version writes it; {remedy}")
    return content


def faults(root: Path) -> list[str]:
    """Where the manifest does not fit the files, a line each; items that are not built are passed over."""
    written = read(root)
    try:
        present = build(root, written.get("items"))
    except UserError as error:
        return [str(error)]
    return [f"{place}; {_remedy(place)}" for place in _differences(written, present, ())]


def _remedy(place: str) -> str:
    # What models answered can't be made anew from anything else.
    if RESPONSES in place:
        return "restore it from git; after asking models: run `make paper`"
    return "run `make paper`, or restore the file"


def summary(root: Path) -> str:
    """What the manifest holds, in one line."""
    content = read(root)
    answers = sum(record["answers"] for record in content["records"].values())
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


def _items(root: Path, path: str, known: Mapping[str, Any]) -> Any:
    if path in known and not (root / path).is_file():
        return known[path]
    return items_hash(_existing(root, path, "a file of items"))


def _hash(root: Path, path: str, what: str) -> str:
    return sha256(_existing(root, path, what))


def _artefacts(root: Path, found: list[Study]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for study in found:
        rule = f"make build/{study.notebook}"
        for path, count in study.artefacts.items():
            cell = cell_of(root, study.notebook, count)
            made[path] = {
                "sha256": _hash(root, path, "an artefact"),
                "notebook": study.notebook,
                "cell": {"label": cell.label or None, "position": cell.position} if cell else None,
                "rule": rule,
            }
        executed = f"paper/notebooks/{study.notebook}.ipynb"
        made[executed] = {
            "sha256": _hash(root, executed, "an executed notebook"),
            "notebook": study.notebook,
            "rule": rule,
        }
    numbers = sorted(path for path in made if path.endswith("/numbers.json"))
    made[VARIABLES] = {
        "sha256": _hash(root, VARIABLES, "an artefact"),
        "inputs": {path: made[path]["sha256"] for path in numbers},
        "rule": "make paper (deepvalues variables)",
    }
    return made


def _notebook(root: Path, name: str, found: list[Study]) -> dict[str, Any]:
    source = f"notebooks/{name}.ipynb"
    inputs = sorted({path for study in found if study.notebook == name for path in study.inputs})
    parameters = executed_parameters(root / "paper" / source)
    seeds = {key: value for key, value in parameters.items() if "seed" in key.lower()}
    return {
        "inputs": inputs,
        "parameters": parameters,
        "results": sorted(study.name for study in found if study.notebook == name),
        "rule": f"make build/{name}",
        "seeds": seeds | _seeds(root, [path for path in inputs if path.endswith(".yml")], _YAML_SEED),
        "sha256": sha256(root / source),
        "source": source,
    }


def executed_parameters(executed: Path) -> dict[str, Any]:
    """The parameters with which a notebook ran: its defaults, and over them what was set from outside."""
    found: dict[str, Any] = {}
    for tag in ("parameters", "injected-parameters"):
        for cell in read_cells(executed):
            if tag in cell.tags:
                found |= dict(_assignments(cell.source))
    return found


def _assignments(source: str) -> Iterator[tuple[str, Any]]:
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            try:
                yield statement.targets[0].id, ast.literal_eval(statement.value)
            except ValueError:  # computed from others: as it is written
                yield statement.targets[0].id, ast.unparse(statement.value)


def _seeds(root: Path, files: list[str], pattern: re.Pattern[str]) -> dict[str, int]:
    """The seeds that stimuli carry, or that the package's source fixes."""
    return {
        f"{path}: {name}": int(value)
        for path in files
        for name, value in pattern.findall((root / path).read_text(encoding="utf-8"))
    }


def locked_versions(root: Path) -> dict[str, list[str]]:
    """Every locked version by package; a package may have one for each range of Pythons."""
    versions: dict[str, list[str]] = {}
    text = _existing(root, LOCK, "the lock").read_text(encoding="utf-8")
    for name, version in _LOCKED.findall(text):
        versions.setdefault(name, []).append(version)
    return versions


def _packages(root: Path) -> dict[str, Any]:
    return {"versions": locked_versions(root), "lock": {LOCK: sha256(root / LOCK)}}


def _is_record(path: str) -> bool:
    return path.startswith(RESPONSES) and path.endswith(".jsonl")


def _answers(file: Path) -> dict[str, int]:
    return {"answers": file.read_bytes().count(b"\n")}
