"""`deepvalues import`: read the log of an evaluation harness into the record, as a separate respondent.

A log of Inspect is one file; lm-evaluation-harness writes a results file, and a samples file for each task.
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
from deepvalues.ask.engine import answer_from, log_entry, longest_reply
from deepvalues.ask.protocol import CUT, FILTERED, STOP, Reply
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
    FREE: "why a reply ended (a truncated one is read as complete), the tokens used, separately reported "
    "refusals, and the seed unless it was given",
    "letters": "the token received, the most probable tokens other than the letters, the tokens used, and "
    "the seed unless it was given",
}
#: The harness's names for parameters of the protocol; None for those it does not send.
_LM_EVAL_NAMES = {"max_gen_toks": "max_tokens", "until": "stop", "do_sample": None}
_INSPECT_LACKS = (
    "the server's fingerprint, separately reported refusals, and reply fields other than the text"
)
#: The protocol's names for Inspect's stop reasons; Inspect has others that the protocol lacks.
_REASONS = {"stop": STOP, "max_tokens": CUT, "content_filter": FILTERED}


class Sample(NamedTuple):
    """The answer to an item, without a key, and the messages sent; None if the log lacks chat messages."""

    item: str
    messages: list[Message] | None
    answer: Answer


class Log(NamedTuple):
    """The answers of one model to one set, asked in one way.

    ``harness`` is the endpoint in ``data/models.yml``, ``way`` how letters were asked for, ``parameters``
    those of all requests in the protocol's names. ``unusable`` counts samples without a reply; ``lacks`` says
    what the log omits.
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


class TaskId(NamedTuple):
    """The study, set and way of asking of an exported task, as its log states them."""

    study: str
    item_set: str
    way: Way


class Imported(NamedTuple):
    """The answers imported into one study's record.

    ``new`` were added; ``known`` were already recorded; ``differ`` are recorded with another reply, which is
    kept; ``left`` were asked with messages other than the study's.
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
            "already recorded": self.known,
            "skipped, as another reply to the same request is recorded (--model names another respondent)": (
                self.differ
            ),
            "skipped, as the messages sent were not the study's": self.left,
            "samples without a reply": log.unusable,
        }
        counted = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count or what == "read")
        return (
            f"{log.study}/{log.item_set}: {self.model.name}, by {log.harness} {log.version}: {counted}. The "
            f"log lacks {log.lacks}."
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
        When it is not a log of a known harness and of this project's tasks, or is incomplete.
    """
    file = _results_file(path) if path.is_dir() else path
    content = _load(file)
    readers = {"lm_eval_version": _of_lm_eval, "eval": _of_inspect}
    read = next((reader for mark, reader in readers.items() if mark in content), None)
    if read is None:
        raise UserError(
            f"{shown(file)}: neither a results file of lm_eval (results_….json) nor a log of Inspect"
        )
    try:
        logs = read(file, content)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, letters.NoLogprobsError) as error:
        raise UserError(f"{shown(file)}: not a log that this version can read: {error!r}") from None
    if not logs:
        raise UserError(
            f"{shown(file)}: a log of another task: only logs of this project's tasks can be read; "
            "`deepvalues export` writes these tasks"
        )
    return logs


def _load(file: Path) -> Mapping[str, Any]:
    """The content of a log of either harness, in JSON or compressed by Inspect."""
    if file.suffix != ".eval":
        content = read_json(file, "the log may be incomplete")
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
        raise _incomplete(file, f"Inspect can't read it ({error})") from None


def _task_id(metadata: Any) -> TaskId | None:
    """The identity of a task from its metadata; None if it is not one of this project's tasks."""
    match metadata:
        case {"study": study, "item_set": item_set, "letters": way} if way in get_args(Way):
            return TaskId(study, item_set, way)
    return None


def _incomplete(file: Path, how: str) -> UserError:
    """The error for an incomplete log."""
    return UserError(f"{shown(file)}: the log is incomplete: {how}; let the task finish, or run it again")


def _stop_unless_supported(file: Path, package: str, version: Any, known: str) -> None:
    """Stop if the harness has an unsupported version; ``known`` is the prefix of the supported ones."""
    if not str(version or "").startswith(known):
        raise UserError(
            f"{shown(file)}: written by {package} {version or 'of an unknown version'}; only logs of "
            f'{known}x can be read: run the task with `pip install "{package}=={known}*"`'
        )


