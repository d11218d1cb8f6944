"""Collect what the browser shows from records and items: one sheet per study, with the marks of its options.

An option shows values, poles or payoffs, and may be the target.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
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
from deepvalues.core import paths
from deepvalues.studies.dvb.items.prompts import situations
from deepvalues.studies.dvb.respondents.agents import Recogniser
from deepvalues.studies.dvb.stimuli.bank import Bank
from deepvalues.studies.dvb.study import BENCHMARK
from deepvalues.studies.svo.stimuli import IDEAL_ANSWERS, LETTERS, N_PRIMARY, payoffs, questions_of


class Mark(NamedTuple):
    """What an option shows: the kind (value, pole, coins), its name, and its role in the item."""

    kind: str
    name: str
    role: str


class Option(NamedTuple):
    """An option: its label in the prompt, whether it is the target, and one mark per clause."""

    label: str
    is_target: bool
    marks: tuple[Mark, ...]


#: The options of each turn of an item.
Marked = tuple[tuple[Option, ...], ...]
#: The beginning of an option's sentence, and the text between its two clauses.
OPENER = "An agent that "
JOINER = " and that "
#: Explanation of the roles of values and poles.
ROLES = (
    "v1 and s1 are the value and the pole that the user prefers, v2 and s2 the other ones. "
    "The right option is the one that the score counts."
)
_PAIRED = ("v1", "v2", "s1", "s2", "right", "prefix_chars", "prompt")
_DIVISIONS = ("value", "openings", "item_order", "option_orders")
_ALONE = ("value", "item", "shown")


def names(bank: Bank) -> dict[str, str]:
    """Display names of values, poles and dimensions, by id."""
    poles = {pole.id: f"{bank.dimensions[pole.group].name}: {pole.name}" for pole in bank.poles.values()}
    values = {value.id: value.name for value in bank.values.values()}
    return values | poles | {dimension.id: dimension.name for dimension in bank.dimensions.values()}


def marked(items: pd.DataFrame, recogniser: Recogniser) -> Iterator[Marked]:
    """The options of each item; none if the columns describe no options.

    Parameters
    ----------
    items
        The items of any study. With columns v1, v2, s1, s2 and right (the letter of the target), the last
        situation of the prompt has two options. With item_order and option_orders, each question has nine
        divisions of coins; with item and shown, so does the only question.
    """
    if set(_PAIRED) <= set(items.columns):
        display_names = names(recogniser.bank)
        for row in items[list(_PAIRED)].to_dict("records"):
            yield _pair(row, recogniser, display_names)
    elif set(_DIVISIONS) <= set(items.columns):
        for value, openings, order, shown in items[list(_DIVISIONS)].itertuples(index=False, name=None):
            questions = (_divisions(value, *question) for question in questions_of(order, shown))
            yield ((),) * openings + tuple(questions)
    elif set(_ALONE) <= set(items.columns):
        for value, number, order in items[list(_ALONE)].itertuples(index=False, name=None):
            yield (_divisions(value, number, order),)
    else:
        for _ in range(len(items)):
            yield ()


def _divisions(value: str, number: int, order: str) -> tuple[Option, ...]:
    """The nine divisions of an item of the slider measure, in the order shown.

    The target is the ideal division for the value; only the six primary items have one.
    """
    best = IDEAL_ANSWERS[value][number - 1] if value in IDEAL_ANSWERS and number <= N_PRIMARY else None
    options = []
    for letter, printed in zip(LETTERS, order, strict=True):
        cell = number - 1, LETTERS.index(printed)
        own, other = (f"{coins[cell]:.0f}" for coins in payoffs())
        role = "" if printed == letter else f"{printed} as printed"
        mark = Mark("coins", f"{own} for itself, {other} for the other", role)
        options.append(Option(letter, printed == best, (mark,)))
    return tuple(options)


def _pair(row: Mapping[Hashable, object], recogniser: Recogniser, display_names: Mapping[str, str]) -> Marked:
    prompt, start = str(row["prompt"]), int(str(row["prefix_chars"]))
    posed = situations(prompt[start:])[-1:]
    roles = {str(row[role]): role for role in ("v1", "v2", "s1", "s2")}
    options = []
    for letter, text in (("A", posed[0].option_a), ("B", posed[0].option_b)) if posed else ():
        try:
            shown = recogniser.option(text)
        except ValueError:  # a prompt that does not use the bank's wordings, such as a published one
            return ()
        marks = tuple(Mark(kind, display_names[trait], roles.get(trait, "")) for kind, trait in shown.items())
        options.append(Option(f"Option {letter}", letter == row["right"], marks))
    return (tuple(options),) if options else ()


# ---- records and items ----


class Row(NamedTuple):
    """One turn of one repeat of an item: how the reply was read, and the reply or the error.

    ``letters`` gives the letter probabilities as text, if the choice was read from them.
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
    """A study: its name and title, the items that any model was asked, and the answers.

    ``answers`` are sorted by model, in the order of the paper. ``hidden`` counts recorded answers that
    no item of the sets asks for.
    """

    study: str
    title: str
    items: pd.DataFrame
    conversations: Sequence[Conversation]
    options: Sequence[Marked]
    answers: Sequence[Row]
    hidden: int


def sheets(record_folder: Path = paths.RESPONSES) -> Iterator[Sheet]:
    """One sheet for each study with an answer of a model in the paper.

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
    """Recorded answers and failed requests; nothing for items that were never asked."""
    failures = asked.record.failures()
    for conversation, repeat, found in asked.recorded():
        which = asked.model.name, conversation.item, repeat
        for turn, answer in enumerate(found):
            reading = asked.read(answer, conversation)
            shown = letters.shown(answer.logprobs) if letters.is_kept(answer.logprobs) else None
            received = answer.text, answer.refusal, answer.finish_reason
            yield Row(*which, turn, *reading, *received, None, shown)
        if failures and not conversation.is_over(found):
            key = asked.ask.key(conversation, [answer.text or "" for answer in found], repeat)
            if key in failures:
                yield Row(*which, len(found), "failed", None, None, None, None, failures[key])
