"""Reading logs of lm-evaluation-harness: a file of results, and a file of samples for each task beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepvalues.ask import catalogue
from deepvalues.ask.conversation import Message
from deepvalues.ask.letters import probabilities
from deepvalues.ask.record import Answer
from deepvalues.ask.registry import FREE
from deepvalues.ask.spelling import IMPOSSIBLE
from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown
from deepvalues.export.logs import Log, Place, Sample, cut, other_task, place, stop_unless_known

HARNESS = "lm-eval"
_KNOWN = "0.4."
_LACKS = {
    FREE: "why a reply ended (one that was cut is read as a whole one), the tokens used, refusals reported "
    "apart, and the seed unless it was given",
    "letters": "the token received, the likeliest tokens beside the letters, the tokens used, and the seed "
    "unless it was given",
}
#: The harness's words for parameters of the protocol; None for what it does not send.
_NAMES = {"max_gen_toks": "max_tokens", "until": "stop", "do_sample": None}


def results_file(folder: Path) -> Path:
    """The one file of results in a folder.

    Raises
    ------
    UserError
        When there is none, or several.
    """
    found = sorted(folder.rglob("results_*.json"))
    if len(found) != 1:
        what = f"{len(found)} files of results: name one of them" if found else "no log: name a file"
        raise UserError(f"{shown(folder)}: {what} (results_….json of lm_eval, or a log of Inspect)")
    return found[0]


def read(file: Path, content: Mapping[str, Any]) -> list[Log]:
    """The logs of this project's tasks in a file of results, one a study, set and way of asking.

    Raises
    ------
    UserError
        When there is none, the harness is of another version, or samples are missing or cut.
    """
    stop_unless_known(file, "lm_eval", str(content.get("lm_eval_version") or ""), _KNOWN)
    tasks: dict[Place, list[str]] = {}
    for task, config in content.get("configs", {}).items():
        if found := place(config.get("metadata")):
            tasks.setdefault(found, []).append(task)
    if not tasks:
        raise other_task(file)
    return [_log(file, content, found, names) for found, names in tasks.items()]


def _log(file: Path, content: Mapping[str, Any], found: Place, tasks: Sequence[str]) -> Log:
    lines = [line for task in tasks for line in _lines(file, content, task)]
    arguments = content.get("config", {}).get("model_args") or {}
    # Of letters the protocol's own parameters are sent, whatever the task says.
    sent = {} if found.way != FREE else _sent(file, lines)
    seed = {"seed": int(arguments["seed"])} if "seed" in arguments else {}
    return Log(
        HARNESS,
        str(content["lm_eval_version"]),
        *found,
        served_as=str(content.get("model_name")),
        asked_at=arguments.get("base_url"),
        date=datetime.fromtimestamp(float(content["date"]), UTC).isoformat(timespec="seconds"),
        parameters={**sent, **seed},
        samples=tuple(_sample(line, found) for line in lines),
        unusable=0,
        lacks=_LACKS[FREE if found.way == FREE else "letters"],
    )


def _lines(file: Path, content: Mapping[str, Any], task: str) -> Iterator[dict[str, Any]]:
    """The samples of a task; it must have as many as the results count."""
    beside = file.with_name(f"samples_{task}_{file.stem.removeprefix('results_')}.jsonl")
    if not beside.is_file():
        raise UserError(
            f"{shown(beside)}: missing; run lm_eval with --log_samples, and keep its files together"
        )
    lines = beside.read_bytes().splitlines()
    if len(lines) != (counted := content["n-samples"][task]["effective"]):
        raise cut(beside, f"it has {len(lines):,} samples, and {file.name} counts {counted:,}")
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError:
            raise cut(beside, f"line {number} ends in its middle") from None


def _sent(file: Path, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters of all requests of free replies."""
    every = [line["arguments"]["gen_args_0"]["arg_1"] for line in lines]
    if any(each != every[0] for each in every):
        raise UserError(
            f"{shown(file)}: its samples were asked with several settings: import each run by itself"
        )
    named = {_NAMES.get(name, name): setting for name, setting in every[0].items()}
    return {name: setting for name, setting in named.items() if name is not None}


def _sample(line: Mapping[str, Any], found: Place) -> Sample:
    asked, replies = line["arguments"], line["filtered_resps"]
    item = str(line["doc"]["id"])
    text, logprobs = (
        (str(replies[0]), None) if found.way == FREE else (None, _logprobs(found, asked, replies))
    )
    answer = Answer("", item, 0, 0, text, None, None, None, None, logprobs, None)
    return Sample(item, _messages(asked["gen_args_0"]["arg_0"]), answer)


def _messages(argument: Any) -> list[Message] | None:
    """The messages of a request; None where no chat template was applied."""
    try:
        (text,) = argument if isinstance(argument, list) else ("",)
        return [{"role": each["role"], "content": each["content"]} for each in json.loads(text)]
    except (ValueError, TypeError, KeyError):
        return None


def _logprobs(found: Place, asked: Mapping[str, Any], replies: Sequence[Any]) -> dict[str, Any]:
    """The letters' log probabilities as the record keeps them; what they leave over bounds any other."""
    choice = catalogue.study(found.study).letter_choice
    assert choice is not None
    listed = {
        asked[f"gen_args_{place}"]["arg_1"].strip(): float(logprob)
        for place, (logprob, _) in enumerate(replies)
    }
    short: dict[str, Any] = {"letters": {name: each for name, each in listed.items() if each > IMPOSSIBLE}}
    short["rest"] = round(min(1.0, max(0.0, 1.0 - sum(probabilities(short).values()))), 6)
    if len(short["letters"]) < len(choice.letters):
        short["unlisted"] = short["rest"]
    return short
