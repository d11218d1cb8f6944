"""How a run asks; apart from the engine, so that a command line without a query needs no client."""

from __future__ import annotations

from dataclasses import dataclass

from deepvalues.errors import UserError


@dataclass(frozen=True)
class Settings:
    """How a run asks.

    ``concurrency`` is the most requests in flight; ``timeout`` bounds one attempt, in seconds;
    ``break_after`` failures in a row stop the run; ``max_cost`` is in US dollars.
    """

    concurrency: int = 32
    timeout: float = 120.0
    max_retries: int = 5
    break_after: int = 25
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        """Refuse a run that could ask nothing."""
        if self.concurrency < 1:
            raise UserError(f"concurrency must be at least 1, not {self.concurrency}")
