"""`deepvalues import`: a log of another harness, read back as a respondent of its own.

A log of Inspect is one file; lm-evaluation-harness writes a file of results, and one of samples for each task
beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml

from deepvalues.ask import catalogue, letters
from deepvalues.ask.conversation import Message
from deepvalues.ask.engine import answer_from, log_entry
from deepvalues.ask.protocol import FILTERED, Reply
from deepvalues.ask.questions import Questions, record_path
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.registry import FREE, PARAMETERS, Endpoint, Model, Way
from deepvalues.ask.spelling import IMPOSSIBLE
from deepvalues.ask.study import Study
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_json
from deepvalues.core.paths import install, shown

_LM_EVAL = "lm-eval"
_LM_EVAL_LACKS = {
    FREE: "why a reply ended (one that was cut is read as a whole one), the tokens used, refusals reported "
    "apart, and the seed unless it was given",
    "letters": "the token received, the likeliest tokens beside the letters, the tokens used, and the seed "
    "unless it was given",
}
#: The harness's words for parameters of the protocol; None for what it does not send.
_LM_EVAL_NAMES = {"max_gen_toks": "max_tokens", "until": "stop", "do_sample": None}
_INSPECT_LACKS = "the server's fingerprint, refusals reported apart, and what a reply held beside its text"
#: The protocol's words for Inspect's reasons; it has others that the protocol has not.
_REASONS = {"stop": "stop", "max_tokens": "length", "content_filter": FILTERED}


class Sample(NamedTuple):
    """An item's answer, without a key, and the messages that were sent; None where the log has others."""

    item: str
    messages: list[Message] | None
    answer: Answer


class Log(NamedTuple):
    """What one model answered to one set in one way, and what the log does not say.

    ``harness`` is its endpoint in ``data/models.yml``, ``way`` how letters were asked for. ``parameters``
    are those of every request in the protocol's words. ``unusable`` counts samples without a reply.
    """

    harness: str
    version: str
    study: str
    item_set: str
    way: Way
    served_as: str
    asked_at: str | None
    date: str
    parameters: Mapping[str, Any]
    samples: tuple[Sample, ...]
    unusable: int
    lacks: str


class Place(NamedTuple):
    """What a task of an export says of itself in a log."""

    study: str
    item_set: str
    way: Way


class Imported(NamedTuple):
    """What was brought into one study's record.

    ``known`` were there before, ``differ`` are there with another reply and stay as they are, ``left`` were
    asked in other messages than the study's.
    """

    log: Log
    model: Model
    new: int
    known: int
    differ: int
    left: int

    def __str__(self) -> str:
        log = self.log
        counts = {
            "read": self.new,
            "on record before": self.known,
            "left, as the record has another reply to the same request (--model names another respondent)": (
                self.differ
            ),
            "left, as other messages were sent than the study's": self.left,
            "samples without a reply": log.unusable,
        }
        told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count or what == "read")
        return (
            f"{log.study}/{log.item_set}: {self.model.name}, by {log.harness} {log.version}: {told}. The log "
            f"lacks {log.lacks}."
        )

    def entry(self) -> str:
        """The line that lists the respondent in ``data/models.yml``."""
        model = self.model
        fields: dict[str, Any] = {
            "name": model.name,
            "endpoint": model.endpoint.kind,
            "served_as": model.served_as,
            "letters": model.letters,
            "parameters": dict(model.parameters),
        }
        given = {name: setting for name, setting in fields.items() if setting}
        return f"- {yaml.safe_dump(given, default_flow_style=True, sort_keys=False, width=math.inf).strip()}"


