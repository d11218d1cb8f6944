"""Validation of everything that endpoints send, against one model of the chat-completions protocol.

A standard chat completion passes at once. Anything else is checked for known deviations: content in parts,
no message, no choices. What is still not understood is kept on the record's line (`Reply.more`), since it
was paid for and may become readable later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepvalues.ask.money import NO_USAGE, Usage
from deepvalues.ask.registry import NO_KEY, Model

if TYPE_CHECKING:
    import openai

#: How many characters of a response an error message quotes.
QUOTED = 300
STOP, CUT, FILTERED = "stop", "length", "content_filter"
#: Other APIs' names for the protocol's finish reasons, in lower case.
_REASONS = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "eos", "eos_token", "complete"), STOP),
    **dict.fromkeys(("length", "max_tokens", "model_length", "max_output_tokens"), CUT),
    **dict.fromkeys(("max_completion_tokens", "model_context_window_exceeded"), CUT),
    **dict.fromkeys(("content_filter", "content_filtered", "safety", "prohibited_content"), FILTERED),
    **dict.fromkeys(("recitation", "blocklist", "spii", "image_safety", "refusal"), FILTERED),
    **dict.fromkeys(("guardrail_intervened", "error_toxic", "sensitive"), FILTERED),
    **dict.fromkeys(("error", "network_error", "insufficient_system_resource"), "error"),
}
#: Statuses of responses to prompts that a content filter blocked.
_FILTER_STATUSES = (400, 403, 422, 451)
#: Error codes or types, and phrases in messages, that identify such a response.
_FILTER_CODES = frozenset(
    (
        "content_filter",
        "content_policy_violation",
        "responsibleaipolicyviolation",
        "data_inspection_failed",
        "datainspectionfailed",
        "moderation_blocked",
        "prohibited_content",
    )
)
_FILTER_WORDS = re.compile(
    r"content exists risk|content management policy|content[_ ]policy violation|"
    r"(?:prompt|input) (?:was|has been) (?:flagged|blocked)|may contain inappropriate content",
    re.IGNORECASE,
)
#: Query parameters of a URL that may be secret.
_SECRET = re.compile(r"([^=&?]*(?:key|token|secret|sig|password|code)[^=&]*=)[^&]+", re.IGNORECASE)
_EMPTY: tuple[Any, ...] = (None, "", [], {})

Count = Annotated[int | None, Field(ge=0)]


class _Shape(BaseModel):
    """Part of a response; unknown fields are kept."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class _Details(_Shape):
    cached_tokens: Count = None


class _Counts(_Shape):
    prompt_tokens: Count = None
    completion_tokens: Count = None
    prompt_tokens_details: _Details | None = None

    @property
    def cached_tokens(self) -> int | None:
        return self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None


class _Message(_Shape):
    role: Any = None
    content: str | None = None
    refusal: str | None = None


class _Choice(_Shape):
    index: Any = None
    message: _Message
    finish_reason: str | None = None
    logprobs: Any = None
    error: Any = None


class _Completion(_Shape):
    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Counts | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    error: Any = None


class MalformedReplyError(Exception):
    """A reply with status 200 that is not a chat completion."""


class ReportedError(Exception):
    """An error that an endpoint reports in a reply with status 200."""


class Reply(NamedTuple):
    """A reply in the form that the rest of the program uses.

    ``finish_reason`` is the protocol's name for the endpoint's reason, where there is one. ``more`` holds
    further fields of message and choice by name, and parts that were not understood by their path.
    """

    text: str | None
    refusal: str | None
    finish_reason: str | None
    logprobs: Any
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    fingerprint: str | None
    more: dict[str, Any] | None

    @property
    def usage(self) -> Usage:
        """The token counts that it reports."""
        return _usage(self.prompt_tokens, self.cached_tokens, self.completion_tokens)


def _usage(*counts: int | None) -> Usage:
    return Usage(*(float(count or 0) for count in counts))


