"""`deepvalues import`: a log of another harness, read back as a respondent of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from deepvalues.ask import catalogue, letters
from deepvalues.ask.engine import log_entry
from deepvalues.ask.questions import Questions, record_path
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.registry import FREE, Endpoint, Model
from deepvalues.ask.study import Study
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown
from deepvalues.export import inspect_logs, lm_eval_logs
from deepvalues.export.logs import Log


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
    file = lm_eval_logs.results_file(path) if path.is_dir() else path
    content = inspect_logs.load(file)
    try:
        if "lm_eval_version" in content:
            return lm_eval_logs.read(file, content)
        if "eval" in content:
            return inspect_logs.read(file, content)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, letters.NoLogprobsError) as error:
        raise UserError(f"{shown(file)}: not a log as this version reads it: {error!r}") from None
    raise UserError(
        f"{shown(file)}: neither a file of results of lm_eval (results_….json) nor a log of Inspect"
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
        parameters=_over(base, log.parameters, as_sent=not (way and log.harness == lm_eval_logs.HARNESS)),
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
