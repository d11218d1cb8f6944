"""Local models, and the loopback server that serves them by the OpenAI protocol.

A local model is a name, a family, and a reply to messages. Studies implement this protocol; the server knows
no study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

#: A chat message as the protocol sends it: ``role`` and ``content``.
Message = Mapping[str, str]


class ProtocolError(Exception):
    """An error to be returned in OpenAI's shape."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    def body(self) -> dict[str, Any]:
        """The error as the body of a response."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        shape = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": shape}


class Reply(NamedTuple):
    """A local model's reply.

    ``alternatives`` maps each continuation that the model weighed at its deciding token to its
    probability (for the Deep Value Benchmark ``{"A": p, "B": 1 - p}``); the server turns it into
    ``logprobs``. None where the model has no such distribution.
    """

    text: str
    alternatives: Mapping[str, float] | None = None


class LocalModel(Protocol):
    """A model that answers on this machine.

    ``family`` is "reference agent" (its results are known before the run), "text learner" (it gets the
    prompt's text and nothing else) or "head on hidden states" (it gets what a language model makes of the
    text). All of its chance comes from ``seed``.
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
        """Answer the last message; `ValueError` when it is not one it can read."""
