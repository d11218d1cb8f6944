"""A loopback server that speaks the OpenAI chat-completions protocol for local models."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from deepvalues.ask import local
from deepvalues.ask.local import LocalModel

HOST = "127.0.0.1"


class ProtocolError(Exception):
    """An error to be returned in OpenAI's format."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    def body(self) -> dict[str, Any]:
        """The error as the body of a response."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def _on_protocol_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProtocolError)
    return JSONResponse(error.body(), status_code=error.status)


async def json_body(request: Request) -> dict[str, Any]:
    """The body of a request."""
    try:
        body: dict[str, Any] = json.loads(await request.body())
    except ValueError:
        raise ProtocolError(400, "the body is not valid JSON") from None
    return body


async def complete(models: Mapping[str, LocalModel], body: dict[str, Any]) -> dict[str, Any]:
    """The response body for the body of a chat-completion request.

    Raises
    ------
    ProtocolError
        When there is no such model, or it fails.
    """
    name = body["model"]
    if name not in models:
        message = f"The model '{name}' does not exist; there are {', '.join(models)}"
        raise ProtocolError(404, message, code="model_not_found", param="model")
    try:
        completion = await run_in_threadpool(local.complete, models[name], body)
    except ValueError as error:
        raise ProtocolError(400, str(error), param="messages") from None
    except Exception as error:
        raise ProtocolError(500, f"{type(error).__name__}: {error}") from error
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]
    (choice,), counts = completion["choices"], completion["usage"]
    return {
        **completion,
        "id": f"chatcmpl-{digest}",
        "object": "chat.completion",
        "created": int(time.time()),
        "choices": [{"index": 0, **choice}],
        "usage": {**counts, "total_tokens": sum(counts.values())},
    }


def create_app(models: Mapping[str, LocalModel]) -> Starlette:
    """The server for a set of local models: ``POST /v1/chat/completions``."""

    async def create_completion(request: Request) -> JSONResponse:
        return JSONResponse(await complete(models, await json_body(request)))

    return Starlette(
        routes=[
            Route("/v1/chat/completions", create_completion, methods=["POST"]),
        ],
        exception_handlers={ProtocolError: _on_protocol_error},
    )


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """Serve an app on a free loopback port for as long as the block runs; yields the base URL."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    # asyncio disables Nagle's algorithm only if the protocol is given; otherwise replies arrive 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind((HOST, 0))
    # From here on, clients that connect before the server is ready wait.
    listener.listen()
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
