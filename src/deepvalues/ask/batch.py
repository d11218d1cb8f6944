"""Batch services like OpenAI's: half the price, replies within a day.

The requests that a record lacks are uploaded in one file, which becomes a batch. The state is saved in
``<model>.batch.json`` next to the record after every step, so that an interrupted command can continue and
no request gets into two open batches.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from deepvalues.ask.engine import Ask, Job, answer_from, groups, log_entry, sidecar
from deepvalues.ask.letters import NoLogprobsError
from deepvalues.ask.protocol import (
    MalformedReplyError,
    ReportedError,
    describe,
    error_text,
    filtered,
    receive,
)
from deepvalues.ask.questions import Questions
from deepvalues.ask.record import Journal, Record
from deepvalues.ask.registry import Model, proxy_for
from deepvalues.core.errors import UserError
from deepvalues.core.schema import checked

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch

#: The service's limits per file.
MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
_URL: Final = "/v1/chat/completions"
#: Final statuses of a batch.
_FINAL = ("completed", "failed", "expired", "cancelled")
_LISTED = 100
_OK = 200
_SERVER_ERROR = 500


@dataclass
class Part:
    """An uploaded file and its batch; ``requests`` gives item and repeat by key."""

    file: str
    requests: dict[str, tuple[str, int]]
    batch: str | None = None


@dataclass
class _Saved:
    """The content of a state's file."""

    v: Literal[1]
    parts: list[Part]


@dataclass
class State:
    """The open parts of one record."""

    path: Path
    parts: list[Part]

    @classmethod
    def beside(cls, record: Record) -> State:
        """Read the state of a record.

        Raises
        ------
        UserError
            When the file can't be read.
        """
        path = record.path.with_suffix(".batch.json")
        try:
            return cls(path, checked(_Saved, json.loads(path.read_bytes())).parts)
        except (FileNotFoundError, NotADirectoryError):
            return cls(path, [])
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: the list of open batches can't be read ({error}). Restore it from a backup; or "
                "delete it, and the answers of its batches will be requested again."
            ) from None

    @property
    def keys(self) -> set[str]:
        """Keys of all requests in open batches."""
        return {key for part in self.parts if part.batch for key in part.requests}

    def save(self) -> None:
        """Write the state atomically, or delete it when no batch is open."""
        temporary = self.path.with_suffix(".tmp")
        try:
            if not self.parts:
                self.path.unlink(missing_ok=True)
                return
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(asdict(_Saved(1, self.parts)), file, indent=0)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            raise UserError(f"{self.path}: can't write the list of open batches: {error.strerror}") from None


class Collected(NamedTuple):
    """The result of a collection: replies, failures, and requests in open batches."""

    answered: int
    failed: int
    open: int
    last_error: str


class _FailedRequestError(Exception):
    """A request that a batch did not answer; ``kind`` is the class of its error."""

    def __init__(self, kind: str, message: object) -> None:
        super().__init__(str(message))
        self.kind = kind


def submit(questions: Questions, confirm: Callable[[Sequence[Job]], None]) -> Part | None:
    """Submit what the record and all open batches lack, in a new batch.

    Parameters
    ----------
    confirm
        Called with the jobs before anything is sent; raises to prevent it.

    Returns
    -------
    Part, optional
        The new batch; None if nothing is lacking.

    Raises
    ------
    UserError
        When a conversation has several turns, the requests exceed the service's limits, a key is missing, the
        service rejects the request, or another run is writing to the record.
    """
    if any(conversation.n_turns > 1 for conversation in questions.conversations):
        raise UserError(
            f"{questions.study.name}: a batch can't hold conversations of several turns, since later turns "
            "depend on replies: use `deepvalues query`"
        )
    with _service(questions) as client, questions.record.locked():
        state = State.beside(questions.record)
        _find_lost(client, state)
        pending = state.keys
        jobs = [job for group in groups(questions.jobs()).values() for job in group]
        keyed = {questions.ask.key(job.conversation, (), job.repeat): job for job in jobs}
        missing = {key: job for key, job in keyed.items() if key not in pending}
        if not missing:
            return None
        with _file(questions, missing.values()) as file:
            confirm(list(missing.values()))
            uploaded = client.files.create(file=("deepvalues.jsonl", file), purpose="batch")
        held = {key: (job.conversation.item, job.repeat) for key, job in missing.items()}
        part = Part(uploaded.id, held)
        # Files that never became a batch are dropped: the new file holds what is still needed of them.
        state.parts = [*(old for old in state.parts if old.batch), part]
        state.save()
        # No retry: if the response is lost, `_find_lost` will find the batch.
        once = client.with_options(max_retries=0)
        made = once.batches.create(input_file_id=part.file, endpoint=_URL, completion_window="24h")
        part.batch = made.id
        state.save()
        return part


