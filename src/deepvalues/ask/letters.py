"""Choosing by letter probability: one token is asked for, and what counts is how likely each letter is.

An endpoint says in ``data/models.yml`` how it can be asked so. One that *continues* a last message of
the assistant gets the begin of the reply put into its mouth ("Option"); elsewhere the *bare* letter is
asked for. Either way the reply is one token, and the record keeps the log probabilities of the letters
and what they leave over, not the list they were read from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ValidationError

from deepvalues.ask.conversation import Conversation, Withheld
from deepvalues.ask.reading import Reading
from deepvalues.ask.record import Answer
from deepvalues.ask.registry import BARE, CONTINUE, Model
from deepvalues.ask.spelling import DIGITS, IMPOSSIBLE, by_letter
from deepvalues.core import stable_random
from deepvalues.core.errors import UserError

#: Parameters of every such request, in place of the study's own; those of a model are laid over them.
PARAMETERS: Final[Mapping[str, Any]] = {"temperature": 0, "max_tokens": 1, "logprobs": True}
#: How many of the likeliest tokens are asked for: the most first, less where an endpoint refuses that.
TOP_LOGPROBS = (20, 10, 5)
_LIMITS = ("max_tokens", "max_completion_tokens")


class NoLogprobsError(Exception):
    """An endpoint that gives no log probabilities of the first token and its alternatives."""


class _Token(BaseModel):
    """A token and its log probability, as endpoints list them."""

    token: str
    logprob: float


class _First(_Token):
    """The first token of a reply."""

    top_logprobs: list[_Token]


@dataclass(frozen=True)
class LetterChoice:
    """How a study's questions are put where the choice is read from letter probabilities.

    Parameters
    ----------
    letters
        Two to nine capitals, one an option.
    begin
        Words put into the model's mouth where its endpoint continues them.
    ending, bare_ending
        How the questions end, and what stands there instead where the bare letter is asked for.
    """

    letters: tuple[str, ...]
    begin: str
    ending: str
    bare_ending: str


def put(conversation: Conversation, choice: LetterChoice, mode: str) -> Conversation:
    """A conversation as it is put to an endpoint that is asked by letters.

    Parameters
    ----------
    mode
        `CONTINUE` or `BARE`.

    Raises
    ------
    UserError
        When it has several turns, or does not end as the study's questions do and the bare letter is
        to be asked for.
    """
    if conversation.n_turns != 1:
        raise UserError(f"{conversation.item}: a conversation of several turns can't be asked by letters")
    if isinstance(conversation, Withheld):
        # Nothing is known of its text with another ending, which is what a mode names that begins no reply.
        return conversation.beginning(choice.begin if mode == CONTINUE else mode)
    turn = conversation.turns[0]
    if mode == BARE:
        if not turn.endswith(choice.ending):
            raise UserError(
                f"{conversation.item}: this question does not end with {choice.ending!r}, so it can't be "
                f"made to ask for the bare letter: give the model `letters: {CONTINUE}` or `letters: free`"
            )
        turn = turn.removesuffix(choice.ending) + choice.bare_ending
    return conversation.with_reply(choice.begin if mode == CONTINUE else "", (turn,))


def parameters(model: Model) -> dict[str, Any]:
    """What stands in for the study's parameters, with the flags by which the endpoint continues."""
    flags = model.endpoint.continue_flags if model.letters == CONTINUE else {}
    return {**PARAMETERS, **flags}


def one_token(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with a model's laid over them, still for one token.

    Room that a model needs to think is none here. How many alternatives are listed is left out: an
    endpoint's limit must not change the key of an answer.
    """
    kept = {name: setting for name, setting in merged.items() if name != "top_logprobs"}
    return {**kept, **{name: 1 for name in _LIMITS if name in kept}}


def top_logprobs(model: Model, most: int = TOP_LOGPROBS[0]) -> int:
    """How many alternatives a model is asked for, given the most that its endpoint allows."""
    own = model.parameters.get("top_logprobs")
    return min(most, own) if own else most


def fewer(refused: int) -> int | None:
    """How many alternatives to ask for where so many were refused; None when no fewer will do."""
    return next((number for number in TOP_LOGPROBS if number < refused), None)


_NONE = "the reply has no log probabilities of its first token and alternatives to it"


class Kept(NamedTuple):
    """What the record keeps of a reply: the token received, and its log probabilities in short.

    ``logprobs`` has ``letters`` (natural logarithms by letter, spellings added up), ``rest`` (the
    probability that the letters leave over) and, where a letter is not listed, ``unlisted``: the most
    probability that it may have, which is what the whole list leaves over.
    """

    text: str
    logprobs: dict[str, Any]


def kept(logprobs: Any, choice: LetterChoice) -> Kept:
    """Read the letters off the first token of a reply.

    Parameters
    ----------
    logprobs
        As in a choice of the chat-completions protocol.

    Raises
    ------
    NoLogprobsError
        When there is no first token with alternatives, or the list is not of the protocol's shape.
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
        # Rounded up, so that it stays a bound.
        short["unlisted"] = math.ceil(_left_over(listed.values()) * 10**DIGITS) / 10**DIGITS
    return Kept(first.token, short)


def _number(logprob: float) -> float:
    if math.isnan(logprob):
        raise NoLogprobsError("a log probability is no number")
    return max(IMPOSSIBLE, logprob)


def _left_over(logprobs: Any) -> float:
    return min(1.0, max(0.0, 1.0 - math.fsum(map(math.exp, logprobs))))


def is_kept(logprobs: Any) -> bool:
    """Whether the record has log probabilities in the short form that `kept` gives them."""
    return isinstance(logprobs, Mapping) and "letters" in logprobs


def probabilities(logprobs: Mapping[str, Any]) -> dict[str, float]:
    """The probability of each letter that was listed, by letter, of log probabilities in the short form."""
    return {letter: math.exp(logprob) for letter, logprob in logprobs["letters"].items()}


def shares(logprobs: Mapping[str, Any]) -> dict[str, float]:
    """The same as shares of the letters that were listed: they sum to 1 where their sum is above 0."""
    found = probabilities(logprobs)
    total = math.fsum(found.values())
    return {letter: p / total for letter, p in found.items()} if total > 0 else {}


def read(answer: Answer, seed: int) -> Reading:
    """The likeliest letter of an answer; a fair coin, the same ever after, where several are.

    A letter counts however small its probability is, as what is chosen by probability need not be said.
    Where none is listed the answer is unparsable, and its probabilities stay on record.
    """
    letters: Mapping[str, float] = answer.logprobs["letters"]
    if not letters:
        return Reading("unparsable")
    likeliest = [letter for letter, logprob in letters.items() if logprob == max(letters.values())]
    return Reading("answered", likeliest[coin(seed, answer.item, answer.repeat) % len(likeliest)])


def coin(seed: int, item: str, repeat: int) -> int:
    """The number that settles which of several letters counts that are equally likely."""
    return stable_random.integer(seed, "tied letters", item, repeat)


def shown(logprobs: Mapping[str, Any]) -> str:
    """The probabilities of an answer in words: "A .553, B .446, other tokens .001"."""
    named = [*probabilities(logprobs).items(), ("other tokens", logprobs["rest"])]
    return ", ".join(f"{name} {p:.3f}" for name, p in named)
