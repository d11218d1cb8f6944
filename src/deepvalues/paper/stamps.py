"""What says that a part of the paper was made here: its stamp in ``build/``.

Make goes by the dates of files, and these say nothing of a file that is gone, or that was made with other
parameters. So a notebook's stamp lists what it read and made, and before make looks, stamps that are
untrue by now are removed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from deepvalues.paper.manifest import sha256, studies

_FOLDER = "build"
#: What is there wherever a part that is no notebook was made.
_PAGES = {
    "answers": ("build/answers/index.html",),
    "paper": ("paper/_site/index.html", "paper/_site/index.pdf"),
}


def write(root: Path, notebook: str) -> None:
    """Stamp a notebook that has just run with its own defaults.

    Parameters
    ----------
    root
        The project's folder.
    notebook
        Its name without folder and ending.
    """
    files = {f"paper/notebooks/{notebook}.ipynb"}
    for study in studies(root):
        if study.notebook == notebook:
            files |= {*study.inputs, *study.artefacts}
    (root / _FOLDER).mkdir(exist_ok=True)
    text = json.dumps({path: sha256(root / path) for path in sorted(files)}, indent=1)
    (root / _FOLDER / notebook).write_text(text + "\n", encoding="utf-8")


def remove(root: Path, notebook: str) -> None:
    """Remove a notebook's stamp, where it has one."""
    (root / _FOLDER / notebook).unlink(missing_ok=True)


def remove_untrue(root: Path) -> list[str]:
    """Remove the stamps of parts that have to be made again, and say why, in a line each."""
    found = []
    for source in sorted((root / "notebooks").glob("*.ipynb")):
        stamp = root / _FOLDER / source.stem
        reason = _untrue(root, stamp) if stamp.is_file() else None
        if reason:
            stamp.unlink()
            found.append(f"{reason}: {source.stem} runs again")
    for part, pages in _PAGES.items():
        stamp = root / _FOLDER / part
        missing = [page for page in pages if not (root / page).is_file() or not (root / page).stat().st_size]
        if stamp.exists() and missing:
            shutil.rmtree(stamp) if stamp.is_dir() else stamp.unlink()
            found.append(f"{missing[0]} is missing: it is made again")
    return found


def _untrue(root: Path, stamp: Path) -> str | None:
    """What a notebook read or made and is not so now; None if all is as the stamp says."""
    try:
        files = json.loads(stamp.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return f"{stamp.relative_to(root)} is damaged"
    for path, hashed in files.items():
        if not (root / path).is_file():
            return f"{path} is missing"
        if sha256(root / path) != hashed:
            return f"{path} was changed"
    return None
