"""Conversations, requests and their keys.

A study describes what to ask as conversations; the engine sends them turn by turn. A request's key is a
hash of endpoint kind, model, parameters, messages and repeat, and for local weights of their SHA-256. Nothing
else enters it: neither the time nor the API key.
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
    """One item as asked: user turns, optionally with a system text and several repeats.

    A later turn may quote the model's reply to an earlier one as ``{{reply 1}}``; any other number is a
    `ValueError`. Conversations with the same ``prefix`` begin with the same long text; the engine sends them
    together so that providers' prompt caches take effect. They also share that text in memory: ``parts`` are
    the turns, the first one without its ``head``, which is the prefix if the turn begins with it.

    Repeats are numbered from ``first_repeat``. The number is part of the keys, so conversations with the same
    beginning share answers if their numbers are the same.

    ``begun`` is the beginning of a reply: the last message is then the assistant's, and the endpoint
    continues it.

    Turns after a reply for which ``until`` returns true are not asked; this allows turns that repeat a
    question only if needed. The function must be picklable, and is not part of any key.
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
        # The dataclass is frozen, so fields are set directly.
        self.__dict__.update(item=item, head=head, parts=parts, system=system, prefix=prefix)
        self.__dict__.update(repeats=repeats, first_repeat=first_repeat, until=until, begun="")

    def with_reply(self, begun: str, turns: tuple[str, ...]) -> Conversation:
        """The conversation with other turns and the beginning of a reply."""
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
        """The user's turns, as the study wrote them."""
        return (self.head + self.parts[0], *self.parts[1:]) if self.head else self.parts

    @property
    def n_turns(self) -> int:
        """Number of turns."""
        return len(self.parts)

    def is_over(self, answers: Sequence[Answer]) -> bool:
        """Whether nothing is left to be asked after these answers to the first turns."""
        if self.until is None or not answers or len(answers) == self.n_turns:
            return len(answers) == self.n_turns
        last, question = answers[-1], self.parts[len(answers) - 1]
        return self.until(Received(last.text, last.refusal, last.finish_reason, question))

    @cached_property
    def first_digest(self) -> bytes:
        """Digest of the messages of the first turn, computed once for all models and repeats."""
        hashed = _digest_of_head(self.system, self.head).copy()
        rest = [{"role": "user", "content": self.parts[0]}, *self._last_message]
        hashed.update(_json(rest).removeprefix(_CONTENT))
        return hashed.digest()

    @cached_property
    def first_length(self) -> int:
        """Number of characters in the messages of the first turn."""
        return sum(map(len, (self.system or "", self.head, self.parts[0], self.begun)))

    def messages(self, replies: Sequence[str]) -> list[Message]:
        """The messages of the turn that follows the given replies."""
        # Half a surrogate pair, which a reply may contain, can't be sent; it is escaped as in the digest.
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
        """The message that begins the reply, if any."""
        return [{"role": "assistant", "content": self.begun}] if self.begun else []

    def digest(self, replies: Sequence[str]) -> bytes:
        """Digest of the messages of the turn that follows the given replies."""
        return digest(self.messages(replies)) if replies else self.first_digest


class Withheld(Conversation):
    """One question whose text is not on this machine: its answers can be replayed, but it can't be asked.

    Parameters
    ----------
    digests
        Digests of its messages by the beginning of the reply; "" for none.
    length
        Number of characters in the text.
    advice
        The error message when the question is asked.
    begun
        The beginning of the reply.
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
        """The same question with a beginning of the reply; unknown ones are a `UserError`."""
        if begun not in self.digests:
            raise UserError(self.advice)
        return Withheld(self.item, self.digests, self.length, self.advice, begun)

    def messages(self, replies: Sequence[str]) -> list[Message]:  # noqa: ARG002 - overrides
        """Raise a `UserError` that says where to get the text."""
        raise UserError(self.advice)


def digest(messages: Sequence[Message]) -> bytes:
    """SHA-256 of messages in canonical JSON."""
    return hashlib.sha256(_json(messages)).digest()


def _json(messages: Sequence[Message]) -> bytes:
    text = json.dumps(messages, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


#: The beginning and end of a user message in canonical JSON.
_CONTENT, _ROLE = b'[{"content":"', b'","role":"user"}]'


@lru_cache(maxsize=64)  # conversations that share a head are adjacent
def _digest_of_head(system: str | None, head: str) -> hashlib._Hash:
    """The SHA-256 of messages up to the end of a shared head, to be copied and continued."""
    messages = [{"role": "system", "content": system}] if system else []
    return hashlib.sha256(_json([*messages, {"role": "user", "content": head}]).removesuffix(_ROLE))


def request_seed(study_seed: int, messages_digest: bytes, repeat: int) -> int:
    """The seed of a request, from study seed, messages and repeat; 31 bits."""
    return stable_random.integer(study_seed, messages_digest.hex(), repeat) % (1 << 31)


def key_head(
    kind: str, model: str, parameters: Mapping[str, Any], repeat: object, weights: str | None = None
) -> str:
    """The parts of a request's key other than its messages, as canonical JSON.

    ``weights`` is the SHA-256 of local weights, if any.
    """
    respondent = [kind, model] if weights is None else [kind, model, weights]
    return json.dumps([*respondent, parameters, repeat], sort_keys=True, separators=(",", ":"))


def request_key(head: str, messages_digest: bytes) -> str:
    """The key of a request: 32 hexadecimal digits of a SHA-256."""
    return hashlib.sha256(head.encode() + b"\0" + messages_digest).hexdigest()[:32]
