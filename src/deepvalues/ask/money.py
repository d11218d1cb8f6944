"""The cost of a run: estimated in advance, counted while it runs, limited by a maximum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from deepvalues.ask.registry import Price

#: English text has about four characters per token; the first replies correct the estimate.
CHARACTERS_PER_TOKEN = 4.0
_MILLION = 1_000_000


class Usage(NamedTuple):
    """Tokens of a request: all input, the part of it from the provider's cache, and output."""

    input: float
    cached: float
    output: float

    def cost(self, price: Price) -> float:
        """Cost in US dollars."""
        fresh = self.input - self.cached
        return (fresh * price.input + self.cached * price.cached + self.output * price.output) / _MILLION

    def uncached(self) -> Usage:
        """The same without a cache."""
        return self._replace(cached=0.0)

    def saved_by_caching(self, price: Price) -> float:
        """US dollars saved by the provider's prompt cache."""
        return self.uncached().cost(price) - self.cost(price)


NO_USAGE = Usage(0.0, 0.0, 0.0)


def total(usages: Iterable[Usage]) -> Usage:
    """The sum of usages."""
    columns = list(zip(*usages, strict=True))
    return Usage(*(float(sum(column)) for column in columns)) if columns else NO_USAGE


@dataclass(frozen=True)
class Plan:
    """The requests that a run will send, and the tokens they will use.

    ``letters`` is how choices by letter probability are requested; None for free replies.
    """

    model: str
    requests: int
    usage: Usage
    price: Price | None
    letters: str | None = None

    def lines(self) -> list[str]:
        """The plan as text."""
        lines = [
            f"{self.model}: {self.requests:,} requests to send"
            + (f", choices by letter probability ({self.letters})" if self.letters else ""),
            f"  about {self.usage.input:,.0f} tokens in ({self.usage.cached:,.0f} of them repeated "
            f"prefixes), at most {self.usage.output:,.0f} out",
        ]
        if self.price is None:
            return [*lines, "  cost unknown: no price in the registry, and no --price"]
        with_cache, without = self.usage.cost(self.price), self.usage.uncached().cost(self.price)
        return [
            *lines,
            f"  about ${with_cache:,.2f} with prefix caching, ${without:,.2f} without "
            f"(prices of {self.price.date})",
        ]


class Ledger:
    """Counts what a run uses, and decides whether the next request may be sent.

    Each request's largest possible cost is reserved before it is sent, so that all requests in flight
    together cannot exceed the maximum.
    """

    def __init__(self, price: Price | None, max_cost: float | None = None) -> None:
        self.price = price
        self.max_cost = max_cost
        self.used = NO_USAGE
        self.reserved = 0.0
        self.unsettled = 0
        self._estimated = 0.0
        self._received = 0.0

    @property
    def correction(self) -> float:
        """The endpoint's token count divided by the estimate, so far."""
        return self._received / self._estimated if self._estimated else 1.0

    @property
    def spent(self) -> float:
        """US dollars, 0 without a price."""
        return self.used.cost(self.price) if self.price else 0.0

    def reserve(self, estimate: Usage) -> float | None:
        """Reserve the largest cost of a request; None if that would exceed the maximum."""
        if self.price is None or self.max_cost is None:
            self.unsettled += 1
            return 0.0
        # Before the endpoint has counted any tokens, the true number may be twice the estimate.
        factor = self.correction * 1.05 if self._estimated else 2.0
        cost = Usage(estimate.input * factor, 0.0, estimate.output).cost(self.price)
        if self.spent + self.reserved + cost > self.max_cost:
            return None
        self.reserved += cost
        self.unsettled += 1
        return cost

    def settle(self, reserved: float | None, estimate: Usage, received: Usage | None) -> None:
        """Release a reservation; count the tokens of a received reply, even an unusable one."""
        if reserved is None:
            return
        self.unsettled -= 1
        self.reserved = self.reserved - reserved if self.unsettled else 0.0
        if received is not None:
            # A reply that doesn't report its tokens is paid for too.
            received = estimate if self.price and received == NO_USAGE else received
            self.used = total([self.used, received])
            self._estimated += estimate.input
            self._received += received.input