@contextlib.contextmanager
def _service(questions: Questions) -> Iterator[OpenAI]:
    import openai

    from deepvalues.ask.transport import of_vendor

    model, endpoint = questions.model, questions.model.endpoint
    if endpoint.base_url is None:
        raise UserError(
            f"{model.name}: its endpoint {endpoint.kind} stops with this command, so it can't run a batch: "
            "use `deepvalues query`"
        )
    key = model.require_key()
    proxy_for(endpoint.base_url)
    parts = urlsplit(endpoint.base_url)
    # The client appends paths to the base URL, so the query string is passed separately.
    base_url, query = urlunsplit(parts._replace(query="")), dict(parse_qsl(parts.query))
    try:
        with of_vendor(openai.OpenAI(base_url=base_url, api_key=key, default_query=query)) as client:
            yield client
    except openai.OpenAIError as error:
        message = f"{type(error).__name__}: {describe(error, model)}"
        if isinstance(error, openai.NotFoundError):
            state = State.beside(questions.record).path
            message += (
                f". Were the batches of {state} submitted to another base URL or account? "
                "To abandon them, delete that file; their answers will be requested, and paid for, again"
            )
        raise UserError(f"{model.name}: the batch service: {message}") from None


def _find_lost(client: OpenAI, state: State) -> None:
    """Find batches that were created but whose ids were not saved."""
    without = {part.file: part for part in state.parts if part.batch is None}
    if without:
        for batch in client.batches.list(limit=_LISTED):
            if batch.input_file_id in without:
                without[batch.input_file_id].batch = batch.id
        state.save()


