"""What the query engine is given and what it keeps: requests with their keys, jobs, and answers from replies.

`deepvalues.ask.asker` sends them; its client takes a second to load, which those who send nothing are spared.
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
from deepvalues.ask.money import CHARACTERS_PER_TOKEN, NO_USAGE, Usage
from deepvalues.ask.protocol import FILTERED, Reply
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.registry import Model

#: Stands in for the seed in the head of a key; no endpoint takes a parameter with such a text.
_SEED_MARK, _SEED_IN_JSON = "\0the seed", r'"\u0000the seed"'


@dataclass(frozen=True)
class Ask:
    """How a study asks a model: parameters of every request, and the seed of the study.

    ``choice`` is given where the choice is read from letter probabilities.
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
        """Those of every request, for readers: of a seed, where one is sent, that each item has its own."""
        return self._parameters("by item")

    @property
    def longest_reply(self) -> float:
        """The most tokens that a reply may have, 0 where no parameter says so."""
        return longest_reply(self._parameters(0))

    @cached_property
    def cut_at(self) -> float:
        """The number of tokens at which a reply was cut, whatever is said of it; 0 where that is not known.

        A reply by letters is one token in any case, and this project's own server knows what it has cut.
        """
        return 0 if self.choice or self.model.is_local else self.longest_reply

    @cached_property
    def _head(self) -> str:
        """The head of every key but for seed and repeat: put into JSON once, not 100,000 times."""
        model = self.model
        head = key_head(
            model.endpoint.kind, model.served_as, self._parameters(_SEED_MARK), 0, model.weights_sha256
        )
        return head.removesuffix("0]")

    def _place(self, conversation: Conversation, replies: Sequence[str], repeat: int) -> tuple[str, int]:
        """The key and the seed of the turn that follows the given replies."""
        messages_digest = conversation.digest(replies)
        seed = request_seed(self.seed, messages_digest, repeat)
        head = self._head.replace(_SEED_IN_JSON, str(seed))
        return request_key(f"{head}{repeat}]", messages_digest), seed

    def key(self, conversation: Conversation, replies: Sequence[str], repeat: int) -> str:
        """The key of the turn that follows the given replies."""
        return self._place(conversation, replies, repeat)[0]

    def request(self, conversation: Conversation, replies: Sequence[str], repeat: int) -> Request:
        """The request of the turn that follows the given replies."""
        key, seed = self._place(conversation, replies, repeat)
        return Request(
            key, self._parameters(seed), conversation, tuple(replies), repeat, self.choice is not None
        )


@dataclass(frozen=True)
class Request:
    """One turn to be asked."""

    key: str
    parameters: Mapping[str, Any]
    conversation: Conversation
    replies: tuple[str, ...]
    repeat: int
    by_letters: bool = False

    @cached_property
    def messages(self) -> list[Message]:
        """What is sent: the system text, and the turns so far with their replies."""
        return self.conversation.messages(self.replies)

    def body(self, model: Model, top_logprobs: int | None = None) -> dict[str, Any]:
        """The body of the request as it is sent; ``top_logprobs`` enters no key."""
        body = {"model": model.served_as, "messages": self.messages, **self.parameters}
        if self.by_letters:
            body["top_logprobs"] = top_logprobs or letters.top_logprobs(model)
        return body

    def estimate(self) -> Usage:
        """Tokens that the request will use: input by its length, output at its longest."""
        characters = sum(len(message["content"]) for message in self.messages)
        return Usage(characters / CHARACTERS_PER_TOKEN, 0.0, longest_reply(self.parameters))


def longest_reply(parameters: Mapping[str, Any]) -> float:
    """The most tokens that a reply may have, 0 where no parameter says so."""
    return float(parameters.get("max_completion_tokens", parameters.get("max_tokens")) or 0)


def recorded(ask: Ask, conversation: Conversation, repeat: int, record: Record) -> list[Answer]:
    """The answers that the record holds for a conversation, turn by turn until one is missing."""
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
    """A conversation to be held, with the answers that need not be asked for."""

    conversation: Conversation
    repeat: int
    known: Mapping[str, Answer]


@dataclass
class Summary:
    """What a run did: replies received, failures, why it stopped early, and what it used.

    ``lost`` are replies that could be written nowhere.
    """

    asked: int = 0
    failed: int = 0
    last_error: str = ""
    stopped: str = ""
    used: Usage = NO_USAGE
    lost: int = 0

    def add(self, other: Summary) -> None:
        """Take in what another process did; the first that stopped says why, the others only followed."""
        self.asked += other.asked
        self.failed += other.failed
        self.lost += other.lost
        if not self.stopped:
            self.last_error = other.last_error or self.last_error
            self.stopped = other.stopped
        self.used = Usage(*(a + b for a, b in zip(self.used, other.used, strict=True)))


def groups(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """Jobs by shared prefix, in the order in which they come; a prefix that goes on with another follows it.

    So a server that remembers one prompt has the beginning of the next one read, as far as there is one.
    """
    found: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        found[job.conversation.prefix or f"\0{job.conversation.item}\0"].append(job)
    roots: dict[str, str] = {}
    root = ""
    for prefix in sorted(found):
        root = root if root and prefix.startswith(root) else prefix
        roots[prefix] = root
    first: dict[str, int] = {}
    for number, prefix in enumerate(found):
        first.setdefault(roots[prefix], number)
    order = sorted(found, key=lambda prefix: (first[roots[prefix]], prefix))
    return {prefix: found[prefix] for prefix in order}


def log_entry(key: str, item: str, repeat: int) -> dict[str, Any]:
    """What every line of the log begins with."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"key": key, "item": item, "repeat": repeat, "date": date}


def answer_from(
    reply: Reply, key: str, item: str, repeat: int, turn: int, by_letters: LetterChoice | None = None
) -> Answer:
    """Keep of a reply what request and reply determine.

    Raises
    ------
    NoLogprobsError
        When it was asked for by letters and has no log probabilities.
    """
    text, logprobs = reply.text, reply.logprobs
    if by_letters and not (reply.refusal or reply.finish_reason == FILTERED):
        # The token alone: an endpoint may repeat the words that it was to continue.
        text, logprobs = letters.kept(logprobs, by_letters)
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
    """What the log keeps of a reply."""
    return {"fingerprint": reply.fingerprint, "cached_tokens": reply.cached_tokens}
