"""`make reproduce OPEN=1`: open models asked again for a sample of what is on record.

Another processor or version of llama.cpp may give other last digits, so that choices are held against each
other, and of the probabilities the largest difference is told.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepvalues.ask import catalogue, letters, run_query
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.questions import Questions, record_path
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.registry import Model
from deepvalues.ask.weights.serve import ready
from deepvalues.core import paths, stable_random
from deepvalues.core.errors import UserError

#: Answers of a model that are asked for again, and the least share of them that must choose the same.
SAMPLE = 100
LEAST = 0.99
#: What reports call what was not asked again.
REPLAYED = "replayed, not re-asked"


class Drawn(NamedTuple):
    """A recorded answer that is asked for again, and what it answers."""

    questions: Questions
    conversation: Conversation
    answer: Answer


class Reasked(NamedTuple):
    """How a model answered when it was asked again.

    ``same`` of ``asked`` answers chose what is on record; ``difference`` is the largest between two
    probabilities of an option, NaN where replies have none. ``why`` says why it was not asked, else None.
    """

    model: str
    recorded: int
    asked: int = 0
    same: int = 0
    difference: float = math.nan
    why: str | None = None

    @property
    def is_reproduced(self) -> bool:
        """Whether enough choices are the same; a model that was not asked is passed over."""
        return self.why is not None or self.same >= LEAST * self.asked

    def __str__(self) -> str:
        if self.why is not None:
            return f"{self.model}: {REPLAYED}: {self.why}"
        found = f"{self.model}: {self.asked} of {self.recorded:,} recorded answers asked for again, "
        found += f"{self.same / self.asked:.1%} of the choices are the same"
        if not math.isnan(self.difference):
            found += f", probabilities differ by {self.difference:.2g} at most"
        return found if self.is_reproduced else f"{found}; fewer than {LEAST:.0%}"


def reask(
    models: Sequence[Model], record_folder: Path = paths.RESPONSES, number: int = SAMPLE
) -> list[Reasked]:
    """Ask each model with weights and a record for a fixed sample of its answers again.

    Parameters
    ----------
    number
        Answers of a model, drawn from all studies by their keys: the same as long as the record is.

    Returns
    -------
    list of Reasked
        One for each model that has weights and answers on record.

    Raises
    ------
    UserError
        When a server dies, or a record is damaged.
    """
    found = []
    for model in models:
        drawn = _drawn(model, record_folder) if model.weights else []
        if not drawn:
            continue
        try:
            ready(model)
        except UserError as error:
            found.append(Reasked(model.name, len(drawn), why=str(error).removeprefix(f"{model.name}: ")))
            continue
        sample = sorted(drawn, key=lambda each: stable_random.integer("asked again", each.answer.key))[
            :number
        ]
        found.append(_compared(model, len(drawn), sample, _asked_again(model, sample)))
    return found


def _drawn(model: Model, record_folder: Path) -> list[Drawn]:
    """A model's recorded answers to all studies, of conversations of one turn."""
    found = []
    for study in catalogue.studies().values():
        path = record_path(record_folder, study.name, model.name)
        if not path.exists():
            continue
        record = Record(path)
        items = study.items_with({answer.item for answer in record.answers.values()})
        questions = Questions(study, study.conversations(items), model, record)
        for conversation, _, turns in questions.recorded():
            if turns and conversation.n_turns == 1:
                found.append(Drawn(questions, conversation, turns[0]))
    return found


def _asked_again(model: Model, sample: Sequence[Drawn]) -> dict[str, Answer]:
    """What the model answers now, by key."""
    by_study: dict[str, set[str]] = {}
    for each in sample:
        by_study.setdefault(each.questions.study.name, set()).add(each.answer.item)
    answers: dict[str, Answer] = {}
    with tempfile.TemporaryDirectory(prefix="deepvalues-asked-again-") as folder:
        for name, ids in by_study.items():
            items = catalogue.study(name).items_with(ids)
            run_query.query(name, [model], items, record_folder=Path(folder))
            answers |= Record(record_path(Path(folder), name, model.name)).answers
    return answers


def _compared(model: Model, recorded: int, sample: Sequence[Drawn], again: dict[str, Answer]) -> Reasked:
    same, differences = 0, []
    for questions, conversation, answer in sample:
        fresh = again.get(answer.key)
        if fresh is None:  # it failed, which the query has told
            continue
        same += questions.read(fresh, conversation) == questions.read(answer, conversation)
        differences.append(_difference(fresh.logprobs, answer.logprobs))
    known = [difference for difference in differences if not math.isnan(difference)]
    return Reasked(model.name, recorded, len(sample), same, max(known, default=math.nan))


def _difference(fresh: Mapping[str, Any] | None, recorded: Mapping[str, Any] | None) -> float:
    """The largest between two probabilities of an option; NaN where other letters are listed now, or none."""
    if not (fresh and recorded and letters.is_kept(fresh) and letters.is_kept(recorded)):
        return math.nan
    now, before = letters.shares(fresh), letters.shares(recorded)
    if len(now) < 2 or now.keys() != before.keys():
        return math.nan
    return max(abs(now[letter] - before[letter]) for letter in now)


def report(found: Sequence[Reasked]) -> str:
    """A line for each model."""
    return "\n".join(map(str, found)) or "No open model has an answer on record."
