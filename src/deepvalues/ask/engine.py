"""The query engine's data: requests with their keys, jobs, and answers from replies.

`deepvalues.ask.asker` sends the requests; it is a separate module because its client takes a second to load.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from deepvalues.ask import letters
from deepvalues.ask.conversation import Conversation, Message, key_head, request_key, request_seed
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.money import CHARACTERS_PER_TOKEN, NO_USAGE, Usage, total
from deepvalues.ask.protocol import FILTERED, Reply
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.registry import Model

#: Placeholder for the seed in a key's head; no parameter has such a value.
_SEED_MARK, _SEED_IN_JSON = "\0the seed", r'"\u0000the seed"'


@dataclass(frozen=True)
class Ask:
    """How a study asks a model: the parameters of every request, and the study's seed.

    ``choice`` is set if choices are read from letter probabilities.
    """

    model: Model
    parameters: Mapping[str, Any]
    seed: int
    choice: LetterChoice | None = None

    def _parameters(self, seed: object) -> dict[str, Any]:
        merged = self.model.request_parameters({**self.parameters, "seed": seed})
        return letters.one_token(merged) if self.choice else merged

    @property
    def shown_parameters(self) -> dict[str, Any]:
        """The parameters of every request, for display; a seed is shown as "by item"."""
        return self._parameters("by item")

    @property
    def longest_reply(self) -> float:
        """The token limit of a reply, 0 without one."""
        return longest_reply(self._parameters(0))

    @cached_property
    def cut_at(self) -> float:
        """The number of tokens at which a reply counts as cut off, whatever its finish reason; 0 for never.

        A choice by letter is always one token, and local models report reliably.
        """
        return 0 if self.choice or self.model.is_local else self.longest_reply

    @cached_property
    def _head(self) -> str:
        """The head of every key without seed and repeat, cached because there may be 100,000 keys."""
        model = self.model
        head = key_head(
            model.endpoint.kind, model.served_as, self._parameters(_SEED_MARK), 0, model.weights_sha256
        )
        return head.removesuffix("0]")

    def _key_and_seed(
        self, conversation: Conversation, replies: Sequence[str], repeat: int
    ) -> tuple[str, int]:
        """The key and the seed of the turn that follows the given replies."""
        messages_digest = conversation.digest(replies)
        seed = request_seed(self.seed, messages_digest, repeat)
        head = self._head.replace(_SEED_IN_JSON, str(seed))
        return request_key(f"{head}{repeat}]", messages_digest), seed

    def key(self, conversation: Conversation, replies: Sequence[str], repeat: int) -> str:
        """The key of the turn that follows the given replies."""
        return self._key_and_seed(conversation, replies, repeat)[0]

    def request(self, conversation: Conversation, replies: Sequence[str], repeat: int) -> Request:
        """The request of the turn that follows the given replies."""
        key, seed = self._key_and_seed(conversation, replies, repeat)
        return Request(
            key, self._parameters(seed), conversation, tuple(replies), repeat, self.choice is not None
        )


@dataclass(frozen=True)
class Request:
    """The request of one turn."""

    key: str
    parameters: Mapping[str, Any]
    conversation: Conversation
    replies: tuple[str, ...]
    repeat: int
    by_letters: bool = False

    @cached_property
    def messages(self) -> list[Message]:
        """The messages to send: the system text, and the turns so far with their replies."""
        return self.conversation.messages(self.replies)

    def body(self, model: Model, top_logprobs: int | None = None) -> dict[str, Any]:
        """The request body; ``top_logprobs`` is not part of the key."""
        body = {"model": model.served_as, "messages": self.messages, **self.parameters}
        if self.by_letters:
            body["top_logprobs"] = top_logprobs or letters.top_logprobs(model)
        return body

    def estimate(self) -> Usage:
        """Estimated tokens: input from the text's length, output at its limit."""
        characters = sum(len(message["content"]) for message in self.messages)
        return Usage(characters / CHARACTERS_PER_TOKEN, 0.0, longest_reply(self.parameters))


def longest_reply(parameters: Mapping[str, Any]) -> float:
    """The token limit of a reply, 0 without one."""
    return float(parameters.get("max_completion_tokens", parameters.get("max_tokens")) or 0)


def recorded(ask: Ask, conversation: Conversation, repeat: int, record: Record) -> list[Answer]:
    """The recorded answers of a conversation, up to the first missing turn."""
    answers: list[Answer] = []
    replies: list[str] = []
    while not conversation.is_over(answers):
        answer = record.answers.get(ask.key(conversation, replies, repeat))
        if answer is None:
            break
        answers.append(answer)
        replies.append(answer.text or "")
    return answers


class Job(NamedTuple):
    """A conversation to hold, with the answers that are already known."""

    conversation: Conversation
    repeat: int
    known: Mapping[str, Answer]


@dataclass
class Summary:
    """The result of a run: replies received, failures, why it stopped early, and tokens used.

    ``lost`` counts replies that could not be saved anywhere.
    """

    asked: int = 0
    failed: int = 0
    last_error: str = ""
    stopped: str = ""
    used: Usage = NO_USAGE
    lost: int = 0

    def add(self, other: Summary) -> None:
        """Add another process's summary; the first one that stopped gives the reason."""
        self.asked += other.asked
        self.failed += other.failed
        self.lost += other.lost
        if not self.stopped:
            self.last_error = other.last_error or self.last_error
            self.stopped = other.stopped
        self.used = total([self.used, other.used])


def groups(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """Jobs by shared prefix, in order of appearance, but prefixes that extend another one follow it.

    So a server that caches only the last prompt can reuse the beginning of it.
    """
    by_prefix: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_prefix[job.conversation.prefix or f"\0{job.conversation.item}\0"].append(job)
    roots: dict[str, str] = {}
    root = ""
    for prefix in sorted(by_prefix):
        root = root if root and prefix.startswith(root) else prefix
        roots[prefix] = root
    first: dict[str, int] = {}
    for number, prefix in enumerate(by_prefix):
        first.setdefault(roots[prefix], number)
    order = sorted(by_prefix, key=lambda prefix: (first[roots[prefix]], prefix))
    return {prefix: by_prefix[prefix] for prefix in order}


def log_entry(key: str, item: str, repeat: int) -> dict[str, Any]:
    """The fields that every log entry has."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"key": key, "item": item, "repeat": repeat, "date": date}


def answer_from(
    reply: Reply, key: str, item: str, repeat: int, turn: int, by_letters: LetterChoice | None = None
) -> Answer:
    """The record's line for a reply.

    Raises
    ------
    NoLogprobsError
        When a choice by letter has no log probabilities.
    """
    text, logprobs = reply.text, reply.logprobs
    if by_letters and not (reply.refusal or reply.finish_reason == FILTERED):
        # Only the token, since an endpoint may repeat the beginning that it was given.
        text, logprobs = letters.condensed(logprobs, by_letters)
    return Answer(
        key=key,
        item=item,
        repeat=repeat,
        turn=turn,
        text=text,
        refusal=reply.refusal,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        logprobs=logprobs,
        model=reply.model,
        more=reply.more,
    )


def sidecar(reply: Reply) -> dict[str, Any]:
    """The fields of a reply that go to the log."""
    return {"fingerprint": reply.fingerprint, "cached_tokens": reply.cached_tokens}
