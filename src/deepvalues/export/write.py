"""`deepvalues export`: write the item sets that we may redistribute into a new folder, or nothing.

The data set has the format of the model hub: Parquet, a card with YAML, Croissant. With it come tasks for
lm-evaluation-harness: YAML for each arm and way of asking, and the code that they call.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from deepvalues import __version__
from deepvalues.ask import catalogue
from deepvalues.ask.conversation import Withheld
from deepvalues.ask.letters import LetterChoice, coin
from deepvalues.ask.registry import CONTINUE, FREE
from deepvalues.ask.study import Study
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import replace_folder, writing
from deepvalues.core.paths import shown
from deepvalues.paper import metadata
from deepvalues.paper.dictionary import CROISSANT, README, Column, File, columns_of_items
from deepvalues.paper.sentences import Sentences


class Exported(NamedTuple):
    """One item set of a study.

    ``items`` may have two columns besides the study's: ``user_turns``, if an item has several turns, and
    ``if_tied``, the letter that counts if both are equally probable.
    """

    study: Study
    item_set: str
    items: pd.DataFrame

    @property
    def name(self) -> str:
        """The name on the hub, such as ``dvb-n4-50``."""
        return f"{self.study.name}-{self.item_set}"

    @property
    def path(self) -> str:
        """The path of its Parquet file in an export."""
        return f"data/{self.study.name}/{self.item_set}.parquet"

    @property
    def has_arms(self) -> bool:
        """Whether its items have arms and cells, so that a harness can compute rates."""
        return {"arm", "cell", "right", "prompt"} <= set(self.items)


def chosen(study: str | None = None, item_set: str | None = None) -> list[tuple[str, str]]:
    """The sets to export, as (study, set): those of the paper, for all studies or one, or a named set.

    Raises
    ------
    UserError
        When the study or set is unknown, or its texts may not be redistributed.
    """
    if item_set is not None:
        known = catalogue.study(study or "dvb")
        if item_set in known.sets_of_others:
            raise UserError(
                f"{known.name}/{item_set}: these prompts belong to others and may not be redistributed; "
                "export another set. To put them to a model, use `deepvalues query`"
            )
        if item_set not in known.item_sets:
            raise UserError(f"unknown item set {item_set!r}; {known.name} has {', '.join(known.item_sets)}")
        return [(known.name, item_set)]
    wanted = [catalogue.study(study).name] if study else list(catalogue.studies())
    return [
        (name, each)
        for name in wanted
        for each in catalogue.registry().sets(name)
        if each not in catalogue.study(name).sets_of_others
    ]


def exported(sets: list[tuple[str, str]]) -> Iterator[Exported]:
    """The items of the sets, one set at a time to save memory."""
    for name, item_set in sets:
        study = catalogue.study(name)
        items = study.items(item_set)
        conversations = study.conversations(items)
        if withheld := next((each for each in conversations if isinstance(each, Withheld)), None):
            raise UserError(f"{withheld.item}: its text may not be redistributed")
        if any(conversation.n_turns > 1 for conversation in conversations):
            turns = [list(conversation.turns) for conversation in conversations]
            items = items.assign(user_turns=pd.Series(turns, index=items.index))
        choice = study.letter_choice
        if choice and len(choice.letters) == 2:
            tied = [choice.letters[coin(study.seed, id, 0) % 2] for id in items["id"]]
            items = items.assign(if_tied=tied)
        yield Exported(study, item_set, items)


# ---- tasks of lm-evaluation-harness ----

FOLDER = "lm_eval"
#: Suffix of tasks that ask by letter probability.
_BY_LETTERS = "_letters"
#: Modules copied into the export, with their names there.
_COPIES = {
    "deepvalues.ask.reading": "deepvalues_reading",
    "deepvalues.ask.spelling": "deepvalues_spelling",
    "deepvalues.export.for_lm_eval": "deepvalues_tasks",
    "deepvalues.export.letters_for_lm_eval": "letters",
}
#: Stop sequence that never occurs: the harness has a default of its own, and endpoints reject an empty list.
_NO_STOP = ["<|no reply ends with this|>"]


class _Function(str):
    """A function of the copied modules, as the harness's YAML names it."""

    __slots__ = ()


