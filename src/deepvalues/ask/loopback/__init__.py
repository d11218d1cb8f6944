"""The interface of local models, which studies implement and the loopback server serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

#: A chat message as the protocol sends it: ``role`` and ``content``.
Message = Mapping[str, str]


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
        shape = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": shape}


class Reply(NamedTuple):
    """A local model's reply.

    ``alternatives`` maps each possible choice to its probability (for the Deep Value Benchmark ``{"A": p,
    "B": 1 - p}``); the server reports it in ``logprobs``. None if the model has no such distribution.
    """

    text: str
    alternatives: Mapping[str, float] | None = None


class LocalModel(Protocol):
    """A model that answers on this machine.

    ``family`` is "reference agent" (its results are known in advance), "text learner" (it sees only the
    prompt's text) or "head on hidden states" (it sees a language model's hidden states for the text). All
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
