"""The loopback server with files and batches in OpenAI's shapes, both kept in memory.

A batch begins at once, and reports its end after it has been asked for once, so that a client meets a
batch in progress.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deepvalues.ask.local import LocalModel
from local_server import ProtocolError, complete, create_app, json_body

COMPLETIONS = "/v1/chat/completions"
WINDOW = "24h"
WINDOW_SECONDS = 24 * 60 * 60
_LISTED = 20
_EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}

#: From the body of a chat completion to that of its response; a `ProtocolError` where there is none.
Complete = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class StoredFile:
    """A file that was uploaded, or that a batch wrote."""

    shape: dict[str, Any]
    content: bytes


@dataclass
class Batch:
    """A batch: its shape as clients see it, and whether one has seen it at work."""

    shape: dict[str, Any]
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self, status: str, **fields: Any) -> None:
        """Take on a status, and note when."""
        self.shape.update({"status": status, f"{status}_at": int(time.time()), **fields})


class BatchService:
    """The files and batches of one server."""

    def __init__(self, complete: Complete) -> None:
        self._complete = complete
        self._files: dict[str, StoredFile] = {}
        self._batches: dict[str, Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """Upload, retrieve, content and delete; create, list, retrieve and cancel."""
        return [
            Route("/v1/files", self._upload, methods=["POST"]),
            Route("/v1/files/{id}", self._one_file),
            Route("/v1/files/{id}", self._delete, methods=["DELETE"]),
            Route("/v1/files/{id}/content", self._content),
            Route("/v1/batches", self._create, methods=["POST"]),
            Route("/v1/batches", self._list),
            Route("/v1/batches/{id}", self._retrieve),
            Route("/v1/batches/{id}/cancel", self._cancel, methods=["POST"]),
        ]

    async def _upload(self, request: Request) -> JSONResponse:
        async with request.form() as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise ProtocolError(400, "'file' is a required property", param="file")
            if form.get("purpose") != "batch":
                raise ProtocolError(400, "the only 'purpose' here is batch", param="purpose")
            stored = self._store(file.filename or "file", "batch", await file.read())
        return JSONResponse(stored.shape)

    def _store(self, name: str, purpose: str, content: bytes) -> StoredFile:
        id = f"file-{uuid4().hex}"
        shape = {
            "id": id,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        self._files[id] = StoredFile(shape, content)
        return self._files[id]

    def _file(self, id: str) -> StoredFile:
        if id not in self._files:
            raise ProtocolError(404, f"No such File object: {id}", param="id")
        return self._files[id]

    async def _one_file(self, request: Request) -> JSONResponse:
        return JSONResponse(self._file(request.path_params["id"]).shape)

    async def _content(self, request: Request) -> Response:
        content = self._file(request.path_params["id"]).content
        return Response(content, media_type="application/octet-stream")

    async def _delete(self, request: Request) -> JSONResponse:
        id = self._file(request.path_params["id"]).shape["id"]
        del self._files[id]
        return JSONResponse({"id": id, "object": "file", "deleted": True})

    async def _create(self, request: Request) -> JSONResponse:
        body = await json_body(request)
        for name, served in (("endpoint", COMPLETIONS), ("completion_window", WINDOW)):
            if body.get(name) != served:
                raise ProtocolError(400, f"the only '{name}' here is {served}", param=name)
        source = self._file(str(body.get("input_file_id")))
        batch = Batch(_new_batch(source.shape["id"], body.get("metadata")))
        self._batches[batch.shape["id"]] = batch
        created = JSONResponse(batch.shape)
        task = asyncio.create_task(self._work(batch, source.content))
        # The loop itself keeps no hold of its tasks.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return created

    def _batch(self, request: Request) -> Batch:
        id = request.path_params["id"]
        if id not in self._batches:
            raise ProtocolError(404, f"No batch found with id '{id}'.")
        return self._batches[id]

    async def _list(self, request: Request) -> JSONResponse:
        newest_first = list(reversed(self._batches))
        after, limit = request.query_params.get("after"), request.query_params.get("limit", str(_LISTED))
        if not limit.isdecimal() or not int(limit):
            raise ProtocolError(400, "'limit' must be a whole number from 1 up", param="limit")
        start = newest_first.index(after) + 1 if after in newest_first else 0
        ids = newest_first[start : start + int(limit)]
        body = {
            "object": "list",
            "data": [self._batches[id].shape for id in ids],
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
            "has_more": start + len(ids) < len(newest_first),
        }
        return JSONResponse(body)

    async def _retrieve(self, request: Request) -> JSONResponse:
        batch = self._batch(request)
        response = JSONResponse(batch.shape)
        batch.seen.set()
        return response

    async def _cancel(self, request: Request) -> JSONResponse:
        batch = self._batch(request)
        if batch.shape["status"] not in ("validating", "in_progress", "cancelling"):
            raise ProtocolError(409, f"Cannot cancel a batch with status '{batch.shape['status']}'.")
        batch.enter("cancelling")
        batch.seen.set()
        return JSONResponse(batch.shape)

    async def _work(self, batch: Batch, source: bytes) -> None:
        requests, problems = _requests(source)
        if problems:
            batch.enter("failed", errors={"object": "list", "data": problems})
            return
        if batch.shape["status"] == "validating":
            batch.enter("in_progress")
        counts = batch.shape["request_counts"] = {"total": len(requests), "completed": 0, "failed": 0}
        lines: dict[str, list[dict[str, Any]]] = {"completed": [], "failed": []}
        expired = False
        for request in requests:
            if batch.shape["status"] == "cancelling":
                break
            expired = time.time() >= batch.shape["expires_at"]
            response = None if expired else await self._response(request["body"])
            end = "completed" if response and response["status_code"] == 200 else "failed"
            error = _EXPIRED if expired else None
            line = {"custom_id": request["custom_id"], "response": response, "error": error}
            lines[end].append({"id": _id("batch_req"), **line})
            counts[end] += 1
        await batch.seen.wait()
        cancelled = batch.shape["status"] == "cancelling"
        batch.enter(
            "cancelled" if cancelled else "expired" if expired else "completed",
            output_file_id=self._written(batch, "output", lines["completed"]),
            error_file_id=self._written(batch, "error", lines["failed"]),
        )

    async def _response(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            status, body = 200, await self._complete(request)
        except ProtocolError as error:
            status, body = error.status, error.body()
        return {"status_code": status, "request_id": _id("req"), "body": body}

    def _written(self, batch: Batch, kind: str, lines: Sequence[dict[str, Any]]) -> str | None:
        if not lines:
            return None
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        id: str = self._store(f"{batch.shape['id']}_{kind}.jsonl", "batch_output", content).shape["id"]
        return id


def _id(kind: str) -> str:
    return f"{kind}_{uuid4().hex}"


def _new_batch(input_file_id: str, metadata: object) -> dict[str, Any]:
    now = int(time.time())
    return {
        "id": _id("batch"),
        "object": "batch",
        "endpoint": COMPLETIONS,
        "errors": None,
        "input_file_id": input_file_id,
        "completion_window": WINDOW,
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": now,
        "expires_at": now + WINDOW_SECONDS,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": metadata,
    }


def _requests(source: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The requests of a file, and what is wrong with its lines."""
    found: dict[str, dict[str, Any]] = {}
    problems = []
    for number, line in enumerate(source.splitlines(), start=1):
        try:
            request = json.loads(line)
            id = request["custom_id"]
            fits = isinstance(id, str) and isinstance(request["body"], dict)
            fits = fits and (request["method"], request["url"]) == ("POST", COMPLETIONS)
        except (ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            problems.append(_problem("invalid_json_line", "This line is not a request.", number))
        elif id in found:
            problems.append(_problem("duplicate_custom_id", f"{id!r} is there twice.", number))
        else:
            found[id] = request
    if not found and not problems:
        problems.append(_problem("empty_file", "The input file is empty.", None))
    return list(found.values()), problems


def _problem(code: str, message: str, line: int | None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": None, "line": line}


def app_with_batches(models: Mapping[str, LocalModel]) -> Starlette:
    """The server of `create_app`, which takes batches as well."""
    app = create_app(models)
    app.router.routes.extend(BatchService(partial(complete, models)).routes())
    return app