@contextlib.contextmanager
def _file(questions: Questions, jobs: Iterable[Job]) -> Iterator[IO[bytes]]:
    """A temporary file of requests, one per line, within the service's limits."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile())
            # One by one: all requests of a large set together take most of a gigabyte.
            for number, job in enumerate(jobs, start=1):
                request = questions.ask.request(job.conversation, (), job.repeat)
                body = request.body(questions.model)
                line = {"custom_id": request.key, "method": "POST", "url": _URL, "body": body}
                file.write(json.dumps(line).encode() + b"\n")
                if number > MOST_REQUESTS or file.tell() > MOST_BYTES:
                    raise UserError(
                        f"{questions.model.name}: nothing was submitted, since a batch takes at most "
                        f"{MOST_REQUESTS:,} requests and {MOST_BYTES // 1_000_000:,} MB: choose a smaller "
                        "set with --set, or use `deepvalues query`"
                    )
            file.seek(0)
        except OSError as error:
            raise UserError(
                f"the requests can't be written to {tempfile.gettempdir()} ({error.strerror}), and nothing "
                "was submitted: free some space, or set TMPDIR to another folder, and run this again"
            ) from None
        yield file


def status(questions: Questions) -> list[str]:
    """The batch id, status and counts of each part, one line per part.

    Raises
    ------
    UserError
        When a key is missing, or the service does not know a batch.
    """
    lines = []
    with _service(questions) as client:
        for part in State.beside(questions.record).parts:
            if part.batch is None:
                lines.append(f"{part.file}: {len(part.requests):,} requests uploaded, not submitted yet")
                continue
            batch = client.batches.retrieve(part.batch)
            counts = batch.request_counts
            done, failed = (counts.completed, counts.failed) if counts else (0, 0)
            lines.append(
                f"{batch.id}: {batch.status}, {done:,} of {len(part.requests):,} done, {failed:,} failed"
            )
    return lines


def collect(questions: Questions) -> Collected:
    """Add the replies of finished batches to the record; other batches stay open.

    Failed requests are logged, and can be submitted again.

    Raises
    ------
    UserError
        When a key is missing, the service does not know a batch, its file is damaged, or another run is
        writing to the record. What was collected before is in the record.
    """
    answered = failed = 0
    last_error = ""
    state = State.beside(questions.record)
    with _service(questions) as client:
        batches = [client.batches.retrieve(part.batch) for part in state.parts if part.batch]
        finished = {batch.id: batch for batch in batches if batch.status in _FINAL}
        if finished:
            with questions.record.writing() as journal:
                state = State.beside(questions.record)
                for part in [part for part in state.parts if part.batch in finished]:
                    batch = finished[part.batch or ""]
                    errors = _merge(part, batch, _replies(client, batch), journal, questions.ask)
                    state.parts.remove(part)
                    state.save()
                    answered += len(part.requests) - len(errors)
                    failed += len(errors)
                    last_error = errors[-1] if errors else last_error
    return Collected(answered, failed, sum(len(part.requests) for part in state.parts), last_error)


def _replies(client: OpenAI, batch: Batch) -> dict[str, Any]:
    """The lines of a batch's output and error files, by key."""
    lines = {}
    for file in filter(None, (batch.output_file_id, batch.error_file_id)):
        for number, text in enumerate(client.files.content(file).content.rstrip().splitlines(), start=1):
            try:
                line = json.loads(text)
                lines[line["custom_id"]] = line
            except (ValueError, KeyError, TypeError):
                raise UserError(
                    f"{batch.id}: line {number} of its file {file} is damaged; nothing from this batch was "
                    "added to the record. Collect again."
                ) from None
    return lines


def _merge(part: Part, batch: Batch, replies: Mapping[str, Any], journal: Journal, ask: Ask) -> list[str]:
    """Save a part's answers and failures; returns the failures' messages."""
    errors = []
    try:
        for key, (item, repeat) in part.requests.items():
            entry = {**log_entry(key, item, repeat), "batch": batch.id}
            try:
                reply = receive(_body(replies.get(key), batch, ask.model), ask.cut_at)
                journal.append(answer_from(reply, key, item, repeat, turn=0, by_letters=ask.choice))
                journal.log({**entry, **sidecar(reply)})
            except (_FailedRequestError, MalformedReplyError, ReportedError, NoLogprobsError) as error:
                kind = error.kind if isinstance(error, _FailedRequestError) else type(error).__name__
                message = describe(error, ask.model)
                journal.log({**entry, "error": kind, "message": message})
                errors.append(f"{kind}: {message}")
        # The caller forgets the part next, so its answers must be on disk.
        journal.sync()
    except OSError as error:
        raise UserError(f"the record can't be written ({error.strerror}); collect again") from None
    return errors


def _body(line: Any, batch: Batch, model: Model) -> Any:
    """The chat completion in a line of an output file."""
    if line is None:
        problems = [problem.message for problem in (batch.errors and batch.errors.data) or ()]
        raise _FailedRequestError("no_reply", f"the batch is {batch.status}: {problems}")
    error, response = line.get("error"), line.get("response")
    if error or not response:
        error = error or {}
        raise _FailedRequestError(error.get("code") or "no_reply", error.get("message"))
    status_code, body = response.get("status_code"), response.get("body")
    if status_code != _OK:
        if refused := filtered(status_code or 0, body, model):
            return refused
        raise _FailedRequestError(_error_class(status_code or 0), error_text(body))
    return body


def _error_class(status_code: int) -> str:
    """The name of the openai client's exception for this status."""
    import openai

    if status_code >= _SERVER_ERROR:
        return openai.InternalServerError.__name__
    kinds = openai.APIStatusError.__subclasses__()
    named = {getattr(kind, "status_code", None): kind.__name__ for kind in kinds}
    return named.get(status_code, openai.APIStatusError.__name__)
