"""`deepvalues record adopt`: copy answers requested with --base-url into the paper's record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from deepvalues.ask import catalogue
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.engine import Ask, log_entry
from deepvalues.ask.questions import Questions, record_path
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.registry import CUSTOM, Model, respondent
from deepvalues.ask.study import Study
from deepvalues.core import paths
from deepvalues.core.errors import UserError


class Adopted(NamedTuple):
    """How many answers to one study were adopted, known before, or left because their requests differ."""

    study: str
    adopted: int
    known: int
    left: int

    def __str__(self) -> str:
        line = f"{self.study}: {self.adopted:,} answers adopted, {self.known:,} already on record"
        if self.left:
            line += (
                f", {self.left:,} left: the entry has other parameters, another address or another name, or "
                "no set of the study has these items"
            )
        return line


def adopt(
    model: Model, source: Path, base_url: str | None = None, record_folder: Path = paths.RESPONSES
) -> list[Adopted]:
    """Copy a model's answers from another base URL into the record of its entry.

    Only answers to exactly the requests that the entry makes are copied, under the entry's key; with other
    parameters or prompts they answer another question. The log names the endpoint of each.

    Parameters
    ----------
    source
        The folder of the record that holds the answers; it is not changed.
    base_url
        Where they were requested, by default the base URL of the model's endpoint.

    Raises
    ------
    UserError
        When the model has no base URL or runs on this machine, nothing is found, or a record is damaged.
    """
    address = base_url or model.endpoint.base_url
    if model.weights or model.is_local:
        raise UserError(
            f"{model.name}: this model runs on this machine, so its answers already have the entry's key"
        )
    if address is None:
        raise UserError(f"{model.name}: its endpoint has no base_url: give the --base-url that was used")
    listed = catalogue.registry().model(model.name, address).endpoint.kind
    kinds = dict.fromkeys((listed, respondent(address), CUSTOM))
    found = []
    for study in catalogue.studies().values():
        names = dict.fromkeys((model.name, model.served_as))
        files = [record_path(source, study.name, name) for name in names]
        for record in [Record(file) for file in files if file.exists()]:
            target = Record(record_path(record_folder, study.name, model.name))
            found.append(_adopt(study, model, list(kinds), record, target))
    if not found:
        raise UserError(f"{paths.shown(source)}: no answers of {model.name} or {model.served_as}")
    return found


def _adopt(study: Study, model: Model, kinds: list[str], source: Record, target: Record) -> Adopted:
    logged = source.received()
    new: dict[str, tuple[Answer, dict[str, Any]]] = {}
    known = 0
    matched: set[str] = set()
    conversations = list(_conversations(study, {answer.item for answer in source.answers.values()}))
    questions = Questions(study, conversations, model, target)
    for kind in kinds:
        original = replace(questions.ask, model=replace(model, endpoint=replace(model.endpoint, kind=kind)))
        for key, answer in _answers(questions, original, source):
            if answer.key in matched:
                continue
            matched.add(answer.key)
            if key in target.answers:
                known += 1
            else:
                entry = log_entry(key, answer.item, answer.repeat) | {"fingerprint": None}
                entry |= logged.get(answer.key, {}) | {"key": key, "adopted_from": kind}
                new[key] = answer._replace(key=key), entry
    if new:
        with target.writing() as journal:
            for answer, entry in new.values():
                journal.append(answer)
                journal.log(entry)
    return Adopted(study.name, len(new), known, len(source.answers.keys() - matched))


def _answers(questions: Questions, original: Ask, source: Record) -> Iterator[tuple[str, Answer]]:
    """The source's answers, each with the key of the entry's request."""
    for conversation in questions.own_conversations:
        for repeat in conversation.repeat_numbers:
            answers: list[Answer] = []
            while not conversation.is_over(answers):
                replies = [answer.text or "" for answer in answers]
                answer = source.answers.get(original.key(conversation, replies, repeat))
                if answer is None:
                    break
                yield questions.ask.key(conversation, replies, repeat), answer
                answers.append(answer)


def _conversations(study: Study, ids: set[str]) -> Iterator[Conversation]:
    """The conversations of the items with the given ids, from each set that has them."""
    for item_set in dict.fromkeys([*study.sets_with_all, *catalogue.registry().sets(study.name)]):
        # Ignore sets whose sources are missing.
        with suppress(UserError):
            items: pd.DataFrame = study.items(item_set)
            yield from study.conversations(items[items["id"].isin(ids)])
