"""`deepvalues export`: everything into one new folder, or nothing.

The data set is as the model hub expects it: Parquet, a card with YAML, Croissant.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import replace_folder, writing
from deepvalues.core.paths import shown
from deepvalues.export import lm_eval_tasks
from deepvalues.export.material import Exported, exported
from deepvalues.paper import metadata
from deepvalues.paper.dictionary import CROISSANT, README, Column, File, columns_of_items

#: What the hub calls the types of the data dictionary.
_TYPES = {"integer": "int64", "number": "float64", "boolean": "bool"}
_SPLIT = "test"
#: What the columns mean that are added to those of a study: see `Exported`.
_ADDED = (
    Column(
        "user_turns",
        metadata.LIST,
        "text",
        "the user's turns in order, where there are several; {{reply 1}} stands for the model's reply to the "
        "first, and a turn that only asks again follows a reply that can't be read",
    ),
    Column("if_tied", "text", "name", "the option that counts where both letters are equally likely"),
)
_NOT_HERE = (
    "The published prompts and those in their authors' repository may not be passed on, and are not here."
)


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
    meanings = columns_of_items(paths.DATA)
    files, lines = [], []
    with tempfile.TemporaryDirectory() as beside:
        new = Path(beside)
        lm_eval_tasks.write_code(new)
        for each in exported(sets):
            files.append(_parquet(new, each, meanings[each.study.name]))
            groups = lm_eval_tasks.write_tasks(new / lm_eval_tasks.FOLDER, each)
            tasks = f"; lm_eval tasks {', '.join(groups)}" if groups else ""
            lines.append(f"{each.path}: {len(each.items):,} items{tasks}")
        (new / README).write_text(_card(files), encoding="utf-8")
        text = metadata.croissant_of(
            paths.ROOT,
            f"The items; {README} explains every column. {_NOT_HERE}",
            [metadata.file_object(new, file) for file in files],
            [metadata.table(file) for file in files],
        )
        (new / CROISSANT).write_text(text, encoding="utf-8")
        replace_folder(new, folder)
    return lines


def _stop_unless_empty(folder: Path) -> None:
    """Stop where something is; make the folder, so that one that can't be made is told at once."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        what = "it is a file" if folder.is_file() else "it is not empty"
        raise UserError(f"{shown(folder)}: {what}, and nothing is overwritten: name a new folder with --to")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _parquet(folder: Path, each: Exported, meanings: Sequence[Column]) -> File:
    """Write an item set; gives what there is to say of the file, whose title is its configuration's name."""
    path = folder / each.path
    path.parent.mkdir(parents=True, exist_ok=True)
    each.items.to_parquet(path, index=False, compression="zstd")
    known = {column.name: column for column in (*meanings, *_ADDED)}
    columns = tuple(known[str(name)] for name in each.items)
    what = f"{each.study.title}: {len(each.items):,} items"
    return File(each.path, each.path, each.name, what, "deepvalues export", columns)


def canary() -> str:
    """The string by which a text that was trained on the stimuli can be told."""
    found = re.search(r"deepvalues-canary-[0-9a-f-]+", (paths.STIMULI / "README.md").read_text("utf-8"))
    assert found, "data/stimuli/README.md has the canary string"
    return found[0]


def _feature(column: Column) -> dict[str, Any]:
    if column.kind == metadata.LIST:
        return {"name": column.name, "list": "string"}
    return {"name": column.name, "dtype": _TYPES.get(column.kind, "string")}


def _front(files: Sequence[File], citation: dict[str, Any]) -> str:
    """The card's YAML, which the hub and `datasets` read."""
    content = {
        "pretty_name": citation["title"],
        "license": "cc-by-4.0",
        "language": ["en"],
        "tags": ["values", "alignment", "benchmark"],
        "canary": canary(),
        "citation": metadata.cited(citation),
        "configs": [
            {"config_name": file.title, "data_files": [{"split": _SPLIT, "path": file.path}]}
            for file in files
        ],
        "dataset_info": [
            {"config_name": file.title, "features": [_feature(column) for column in file.columns]}
            for file in files
        ],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _bibtex(citation: dict[str, Any]) -> str:
    fields = {
        "title": f"{{{citation['title']}}}",
        "author": f"{{{metadata.names_of(citation)}}}",
        "year": str(citation["date-released"])[:4],
        "version": citation["version"],
        "url": citation["repository-code"],
    }
    lines = [f"  {name} = {{{text}}}," for name, text in fields.items()]
    return "\n".join(["@misc{deepvalues,", *lines, "}"])


def _card(files: Sequence[File]) -> str:
    citation = metadata.citation_of(paths.ROOT)
    alike: dict[tuple[Column, ...], list[str]] = {}
    for file in files:
        alike.setdefault(file.columns, []).append(file.title)
    lines = [
        "---",
        _front(files, citation) + "---",
        f"# {citation['title']}",
        "",
        f"The items of three studies on what language models learn from people's choices. {_NOT_HERE}",
        f"The paper, the answers and the code: {citation['repository-code']}.",
        "",
        "**Evaluation data: please do not train on it.** Canary string: `" + canary() + "`.",
        "",
        "| configuration | what it holds |",
        "|---|---|",
        *(f"| `{file.title}` | {file.what} |" for file in files),
        "",
        f'`datasets.load_dataset("PATH", "{files[0].title}", split="{_SPLIT}")` loads one. In Study 1 a '
        "cell is an ordered pair of values in a domain with a directed dimension; errors cluster by it. "
        "The deep value generalization rate (DVGR) is the share of answers to the arm `deconfounded` that "
        "choose the option `right`.",
    ]
    for columns, names in alike.items():
        lines += ["", f"## Columns of {', '.join(names)}", "", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{each.name}` | {each.kind} | {each.meaning} |" for each in columns]
    lines += ["", "## Licence and citation", "", "CC BY 4.0.", "", "```bibtex", _bibtex(citation), "```"]
    return "\n".join(lines) + "\n"
