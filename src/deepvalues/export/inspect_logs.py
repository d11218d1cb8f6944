"""What Inspect logs of a sample, as an answer of the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepvalues.ask.engine import answer_from
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.protocol import FILTERED, Reply
from deepvalues.ask.record import Answer

#: The protocol's words for Inspect's reasons; it has others that the protocol has not.
_REASONS = {"stop": "stop", "max_tokens": "length", "content_filter": FILTERED}


def answer_of(item: str, output: Mapping[str, Any], choice: LetterChoice | None) -> Answer:
    """The answer that a sample's output holds, without a key.

    Raises
    ------
    deepvalues.ask.letters.NoLogprobsError
        When it was asked by letters and has no log probabilities.
    """
    (first, *_), usage = output["choices"], output.get("usage") or {}
    reply = Reply(
        text=_text(first["message"]["content"]),
        refusal=None,
        finish_reason=_REASONS.get(first["stop_reason"], first["stop_reason"]),
        logprobs=first.get("logprobs"),
        model=output.get("model"),
        prompt_tokens=usage.get("input_tokens"),
        completion_tokens=usage.get("output_tokens"),
        cached_tokens=None,
        fingerprint=None,
        more=None,
    )
    return answer_from(reply, "", item, 0, 0, choice)


def _text(content: Any) -> str:
    """The text of a message, which may come in parts."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")
