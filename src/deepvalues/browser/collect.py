"""What the browser shows, read from records and items: a sheet for each study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from deepvalues.ask import catalogue, letters
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.questions import Questions, record_path
from deepvalues.ask.record import Record
from deepvalues.ask.registry import Model
from deepvalues.ask.study import Study
from deepvalues.browser.options import Marked, marked
from deepvalues.core import paths
from deepvalues.studies.dvb.respondents.agents import Recogniser
from deepvalues.studies.dvb.study import BENCHMARK


class Row(NamedTuple):
    """What one turn of one repeat of an item brought: the reading, and what was received or went wrong.

    ``letters`` are probabilities in words, where the choice was read from these.
    """

    model: str
    item: str
    repeat: int
    turn: int
    status: str
    choice: str | None
    reply: str | None
    refusal: str | None
    finish_reason: str | None
    error: str | None
    letters: str | None = None


@dataclass(frozen=True)
class Sheet:
    """A study's items that any model was asked, and the answers, under its id and its title for readers.

    ``answers`` are by model, in the order of the paper. ``hidden`` counts recorded
    answers that no item of the sets asks for.
    """

    study: str
    title: str
    items: pd.DataFrame
    conversations: Sequence[Conversation]
    options: Sequence[Marked]
    answers: Sequence[Row]
    hidden: int


def sheets(record_folder: Path = paths.RESPONSES) -> Iterator[Sheet]:
    """A sheet for each study that has an answer by a model of the paper.

    Raises
    ------
    UserError
        When a record is damaged.
    """
    recogniser = Recogniser(BENCHMARK.bank)
    for name, study in catalogue.studies().items():
        records = [
            (model, Record(path))
            for model in catalogue.registry().of_paper(name)
            if (path := record_path(record_folder, name, model.name)).exists()
        ]
        if any(record.answers for _, record in records):
            yield _sheet(study, records, recogniser)


def _sheet(study: Study, records: Sequence[tuple[Model, Record]], recogniser: Recogniser) -> Sheet:
    items = study.items_with({answer.item for _, record in records for answer in record.answers.values()})
    conversations = study.conversations(items)
    asked = [Questions(study, conversations, model, record) for model, record in records]
    return Sheet(
        study=study.name,
        title=study.title,
        items=items,
        conversations=conversations,
        options=list(marked(items, recogniser)),
        answers=[row for questions in asked for row in _rows(questions)],
        hidden=sum(questions.orphans() for questions in asked),
    )


def _rows(asked: Questions) -> Iterator[Row]:
    """What is on record, and requests that failed; nothing for what was never asked."""
    failures = asked.record.failures()
    for conversation, repeat, found in asked.recorded():
        place = asked.model.name, conversation.item, repeat
        for turn, answer in enumerate(found):
            reading = asked.read(answer, conversation)
            shown = letters.shown(answer.logprobs) if letters.is_kept(answer.logprobs) else None
            received = answer.text, answer.refusal, answer.finish_reason
            yield Row(*place, turn, *reading, *received, None, shown)
        if failures and not conversation.is_over(found):
            key = asked.ask.key(conversation, [answer.text or "" for answer in found], repeat)
            if key in failures:
                yield Row(*place, len(found), "failed", None, None, None, None, failures[key])
