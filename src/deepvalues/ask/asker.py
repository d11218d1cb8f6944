"""The query engine: sends what the record lacks, and appends every reply as it arrives.

A limited number of workers takes conversations from a queue. Of conversations that share a prefix, one is
sent first and the others after its reply, so that providers' prompt caches take effect. Only the client
retries requests (``max_retries``). An `Asker` uses one event loop; `deepvalues.ask.processes` runs several
where one is too slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from deepvalues.ask import letters, local
from deepvalues.ask.engine import Ask, Job, Request, Summary, answer_from, groups, log_entry, sidecar
from deepvalues.ask.letters import NoLogprobsError
from deepvalues.ask.local import LocalModel, Target
from deepvalues.ask.money import Ledger, Usage
from deepvalues.ask.pace import Pace
from deepvalues.ask.protocol import (
    CUT,
    FILTERED,
    MalformedReplyError,
    ReportedError,
    describe,
    error_body,
    filtered,
    parse_json,
    receive,
    usage,
)
from deepvalues.ask.reading import says_something
from deepvalues.ask.record import Answer, Journal
from deepvalues.ask.registry import NO_KEY
from deepvalues.ask.settings import Settings
from deepvalues.ask.transport import PATH, AsyncOpenAI, Transport, address
from deepvalues.core.errors import UserError

#: Sends the body of a request and returns that of the response.
Send = Callable[[Mapping[str, Any]], Awaitable[Any]]
#: How long requests in flight may take to finish after a stop.
GRACE_SECONDS = 5.0
#: The number that `Pace` gave to the current task's request.
_NUMBER: ContextVar[int] = ContextVar("number")
#: After this many replies in a row without log probabilities, the endpoint is taken to give none.
_WITHOUT_LOGPROBS = 3
#: If this many replies at the start of a run are all empty, the run stops.
_EMPTY_REPLIES = 25
#: Errors by which an endpoint rejects a key or a model, and so every further request.
_FORBIDDEN = (openai.AuthenticationError, openai.PermissionDeniedError)
#: Errors that suggest a wrong base URL.
_WRONG_URL = (openai.NotFoundError, MalformedReplyError, ReportedError)
#: Errors by which an endpoint rejects a parameter.
_REJECTED_PARAMETERS = (openai.BadRequestError, openai.UnprocessableEntityError)


@dataclass
class _Queue:
    """Jobs grouped by prefix: a group's head goes first, its tail waits for the head's reply.

    Tails whose head is answered go before further heads, the earliest first, while the provider's cache
    still holds their prefix.
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
        # Jobs in flight when the queue was closed no longer count.
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


#: Exceptions that are logged and counted as failed requests.
_FAILURES = (openai.OpenAIError, MalformedReplyError, ReportedError, NoLogprobsError, ValueError, UserError)