def read(path: Path) -> list[Log]:
    """The logs in a file or folder.

    Raises
    ------
    UserError
        When it is no log of a known harness and of this project's tasks, or the log is cut.
    """
    file = _results_file(path) if path.is_dir() else path
    content = _load(file)
    readers = {"lm_eval_version": _of_lm_eval, "eval": _of_inspect}
    read = next((reader for mark, reader in readers.items() if mark in content), None)
    if read is None:
        raise UserError(
            f"{shown(file)}: neither a file of results of lm_eval (results_….json) nor a log of Inspect"
        )
    try:
        logs = read(file, content)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, letters.NoLogprobsError) as error:
        raise UserError(f"{shown(file)}: not a log as this version reads it: {error!r}") from None
    if not logs:
        raise UserError(
            f"{shown(file)}: a log of another task: only logs of this project's tasks can be read, which "
            "`deepvalues export` writes"
        )
    return logs


def _load(file: Path) -> Mapping[str, Any]:
    """The content of a log of either harness, in JSON or compressed by Inspect."""
    if file.suffix != ".eval":
        content = read_json(file, "the log may have been cut")
        return content if isinstance(content, dict) else {}
    try:
        from inspect_ai.log import read_eval_log
    except ModuleNotFoundError:
        raise UserError(
            f"{shown(file)}: only Inspect reads its compressed logs; it comes with the extra `inspect`: "
            f"{install('inspect')}. Or have Inspect write JSON: --log-format json"
        ) from None
    try:
        return dict(read_eval_log(str(file), resolve_attachments=True).model_dump(mode="json"))
    except Exception as error:  # a broken archive can fail in many ways
        raise _cut(file, f"Inspect can't read it ({error})") from None


def _place(metadata: Any) -> Place | None:
    """The study and set of a task, from its metadata; None where it is none of this project's tasks."""
    match metadata:
        case {"study": study, "item_set": item_set, "letters": way} if way in get_args(Way):
            return Place(study, item_set, way)
    return None


def _cut(file: Path, how: str) -> UserError:
    """The error about a log that is not whole."""
    return UserError(f"{shown(file)}: the log is not whole: {how}; run the task again, or to its end")


def _stop_unless_known(file: Path, package: str, version: Any, known: str) -> None:
    """Stop at a log of a harness whose logs are perhaps other ones; ``known`` begins the versions read."""
    if not str(version or "").startswith(known):
        raise UserError(
            f"{shown(file)}: written by {package} {version or 'of an unknown version'}; logs of {known}x are "
            f'read: run the task with `pip install "{package}=={known}*"`'
        )


def bring_in(log: Log, name: str | None = None, record_folder: Path = paths.RESPONSES) -> Imported:
    """Bring the answers of a log into the record of a respondent of its own.

    Parameters
    ----------
    name
        The respondent's; by default the model's with the harness's behind it, and how it was asked.

    Raises
    ------
    UserError
        When the name is that of another model, or an item is none of the study's set.
    """
    study = catalogue.study(log.study)
    model = _model(log, study, name)
    _stop_if_taken(model)
    conversations = study.conversations(study.items(log.item_set))
    record = Record(record_path(record_folder, study.name, model.name))
    questions = Questions(study, conversations, model, record)
    found, left = _answers(log, questions)
    new = {key: answer for key, answer in found.items() if key not in record.answers}
    differ = sum(answer != record.answers.get(key, answer) for key, answer in found.items())
    if new:
        about = {"fingerprint": None, "date": log.date, "imported_from": f"{log.harness} {log.version}"}
        with record.writing() as journal:
            for key, answer in new.items():
                journal.append(answer)
                journal.log({**log_entry(key, answer.item, 0), **about, "asked_at": log.asked_at})
    return Imported(log, model, len(new), len(found) - len(new) - differ, differ, left)


def _answers(log: Log, questions: Questions) -> tuple[dict[str, Answer], int]:
    """The answers to the study's own requests by key, and the number of others."""
    asked = {each.item: each for each in questions.own_conversations}
    found, left = {}, 0
    for sample in log.samples:
        conversation = asked.get(sample.item)
        if conversation is None:
            raise UserError(
                f"{sample.item} is no item of {log.study}/{log.item_set}: a log of another task, or of other "
                "stimuli than those in data/stimuli"
            )
        if sample.messages == conversation.messages(()):
            key = questions.ask.key(conversation, (), 0)
            found[key] = sample.answer._replace(key=key)
        else:
            left += 1
    return found, left


