"""`make reproduce OPEN=1`: ask open models again for a sample of their recorded answers.

Last digits may differ between processors and versions of llama.cpp, so choices are compared, and the largest
difference between probabilities is reported.
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

#: The number of answers per model to ask for again, and the minimum share of them with the same choice.
SAMPLE = 100
LEAST = 0.99
#: How reports describe answers that were not asked for again.
REPLAYED = "replayed, not re-asked"


class Drawn(NamedTuple):
    """A recorded answer to ask for again, with its conversation."""

    questions: Questions
    conversation: Conversation
    answer: Answer


class Reasked(NamedTuple):
    """How a model answered when asked again.

    ``same`` of ``asked`` choices match the record; ``difference`` is the largest difference between the two
    probabilities of an option, NaN if replies have none. ``why`` is the reason if it was not asked.
    """

    model: str
    recorded: int
    asked: int = 0
    same: int = 0
    difference: float = math.nan
    why: str | None = None

    @property
    def is_reproduced(self) -> bool:
        """Whether enough choices are the same; True if the model was not asked."""
        return self.why is not None or self.same >= LEAST * self.asked

    def __str__(self) -> str:
        if self.why is not None:
            return f"{self.model}: {REPLAYED}: {self.why}"
        line = f"{self.model}: {self.asked} of {self.recorded:,} recorded answers asked for again, "
        line += f"{self.same / self.asked:.1%} of the choices are the same"
        if not math.isnan(self.difference):
            line += f", probabilities differ by {self.difference:.2g} at most"
        return line if self.is_reproduced else f"{line}; fewer than {LEAST:.0%}"


def reask(
    models: Sequence[Model], record_folder: Path = paths.RESPONSES, number: int = SAMPLE
) -> list[Reasked]:
    """Ask each model with weights and recorded answers for a sample of them again.

    Parameters
    ----------
    number
        Sample size per model; the sample is drawn from all studies by key, so it depends only on the record.

    Returns
    -------
    list of Reasked
        One for each model with weights and recorded answers.

    Raises
    ------
    UserError
        When a server dies, or a record is damaged.
    """
    results = []
    for model in models:
        candidates = _candidates(model, record_folder) if model.weights else []
        if not candidates:
            continue
        try:
            ready(model)
        except UserError as error:
            why = str(error).removeprefix(f"{model.name}: ")
            results.append(Reasked(model.name, len(candidates), why=why))
            continue
        shuffled = sorted(candidates, key=lambda each: stable_random.integer("asked again", each.answer.key))
        sample = shuffled[:number]
        results.append(_compared(model, len(candidates), sample, _asked_again(model, sample)))
    return results


def _candidates(model: Model, record_folder: Path) -> list[Drawn]:
    """A model's recorded answers to conversations of one turn, from all studies."""
    candidates = []
    for study in catalogue.studies().values():
        path = record_path(record_folder, study.name, model.name)
        if not path.exists():
            continue
        record = Record(path)
        items = study.items_with({answer.item for answer in record.answers.values()})
        questions = Questions(study, study.conversations(items), model, record)
        for conversation, _, turns in questions.recorded():
            if turns and conversation.n_turns == 1:
                candidates.append(Drawn(questions, conversation, turns[0]))
    return candidates


def _asked_again(model: Model, sample: Sequence[Drawn]) -> dict[str, Answer]:
    """The model's new answers, by key."""
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
        if fresh is None:  # it failed, as the query has reported
            continue
        same += questions.read(fresh, conversation) == questions.read(answer, conversation)
        differences.append(_difference(fresh.logprobs, answer.logprobs))
    known = [difference for difference in differences if not math.isnan(difference)]
    return Reasked(model.name, recorded, len(sample), same, max(known, default=math.nan))


def _difference(fresh: Mapping[str, Any] | None, recorded: Mapping[str, Any] | None) -> float:
    """The largest difference for one option; NaN if no letters, or other letters, are listed now."""
    if not (fresh and recorded and letters.is_kept(fresh) and letters.is_kept(recorded)):
        return math.nan
    now, before = letters.shares(fresh), letters.shares(recorded)
    if len(now) < 2 or now.keys() != before.keys():
        return math.nan
    return max(abs(now[letter] - before[letter]) for letter in now)


def report(found: Sequence[Reasked]) -> str:
    """The results as text, one line per model."""
    return "\n".join(map(str, found)) or "No open model has an answer on record."
