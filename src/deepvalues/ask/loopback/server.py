"""A loopback server that speaks the OpenAI chat-completions protocol for local models."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from deepvalues import __version__
from deepvalues.ask.loopback import LocalModel, Message, ProtocolError, Reply
from deepvalues.core.errors import UserError

HOST = "127.0.0.1"
#: The server's tokens: words and single punctuation marks. Any stable rule would do.
_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])")
_MAX_TOP_LOGPROBS = 20


def _on_protocol_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProtocolError)
    # Something missing on this machine: retrying would not help.
    headers = {"x-should-retry": "false"} if error.status == 501 else None
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = f"{error.detail}: {request.method} {request.url.path}"
    return _on_protocol_error(request, ProtocolError(error.status_code, message))


def _on_crash(request: Request, error: Exception) -> JSONResponse:
    return _on_protocol_error(request, ProtocolError(500, f"{type(error).__name__}: {error}"))


def tokens(text: str) -> list[str]:
    """Split a text into the server's tokens, each with the spaces before it."""
    return _TOKEN.findall(text)


def _integer(body: Mapping[str, Any], name: str, default: int | None) -> int | None:
    number = body.get(name)
    if number is None:
        return default
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        message = f"'{name}' must be a non-negative integer, not {number!r}"
        raise ProtocolError(400, message, param=name)
    return number


def _messages(body: Mapping[str, Any]) -> list[Message]:
    messages: Any = body.get("messages")
    well_formed = (
        isinstance(messages, list)
        and messages
        and all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in messages)
        and all(m.get("role") in ("system", "developer", "user", "assistant") for m in messages)
    )
    if not well_formed:
        message = "'messages' must be a list of {role, content} with text content"
        raise ProtocolError(400, message, param="messages")
    return list(messages)


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    for name in ("stream", "tools"):
        if body.get(name):
            raise ProtocolError(400, f"'{name}' is not supported here", param=name)
    if body.get("n", 1) != 1:
        raise ProtocolError(400, "only n = 1 is supported here", param="n")
    if not isinstance(body.get("model"), str):
        raise ProtocolError(400, "you must provide a model", param="model")
    return body


def _logprobs(body: Mapping[str, Any], reply: Reply, sent: Sequence[str]) -> dict[str, Any] | None:
    """Log probabilities of each token; only the first token that is a choice has alternatives."""
    top = _integer(body, "top_logprobs", 0) or 0
    if top > _MAX_TOP_LOGPROBS or (top and not body.get("logprobs")):
        message = f"'top_logprobs' must be at most {_MAX_TOP_LOGPROBS} and needs logprobs = true"
        raise ProtocolError(400, message, param="top_logprobs")
    if not body.get("logprobs"):
        return None
    content = []
    undecided = True
    for token in sent:
        space = token[: len(token) - len(token.lstrip())]
        weighed: Mapping[str, float] = {token: 1.0}
        if undecided and reply.alternatives and token.strip() in reply.alternatives:
            weighed = {space + text: p for text, p in reply.alternatives.items()}
            undecided = False
        entries = [_logprob(text, p) for text, p in weighed.items()]
        entries.sort(key=lambda entry: (-entry["logprob"], entry["token"]))
        content.append({**_logprob(token, weighed[token]), "top_logprobs": entries[:top]})
    return {"content": content, "refusal": None}


def _logprob(token: str, p: float) -> dict[str, Any]:
    # The protocol's value for a practically impossible token; JSON has no infinity.
    logprob = round(math.log(p), 9) if p > 0 else -9999.0
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _completion(model: LocalModel, body: Mapping[str, Any]) -> dict[str, Any]:
    messages = _messages(body)
    seed = _integer(body, "seed", 0) or 0
    limit = _integer(body, "max_completion_tokens", _integer(body, "max_tokens", None))
    reply = model.reply(messages, seed)
    every = tokens(reply.text)
    sent = every if limit is None else every[:limit]
    cut = len(sent) < len(every)
    prompt_tokens = sum(len(tokens(message["content"])) for message in messages)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]
    return {
        "id": f"chatcmpl-{digest}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model.name,
        "system_fingerprint": f"deepvalues-{__version__}",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "".join(sent) if cut else reply.text,
                    "refusal": None,
                },
                "logprobs": _logprobs(body, reply, sent),
                "finish_reason": "length" if cut else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": len(sent),
            "total_tokens": prompt_tokens + len(sent),
        },
    }