def _model(log: Log, study: Study, name: str | None) -> Model:
    way = None if log.way == FREE else log.way
    own = name or f"{log.served_as.rpartition('/')[2]}-{log.harness}{'-letters' if way else ''}"
    base = {"seed": ..., **(letters.PARAMETERS if way else study.parameters)}
    return Model(
        own,
        Endpoint(log.harness, None, None),
        log.served_as,
        parameters=_over(base, log.parameters, as_sent=not (way and log.harness == _LM_EVAL)),
        letters=way,
    )


def _over(base: Mapping[str, Any], sent: Mapping[str, Any], *, as_sent: bool) -> dict[str, Any]:
    """What makes a study's parameters those that were sent; null takes out what was not.

    ``as_sent`` is False where a log names only what it sent besides.
    """
    others = {name: setting for name, setting in sent.items() if base.get(name) != setting}
    missing: Sequence[str] = [name for name in base if name not in sent and (as_sent or name == "seed")]
    return {**dict.fromkeys(missing), **others}


def _stop_if_taken(model: Model) -> None:
    listed = catalogue.registry().models.get(model.name)
    if listed and (listed.endpoint.kind, listed.served_as) != (model.endpoint.kind, model.served_as):
        raise UserError(
            f"{model.name}: data/models.yml has another model of this name; name the respondent of the log "
            "with --model"
        )


# ---- logs of Inspect ----


def answer_of(item: str, output: Mapping[str, Any], choice: letters.LetterChoice | None) -> Answer:
    """The answer that a sample's output holds, without a key.

    Raises
    ------
    deepvalues.ask.letters.NoLogprobsError
        When it was asked by letters and has no log probabilities.
    """
    (first, *_), usage = output["choices"], output.get("usage") or {}
    reply = Reply(
        text=_text(first["message"]["content"]),
        refusal=None,
        finish_reason=_REASONS.get(first["stop_reason"], first["stop_reason"]),
        logprobs=first.get("logprobs"),
        model=output.get("model"),
        prompt_tokens=usage.get("input_tokens"),
        completion_tokens=usage.get("output_tokens"),
        cached_tokens=None,
        fingerprint=None,
        more=None,
    )
    return answer_from(reply, "", item, 0, 0, choice)


