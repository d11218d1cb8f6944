"""The door: all that an endpoint sends is held against one model of the protocol here, and nowhere else.

A chat completion as the protocol has it passes at once. What fails is looked at again for the dialects of
servers: content in parts, no message, no choices. What is still not understood is set aside, and stays on
the record's line beside the rest (`Reply.more`), since it was paid for and may be read some day.
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

#: How much of what came is shown in a message, in characters.
SHOWN = 300
STOP, CUT, FILTERED = "stop", "length", "content_filter"
#: What other APIs say for the protocol's reasons, in small letters.
_REASONS = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "eos", "eos_token", "complete"), STOP),
    **dict.fromkeys(("length", "max_tokens", "model_length", "max_output_tokens"), CUT),
    **dict.fromkeys(("max_completion_tokens", "model_context_window_exceeded"), CUT),
    **dict.fromkeys(("content_filter", "content_filtered", "safety", "prohibited_content"), FILTERED),
    **dict.fromkeys(("recitation", "blocklist", "spii", "image_safety", "refusal"), FILTERED),
    **dict.fromkeys(("guardrail_intervened", "error_toxic", "sensitive"), FILTERED),
    **dict.fromkeys(("error", "network_error", "insufficient_system_resource"), "error"),
}
#: Statuses with which a service says that its filter stopped a prompt.
_FILTER_STATUSES = (400, 403, 422, 451)
#: How it says so: the error's code or kind, or a sentence of its message.
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
#: What in the query of an address may be a secret.
_SECRET = re.compile(r"([^=&?]*(?:key|token|secret|sig|password|code)[^=&]*=)[^&]+", re.IGNORECASE)
_EMPTY: tuple[Any, ...] = (None, "", [], {})

Count = Annotated[int | None, Field(ge=0)]


class _Shape(BaseModel):
    """What is received; fields that it does not name are kept, too."""

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


class _Said(_Shape):
    role: Any = None
    content: str | None = None
    refusal: str | None = None


class _Choice(_Shape):
    index: Any = None
    message: _Said
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
    """A reply as the rest of the program knows it.

    ``finish_reason`` is in the protocol's words where it has one for what the endpoint said. ``more`` is
    what message and choice held beside the other fields, by name, and what of the reply was not understood,
    by its place in it.
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
        """The tokens that it counts."""
        return _usage(self.prompt_tokens, self.cached_tokens, self.completion_tokens)


def _usage(*counts: int | None) -> Usage:
    return Usage(*(float(count or 0) for count in counts))


def parsed(content: bytes) -> Any:
    """The JSON of a body.

    Raises
    ------
    MalformedReplyError
        When it is none; the message has the body.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        text = content.decode(errors="replace").strip()
        what = "a stream of events, which nobody asked for" if text.startswith("data:") else "not JSON"
        raise MalformedReplyError(f"{what}: {text or 'nothing came'}") from None


def usage(body: Any) -> Usage:
    """The tokens that a body counts, whether the rest of it can be used or not; none where it counts none."""
    try:
        counted = _Counts.model_validate(body["usage"])
        return _usage(counted.prompt_tokens, counted.cached_tokens, counted.completion_tokens)
    except (LookupError, TypeError, ValidationError):
        return NO_USAGE


def receive(body: Any, longest: float = 0) -> Reply:
    """Take in the body of a reply with status 200.

    Parameters
    ----------
    longest
        The most tokens that the reply may have; 0 where that is not known. A reply that has them all was
        cut, whatever its reason says.

    Raises
    ------
    ReportedError
        When it reports an error.
    MalformedReplyError
        When it is not a chat completion.
    """
    aside: dict[str, Any] = {}
    try:
        completion = _Completion.model_validate(body)
    except ValidationError as error:
        completion = _mended(body, error, aside)
    choice = completion.choices[0]
    said, counted = choice.message, completion.usage or _Counts()
    reason = _reason(choice.finish_reason)
    if completion.error or choice.error or reason == "error":
        raise ReportedError(words(body if completion.error else {"error": choice.error or body}))
    if reason in (STOP, None) and longest and counted.completion_tokens == longest:
        reason = CUT
    if reason != choice.finish_reason:
        aside.setdefault("finish_reason", choice.finish_reason)
    if len(completion.choices) > 1:
        aside["choices"] = body["choices"][1:]
    for extra in (said.model_extra, choice.model_extra):
        aside.update((name, given) for name, given in (extra or {}).items() if given not in _EMPTY)
    return Reply(
        text=said.content,
        refusal=said.refusal,
        finish_reason=reason,
        logprobs=choice.logprobs,
        model=_without_folder(completion.model),
        prompt_tokens=counted.prompt_tokens,
        completion_tokens=counted.completion_tokens,
        cached_tokens=counted.cached_tokens,
        fingerprint=completion.system_fingerprint,
        more=aside or None,
    )


def _mended(body: Any, error: ValidationError, aside: dict[str, Any]) -> _Completion:
    """Read the dialects of servers; what is not understood is put aside, place by place."""
    if isinstance(body, Mapping):
        if body.get("error"):
            raise ReportedError(words(body))
        body = _in_the_protocols_words(body, aside)
        try:
            return _Completion.model_validate(body)
        except ValidationError as found:
            error = found
        if all(_put_aside(body, each["loc"], aside) for each in error.errors()):
            return _Completion.model_validate(body)
    where = ".".join(map(str, error.errors()[0]["loc"])) or "the whole"
    shown = json.dumps(body, ensure_ascii=False, default=str)
    # Not cut here: half of a key that it repeats could not be found and taken out.
    raise MalformedReplyError(f"not a chat completion ({where}: {error.errors()[0]['msg']}): {shown}")


def _in_the_protocols_words(body: Mapping[str, Any], aside: dict[str, Any]) -> dict[str, Any]:
    """A copy of a body with content in one piece, and a message and a choice where a filter took them."""
    copy: dict[str, Any] = json.loads(json.dumps(body))
    choices = copy.get("choices")
    if choices == [] and copy.get("usage"):
        # Tokens of the prompt were counted, and nothing was said to it: the way of a filter.
        told = {name: copy[name] for name in copy if "filter" in name or "feedback" in name.casefold()}
        aside.update(choices=[], **told)
        choices = copy["choices"] = [{"message": {}, "finish_reason": FILTERED}]
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        return copy
    choice, *others = choices
    if others:
        aside["choices"], copy["choices"] = others, [choice]
    reason = choice.get("finish_reason")
    if choice.get("message") is None and isinstance(reason, str) and _reason(reason) in (CUT, FILTERED):
        choice["message"] = {}
    message = choice.get("message")
    if isinstance(message, dict) and isinstance(message.get("content"), list | dict):
        message["content"] = _put_together(message["content"], aside)
    return copy


def _put_together(content: list[Any] | dict[str, Any], aside: dict[str, Any]) -> str | None:
    """The text of content in parts; parts of another kind, such as thinking, are put aside."""
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
        aside["content"] = others
    return "".join(texts) if texts else None


#: Places without which nothing is a reply.
_NEEDED = ((), ("choices",), ("choices", 0), ("choices", 0, "message"))


def _put_aside(body: Any, place: tuple[int | str, ...], aside: dict[str, Any]) -> bool:
    """Take what stands at a place out of a body; whether that was possible and a reply may be left."""
    if place in _NEEDED:
        return False
    inside = body
    for step in place[:-1]:
        inside = inside[step]
    name = ".".join(str(step) for step in place if step not in ("choices", 0))
    aside[name] = inside.pop(place[-1])
    return True


@lru_cache(maxsize=256)
def _reason(given: str | None) -> str | None:
    """A finish reason in the protocol's words; one that it has no word for stays as it is."""
    if given is None or given in (STOP, CUT, FILTERED):
        return given
    name = given.casefold().split(":")[0].rsplit(".", 1)[-1].strip().removeprefix("finish_reason_")
    return _REASONS.get(name, given)