def parse_json(content: bytes) -> Any:
    """Parse a response body.

    Raises
    ------
    MalformedReplyError
        When it is not JSON; the message quotes the body.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        text = content.decode(errors="replace").strip()
        what = "an event stream, which was not requested" if text.startswith("data:") else "not JSON"
        raise MalformedReplyError(f"{what}: {text or 'empty body'}") from None


def usage(body: Any) -> Usage:
    """The tokens that a body reports, even if the rest is unusable; `NO_USAGE` if it reports none."""
    try:
        counted = _Counts.model_validate(body["usage"])
        return _usage(counted.prompt_tokens, counted.cached_tokens, counted.completion_tokens)
    except (LookupError, TypeError, ValidationError):
        return NO_USAGE


def receive(body: Any, longest: float = 0) -> Reply:
    """Validate the body of a response with status 200.

    Parameters
    ----------
    longest
        The reply's token limit; 0 if unknown. A reply that reaches it was cut off, whatever its finish
        reason says.

    Raises
    ------
    ReportedError
        When it reports an error.
    MalformedReplyError
        When it is not a chat completion.
    """
    more: dict[str, Any] = {}
    try:
        completion = _Completion.model_validate(body)
    except ValidationError as error:
        completion = _repaired(body, error, more)
    choice = completion.choices[0]
    message, counted = choice.message, completion.usage or _Counts()
    reason = _finish_reason(choice.finish_reason)
    if completion.error or choice.error or reason == "error":
        raise ReportedError(error_text(body if completion.error else {"error": choice.error or body}))
    if reason in (STOP, None) and longest and counted.completion_tokens == longest:
        reason = CUT
    if reason != choice.finish_reason:
        more.setdefault("finish_reason", choice.finish_reason)
    if len(completion.choices) > 1:
        more["choices"] = body["choices"][1:]
    for extra in (message.model_extra, choice.model_extra):
        more.update((name, given) for name, given in (extra or {}).items() if given not in _EMPTY)
    return Reply(
        text=message.content,
        refusal=message.refusal,
        finish_reason=reason,
        logprobs=choice.logprobs,
        model=_model_name(completion.model),
        prompt_tokens=counted.prompt_tokens,
        completion_tokens=counted.completion_tokens,
        cached_tokens=counted.cached_tokens,
        fingerprint=completion.system_fingerprint,
        more=more or None,
    )


def _repaired(body: Any, error: ValidationError, more: dict[str, Any]) -> _Completion:
    """Parse a nonstandard body; parts that are not understood go to ``more``."""
    if isinstance(body, Mapping):
        if body.get("error"):
            raise ReportedError(error_text(body))
        body = _standardized(body, more)
        try:
            return _Completion.model_validate(body)
        except ValidationError as remaining:
            error = remaining
        if all(_move(body, each["loc"], more) for each in error.errors()):
            return _Completion.model_validate(body)
    where = ".".join(map(str, error.errors()[0]["loc"])) or "body"
    quoted = json.dumps(body, ensure_ascii=False, default=str)
    # Not shortened here: a truncated API key in it could no longer be redacted.
    raise MalformedReplyError(f"not a chat completion ({where}: {error.errors()[0]['msg']}): {quoted}")


def _standardized(body: Mapping[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A copy of a body with content in one piece, and with message and choice if a filter removed them."""
    copy: dict[str, Any] = json.loads(json.dumps(body))
    choices = copy.get("choices")
    if choices == [] and copy.get("usage"):
        # The prompt's tokens were counted but there is no reply: the prompt was filtered.
        details = {name: copy[name] for name in copy if "filter" in name or "feedback" in name.casefold()}
        more.update(choices=[], **details)
        choices = copy["choices"] = [{"message": {}, "finish_reason": FILTERED}]
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        return copy
    choice, *others = choices
    if others:
        more["choices"], copy["choices"] = others, [choice]
    reason = choice.get("finish_reason")
    if (
        choice.get("message") is None
        and isinstance(reason, str)
        and _finish_reason(reason) in (CUT, FILTERED)
    ):
        choice["message"] = {}
    message = choice.get("message")
    if isinstance(message, dict) and isinstance(message.get("content"), list | dict):
        message["content"] = _joined(message["content"], more)
    return copy