def _text(content: Any) -> str:
    """The text of a message, which may come in parts."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def _of_inspect(file: Path, content: Mapping[str, Any]) -> list[Log]:
    """The one log of a task of this project that came to its end; none of another task."""
    about = content["eval"]
    _stop_unless_known(file, "inspect_ai", about.get("packages", {}).get("inspect_ai"), "0.3.")
    found = _place(about.get("metadata"))
    if not found:
        return []
    samples, status = content.get("samples") or [], content.get("status")
    if status != "success" or len(samples) != content["results"]["total_samples"]:
        expected = (content.get("results") or {}).get("total_samples", "more")
        raise _cut(file, f"its status is {status}, and it has {len(samples):,} of {expected} samples")
    # An item has one answer: of several epochs, the first.
    first = [each for each in samples if each["epoch"] == 1]
    usable = [each for each in first if each["output"]["choices"]]
    choice = None if found.way == FREE else catalogue.study(found.study).letter_choice
    log = Log(
        "inspect",
        about["packages"]["inspect_ai"],
        *found,
        served_as=about["model"],
        asked_at=about.get("model_base_url"),
        date=about["created"],
        parameters=_inspect_parameters(content["plan"]["config"]),
        samples=tuple(_inspect_sample(each, choice) for each in usable),
        unusable=len(first) - len(usable),
        lacks=_INSPECT_LACKS,
    )
    return [log]


def _inspect_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    named = {("stop" if name == "stop_seqs" else name): setting for name, setting in config.items()}
    # How many alternatives are listed enters no key.
    kept = set(PARAMETERS) - {"top_logprobs"}
    return {name: setting for name, setting in named.items() if name in kept and setting is not None}


def _inspect_sample(each: Mapping[str, Any], choice: letters.LetterChoice | None) -> Sample:
    sent = [message for message in each["messages"] if message.get("source") != "generate"]
    messages = [{"role": one["role"], "content": _text(one["content"])} for one in sent]
    return Sample(str(each["id"]), messages, answer_of(str(each["id"]), each["output"], choice))


# ---- logs of lm-evaluation-harness ----


def _results_file(folder: Path) -> Path:
    """The one file of results of lm_eval in a folder."""
    found = sorted(folder.rglob("results_*.json"))
    if len(found) != 1:
        what = f"{len(found)} files of results: name one of them" if found else "no log: name a file"
        raise UserError(f"{shown(folder)}: {what} (results_….json of lm_eval, or a log of Inspect)")
    return found[0]


def _of_lm_eval(file: Path, content: Mapping[str, Any]) -> list[Log]:
    """The logs of this project's tasks in a file of results, one a study, set and way of asking."""
    _stop_unless_known(file, "lm_eval", content.get("lm_eval_version"), "0.4.")
    tasks: dict[Place, list[str]] = {}
    for task, config in content.get("configs", {}).items():
        if found := _place(config.get("metadata")):
            tasks.setdefault(found, []).append(task)
    return [_lm_eval_log(file, content, found, names) for found, names in tasks.items()]


def _lm_eval_log(file: Path, content: Mapping[str, Any], found: Place, tasks: Sequence[str]) -> Log:
    lines = [line for task in tasks for line in _lines(file, content, task)]
    arguments = content.get("config", {}).get("model_args") or {}
    # Of letters the protocol's own parameters are sent, whatever the task says.
    sent = {} if found.way != FREE else _lm_eval_parameters(file, lines)
    seed = {"seed": int(arguments["seed"])} if "seed" in arguments else {}
    return Log(
        _LM_EVAL,
        str(content["lm_eval_version"]),
        *found,
        served_as=str(content.get("model_name")),
        asked_at=arguments.get("base_url"),
        date=datetime.fromtimestamp(float(content["date"]), UTC).isoformat(timespec="seconds"),
        parameters={**sent, **seed},
        samples=tuple(_lm_eval_sample(line, found) for line in lines),
        unusable=0,
        lacks=_LM_EVAL_LACKS[FREE if found.way == FREE else "letters"],
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
        raise _cut(beside, f"it has {len(lines):,} samples, and {file.name} counts {counted:,}")
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError:
            raise _cut(beside, f"line {number} ends in its middle") from None


def _lm_eval_parameters(file: Path, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters of all requests of free replies."""
    every = [line["arguments"]["gen_args_0"]["arg_1"] for line in lines]
    if any(each != every[0] for each in every):
        raise UserError(
            f"{shown(file)}: its samples were asked with several settings: import each run by itself"
        )
    named = {_LM_EVAL_NAMES.get(name, name): setting for name, setting in every[0].items()}
    return {name: setting for name, setting in named.items() if name is not None}


def _lm_eval_sample(line: Mapping[str, Any], found: Place) -> Sample:
    asked, replies = line["arguments"], line["filtered_resps"]
    item = str(line["doc"]["id"])
    text = str(replies[0]) if found.way == FREE else None
    logprobs = None if found.way == FREE else _logprobs(found, asked, replies)
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
    short["rest"] = round(min(1.0, max(0.0, 1.0 - sum(letters.probabilities(short).values()))), 6)
    if len(short["letters"]) < len(choice.letters):
        short["unlisted"] = short["rest"]
    return short
