"""Settings of a run; apart from the engine, so that the command line need not load the API client."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deepvalues.core.errors import UserError

#: Seconds for one request to a server on this machine.
OWN_SERVER_TIMEOUT = 3600.0


@dataclass(frozen=True)
class Settings:
    """Settings of a run.

    ``concurrency`` is the maximum number of requests in flight; ``timeout`` limits one attempt, in seconds;
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
        """Reject settings with which nothing could be asked."""
        if self.concurrency < 1:
            raise UserError(f"concurrency must be at least 1, not {self.concurrency}")

    def for_own_server(self) -> Settings:
        """The same settings for a server started by this run, which answers one request at a time.

        A long prompt takes minutes on a slow machine, and a retry would start over. A server that fails has
        died, so the run stops early.
        """
        return replace(
            self,
            concurrency=1,
            timeout=max(self.timeout, OWN_SERVER_TIMEOUT),
            max_retries=0,
            break_after=min(self.break_after, 3),
        )
