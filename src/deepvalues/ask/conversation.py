"""Conversations, requests and their keys.

A study describes what to ask as conversations; the engine sends them turn by turn. The key of a
request is a hash of endpoint kind, model, parameters, messages and repeat, for weights of one's own
also of their SHA-256, and of nothing else: not of time, not of the API key.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from deepvalues.ask.reading import Received
from deepvalues.ask.record import Answer
from deepvalues.core import stable_random
from deepvalues.core.errors import UserError

Message = dict[str, str]
_QUOTE = re.compile(r"\{\{reply (\d+)\}\}")


@dataclass(frozen=True, init=False)
class Conversation:
    """One item as it is asked: user turns, perhaps a system text, perhaps several repeats.

    A turn may quote the model's own reply to an earlier turn as ``{{reply 1}}``; another number is a
    `ValueError`. The first turn is sent as it stands. Conversations with the same ``prefix`` begin with
    the same long text; the engine sends them together so that providers' prompt caches apply. They share
    that text in memory, too: ``parts`` are the turns, the first one without its ``head``, which is the
    prefix where the turn begins with it.

    Repeats are numbered from ``first_repeat``. The number enters the keys, so two conversations that begin
    with the same words have answers of their own where their numbers differ; where they don't, they share.

    ``begun`` are words put into the model's mouth: the last message is then the assistant's, and the endpoint
    goes on from there.

    Turns after a reply for which ``until`` holds are not asked; later turns that ask again for what could not
    be read need no more than that. It is a function that another process can be sent, and enters no key.
    """

    item: str
    head: str
    parts: tuple[str, ...]
    system: str | None
    repeats: int
    prefix: str
    first_repeat: int
    until: Callable[[Received], bool] | None
    begun: str

    def __init__(
        self,
        item: str,
        turns: tuple[str, ...],
        system: str | None = None,
        repeats: int = 1,
        prefix: str = "",
        first_repeat: int = 0,
        until: Callable[[Received], bool] | None = None,
    ) -> None:
        for turn, text in enumerate(turns[1:], start=1):
            for quoted in _QUOTE.findall(text):
                if not 1 <= int(quoted) <= turn:
                    raise ValueError(
                        f"{item}: turn {turn + 1} quotes reply {quoted}, which is not an earlier one"
                    )
        prefix = sys.intern(prefix)
        head = prefix if turns and turns[0].startswith(prefix) else ""
        parts = (turns[0][len(head) :], *turns[1:]) if head else turns
        # A frozen dataclass sets its own fields in this way.
        self.__dict__.update(item=item, head=head, parts=parts, system=system, prefix=prefix)
        self.__dict__.update(repeats=repeats, first_repeat=first_repeat, until=until, begun="")

    def with_reply(self, begun: str, turns: tuple[str, ...]) -> Conversation:
        """The conversation with other turns, and a reply that is begun for the model."""
        arguments = (self.system, self.repeats, self.prefix, self.first_repeat, self.until)
        changed = Conversation(self.item, turns, *arguments)
        changed.__dict__["begun"] = begun
        return changed

    @property
    def repeat_numbers(self) -> range:
        """The numbers of the repeats."""
        return range(self.first_repeat, self.first_repeat + self.repeats)

    @property
    def turns(self) -> tuple[str, ...]:
        """The user's turns, as a study wrote them."""
        return (self.head + self.parts[0], *self.parts[1:]) if self.head else self.parts

    @property
    def n_turns(self) -> int:
        """Number of turns; the texts need not be put together for it."""
        return len(self.parts)

    def is_over(self, answers: Sequence[Answer]) -> bool:
        """Whether nothing is left to be asked after these answers to the first turns."""
        if self.until is None or not answers or len(answers) == self.n_turns:
            return len(answers) == self.n_turns
        last, question = answers[-1], self.parts[len(answers) - 1]
        return self.until(Received(last.text, last.refusal, last.finish_reason, question))

    @cached_property
    def first_digest(self) -> bytes:
        """Digest of the messages of the first turn, worked out once for all models and repeats."""
        whole = _digest_of_begin(self.system, self.head).copy()
        rest = [{"role": "user", "content": self.parts[0]}, *self._last_message]
        whole.update(_json(rest).removeprefix(_CONTENT))
        return whole.digest()

    @cached_property
    def first_length(self) -> int:
        """Characters of the messages of the first turn."""
        return sum(map(len, (self.system or "", self.head, self.parts[0], self.begun)))

    def messages(self, replies: Sequence[str]) -> list[Message]:
        """The messages of the turn that follows the given replies."""
        # Half a surrogate pair, which a reply may hold, can't be sent; it is written out, as in the digest.
        replies = [reply.encode(errors="backslashreplace").decode() for reply in replies]
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for turn, text in enumerate(self.turns[: len(replies) + 1]):
            content = _QUOTE.sub(lambda match: replies[int(match[1]) - 1], text) if turn else text
            messages.append({"role": "user", "content": content})
            if turn < len(replies):
                messages.append({"role": "assistant", "content": replies[turn]})
        return messages + self._last_message

    @property
    def _last_message(self) -> list[Message]:
        """The words put into the model's mouth, where there are any."""
        return [{"role": "assistant", "content": self.begun}] if self.begun else []

    def digest(self, replies: Sequence[str]) -> bytes:
        """Digest of the messages of the turn that follows the given replies."""
        return digest(self.messages(replies)) if replies else self.first_digest


