"""The query engine: sends what the record lacks, and appends every reply as it arrives.

Bounded workers take conversations from a queue; they are never all tasks at once. Of conversations
that share a prefix, one goes first and the others follow its reply, so that providers' prompt caches
apply. The client's ``max_retries`` is the only layer of retries.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai
from openai import AsyncOpenAI, DefaultAioHttpClient
from tqdm import tqdm

from deepvalues.errors import UserError
from deepvalues.query.conversation import Conversation, request_key, request_seed
from deepvalues.query.record import Answer, Record
from deepvalues.query.registry import Model

T = TypeVar("T")
MAX_RETRIES = 5
TIMEOUT_SECONDS = 120.0
#: Failures in a row after which a run stops: an endpoint that is down would fail them all.
BREAK_AFTER = 25
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: Errors that every further request would meet again.
_FATAL = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


@dataclass(frozen=True)
class Ask:
    """How a study asks a model: parameters of every request, and the seed of the study."""

    model: Model
    parameters: Mapping[str, Any]
    seed: int

    def request(self, conversation: Conversation, replies: Sequence[str], repeat: int) -> _Request:
        """The request of the turn that follows the given replies."""
        messages_digest = conversation.digest(replies)
        parameters = self.model.request_parameters(
            {**self.parameters, "seed": request_seed(self.seed, messages_digest, repeat)}
        )
        served_as = self.model.served_as
        kind = self.model.endpoint.kind
        key = request_key(kind, served_as, parameters, messages_digest, repeat)
        return _Request(key, parameters, conversation, tuple(replies), repeat)


@dataclass(frozen=True)
class _Request:
    key: str
    parameters: Mapping[str, Any]
    conversation: Conversation
    replies: tuple[str, ...]
    repeat: int

    def body(self, model: Model) -> dict[str, Any]:
        messages = self.conversation.messages(self.replies)
        return {"model": model.served_as, "messages": messages, **self.parameters}


def recorded(ask: Ask, conversation: Conversation, repeat: int, record: Record) -> list[Answer]:
    """The answers that the record holds for a conversation, turn by turn until one is missing."""
    answers: list[Answer] = []
    replies: list[str] = []
    for _ in conversation.turns:
        answer = record.answers.get(ask.request(conversation, replies, repeat).key)
        if answer is None:
            break
        answers.append(answer)
        replies.append(answer.text or "")
    return answers


@dataclass
class Summary:
    """What a run did: requests sent and answered, failures, and whether it stopped early."""

    asked: int = 0
    failed: int = 0
    last_error: str = ""
    stopped: str = ""


@dataclass
class _Queue:
    """Conversations in prefix order: the head of a group is ready, its tail waits for the head."""

    ready: deque[tuple[Conversation, int]] = field(default_factory=deque)
    waiting: dict[str, list[tuple[Conversation, int]]] = field(default_factory=dict)
    open: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def fill(self, wanted: Sequence[tuple[Conversation, int]]) -> None:
        groups: dict[str, list[tuple[Conversation, int]]] = defaultdict(list)
        for conversation, repeat in wanted:
            groups[conversation.prefix or f"\0{conversation.item}"].append((conversation, repeat))
        for prefix in sorted(groups):
            head, *tail = groups[prefix]
            self.ready.append(head)
            self.waiting[head[0].item] = tail
        self.open = len(wanted)

    async def take(self) -> tuple[Conversation, int] | None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.ready or not self.open)
            return self.ready.popleft() if self.open and self.ready else None

    async def done(self, conversation: Conversation) -> None:
        async with self.changed:
            # Tails go to the front: the provider's cache is warm now.
            tail = self.waiting.pop(conversation.item, [])
            if self.open:  # a closed queue gives out nothing more
                self.ready.extendleft(reversed(tail))
                self.open -= 1
            self.changed.notify_all()

    async def close(self) -> None:
        async with self.changed:
            self.ready.clear()
            self.open = 0
            self.changed.notify_all()


class _Run:
    """One run against one model."""

    def __init__(
        self, ask: Ask, record: Record, client: AsyncOpenAI, bar: tqdm[Any], again: frozenset[str]
    ) -> None:
        self.ask, self.record, self.client, self.bar = ask, record, client, bar
        self.again = set(again)
        self.summary = Summary()
        self.queue = _Queue()
        self.in_a_row = 0

    async def worker(self) -> None:
        while taken := await self.queue.take():
            conversation, repeat = taken
            try:
                await self.converse(conversation, repeat)
            finally:
                if self.summary.stopped:
                    await self.queue.close()
                await self.queue.done(conversation)
            self.bar.update()

    async def converse(self, conversation: Conversation, repeat: int) -> None:
        replies: list[str] = []
        for turn in range(len(conversation.turns)):
            request = self.ask.request(conversation, replies, repeat)
            answer = self.record.answers.get(request.key)
            if answer is None or request.key in self.again:
                if self.summary.stopped:
                    return
                self.again.discard(request.key)
                answer = await self.send(request, turn)
            if answer is None:
                return
            replies.append(answer.text or "")

    async def send(self, request: _Request, turn: int) -> Answer | None:
        started = time.monotonic()
        entry: dict[str, Any] = {
            "key": request.key,
            "item": request.conversation.item,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            reply: Any = await self.client.post(
                "/chat/completions", cast_to=object, body=request.body(self.ask.model)
            )
            answer = _answer(request, turn, reply)
        # The client lets the ValueError of a body through that is not JSON.
        except (openai.APIError, _MalformedReplyError, ValueError) as error:
            described = self.described(error)
            self.failed(error, described)
            self.record.log({**entry, "error": type(error).__name__, "message": described[:500]})
            return None
        self.in_a_row = 0
        self.summary.asked += 1
        self.record.append(answer)
        self.record.log({**entry, **_sidecar(reply, time.monotonic() - started)})
        return answer

    def described(self, error: Exception) -> str:
        """An error with its cause, which alone tells a refused connection from a timeout; no API key."""
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        endpoint = self.ask.model.endpoint
        text = f"{type(error).__name__}: {error}{cause}"
        return text.replace(endpoint.key, "[API key]") if endpoint.key_variable and endpoint.key else text

    def failed(self, error: Exception, described: str) -> None:
        self.summary.failed += 1
        self.in_a_row += 1
        self.summary.last_error = described
        if isinstance(error, _FATAL) or getattr(error, "code", None) == "model_not_available":
            self.summary.stopped = "the endpoint refuses this model or key"
        elif self.in_a_row >= BREAK_AFTER:
            self.summary.stopped = f"{self.in_a_row} requests in a row failed"


class _MalformedReplyError(Exception):
    """A reply with status 200 that is not a chat completion."""


def _answer(request: _Request, turn: int, reply: Any) -> Answer:
    """Keep of a reply what request and reply determine."""
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        usage = reply.get("usage") or {}
        if not isinstance(message.get("content"), str | None):
            raise TypeError(f"content is a {type(message['content']).__name__}")
        return Answer(
            key=request.key,
            item=request.conversation.item,
            repeat=request.repeat,
            turn=turn,
            text=message.get("content"),
            refusal=message.get("refusal"),
            finish_reason=choice.get("finish_reason"),
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
            logprobs=choice.get("logprobs"),
            model=reply.get("model"),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise _MalformedReplyError(f"not a chat completion ({error!r})") from None


def _sidecar(reply: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    details = (reply.get("usage") or {}).get("prompt_tokens_details")
    return {
        "seconds": round(seconds, 3),
        "fingerprint": reply.get("system_fingerprint"),
        "cached_tokens": details.get("cached_tokens") if isinstance(details, dict) else None,
    }


async def _ask_all(
    ask: Ask,
    wanted: Sequence[tuple[Conversation, int]],
    record: Record,
    base_url: str,
    concurrency: int,
    again: frozenset[str],
) -> Summary:
    client = AsyncOpenAI(
        base_url=base_url,
        api_key=ask.model.endpoint.key,
        max_retries=MAX_RETRIES,
        timeout=TIMEOUT_SECONDS,
        # A proxy from the environment is not for loopback.
        http_client=DefaultAioHttpClient(trust_env=urlsplit(base_url).hostname not in _LOOPBACK),
    )
    async with client:
        with tqdm(total=len(wanted), desc=ask.model.name, unit="item", disable=None) as bar:
            run = _Run(ask, record, client, bar, again)
            run.queue.fill(wanted)
            workers = [run.worker() for _ in range(min(concurrency, len(wanted)))]
            await asyncio.gather(*workers)
            return run.summary


def ask_missing(
    ask: Ask,
    conversations: Sequence[Conversation],
    record: Record,
    *,
    base_url: str,
    concurrency: int = 32,
    again: frozenset[str] = frozenset(),
) -> Summary:
    """Ask a model what the record lacks.

    Parameters
    ----------
    conversations
        All conversations of a set; those that the record answers in full are passed over.
    again
        Keys of recorded answers to ask for once more.

    Raises
    ------
    UserError
        When the endpoint refuses the key or the model, or keeps failing. Everything received before
        is in the record.
    """
    wanted = [
        (conversation, repeat)
        for conversation in conversations
        for repeat in range(conversation.repeats)
        if _incomplete(recorded(ask, conversation, repeat, record), conversation, again)
    ]
    if not wanted:
        return Summary()
    if not ask.model.endpoint.key:
        raise UserError(
            f"{ask.model.name}: no API key: set the environment variable "
            f"{ask.model.endpoint.key_variable} ({len(wanted)} answers are missing)"
        )
    if not (ask.model.endpoint.key.isascii() and ask.model.endpoint.key.isprintable()):
        raise UserError(
            f"{ask.model.name}: the API key in {ask.model.endpoint.key_variable} holds a character that "
            "no key has, perhaps the end of a line"
        )
    with record.writing():
        summary = run_async(_ask_all(ask, wanted, record, base_url, concurrency, again))
    if summary.stopped:
        raise UserError(
            f"{ask.model.name}: stopped, because {summary.stopped}. The last error was: "
            f"{summary.last_error}. {summary.asked} answers were saved; the same command goes on."
        )
    return summary


def _incomplete(answers: Sequence[Answer], conversation: Conversation, again: frozenset[str]) -> bool:
    return len(answers) < len(conversation.turns) or any(a.key in again for a in answers)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also from inside a notebook, whose own loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