def _joined(content: list[Any] | dict[str, Any], more: dict[str, Any]) -> str | None:
    """The text of content in parts; other parts, such as thinking, go to ``more``."""
    texts, others = [], []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
        elif (
            isinstance(part, dict)
            and part.get("type") in ("text", "output_text")
            and isinstance(part.get("text"), str)
        ):
            texts.append(part["text"])
        else:
            others.append(part)
    if others:
        more["content"] = others
    return "".join(texts) if texts else None


#: Paths without which a body is no reply.
_REQUIRED = ((), ("choices",), ("choices", 0), ("choices", 0, "message"))


def _move(body: Any, path: tuple[int | str, ...], more: dict[str, Any]) -> bool:
    """Move the part at a path from a body to ``more``; False if the part is required."""
    if path in _REQUIRED:
        return False
    inside = body
    for step in path[:-1]:
        inside = inside[step]
    name = ".".join(str(step) for step in path if step not in ("choices", 0))
    more[name] = inside.pop(path[-1])
    return True


@lru_cache(maxsize=256)
def _finish_reason(given: str | None) -> str | None:
    """The protocol's name for a finish reason; unknown reasons stay as they are."""
    if given is None or given in (STOP, CUT, FILTERED):
        return given
    name = given.casefold().split(":")[0].rsplit(".", 1)[-1].strip().removeprefix("finish_reason_")
    return _REASONS.get(name, given)


def _model_name(model: str | None) -> str | None:
    """The reported model; of a file path, which local servers may report, only the file's name."""
    return PurePosixPath(model).name if model and model.startswith("/") else model


def filtered(status: int, body: Any, model: Model) -> dict[str, Any] | None:
    """A content filter's error as a chat completion whose refusal is the error's text, without the key.

    None if the error is a different one.
    """
    if status not in _FILTER_STATUSES:
        return None
    text = error_text(body)
    if not _FILTER_WORDS.search(text) and _FILTER_CODES.isdisjoint(_codes(body)):
        return None
    message = {"refusal": redact_key(text, model)}
    return {"choices": [{"message": message, "finish_reason": FILTERED}]}


def _codes(body: Any) -> set[str]:
    """Codes and types of an error, in lower case."""
    if isinstance(body, list):
        return _codes(body[0]) if body else set()
    if not isinstance(body, Mapping):
        return set()
    found = {str(body[name]).casefold() for name in ("code", "type", "status") if body.get(name)}
    return found.union(*(_codes(body.get(name)) for name in ("error", "innererror")))


def error_text(body: Any) -> str:
    """The message of an error in the protocol's format; otherwise the whole body."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if isinstance(error, Mapping) and not error.get("metadata"):
        message = error.get("message")
        if isinstance(message, str) and message:
            return message
    return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)


def error_body(error: openai.APIStatusError) -> Any:
    """The whole body of an error response, of which the client may keep only a part."""
    try:
        return json.loads(error.response.content)
    except (ValueError, RecursionError):
        return error.response.text.strip()


def describe(error: BaseException, model: Model, url: str = "") -> str:
    """Describe an error by its URL and the beginning of the response, without the API key.

    Parameters
    ----------
    url
        The request's URL, used if the error has none.
    """
    import openai

    if isinstance(error, openai.APIError):
        url = str(error.request.url)
    if isinstance(error, openai.APIStatusError):
        text = f"HTTP {error.status_code}: {error_text(error_body(error)) or 'empty body'}"
    else:
        # Only the cause distinguishes a refused connection from a timeout.
        text = f"{error} ({error.__cause__})" if error.__cause__ else str(error)
    # Endpoints quote the key that they reject. Redact it before the text is shortened, which could split it.
    text = " ".join(redact_key(text, model).split())
    text = text if len(text) <= QUOTED else f"{text[:QUOTED]} …"
    return f"{redact_key(_without_secrets(url), model)}: {text}" if url else text


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host, query=_SECRET.sub(r"\1…", parts.query)))


def redact_key(text: str, model: Model) -> str:
    """Remove the API key from a text, in plain form and as escaped in JSON and URLs."""
    key = model.endpoint.key
    if key and key != NO_KEY:
        for written in (key, json.dumps(key)[1:-1], quote(key, safe="")):
            text = text.replace(written, "[API key]")
    return text