class Withheld(Conversation):
    """One question whose text is not on this machine: its answers can be replayed, but it can't be asked.

    Parameters
    ----------
    digests
        Digests of its messages, by the words with which the reply is begun; "" where it is not begun.
    length
        Characters of the text.
    advice
        What the message says that whoever wants to ask it gets.
    begun
        The words put into the model's mouth.
    """

    digests: Mapping[str, bytes]
    length: int
    advice: str

    def __init__(
        self, item: str, digests: Mapping[str, bytes], length: int, advice: str, begun: str = ""
    ) -> None:
        super().__init__(item, ("",))
        known = {"first_digest": digests[begun], "first_length": length + len(begun)}
        self.__dict__.update(digests=digests, length=length, advice=advice, **known)

    def beginning(self, begun: str) -> Withheld:
        """The same question with words put into the model's mouth.

        Raises
        ------
        UserError
            When nothing is known of it with these words.
        """
        if begun not in self.digests:
            raise UserError(self.advice)
        return Withheld(self.item, self.digests, self.length, self.advice, begun)

    def messages(self, replies: Sequence[str]) -> list[Message]:  # noqa: ARG002 - that of every conversation
        """Nothing that could be sent: always a `UserError` that says where the text can be had."""
        raise UserError(self.advice)


def digest(messages: Sequence[Message]) -> bytes:
    """SHA-256 of messages in canonical JSON."""
    return hashlib.sha256(_json(messages)).digest()


def _json(messages: Sequence[Message]) -> bytes:
    text = json.dumps(messages, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


#: How one message of the user begins in canonical JSON, and how it ends.
_CONTENT, _ROLE = b'[{"content":"', b'","role":"user"}]'


@lru_cache(maxsize=64)  # Conversations that share a head come one after the other.
def _digest_of_begin(system: str | None, head: str) -> hashlib._Hash:
    """The SHA-256 of messages up to the end of a head that many share, to be copied and gone on with."""
    messages = [{"role": "system", "content": system}] if system else []
    return hashlib.sha256(_json([*messages, {"role": "user", "content": head}]).removesuffix(_ROLE))


def request_seed(study_seed: int, messages_digest: bytes, repeat: int) -> int:
    """The seed a request carries: of study seed, messages and repeat, within 31 bits."""
    return stable_random.integer(study_seed, messages_digest.hex(), repeat) % (1 << 31)


def key_head(
    kind: str, model: str, parameters: Mapping[str, Any], repeat: object, weights: str | None = None
) -> str:
    """What a request's key is made of beside its messages, as canonical JSON.

    ``weights`` is the SHA-256 of weights of one's own; without it the key says nothing of weights.
    """
    respondent = [kind, model] if weights is None else [kind, model, weights]
    return json.dumps([*respondent, parameters, repeat], sort_keys=True, separators=(",", ":"))


def request_key(head: str, messages_digest: bytes) -> str:
    """The key of a request: 32 hexadecimal digits of a SHA-256."""
    return hashlib.sha256(head.encode() + b"\0" + messages_digest).hexdigest()[:32]