def _without_folder(model: str | None) -> str | None:
    """A reported model; of a file, as a server of one's own may report it, the name alone."""
    return PurePosixPath(model).name if model and model.startswith("/") else model


def filtered(status: int, body: Any, model: Model) -> dict[str, Any] | None:
    """What a service says that refuses a prompt for good, in the words of a chat completion.

    None where an error is another one. The filter's words are the refusal, without the key.
    """
    if status not in _FILTER_STATUSES:
        return None
    said = words(body)
    if not _FILTER_WORDS.search(said) and _FILTER_CODES.isdisjoint(_codes(body)):
        return None
    message = {"refusal": without_key(said, model)}
    return {"choices": [{"message": message, "finish_reason": FILTERED}]}


def _codes(body: Any) -> set[str]:
    """Codes and types of an error, in small letters."""
    if isinstance(body, list):
        return _codes(body[0]) if body else set()
    if not isinstance(body, Mapping):
        return set()
    found = {str(body[name]).casefold() for name in ("code", "type", "status") if body.get(name)}
    return found.union(*(_codes(body.get(name)) for name in ("error", "innererror")))


def words(body: Any) -> str:
    """What an error says: its message in the protocol's place, else the body as it came."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if isinstance(error, Mapping) and not error.get("metadata"):
        message = error.get("message")
        if isinstance(message, str) and message:
            return message
    return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)


def error_body(error: openai.APIStatusError) -> Any:
    """The body of an error with a status, also where the client takes only a part of it for the body."""
    try:
        return json.loads(error.response.content)
    except (ValueError, RecursionError):
        return error.response.text.strip()


def told(error: BaseException, model: Model, address: str = "") -> str:
    """An error in words: the address that was asked, and the begin of what came; never the key.

    Parameters
    ----------
    address
        That was asked, where the error does not know it.
    """
    import openai

    if isinstance(error, openai.APIError):
        address = str(error.request.url)
    if isinstance(error, openai.APIStatusError):
        text = f"HTTP {error.status_code}: {words(error_body(error)) or 'nothing came'}"
    else:
        # The cause alone tells a refused connection from a timeout.
        text = f"{error} ({error.__cause__})" if error.__cause__ else str(error)
    # Endpoints quote the key that they reject; the key is taken out before the cut, which could halve it.
    text = " ".join(without_key(text, model).split())
    text = text if len(text) <= SHOWN else f"{text[:SHOWN]} …"
    return f"{without_key(_shown(address), model)}: {text}" if address else text


def _shown(address: str) -> str:
    """An address without what may be a secret in it."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host, query=_SECRET.sub(r"\1…", parts.query)))


def without_key(text: str, model: Model) -> str:
    """A text without the API key, also as JSON and addresses write it."""
    key = model.endpoint.key
    if key and key != NO_KEY:
        for written in (key, json.dumps(key)[1:-1], quote(key, safe="")):
            text = text.replace(written, "[API key]")
    return text
