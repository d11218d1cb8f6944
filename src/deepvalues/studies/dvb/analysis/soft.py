"""The probabilities of the options, from the log probabilities of replies.

With ``logprobs: true`` and ``top_logprobs: 20`` among a model's parameters, endpoints return for each token
its log probability and those of the most probable alternatives, and the record keeps them unchanged. Only
the token that decides between the options is used. For models that are asked by letter probability
(`deepvalues.ask.letters`), the record holds only the letters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from deepvalues.ask.letters import is_kept
from deepvalues.ask.record import Answer
from deepvalues.ask.spelling import spelled
from deepvalues.studies.dvb.items.prompts import LETTERS

_THOUGHT = re.compile(r".*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
COLUMNS = ("item", "repeat", "turn", "p_a", "mass")


class Weighed(NamedTuple):
    """The probabilities at the deciding token.

    ``p_a`` is the probability of A among A and B, NaN unless both letters are listed. ``mass`` is the
    probability of the listed letters before normalization.
    """

    p_a: float
    mass: float


#: For a reply without log probabilities or without a deciding token.
UNKNOWN = Weighed(math.nan, math.nan)


def weigh(logprobs: Mapping[str, Any] | None) -> Weighed:
    """Read the probabilities of A and B from the first token of a reply that is one of the two letters.

    Parameters
    ----------
    logprobs
        As in a choice of the chat-completions protocol: ``content``, a list of {token, logprob,
        top_logprobs}, where spellings of a letter (``A``, `` A``, ``(A``) are added up; or the short form of
        `deepvalues.ask.letters.condensed`.

    Returns
    -------
    Weighed
        `UNKNOWN` without log probabilities or a deciding token. Anything up to ``</think>`` is skipped.
    """
    if logprobs and is_kept(logprobs):
        return _between({letter: math.exp(logprob) for letter, logprob in logprobs["letters"].items()})
    content = (logprobs or {}).get("content") or ()
    thought = _THOUGHT.match("".join(token["token"] for token in content))
    begin, before = thought.end() if thought else 0, ""
    for token in content:
        if spelled(token["token"], before, LETTERS) and len(before) >= begin:
            return _weighed(token, before)
        before += token["token"]
    return UNKNOWN


def _weighed(token: Mapping[str, Any], before: str) -> Weighed:
    listed = [token, *(token.get("top_logprobs") or ())]
    p = {entry["token"]: math.exp(entry["logprob"]) for entry in listed}
    sums: dict[str, float] = {}
    for text, probability in p.items():
        if named := spelled(text, before, LETTERS):
            sums[named] = sums.get(named, 0.0) + probability
    return _between(sums)


def _between(p: Mapping[str, float]) -> Weighed:
    """Weigh A against B; a letter that is missing was only not listed."""
    mass = sum(p.values())
    return Weighed(p["A"] / mass if len(p) == len(LETTERS) and mass > 0 else math.nan, mass)


def probabilities(answers: Iterable[Answer]) -> pd.DataFrame:
    """The probabilities of option A in recorded answers.

    Parameters
    ----------
    answers
        Answers of one model to the items at hand, from `deepvalues.ask.questions.Questions.recorded`. A
        whole record may also hold answers to earlier versions of the prompts.

    Returns
    -------
    pandas.DataFrame
        item, repeat, turn and the fields of `Weighed`, one row per answer.
    """
    rows = [(answer.item, answer.repeat, answer.turn, *weigh(answer.logprobs)) for answer in answers]
    return pd.DataFrame(rows, columns=list(COLUMNS))
