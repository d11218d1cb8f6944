"""`deepvalues export`: everything into one new folder, or nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from deepvalues.core.errors import UserError
from deepvalues.core.files import replace_folder, writing
from deepvalues.core.paths import shown
from deepvalues.export import hub, lm_eval_tasks


def write(folder: Path, sets: list[tuple[str, str]]) -> list[str]:
    """Write an export; gives lines that say what is there.

    Parameters
    ----------
    sets
        As from `material.chosen`.

    Raises
    ------
    UserError
        When the folder is there and not empty, or can't be written.
    """
    _stop_unless_empty(folder)
    lines = []
    with tempfile.TemporaryDirectory() as beside:
        new = Path(beside)
        lm_eval_tasks.write_code(new)
        for each in hub.write(new, sets):
            groups = lm_eval_tasks.write_tasks(new / lm_eval_tasks.FOLDER, each)
            tasks = f"; lm_eval tasks {', '.join(groups)}" if groups else ""
            lines.append(f"{each.path}: {len(each.items):,} items{tasks}")
        replace_folder(new, folder)
    return lines


def _stop_unless_empty(folder: Path) -> None:
    """Stop where something is; make the folder, so that one that can't be made is told at once."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        what = "it is a file" if folder.is_file() else "it is not empty"
        raise UserError(f"{shown(folder)}: {what}, and nothing is overwritten: name a new folder with --to")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