def bring_in(log: Log, name: str | None = None, record_folder: Path = paths.RESPONSES) -> Imported:
    """Import the answers of a log into the record, as a separate respondent.

    Parameters
    ----------
    name
        Name of the respondent; by default model, harness and, if so asked, "letters", joined by hyphens.

    Raises
    ------
    UserError
        When the name belongs to another model, or an item is not in the study's set.
    """
    study = catalogue.study(log.study)
    model = _model(log, study, name)
    _stop_if_taken(model)
    conversations = study.conversations(study.items(log.item_set))
    record = Record(record_path(record_folder, study.name, model.name))
    questions = Questions(study, conversations, model, record)
    found, left = _answers(log, questions)
    if not found:
        raise UserError(
            f"{study.name}/{log.item_set}: none of the {len(log.samples):,} samples was asked with this "
            "study's messages, so there is nothing to import; lm_eval needs --apply_chat_template"
        )
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
    """The answers to the study's own requests, by key, and the number of answers to other requests."""
    asked = {each.item: each for each in questions.own_conversations}
    found, left = {}, 0
    for sample in log.samples:
        conversation = asked.get(sample.item)
        if conversation is None:
            raise UserError(
                f"{sample.item} is not an item of {log.study}/{log.item_set}: the log is of another task, or "
                "of stimuli other than those in data/stimuli"
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
        parameters=_overrides(base, log.parameters, as_sent=not (way and log.harness == _LM_EVAL)),
        letters=way,
    )


def _overrides(base: Mapping[str, Any], sent: Mapping[str, Any], *, as_sent: bool) -> dict[str, Any]:
    """The overrides that turn a study's parameters into those sent; null removes one that was not sent.

    ``as_sent`` is False if the log lists only the parameters sent in addition to the study's.
    """
    others = {name: setting for name, setting in sent.items() if base.get(name) != setting}
    missing: Sequence[str] = [name for name in base if name not in sent and (as_sent or name == "seed")]
    return {**dict.fromkeys(missing), **others}


def _stop_if_taken(model: Model) -> None:
    listed = catalogue.registry().models.get(model.name)
    if listed and (listed.endpoint.kind, listed.served_as) != (model.endpoint.kind, model.served_as):
        raise UserError(
            f"{model.name}: data/models.yml has another model of this name; use --model to name the "
            "respondent of the log"
        )


# ---- logs of Inspect ----


