"""What models answered to questions of one turn: the probability of each letter, or the letter alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from deepvalues.ask.letters import is_kept, probabilities, shares
from deepvalues.ask.questions import Questions
from deepvalues.ask.record import Answer


def letter_probabilities(asked: Iterable[Questions], letters: Sequence[str]) -> pd.DataFrame:
    """Read the letters of recorded answers, one row a model and item.

    Parameters
    ----------
    asked
        One set of items as it was put to each model; of several repeats the first counts.
    letters
        The letters that the study's options have.

    Returns
    -------
    pandas.DataFrame
        model, item, status (failed without a recorded answer), choice, p_A, p_B … (shares of the letters
        that were listed; 0 for one that was not, NaN where a reply has no letter probabilities or none is
        listed), mass (probability of all listed letters together) and unlisted (the most that each other
        letter may have; 0 where all are listed).
    """
    rows = [row for each in asked for row in _rows(each, letters)]
    numbers = [*(f"p_{letter}" for letter in letters), "mass", "unlisted"]
    frame = pd.DataFrame(rows, columns=["model", "item", "status", "choice", *numbers])
    # Without any row they would hold nothing known as numbers.
    return frame.astype(dict.fromkeys(numbers, float))


def _rows(questions: Questions, letters: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    unknown = (math.nan,) * (len(letters) + 2)
    for conversation, repeat, answers in questions.recorded():
        if repeat != conversation.first_repeat:
            continue
        place = questions.model.name, conversation.item
        if not answers:
            yield (*place, "failed", None, *unknown)
            continue
        answer = answers[0]
        yield (*place, *questions.read(answer, conversation), *(_letters(answer, letters) or unknown))


def _letters(answer: Answer, letters: Sequence[str]) -> tuple[float, ...] | None:
    if not (answer.logprobs and is_kept(answer.logprobs)):
        return None
    share = shares(answer.logprobs)
    of_each = [share.get(letter, 0.0) if share else math.nan for letter in letters]
    mass = math.fsum(probabilities(answer.logprobs).values())
    return (*of_each, mass, float(answer.logprobs.get("unlisted", 0.0)))