def _described(models: Mapping[str, LocalModel], name: str) -> dict[str, Any]:
    if name not in models:
        message = f"The model '{name}' does not exist; there are {', '.join(models)}"
        raise ProtocolError(404, message, code="model_not_found", param="model")
    model = models[name]
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "deepvalues",
        "family": model.family,
        "description": model.description,
    }


async def json_body(request: Request) -> dict[str, Any]:
    """The body of a request.

    Raises
    ------
    ProtocolError
        When it is not a JSON object.
    """
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise ProtocolError(400, "the body is not valid JSON") from None
    if not isinstance(body, dict):
        raise ProtocolError(400, "the body must be a JSON object")
    return body


async def complete(models: Mapping[str, LocalModel], body: dict[str, Any]) -> dict[str, Any]:
    """The response body for the body of a chat-completion request.

    Raises
    ------
    ProtocolError
        When there is no such model, or it can't answer this request.
    """
    _described(models, _checked(body)["model"])
    try:
        return await run_in_threadpool(_completion, models[body["model"]], body)
    except ProtocolError:
        raise
    except ValueError as error:
        raise ProtocolError(400, str(error), param="messages") from None
    except UserError as error:
        raise ProtocolError(501, str(error), code="model_not_available") from None
    except Exception as error:
        # If left to the framework, the connection may be reset before the client has read the error.
        logging.getLogger(__name__).exception("%s failed", body["model"])
        raise ProtocolError(500, f"{type(error).__name__}: {error}") from error


def create_app(models: Mapping[str, LocalModel]) -> Starlette:
    """Build the server for a set of local models.

    Routes: ``GET /v1/models``, ``GET /v1/models/{name}``, ``POST /v1/chat/completions`` with ``seed``,
    ``max_tokens`` or ``max_completion_tokens``, ``logprobs`` and ``top_logprobs``; other parameters are
    ignored. Errors have OpenAI's format and status codes.
    """

    async def list_models(_: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [_described(models, name) for name in models]})

    async def one_model(request: Request) -> JSONResponse:
        return JSONResponse(_described(models, request.path_params["name"]))

    async def create_completion(request: Request) -> JSONResponse:
        return JSONResponse(await complete(models, await json_body(request)))

    return Starlette(
        routes=[
            Route("/v1/models", list_models),
            Route("/v1/models/{name:path}", one_model),
            Route("/v1/chat/completions", create_completion, methods=["POST"]),
        ],
        exception_handlers={
            ProtocolError: _on_protocol_error,
            HTTPException: _on_http_error,
            Exception: _on_crash,
        },
    )


def _listener(port: int) -> socket.socket:
    """A listening socket on loopback; clients that connect before the server is ready wait."""
    # asyncio disables Nagle's algorithm only if the protocol is given; otherwise replies arrive 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError):
        listener.close()
        raise
    return listener


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """Serve an app on a free loopback port for as long as the block runs; yields the base URL."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    listener = _listener(0)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def serve_forever(app: Starlette, port: int, on_bound: Callable[[str], None] | None = None) -> None:
    """Serve an app on a loopback port until interrupted.

    Parameters
    ----------
    port
        0 selects any free port.
    on_bound
        Called with the base URL once the port is bound.

    Raises
    ------
    UserError
        When the port is in use or invalid.
    """
    try:
        listener = _listener(port)
    except OverflowError:
        raise UserError(
            f"can't use port {port}: ports range from 0 to 65535; choose another one with --port"
        ) from None
    except OSError as error:
        raise UserError(f"can't use port {port} ({error}); choose another one with --port") from None
    if on_bound:
        on_bound(f"http://{HOST}:{listener.getsockname()[1]}/v1")
    config = uvicorn.Config(app, host=HOST, port=port, log_level="info")
    uvicorn.Server(config).run([listener])