class Asker:
    """Holds conversations with one model, in one event loop.

    Parameters
    ----------
    journal
        Where answers and attempts are written as they arrive.
    report
        Called with the answers of each finished conversation, or None for one that failed.
    """

    def __init__(
        self,
        ask: Ask,
        target: Target,
        settings: Settings,
        journal: Journal,
        report: Callable[[Sequence[Answer] | None], None],
    ) -> None:
        self.ask, self.target, self.settings, self.journal = ask, target, settings, journal
        self.report = report
        self.summary = Summary()
        self.ledger = Ledger(ask.model.price, settings.max_cost)
        self.pace = Pace(settings.concurrency, settings.requests_per_minute, settings.tokens_per_minute)
        self._url = address(target) if isinstance(target, str) else ""
        # Empty replies so far; None once a reply has had content.
        self._empty: int | None = 0
        self._queue = _Queue()
        self._stopping, self._hurry = asyncio.Event(), asyncio.Event()
        self._settled = asyncio.Event()
        self._in_a_row = 0
        self._top_logprobs = letters.top_logprobs(ask.model)

    async def run(self, jobs: Sequence[Job]) -> Summary:
        """Run all jobs, or as many as possible before a stop."""
        self._queue.fill(jobs)
        async with self._sender() as send:
            number = min(self.settings.concurrency, len(jobs))
            workers = [asyncio.create_task(self._work(send)) for _ in range(number)]
            everything = asyncio.gather(*workers)
            await _either(everything, self._stopping)
            # If one worker has crashed, the others must stop too.
            self._close()
            await _either(everything, self._hurry, self.settings.timeout)
            _, late = await asyncio.wait(workers, timeout=GRACE_SECONDS)
            for worker in late:
                worker.cancel()
            await asyncio.wait(workers)
            with contextlib.suppress(asyncio.CancelledError):
                await everything
        self.summary.used = self.ledger.used
        return self.summary

    @contextlib.asynccontextmanager
    async def _sender(self) -> AsyncIterator[Send]:
        """Yields what sends the body of a request and returns that of the response."""
        if not isinstance(self.target, str):
            yield partial(_ask_local, self.target)
            return
        transport = Transport(
            self.target,
            self.settings.timeout,
            refused=lambda: self.pace.refused(_NUMBER.get()),
            stopped=self._stopping.is_set,
        )
        async with AsyncOpenAI(
            base_url=self.target,
            api_key=self.ask.model.endpoint.key,
            max_retries=self.settings.max_retries,
            timeout=self.settings.timeout,
            http_client=transport,
        ) as client:
            yield partial(self._post, client)

    def stop(self, reason: str) -> None:
        """Take no further jobs; requests in flight get a few seconds to finish."""
        self._hurry.set()
        self._stop(reason)

    def _stop(self, reason: str) -> None:
        """Take no further jobs; requests in flight, already paid for, get their full timeout."""
        self.summary.stopped = self.summary.stopped or reason
        self._close()

    def _close(self) -> None:
        self._queue.close()
        self._stopping.set()

    async def _work(self, send: Send) -> None:
        while entry := await self._queue.take():
            job, prefix = entry
            self.report(await self._converse(send, job))
            self._queue.done(prefix)

    async def _converse(self, send: Send, job: Job) -> list[Answer] | None:
        answers: list[Answer] = []
        while not job.conversation.is_over(answers):
            replies = [answer.text or "" for answer in answers]
            request = self.ask.request(job.conversation, replies, job.repeat)
            answer = job.known.get(request.key) or await self._send(send, request, len(answers))
            if answer is None:
                return None
            answers.append(answer)
        return answers

    async def _send(self, send: Send, request: Request, turn: int) -> Answer | None:
        estimate = request.estimate()
        _NUMBER.set(await self.pace.enter(estimate.input + estimate.output))
        reserved = await self._reserve(estimate)
        used: Usage | None = None
        body: Any = None
        try:
            if reserved is None or self._stopping.is_set():
                return None
            started = time.monotonic()
            body = await self._attempt(send, request)
            seconds = time.monotonic() - started
            reply = receive(body, self.ask.cut_at)
            used = reply.usage
            answer = answer_from(
                reply, request.key, request.conversation.item, request.repeat, turn, self.ask.choice
            )
        except (*_FAILURES, asyncio.CancelledError) as error:
            # Unusable replies are paid for too.
            used = used or (usage(body) if body is not None else None)
            self._fail(request, error)
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
        """Reserve a request's cost; if that could exceed the maximum, wait for others to settle first."""
        while (reserved := self.ledger.reserve(estimate)) is None and self.ledger.unsettled:
            self._settled.clear()
            await self._settled.wait()
        if reserved is None:
            self.stop(f"the next request could exceed the maximum of ${self.settings.max_cost:g}")
        return reserved

    async def _attempt(self, send: Send, request: Request) -> Any:
        """Send a request; retry with fewer top log probabilities if the endpoint rejects their number."""
        while True:
            top = self._top_logprobs
            try:
                return await send(request.body(self.ask.model, top))
            except openai.APIStatusError as error:
                if refusal := filtered(error.status_code, error_body(error), self.ask.model):
                    return refusal
                if not (request.by_letters and isinstance(error, _REJECTED_PARAMETERS)):
                    raise
                if "logprobs" not in error.response.text:
                    raise
                fewer = letters.fewer(top)
                if fewer is None:
                    reason = describe(error, self.ask.model)
                    raise NoLogprobsError(f"the endpoint refuses log probabilities: {reason}") from None
                self._top_logprobs = min(self._top_logprobs, fewer)

    async def _post(self, client: AsyncOpenAI, body: Mapping[str, Any]) -> Any:
        # Bytes and a complete URL spare the client work that counts at thousands of requests a second.
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        response = await client.post(self._url, cast_to=httpx2.Response, content=content)
        return parse_json(response.content)

    def _keep(self, request: Request, answer: Answer, reply: Any, seconds: float) -> bool:
        """Save an answer; whether that succeeded, so that it need not be asked for again."""
        if not self._write(answer):
            self.summary.lost += 1
            return False
        self._in_a_row = 0
        self.summary.asked += 1
        self._log({**_entry(request), "seconds": round(seconds, 3), **sidecar(reply)})
        if self._empty is not None:
            self._stop_if_all_empty(answer)
        return True

    def _write(self, answer: Answer) -> bool:
        try:
            self.journal.append(answer)
        except OSError as error:
            self._stop(f"the record can't be written ({error.strerror})")
            return self.journal.set_aside(answer)
        return True

    def _log(self, attempt: Mapping[str, Any]) -> None:
        try:
            self.journal.log(attempt)
        except OSError as error:
            self._stop(f"the record can't be written ({error.strerror})")

    def _stop_if_all_empty(self, answer: Answer) -> None:
        """Stop a run that pays for thinking, or something else, but gets no replies."""
        has_content = answer.refusal or answer.finish_reason == FILTERED or says_something(answer.text)
        if self._empty is None or has_content or self.ask.choice:
            self._empty = None
            return
        self._empty += 1
        if self._empty < _EMPTY_REPLIES:
            return
        reason = f"the first {_EMPTY_REPLIES} replies are all empty"
        if answer.finish_reason == CUT:
            reason += (
                " and cut off: thinking may have used up all tokens; raise max_tokens (or "
                "max_completion_tokens) under `parameters` of the model's entry in data/models.yml"
            )
        elif answer.more:
            reason += f"; other content is on record, in {', '.join(answer.more)}"
        self.stop(reason)

    def _fail(self, request: Request, error: BaseException) -> None:
        name, message = type(error).__name__, describe(error, self.ask.model, self._url)
        self._log({**_entry(request), "error": name, "message": message})
        if isinstance(error, asyncio.CancelledError):
            return
        self.summary.failed += 1
        self.summary.last_error = f"{name}: {message}"
        self._in_a_row += 1
        if isinstance(error, UserError):
            # A local model says what has to be installed.
            self.summary.last_error = ""
            self.stop(str(error).rstrip("."))
        elif isinstance(error, openai.NotFoundError):
            self.stop("the endpoint does not know this URL or model" + self._advice(request, error))
        elif isinstance(error, _FORBIDDEN):
            self.stop("the endpoint rejects this model or key" + self._advice(request, error))
        elif isinstance(error, NoLogprobsError) and self._in_a_row >= _WITHOUT_LOGPROBS:
            self.stop(
                "the endpoint returns no log probabilities, which choices by letter need; "
                "set `letters: free` in the model's entry to ask for free replies"
            )
        elif self._in_a_row >= self.settings.break_after:
            self.stop(f"{self._in_a_row} requests in a row failed" + self._advice(request, error))

    def _advice(self, request: Request, error: BaseException) -> str:
        """What to do about an error that will recur."""
        model = self.ask.model
        text = error.response.text if isinstance(error, openai.APIStatusError) else str(error)

        def mentions(name: str) -> bool:
            return bool(re.search(rf"\b{re.escape(name)}\b", text))

        if isinstance(error, _FORBIDDEN) and model.endpoint.key == NO_KEY:
            return " (no key was sent; name the variable that holds it with --key-variable)"
        if isinstance(error, _REJECTED_PARAMETERS):
            for name in filter(mentions, request.parameters):
                return f"; to omit {name}, put `parameters: {{{name}: null}}` in the model's entry"
        elif self._url and isinstance(error, _WRONG_URL) and not urlsplit(self._url).path[: -len(PATH)]:
            return "" if mentions(model.served_as) else " (is /v1 missing at the end of the base URL?)"
        return ""


async def _either(done: asyncio.Future[Any], event: asyncio.Event, timeout: float | None = None) -> None:
    """Wait until the future or the event is done, at most ``timeout`` seconds."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait([done, waiting], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _ask_local(model: LocalModel, body: Mapping[str, Any]) -> Any:
    reply = local.complete(model, body)
    # Between replies the loop must learn of Ctrl-C.
    await asyncio.sleep(0)
    return reply


def _entry(request: Request) -> dict[str, Any]:
    return log_entry(request.key, request.conversation.item, request.repeat)
