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
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from deepvalues.ask import letters
from deepvalues.ask.engine import Ask, Job, Request, Summary, answer_from, groups, log_entry, sidecar
from deepvalues.ask.letters import NoLogprobsError
from deepvalues.ask.money import Ledger, Usage
from deepvalues.ask.pace import Pace
from deepvalues.ask.protocol import (
    CUT,
    FILTERED,
    MalformedReplyError,
    ReportedError,
    error_body,
    filtered,
    parsed,
    receive,
    told,
    usage,
    without_key,
    words,
)
from deepvalues.ask.reading import says_something
from deepvalues.ask.record import Answer, Journal
from deepvalues.ask.registry import NO_KEY
from deepvalues.ask.settings import Settings
from deepvalues.ask.transport import PATH, AsyncOpenAI, Transport, address

#: After a stop, requests in flight get this long to come back.
GRACE_SECONDS = 5.0
#: The pace's number of the request that the current task sends.
_NUMBER: ContextVar[int] = ContextVar("number")
#: So many replies in a row without log probabilities show that the endpoint gives none.
_WITHOUT_LOGPROBS = 3
#: So many replies without a word at the begin of a run show that the rest will have none either.
_SILENT_REPLIES = 25
#: Errors with which an endpoint turns away a key or a model, as it would every further request.
_FORBIDDEN = (openai.AuthenticationError, openai.PermissionDeniedError)
#: Errors of an address at which there is no endpoint.
_ELSEWHERE = (openai.NotFoundError, MalformedReplyError, ReportedError)
#: Errors with which an endpoint refuses a parameter.
_REFUSED_PARAMETERS = (openai.BadRequestError, openai.UnprocessableEntityError)


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
        self._stopping, self._hurry = asyncio.Event(), asyncio.Event()
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
            await _either(everything, self._stopping)
            # Where a worker broke down the others must not go on.
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

    def stop(self, reason: str) -> None:
        """Take no further job; what is in flight has a few seconds to come back."""
        self._hurry.set()
        self._stop(reason)

    def _stop(self, reason: str) -> None:
        """Take no further job; what is in flight, and paid for, has all the time of an attempt."""
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
        if not self._write(answer):
            self.summary.lost += 1
            return False
        self._in_a_row = 0
        self.summary.asked += 1
        self._log({**_entry(request), "seconds": round(seconds, 3), **sidecar(reply)})
        if self._silent:
            self._stop_if_nothing_is_said(answer)
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
        self._log({**_entry(request), "error": name, "message": message})
        if isinstance(error, asyncio.CancelledError):
            return
        self.summary.failed += 1
        self.summary.last_error = f"{name}: {message}"
        self._in_a_row += 1
        if isinstance(error, openai.APIStatusError) and error.code == "model_not_available":
            # As this project's own server says, with what has to be installed, of a model that it can't run.
            self.summary.last_error = ""
            self.stop(without_key(words(error_body(error)), self.ask.model).rstrip("."))
        elif isinstance(error, openai.NotFoundError):
            self.stop("the endpoint knows no such address or model" + self._advice(request, error))
        elif isinstance(error, _FORBIDDEN):
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

        if isinstance(error, _FORBIDDEN) and model.endpoint.key == NO_KEY:
            return " (no key was sent: --key-variable names the variable that holds it)"
        if isinstance(error, _REFUSED_PARAMETERS):
            for name in filter(named, request.parameters):
                return f"; `parameters: {{{name}: null}}` in the model's entry sends no {name}"
        elif isinstance(error, _ELSEWHERE) and not urlsplit(self._url).path[: -len(PATH)]:
            return "" if named(model.served_as) else " (is /v1 missing at the end of the base URL?)"
        return ""


async def _either(done: asyncio.Future[Any], event: asyncio.Event, timeout: float | None = None) -> None:
    """Wait for one of two, for so many seconds at most."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait([done, waiting], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _entry(request: Request) -> dict[str, Any]:
    return log_entry(request.key, request.conversation.item, request.repeat)
