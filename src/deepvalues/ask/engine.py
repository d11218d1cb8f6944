"""The query engine: sends what the record lacks, and appends every reply as it arrives.

Bounded workers take conversations from a queue; they are never all tasks at once. Of conversations
that share a prefix, one goes first and the others follow its reply, so that providers' prompt caches
apply. The client's ``max_retries`` is the only layer of retries. An `Asker` works in one event loop;
`deepvalues.ask.processes` runs several where one is the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import openai

from deepvalues.ask import letters
from deepvalues.ask.conversation import Conversation, Message, key_head, request_key, request_seed
from deepvalues.ask.letters import LetterChoice, NoLogprobsError
from deepvalues.ask.money import CHARACTERS_PER_TOKEN, NO_USAGE, Ledger, Usage
from deepvalues.ask.pace import Pace
from deepvalues.ask.protocol import (
    CUT,
    FILTERED,
    MalformedReplyError,
    Reply,
    ReportedError,
    error_body,
    filtered,
    parsed,
    receive,
    told,
    usage,
)
from deepvalues.ask.reading import says_something
from deepvalues.ask.record import Answer, Journal, Record
from deepvalues.ask.registry import NO_KEY, Model
from deepvalues.ask.settings import Settings
from deepvalues.ask.transport import PATH, AsyncOpenAI, Transport, address

#: After a stop, requests in flight get this long to come back.
GRACE_SECONDS = 5.0
#: Stands in for the seed in the head of a key; no endpoint takes a parameter with such a text.
_SEED_MARK, _SEED_IN_JSON = "\0the seed", r'"\u0000the seed"'
#: The pace's number of the request that the current task sends.
_NUMBER: ContextVar[int] = ContextVar("number")
#: So many replies in a row without log probabilities show that the endpoint gives none.
_WITHOUT_LOGPROBS = 3
#: So many replies without a word at the begin of a run show that the rest will have none either.
_SILENT_REPLIES = 25
#: Errors that every further request would meet again.
_FATAL = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
#: Errors of an address at which there is no endpoint.
_ELSEWHERE = (openai.NotFoundError, MalformedReplyError, ReportedError)
#: Errors with which an endpoint refuses a parameter.
_REFUSED_PARAMETERS = (openai.BadRequestError, openai.UnprocessableEntityError)


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
    """What a run did: replies received, failures, why it stopped early, and what it used."""

    asked: int = 0
    failed: int = 0
    last_error: str = ""
    stopped: str = ""
    used: Usage = NO_USAGE

    def add(self, other: Summary) -> None:
        """Take in what another process did; the first that stopped says why, the others only followed."""
        self.asked += other.asked
        self.failed += other.failed
        if not self.stopped:
            self.last_error = other.last_error or self.last_error
            self.stopped = other.stopped
        self.used = Usage(*(a + b for a, b in zip(self.used, other.used, strict=True)))


@dataclass
class _Queue:
    """Jobs in prefix order: the head of a group goes first, its tail waits for the head's reply.

    Tails whose head is through go before further heads, the earliest first: a provider's cache holds
    their prefix now, and may forget it soon.
    """

    heads: deque[tuple[Job, str]] = field(default_factory=deque)
    warm: deque[tuple[Job, str]] = field(default_factory=deque)
    tails: dict[str, list[Job]] = field(default_factory=dict)
    open: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    def fill(self, jobs: Sequence[Job]) -> None:
        for prefix, (head, *tail) in groups(jobs).items():
            self.heads.append((head, prefix))
            self.tails[prefix] = tail
        self.open = len(jobs)

    async def take(self) -> tuple[Job, str] | None:
        while not (self.warm or self.heads) and self.open:
            place = asyncio.get_running_loop().create_future()
            self.waiting.append(place)
            await place
        if self.warm:
            return self.warm.popleft()
        return self.heads.popleft() if self.heads else None

    def done(self, prefix: str) -> None:
        tail = self.tails.pop(prefix, [])
        self.warm.extend((job, prefix) for job in tail)
        # What was in flight when the queue was closed no longer counts.
        self.open = max(0, self.open - 1)
        self._wake(len(tail) if self.open else len(self.waiting))

    def close(self) -> None:
        self.heads.clear()
        self.warm.clear()
        self.tails.clear()
        self.open = 0
        self._wake(len(self.waiting))

    def _wake(self, number: int) -> None:
        for _ in range(min(number, len(self.waiting))):
            place = self.waiting.popleft()
            if not place.done():
                place.set_result(None)


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


#: What makes a request a failure that is logged and counted.
_FAILURES = (openai.OpenAIError, MalformedReplyError, ReportedError, NoLogprobsError, ValueError)


class Asker:
    """Holds conversations with one endpoint, in one event loop.

    Parameters
    ----------
    journal
        Where answers and attempts are written as they come.
    report
        Called with the answers of a conversation that is through, or None for one that failed.
    """

    def __init__(
        self,
        ask: Ask,
        base_url: str,
        settings: Settings,
        journal: Journal,
        report: Callable[[Sequence[Answer] | None], None],
    ) -> None:
        self.ask, self.base_url, self.settings, self.journal = ask, base_url, settings, journal
        self.report = report
        self.summary = Summary()
        self.ledger = Ledger(ask.model.price, settings.max_cost)
        self.pace = Pace(settings.concurrency, settings.requests_per_minute, settings.tokens_per_minute)
        self._url = address(base_url)
        # Replies since the first, as long as none has said anything; 0 once one has.
        self._silent = 1
        self._queue = _Queue()
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()
        self._in_a_row = 0
        self._top_logprobs = letters.top_logprobs(ask.model)

    async def run(self, jobs: Sequence[Job]) -> Summary:
        """Do all jobs, or as many as can be done before a stop."""
        self._queue.fill(jobs)
        transport = Transport(
            self.base_url,
            self.settings.timeout,
            refused=lambda: self.pace.refused(_NUMBER.get()),
            stopped=self._stopping.is_set,
        )
        async with AsyncOpenAI(
            base_url=self.base_url,
            api_key=self.ask.model.endpoint.key,
            max_retries=self.settings.max_retries,
            timeout=self.settings.timeout,
            http_client=transport,
        ) as client:
            number = min(self.settings.concurrency, len(jobs))
            workers = [asyncio.create_task(self._work(client)) for _ in range(number)]
            everything = asyncio.gather(*workers)
            stopping = asyncio.create_task(self._stopping.wait())
            first: list[asyncio.Future[Any]] = [everything, stopping]
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            # Where a worker broke down the others must not go on.
            self._close()
            _, late = await asyncio.wait(workers, timeout=GRACE_SECONDS)
            for worker in late:
                worker.cancel()
            await asyncio.wait(workers)
            with contextlib.suppress(asyncio.CancelledError):
                await everything
        self.summary.used = self.ledger.used
        return self.summary

    def stop(self, reason: str) -> None:
        """Take no further job; what is in flight has a few seconds to come back."""
        self.summary.stopped = self.summary.stopped or reason
        self._close()

    def _close(self) -> None:
        self._queue.close()
        self._stopping.set()

    async def _work(self, client: AsyncOpenAI) -> None:
        while taken := await self._queue.take():
            job, prefix = taken
            self.report(await self._converse(client, job))
            self._queue.done(prefix)

    async def _converse(self, client: AsyncOpenAI, job: Job) -> list[Answer] | None:
        answers: list[Answer] = []
        while not job.conversation.is_over(answers):
            replies = [answer.text or "" for answer in answers]
            request = self.ask.request(job.conversation, replies, job.repeat)
            answer = job.known.get(request.key) or await self._send(client, request, len(answers))
            if answer is None:
                return None
            answers.append(answer)
        return answers

    async def _send(self, client: AsyncOpenAI, request: Request, turn: int) -> Answer | None:
        estimate = request.estimate()
        _NUMBER.set(await self.pace.enter(estimate.input + estimate.output))
        reserved = await self._reserve(estimate)
        used: Usage | None = None
        body: Any = None
        try:
            if reserved is None or self._stopping.is_set():
                return None
            started = time.monotonic()
            body = await self._attempt(client, request)
            seconds = time.monotonic() - started
            reply = receive(body, self.ask.cut_at)
            used = reply.usage
            answer = answer_from(
                reply, request.key, request.conversation.item, request.repeat, turn, self.ask.choice
            )
        except (*_FAILURES, asyncio.CancelledError) as error:
            # What can't be used is paid for, too.
            used = used or (usage(body) if body is not None else None)
            self._failed(request, error)
            if isinstance(error, asyncio.CancelledError):
                raise
            return None
        finally:
            self.ledger.settle(reserved, estimate, used)
            self._settled.set()
            self.pace.leave()
        self.pace.answered()
        return answer if self._keep(request, answer, reply, seconds) else None

    async def _reserve(self, estimate: Usage) -> float | None:
        """Set a request's cost aside; where that would pass the maximum, wait for others to settle."""
        while (reserved := self.ledger.reserve(estimate)) is None and self.ledger.unsettled:
            self._settled.clear()
            await self._settled.wait()
        if reserved is None:
            self.stop(f"the next request could pass the maximum of ${self.settings.max_cost:g}")
        return reserved

    async def _attempt(self, client: AsyncOpenAI, request: Request) -> Any:
        """Send a request; by letters again with fewer alternatives as long as they are refused."""
        while True:
            top = self._top_logprobs
            try:
                return await self._post(client, request.body(self.ask.model, top))
            except openai.APIStatusError as error:
                if refused := filtered(error.status_code, error_body(error), self.ask.model):
                    return refused
                if not (request.by_letters and isinstance(error, _REFUSED_PARAMETERS)):
                    raise
                if "logprobs" not in error.response.text:
                    raise
                less = letters.fewer(top)
                if less is None:
                    reason = told(error, self.ask.model)
                    raise NoLogprobsError(f"the endpoint refuses log probabilities: {reason}") from None
                self._top_logprobs = min(self._top_logprobs, less)

    async def _post(self, client: AsyncOpenAI, sent: Mapping[str, Any]) -> Any:
        # Bytes are handed on as they are, and a whole URL spares the client a merge, which at thousands of
        # requests a second is felt.
        body = json.dumps(sent, ensure_ascii=False, separators=(",", ":"))
        response = await client.post(self._url, cast_to=httpx2.Response, content=body.encode())
        return parsed(response.content)

    def _keep(self, request: Request, answer: Answer, reply: Any, seconds: float) -> bool:
        """Write an answer down; whether it is in the record, and so need not be asked for again."""
        asked = self.summary.asked
        try:
            self.journal.append(answer)
            self._in_a_row = 0
            self.summary.asked += 1
            self.journal.log({**_entry(request), "seconds": round(seconds, 3), **sidecar(reply)})
        except OSError as error:
            self.stop(f"the record can't be written ({error.strerror})")
        if self._silent:
            self._stop_if_nothing_is_said(answer)
        return self.summary.asked > asked

    def _stop_if_nothing_is_said(self, answer: Answer) -> None:
        """Stop a run that pays for thinking, or whatever it is, and gets no replies."""
        said = answer.refusal or answer.finish_reason == FILTERED or says_something(answer.text)
        if said or self.ask.choice:
            self._silent = 0
            return
        self._silent += 1
        if self._silent <= _SILENT_REPLIES:
            return
        reason = f"the first {_SILENT_REPLIES} replies are all empty"
        if answer.finish_reason == CUT:
            reason += (
                " and cut off: thinking may have taken up all tokens, and `parameters` of an entry in "
                "data/models.yml give the model more max_tokens (or max_completion_tokens)"
            )
        elif answer.more:
            reason += f"; what came is on record, in {', '.join(answer.more)}"
        self.stop(reason)

    def _failed(self, request: Request, error: BaseException) -> None:
        name, message = type(error).__name__, told(error, self.ask.model, self._url)
        try:
            self.journal.log({**_entry(request), "error": name, "message": message})
        except OSError as full:
            self.stop(f"the record can't be written ({full.strerror})")
        if isinstance(error, asyncio.CancelledError):
            return
        self.summary.failed += 1
        self.summary.last_error = f"{name}: {message}"
        self._in_a_row += 1
        if isinstance(error, _FATAL) or getattr(error, "code", None) == "model_not_available":
            self.stop("the endpoint refuses this model or key" + self._advice(request, error))
        elif isinstance(error, NoLogprobsError) and self._in_a_row >= _WITHOUT_LOGPROBS:
            self.stop(
                "the endpoint gives no log probabilities, from which a choice by letters is read; "
                "`letters: free` in the model's entry asks it for free replies"
            )
        elif self._in_a_row >= self.settings.break_after:
            self.stop(f"{self._in_a_row} requests in a row failed" + self._advice(request, error))

    def _advice(self, request: Request, error: BaseException) -> str:
        """What may be done about an error that does not pass."""
        model = self.ask.model
        said = error.response.text if isinstance(error, openai.APIStatusError) else str(error)

        def named(name: str) -> bool:
            return bool(re.search(rf"\b{re.escape(name)}\b", said))

        if isinstance(error, _FATAL[:2]) and model.endpoint.key == NO_KEY:
            return " (no key was sent: --key-variable names the variable that holds it)"
        if isinstance(error, _REFUSED_PARAMETERS):
            for name in filter(named, request.parameters):
                return f"; `parameters: {{{name}: null}}` in the model's entry sends no {name}"
        elif isinstance(error, _ELSEWHERE) and not urlsplit(self._url).path[: -len(PATH)]:
            return "" if named(model.served_as) else " (is /v1 missing at the end of the base URL?)"
        return ""


def _entry(request: Request) -> dict[str, Any]:
    return log_entry(request.key, request.conversation.item, request.repeat)


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
