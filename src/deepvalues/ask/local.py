"""Local models: reference agents, text learners and heads on hidden states, which answer in this process."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeAlias

from deepvalues import __version__

#: A chat message as the protocol sends it: ``role`` and ``content``.
Message = Mapping[str, str]
#: Prompts kept with what was found in them, as all local models of a study are asked the same ones.
PROMPTS_KEPT = 1 << 15
#: A local model's tokens: words and single punctuation marks. Any stable rule would do.
_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])")


class Reply(NamedTuple):
    """A local model's reply.

    ``alternatives`` maps each possible choice to its probability (for the Deep Value Benchmark ``{"A": p,
    "B": 1 - p}``), as reported in ``logprobs``. None if the model has no such distribution.
    """

    text: str
    alternatives: Mapping[str, float] | None = None


class LocalModel(Protocol):
    """A model that answers on this machine.

    ``family`` is "reference agent" (its results are known in advance), "text learner" (it sees only the
    prompt's text) or "head on hidden states" (it sees a language model's vectors for the text). All
    randomness comes from ``seed``.
    """

    @property
    def name(self) -> str:
        """Its name in the registry and the record."""

    @property
    def family(self) -> str:
        """Reference agent, text learner or head on hidden states."""

    @property
    def description(self) -> str:
        """One line on how it answers."""

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:
        """Answer the last message; raise `ValueError` if it is not understood."""


#: Where a model is asked: the base URL of its endpoint, or a local model itself.
Target: TypeAlias = str | LocalModel


def tokens(text: str) -> list[str]:
    """Split a text into tokens, each with the spaces before it."""
    return _TOKEN.findall(text)


@lru_cache(maxsize=PROMPTS_KEPT)
def _count(prompt: str) -> int:
    return len(tokens(prompt))


def complete(model: LocalModel, body: Mapping[str, Any]) -> dict[str, Any]:
    """A local model's chat completion for the body of a request, as an endpoint would send it.

    Local models take ``seed``, ``max_tokens`` or ``max_completion_tokens``, ``logprobs`` and
    ``top_logprobs``, and ignore the rest.

    Raises
    ------
    ValueError
        When the model does not understand the last message.
    UserError
        When something that the model needs is missing on this machine.
    """
    reply = model.reply(body["messages"], body.get("seed") or 0)
    every = tokens(reply.text)
    sent = every[: body.get("max_completion_tokens", body.get("max_tokens"))]
    cut = len(sent) < len(every)
    return {
        "model": model.name,
        "system_fingerprint": f"deepvalues-{__version__}",
        "choices": [
            {
                "message": {"role": "assistant", "content": "".join(sent) if cut else reply.text},
                "logprobs": _logprobs(reply, sent, body.get("top_logprobs", 0))
                if body.get("logprobs")
                else None,
                "finish_reason": "length" if cut else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": sum(_count(message["content"]) for message in body["messages"]),
            "completion_tokens": len(sent),
        },
    }


def _logprobs(reply: Reply, sent: Sequence[str], top: int) -> dict[str, Any]:
    """Log probabilities of each token; only the first token that is a choice has alternatives."""
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