#: Settings of all tasks.
_SHARED = {
    "custom_dataset": _Function("deepvalues_tasks.load"),
    "test_split": "test",
    "num_fewshot": 0,
    "doc_to_text": "prompt",
}


class _Dumper(yaml.SafeDumper):
    """Writes `_Function` with its tag, and repeated values in full."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - inherited signature
        """Always True: write repeated values in full."""
        return True


_Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", name))


def write_code(folder: Path) -> None:
    """Write copies of the modules that the tasks call; they import nothing else from this package."""
    source = Path(__file__).parents[2]
    (folder / FOLDER).mkdir()
    for module, name in _COPIES.items():
        text = source.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        for other, its_name in _COPIES.items():
            text = text.replace(f"from {other} import", f"from {its_name} import")
        (folder / FOLDER / f"{name}.py").write_text(text, encoding="utf-8")


def write_tasks(folder: Path, each: Exported) -> list[str]:
    """Write the tasks of a set that has arms; return the names of their groups, one per way of asking."""
    if not each.has_arms:
        return []
    ways: dict[str, Mapping[str, Any]] = {FREE: _free(each.study)}
    if choice := each.study.letter_choice:
        ways[CONTINUE] = _by_letters(choice)
    groups = []
    for way, config in ways.items():
        group = f"deepvalues_{each.name}{_BY_LETTERS if way == CONTINUE else ''}"
        metadata = {
            "version": __version__,
            "study": each.study.name,
            "item_set": each.item_set,
            "letters": way,
        }
        _dump(folder / f"_{group}_yaml", {**_SHARED, **config, "metadata": metadata})
        names = [_arm(folder, group, arm) for arm in dict.fromkeys(each.items["arm"])]
        _dump(folder / f"{group}.yaml", {"group": group, "task": names, "metadata": {"version": __version__}})
        groups.append(group)
    return groups


def _arm(folder: Path, group: str, arm: str) -> str:
    """Write the task of an arm; return its name."""
    stem = group.removesuffix(_BY_LETTERS)
    task = f"{stem}_{arm}{group.removeprefix(stem)}"
    rate = "dvgr" if arm == "deconfounded" else "right"
    metrics = {
        rate: _Function("deepvalues_tasks.rate"),
        f"{rate}_error_by_cell": _Function("deepvalues_tasks.error_by_cell"),
        "answered": "mean",
    }
    better = {rate, "answered"}
    config = {
        "include": f"_{group}_yaml",
        "task": task,
        "dataset_kwargs": {"arm": arm},
        "metric_list": [
            {"metric": name, "aggregation": how, "higher_is_better": name in better}
            for name, how in metrics.items()
        ],
    }
    _dump(folder / f"{task}.yaml", config)
    return task


def _free(study: Study) -> dict[str, Any]:
    # The study leaves the temperature to the endpoint; the harness would send 0.
    settings = {"max_gen_toks": study.max_tokens, "do_sample": True, "temperature": 1.0, "until": _NO_STOP}
    return {
        "output_type": "generate_until",
        "doc_to_target": "right",
        "generation_kwargs": settings,
        "process_results": _Function("deepvalues_tasks.free"),
    }


def _by_letters(choice: LetterChoice) -> dict[str, Any]:
    return {
        "output_type": "multiple_choice",
        "gen_prefix": choice.begin,
        "target_delimiter": " ",
        "doc_to_choice": list(choice.letters),
        "doc_to_target": f"{{{{{list(choice.letters)}.index(right)}}}}",
        "process_results": _Function("deepvalues_tasks.letters"),
    }


def _dump(path: Path, content: Mapping[str, Any]) -> None:
    text = yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    path.write_text(text, encoding="utf-8")


# ---- the data set ----

#: The hub's names for the types of the data dictionary.
_TYPES = {"integer": "int64", "number": "float64", "boolean": "bool"}
_SPLIT = "test"
#: The configuration that `datasets` loads if none is named.
DEFAULT = "dvb-n4-50"
#: Columns added to those of a study; see `Exported`.
_ADDED = (
    Column(
        "user_turns",
        metadata.LIST,
        "text",
        "the user's turns in order, if there are several; {{reply 1}} stands for the model's reply to the "
        "first; a turn that only repeats the question follows an unreadable reply",
    ),
    Column("if_tied", "text", "name", "the option that counts if both letters are equally probable"),
)
_NOT_HERE = (
    "The published prompts and those in their authors' repository are left out: we may not redistribute them."
)


def write(folder: Path, sets: list[tuple[str, str]]) -> list[str]:
    """Write an export; return lines that list its contents.

    Parameters
    ----------
    sets
        From `chosen`.

    Raises
    ------
    UserError
        When the folder is not empty, or can't be written.
    """
    _stop_unless_empty(folder)
    meanings = columns_of_items(paths.DATA)
    files, lines = [], []
    with tempfile.TemporaryDirectory() as temporary:
        # A folder in it, since only its owner may read a temporary folder.
        new = Path(temporary) / folder.name
        new.mkdir()
        write_code(new)
        for each in exported(sets):
            files.append(_parquet(new, each, meanings[each.study.name]))
            groups = write_tasks(new / FOLDER, each)
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
    """Stop unless the folder is new or empty; create it, so that a failure shows at once."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        what = "it is a file" if folder.is_file() else "it is not empty"
        raise UserError(f"{shown(folder)}: {what}; export overwrites nothing: name a new folder with --to")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _parquet(folder: Path, each: Exported, meanings: Sequence[Column]) -> File:
    """Write an item set; return the description of its file, titled with the configuration's name."""
    path = folder / each.path
    path.parent.mkdir(parents=True, exist_ok=True)
    each.items.to_parquet(path, index=False, compression="zstd")
    known = {column.name: column for column in (*meanings, *_ADDED)}
    columns = tuple(known[str(name)] for name in each.items)
    what = f"{each.study.title}: {len(each.items):,} items"
    return File(each.path, each.path, each.name, what, "deepvalues export", columns)


