"""`deepvalues record adopt`: answers asked by address, brought into the paper's record."""

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
    """What was brought into one study's record; ``left`` are answers to other requests than it makes."""

    study: str
    adopted: int
    known: int
    left: int

    def __str__(self) -> str:
        line = f"{self.study}: {self.adopted:,} answers adopted, {self.known:,} on record before"
        if self.left:
            line += (
                f", {self.left:,} left: the entry asks with other parameters, at another address or under "
                "another name, or no set of the study has these items"
            )
        return line


def adopt(
    model: Model, source: Path, base_url: str | None = None, record_folder: Path = paths.RESPONSES
) -> list[Adopted]:
    """Bring the answers to a model's requests that an address gave into the record of the model's entry.

    Only an answer to the very request that the entry makes is taken, under the entry's key; where parameters
    or prompts are others it was another question. The log says from which endpoint each came.

    Parameters
    ----------
    source
        The folder of the record that holds them; it is left as it is.
    base_url
        Where they were asked, by default the address of the model's endpoint.

    Raises
    ------
    UserError
        When the model has no address or weights of its own, nothing is found, or a record is damaged.
    """
    address = base_url or model.endpoint.base_url
    if model.weights or model.is_local:
        raise UserError(
            f"{model.name}: who answers on this machine is known by its key; nothing can be adopted"
        )
    if address is None:
        raise UserError(f"{model.name}: its endpoint has no base_url: give the --base-url that was asked")
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
        # The weights behind an address are in no key.
        by_hand = replace(questions.ask, model=replace(model, endpoint=replace(model.endpoint, kind=kind)))
        for key, answer in _answers(questions, by_hand, source):
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


def _answers(questions: Questions, by_hand: Ask, source: Record) -> Iterator[tuple[str, Answer]]:
    """Each answer that was asked by hand, with the key that its request has now."""
    for conversation in questions.own_conversations:
        for repeat in conversation.repeat_numbers:
            answers: list[Answer] = []
            while not conversation.is_over(answers):
                replies = [answer.text or "" for answer in answers]
                answer = source.answers.get(by_hand.key(conversation, replies, repeat))
                if answer is None:
                    break
                yield questions.ask.key(conversation, replies, repeat), answer
                answers.append(answer)


def _conversations(study: Study, ids: set[str]) -> Iterator[Conversation]:
    """How the items of the given ids are asked, in each set that has them."""
    of_paper = [place.partition("/") for place in catalogue.registry().paper]
    sets = [
        *study.sets_with_all,
        *(item_set for name, _, item_set in of_paper if name == study.name),
    ]
    for item_set in dict.fromkeys(filter(None, sets)):
        # What a set is made of need not be on this machine.
        with suppress(UserError):
            items: pd.DataFrame = study.items(item_set)
            yield from study.conversations(items[items["id"].isin(ids)])