def answer_of(
    item: str, output: Mapping[str, Any], choice: letters.LetterChoice | None, parameters: Mapping[str, Any]
) -> Answer:
    """The answer in a sample's output, without a key.

    As when this project asks, a free reply of the maximum length counts as cut whatever the server says.

    Parameters
    ----------
    parameters
        Those of all requests, in the protocol's names.

    Raises
    ------
    deepvalues.ask.letters.NoLogprobsError
        When letters were asked for and the output has no log probabilities.
    """
    (first, *_), usage = output["choices"], output.get("usage") or {}
    reason, length = _REASONS.get(first["stop_reason"], first["stop_reason"]), usage.get("output_tokens")
    if reason == STOP and not choice and length and length == longest_reply(parameters):
        reason = CUT
    reply = Reply(
        text=_text(first["message"]["content"]),
        refusal=None,
        finish_reason=reason,
        logprobs=first.get("logprobs"),
        model=output.get("model"),
        prompt_tokens=usage.get("input_tokens"),
        completion_tokens=length,
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
    """The log, if it is of a task of this project; an incomplete one is an error."""
    about = content["eval"]
    _stop_unless_supported(file, "inspect_ai", about.get("packages", {}).get("inspect_ai"), "0.3.")
    found = _task_id(about.get("metadata"))
    if not found:
        return []
    samples, status = content.get("samples") or [], content.get("status")
    if status != "success" or len(samples) != content["results"]["total_samples"]:
        expected = (content.get("results") or {}).get("total_samples", "more")
        raise _incomplete(file, f"its status is {status}, and it has {len(samples):,} of {expected} samples")
    # An item has one answer: the first epoch counts.
    first = [each for each in samples if each["epoch"] == 1]
    usable = [each for each in first if each["output"]["choices"]]
    choice = None if found.way == FREE else catalogue.study(found.study).letter_choice
    parameters = _inspect_parameters(content["plan"]["config"])
    log = Log(
        "inspect",
        about["packages"]["inspect_ai"],
        *found,
        served_as=about["model"],
        asked_at=about.get("model_base_url"),
        date=about["created"],
        parameters=parameters,
        samples=tuple(_inspect_sample(each, choice, parameters) for each in usable),
        unusable=len(first) - len(usable),
        lacks=_INSPECT_LACKS,
    )
    return [log]


def _inspect_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    named = {("stop" if name == "stop_seqs" else name): setting for name, setting in config.items()}
    # The number of alternatives listed is not part of the key.
    kept = set(PARAMETERS) - {"top_logprobs"}
    return {name: setting for name, setting in named.items() if name in kept and setting is not None}


def _inspect_sample(
    each: Mapping[str, Any], choice: letters.LetterChoice | None, parameters: Mapping[str, Any]
) -> Sample:
    sent = [message for message in each["messages"] if message.get("source") != "generate"]
    messages = [{"role": one["role"], "content": _text(one["content"])} for one in sent]
    return Sample(str(each["id"]), messages, answer_of(str(each["id"]), each["output"], choice, parameters))


# ---- logs of lm-evaluation-harness ----


def _results_file(folder: Path) -> Path:
    """The only results file of lm_eval in a folder."""
    found = sorted(folder.rglob("results_*.json"))
    if len(found) != 1:
        what = f"{len(found)} results files: name one of them" if found else "no log: name a file"
        raise UserError(f"{shown(folder)}: {what} (results_….json of lm_eval, or a log of Inspect)")
    return found[0]


def _of_lm_eval(file: Path, content: Mapping[str, Any]) -> list[Log]:
    """The logs of this project's tasks in a results file, one per study, set and way of asking."""
    _stop_unless_supported(file, "lm_eval", content.get("lm_eval_version"), "0.4.")
    tasks: dict[TaskId, list[str]] = {}
    for task, config in content.get("configs", {}).items():
        if found := _task_id(config.get("metadata")):
            tasks.setdefault(found, []).append(task)
    return [_lm_eval_log(file, content, found, names) for found, names in tasks.items()]


def _lm_eval_log(file: Path, content: Mapping[str, Any], found: TaskId, tasks: Sequence[str]) -> Log:
    lines = [line for task in tasks for line in _lines(file, content, task)]
    arguments = content.get("config", {}).get("model_args") or {}
    # When asking for letters, the client sends its own parameters, whatever the task says.
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
    """The samples of a task; their number must match the results."""
    samples = file.with_name(f"samples_{task}_{file.stem.removeprefix('results_')}.jsonl")
    if not samples.is_file():
        raise UserError(
            f"{shown(samples)}: missing; run lm_eval with --log_samples, and keep its files together"
        )
    lines = samples.read_bytes().splitlines()
    if len(lines) != (counted := content["n-samples"][task]["effective"]):
        raise _incomplete(samples, f"it has {len(lines):,} samples, but {file.name} counts {counted:,}")
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError:
            raise _incomplete(samples, f"line {number} is cut off") from None


def _lm_eval_parameters(file: Path, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters shared by all requests for free replies."""
    every = [line["arguments"]["gen_args_0"]["arg_1"] for line in lines]
    if any(each != every[0] for each in every):
        raise UserError(
            f"{shown(file)}: its samples were asked with different settings: import each run separately"
        )
    named = {_LM_EVAL_NAMES.get(name, name): setting for name, setting in every[0].items()}
    return {name: setting for name, setting in named.items() if name is not None}


def _lm_eval_sample(line: Mapping[str, Any], found: TaskId) -> Sample:
    asked, replies = line["arguments"], line["filtered_resps"]
    item = str(line["doc"]["id"])
    text = str(replies[0]) if found.way == FREE else None
    logprobs = None if found.way == FREE else _logprobs(found, asked, replies)
    answer = Answer("", item, 0, 0, text, None, None, None, None, logprobs, None)
    return Sample(item, _messages(asked["gen_args_0"]["arg_0"]), answer)


def _messages(argument: Any) -> list[Message] | None:
    """The messages of a request; None if no chat template was applied."""
    try:
        (text,) = argument if isinstance(argument, list) else ("",)
        return [{"role": each["role"], "content": each["content"]} for each in json.loads(text)]
    except (ValueError, TypeError, KeyError):
        return None


def _logprobs(found: TaskId, asked: Mapping[str, Any], replies: Sequence[Any]) -> dict[str, Any]:
    """Log probabilities of the letters in the record's format; the rest bounds any unlisted letter."""
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