def canary() -> str:
    """The string that reveals whether a model was trained on the stimuli."""
    found = re.search(r"deepvalues-canary-[0-9a-f-]+", (paths.STIMULI / "README.md").read_text("utf-8"))
    assert found, "data/stimuli/README.md must contain the canary string"
    return found[0]


def _feature(column: Column) -> dict[str, Any]:
    if column.kind == metadata.LIST:
        return {"name": column.name, "list": "string"}
    return {"name": column.name, "dtype": _TYPES.get(column.kind, "string")}


def _front(files: Sequence[File], citation: dict[str, Any]) -> str:
    """The card's YAML, which the hub and `datasets` read."""
    first = next((file for file in files if file.title == DEFAULT), files[0])
    content = {
        "pretty_name": citation["title"],
        "license": "cc-by-4.0",
        "language": ["en"],
        "tags": ["values", "alignment", "benchmark"],
        "canary": canary(),
        "citation": metadata.cited(citation),
        "configs": [
            {"config_name": file.title, "data_files": [{"split": _SPLIT, "path": file.path}]}
            | ({"default": True} if file is first else {})
            for file in files
        ],
        "dataset_info": [
            {"config_name": file.title, "features": [_feature(column) for column in file.columns]}
            for file in files
        ],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _card(files: Sequence[File]) -> str:
    citation = metadata.citation_of(paths.ROOT)
    by_columns: dict[tuple[Column, ...], list[str]] = {}
    for file in files:
        by_columns.setdefault(file.columns, []).append(file.title)
    facts = {
        "front": _front(files, citation),
        "citation": citation,
        "authors": metadata.names_of(citation),
        "year": str(citation["date-released"])[:4],
        "canary": canary(),
        "not_here": _NOT_HERE,
        "split": _SPLIT,
        "files": files,
        "by_columns": by_columns,
    }
    return Sentences("card", Path(__file__).parent).whole(facts) + "\n"
