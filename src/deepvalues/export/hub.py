"""A data set as the model hub expects it: Parquet, a card with YAML, Croissant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from deepvalues.core import paths
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


def write(folder: Path, sets: list[tuple[str, str]]) -> Iterator[Exported]:
    """Write the data set; gives each item set once its file is written, and the card at the end.

    Parameters
    ----------
    folder
        An empty folder.
    sets
        As from `material.chosen`.
    """
    described: list[tuple[str, File]] = []
    meanings = columns_of_items(paths.DATA)
    for each in exported(sets):
        path = folder / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        each.items.to_parquet(path, index=False, compression="zstd")
        what = f"{each.study.title}: {len(each.items):,} items"
        known = {column.name: column for column in (*meanings[each.study.name], *_ADDED)}
        columns = tuple(known[str(name)] for name in each.items)
        file = File(each.path, each.path, each.name, what, "deepvalues export", columns)
        described.append((each.name, file))
        yield each
    files = [file for _, file in described]
    (folder / README).write_text(_card(described), encoding="utf-8")
    text = metadata.croissant_of(
        paths.ROOT,
        f"The items; {README} explains every column. {_NOT_HERE}",
        [metadata.file_object(folder, file) for file in files],
        [metadata.table(file) for file in files],
    )
    (folder / CROISSANT).write_text(text, encoding="utf-8")


def canary() -> str:
    """The string by which a text that was trained on the stimuli can be told."""
    found = re.search(r"deepvalues-canary-[0-9a-f-]+", (paths.STIMULI / "README.md").read_text("utf-8"))
    assert found, "data/stimuli/README.md has the canary string"
    return found[0]


def _feature(column: Column) -> dict[str, Any]:
    if column.kind == metadata.LIST:
        return {"name": column.name, "list": "string"}
    return {"name": column.name, "dtype": _TYPES.get(column.kind, "string")}


def _front(described: Sequence[tuple[str, File]]) -> str:
    """The card's YAML, which the hub and `datasets` read."""
    citation = metadata.citation_of(paths.ROOT)
    content = {
        "pretty_name": citation["title"],
        "license": "cc-by-4.0",
        "language": ["en"],
        "tags": ["values", "alignment", "benchmark"],
        "canary": canary(),
        "citation": metadata.cited(citation),
        "configs": [
            {"config_name": name, "data_files": [{"split": _SPLIT, "path": file.path}]}
            for name, file in described
        ],
        "dataset_info": [
            {"config_name": name, "features": [_feature(column) for column in file.columns]}
            for name, file in described
        ],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _bibtex() -> str:
    citation = metadata.citation_of(paths.ROOT)
    fields = {
        "title": f"{{{citation['title']}}}",
        "author": f"{{{metadata.names_of(citation)}}}",
        "year": str(citation["date-released"])[:4],
        "version": citation["version"],
        "url": citation["repository-code"],
    }
    lines = [f"  {name} = {{{text}}}," for name, text in fields.items()]
    return "\n".join(["@misc{deepvalues,", *lines, "}"])


def _card(described: Sequence[tuple[str, File]]) -> str:
    citation = metadata.citation_of(paths.ROOT)
    alike: dict[tuple[Column, ...], list[str]] = {}
    for name, file in described:
        alike.setdefault(file.columns, []).append(name)
    lines = [
        "---",
        _front(described) + "---",
        f"# {citation['title']}",
        "",
        f"The items of three studies on what language models learn from people's choices. {_NOT_HERE}",
        f"The paper, the answers and the code: {citation['repository-code']}.",
        "",
        "**Evaluation data: please do not train on it.** Canary string: `" + canary() + "`.",
        "",
        "| configuration | what it holds |",
        "|---|---|",
        *(f"| `{name}` | {file.what} |" for name, file in described),
        "",
        f'`datasets.load_dataset("PATH", "{described[0][0]}", split="{_SPLIT}")` loads one. In Study 1 a '
        "cell is an ordered pair of values in a domain with a directed dimension; errors cluster by it. "
        "The deep value generalization rate (DVGR) is the share of answers to the arm `deconfounded` that "
        "choose the option `right`.",
    ]
    for columns, names in alike.items():
        lines += ["", f"## Columns of {', '.join(names)}", "", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{each.name}` | {each.kind} | {each.meaning} |" for each in columns]
    lines += ["", "## Licence and citation", "", "CC BY 4.0.", "", "```bibtex", _bibtex(), "```"]
    return "\n".join(lines) + "\n"
