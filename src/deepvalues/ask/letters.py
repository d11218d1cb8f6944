"""Choices by letter probability: the model replies with one token, and the likeliest letter counts.

An endpoint's entry in ``data/models.yml`` says how. If it *continues* a final assistant message, the
reply is begun for it ("Option"); otherwise the prompt asks for the *bare* letter. Either way the reply is one
token, and the record keeps the log probabilities of the letters and the remaining probability, not the full
list of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from deepvalues.ask.conversation import Conversation, Withheld
from deepvalues.ask.reading import Reading
from deepvalues.ask.record import Answer
from deepvalues.ask.registry import BARE, CONTINUE, Model
from deepvalues.ask.spelling import DIGITS, IMPOSSIBLE, by_letter
from deepvalues.core import stable_random
from deepvalues.core.errors import UserError

#: Parameters of such requests, instead of the study's; a model's own override them.
PARAMETERS: Final[Mapping[str, Any]] = {"temperature": 0, "max_tokens": 1, "logprobs": True}
#: Numbers of top log probabilities to request, in turn, until the endpoint accepts one.
TOP_LOGPROBS = (20, 10, 5)
_LIMITS = ("max_tokens", "max_completion_tokens")


class NoLogprobsError(Exception):
    """A reply without log probabilities of its first token and alternatives."""


class _Token(BaseModel):
    """A token and its log probability, as endpoints list them."""

    token: str
    logprob: float


class _First(_Token):
    """The first token of a reply."""

    top_logprobs: list[_Token]


@dataclass(frozen=True)
class LetterChoice:
    """How a study's questions are worded for choices by letter probability.

    Parameters
    ----------
    letters
        Two to nine capitals, one per option.
    begin
        The beginning of the reply, where the endpoint continues it.
    ending, bare_ending
        The ending of the questions, and its replacement where the prompt asks for the bare letter.
    """

    letters: tuple[str, ...]
    begin: str
    ending: str
    bare_ending: str


def put(conversation: Conversation, choice: LetterChoice, mode: str) -> Conversation:
    """A conversation reworded for a choice by letter probability.

    Parameters
    ----------
    mode
        `CONTINUE` or `BARE`.

    Raises
    ------
    UserError
        When it has several turns, or in mode `BARE` does not end with the study's ending.
    """
    if conversation.n_turns != 1:
        raise UserError(f"{conversation.item}: a conversation of several turns can't be asked by letters")
    if isinstance(conversation, Withheld):
        # No digest has the key `BARE`, so asking for the bare letter raises here.
        return conversation.beginning(choice.begin if mode == CONTINUE else mode)
    turn = conversation.turns[0]
    if mode == BARE:
        if not turn.endswith(choice.ending):
            raise UserError(
                f"{conversation.item}: this question does not end with {choice.ending!r}, so it can't ask "
                f"for the bare letter: give the model `letters: {CONTINUE}` or `letters: free`"
            )
        turn = turn.removesuffix(choice.ending) + choice.bare_ending
    return conversation.with_reply(choice.begin if mode == CONTINUE else "", (turn,))


def parameters(model: Model) -> dict[str, Any]:
    """The parameters that replace the study's, with any flags that make the endpoint continue a reply."""
    flags = model.endpoint.continue_flags if model.letters == CONTINUE else {}
    return {**PARAMETERS, **flags}


def one_token(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Merged parameters, limited to one token whatever the model's limit.

    ``top_logprobs`` is removed, so that an endpoint's limit does not change the key of an answer.
    """
    others = {name: setting for name, setting in merged.items() if name != "top_logprobs"}
    return {**others, **{name: 1 for name in _LIMITS if name in others}}


def top_logprobs(model: Model) -> int:
    """The number of top log probabilities to request at first."""
    return min(TOP_LOGPROBS[0], model.parameters.get("top_logprobs") or TOP_LOGPROBS[0])


def fewer(refused: int) -> int | None:
    """The next smaller number of top log probabilities to request; None if there is none."""
    return next((number for number in TOP_LOGPROBS if number < refused), None)


_NONE = "the reply has no log probabilities of its first token and its alternatives"


def condensed(logprobs: Any, choice: LetterChoice) -> tuple[str, dict[str, Any]]:
    """The first token of a reply, and its log probabilities in the short form of the record.

    The short form has ``letters`` (natural logarithms by letter, summed over spellings), ``rest`` (the
    remaining probability) and, if some letter is not listed, ``unlisted``: an upper bound for its
    probability, which is what the whole list leaves over.

    Parameters
    ----------
    logprobs
        As in a choice of the chat-completions protocol.

    Raises
    ------
    NoLogprobsError
        When there is no first token with alternatives, or the list does not follow the protocol.
    """
    try:
        first = _First.model_validate(logprobs["content"][0])
    except (LookupError, TypeError, ValidationError) as error:
        raise NoLogprobsError(f"{_NONE} ({error!r})" if logprobs else _NONE) from None
    if not first.top_logprobs:
        raise NoLogprobsError(_NONE)
    listed = {entry.token: _number(entry.logprob) for entry in (first, *first.top_logprobs)}
    sums = by_letter(listed, choice.begin, choice.letters)
    short: dict[str, Any] = {
        "letters": {letter: round(logprob, DIGITS) + 0.0 for letter, logprob in sums.items()},
        "rest": round(_left_over(sums.values()), DIGITS),
    }
    if len(sums) < len(choice.letters):
        # Rounded up, so that it remains an upper bound.
        short["unlisted"] = math.ceil(_left_over(listed.values()) * 10**DIGITS) / 10**DIGITS
    return first.token, short


def _number(logprob: float) -> float:
    if math.isnan(logprob):
        raise NoLogprobsError("a log probability is not a number")
    return max(IMPOSSIBLE, logprob)


def _left_over(logprobs: Any) -> float:
    return min(1.0, max(0.0, 1.0 - math.fsum(map(math.exp, logprobs))))


def is_kept(logprobs: Any) -> bool:
    """Whether log probabilities are in the short form that the record keeps; see `condensed`."""
    return isinstance(logprobs, Mapping) and "letters" in logprobs


def probabilities(logprobs: Mapping[str, Any]) -> dict[str, float]:
    """The probability of each listed letter, from log probabilities in the short form."""
    return {letter: math.exp(logprob) for letter, logprob in logprobs["letters"].items()}


def shares(logprobs: Mapping[str, Any]) -> dict[str, float]:
    """The probabilities of the listed letters, normalized to sum to 1; empty if their sum is 0."""
    by_letter = probabilities(logprobs)
    total = math.fsum(by_letter.values())
    return {letter: p / total for letter, p in by_letter.items()} if total > 0 else {}


def read(answer: Answer, seed: int) -> Reading:
    """The likeliest letter of an answer; ties are broken by a reproducible coin flip.

    A letter counts however small its probability. If none is listed, the answer is unparsable.
    """
    letters: Mapping[str, float] = answer.logprobs["letters"]
    if not letters:
        return Reading("unparsable")
    likeliest = [letter for letter, logprob in letters.items() if logprob == max(letters.values())]
    return Reading("answered", likeliest[coin(seed, answer.item, answer.repeat) % len(likeliest)])


def coin(seed: int, item: str, repeat: int) -> int:
    """The random number that breaks a tie between letters."""
    return stable_random.integer(seed, "tied letters", item, repeat)


def shown(logprobs: Mapping[str, Any]) -> str:
    """The probabilities of an answer as text: "A .553, B .446, other tokens .001"."""
    named = [*probabilities(logprobs).items(), ("other tokens", logprobs["rest"])]
    return ", ".join(f"{name} {p:.3f}" for name, p in named)
