"""Tasks of lm-evaluation-harness: YAML for each arm and way of asking, and the code that they call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deepvalues import __version__
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.registry import CONTINUE, FREE
from deepvalues.ask.study import Study
from deepvalues.export.material import Exported

FOLDER = "lm_eval"
#: What the names of tasks that are asked by letter probability end with.
_BY_LETTERS = "_letters"
#: Modules that go into the export, by the names that they have there.
_COPIES = {
    "deepvalues.ask.reading": "deepvalues_reading",
    "deepvalues.ask.spelling": "deepvalues_spelling",
    "deepvalues.export.for_lm_eval": "deepvalues_tasks",
    "deepvalues.export.letters_for_lm_eval": "letters",
}
#: The harness ends a reply at its own default, and endpoints refuse an empty list.
_NO_END = ["<|no reply ends with this|>"]


class _Function(str):
    """A function of the copied modules, as the harness's YAML names it."""

    __slots__ = ()


#: What all tasks have.
_SHARED = {
    "custom_dataset": _Function("deepvalues_tasks.load"),
    "test_split": "test",
    "num_fewshot": 0,
    "doc_to_text": "prompt",
}


class _Dumper(yaml.SafeDumper):
    """Writes `_Function` with its tag, and what is there twice in full."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - that of every dumper
        """Whether a value is written again: always."""
        return True


_Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", name))


def write_code(folder: Path) -> None:
    """Write copies of what the tasks call, which import each other and nothing else of this package."""
    source = Path(__file__).parents[2]
    (folder / FOLDER).mkdir()
    for module, name in _COPIES.items():
        text = source.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        for other, its_name in _COPIES.items():
            text = text.replace(f"from {other} import", f"from {its_name} import")
        (folder / FOLDER / f"{name}.py").write_text(text, encoding="utf-8")


def write_tasks(folder: Path, each: Exported) -> list[str]:
    """Write the tasks of a set that has arms; gives the names of their groups, one a way of asking."""
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
    """Write the task of an arm; gives its name."""
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
    settings = {
        "max_gen_toks": study.max_tokens,
        "do_sample": True,
        "temperature": 1.0,
        "until": _NO_END,
    }
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
