"""How fast to ask: requests in flight, and requests and tokens per minute.

The number in flight starts at its maximum. Refusals for haste (status 429) halve it once they are more
than a third of a round of replies, once per burst: refusals of requests that were under way at the last
halving say nothing new. Every reply lets it grow back, by one and an eighth for each round of replies.

To halve at every refusal, as congestion on a line calls for, is not enough here: shared endpoints refuse
a few requests at random whatever the pace is, and 1% of them would keep 64 in flight down to 15, 10% to
5. What an endpoint bears, on the other hand, is found as well by the share of refusals, since the client
tries a refused request again, later.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

SECONDS_PER_MINUTE = 60.0
#: The share of refusals in a round that halves the number in flight.
TOLERATED = 0.35
#: A round has as many replies as requests may be in flight, but not so few that chance decides.
LEAST_ROUND = 32
#: How much the number in flight grows in a round, beside one, as a share of itself.
GROWTH = 0.125


class Pace:
    """Admits requests at the pace that an endpoint bears.

    Parameters
    ----------
    most
        The most requests in flight.
    requests_per_minute, tokens_per_minute
        Limits to keep; None keeps none.
    clock, sleep
        Time in seconds, and waiting for it; tests put their own in.
    """

    def __init__(
        self,
        most: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        self._per_request = SECONDS_PER_MINUTE / requests_per_minute if requests_per_minute else 0.0
        self._per_token = SECONDS_PER_MINUTE / tokens_per_minute if tokens_per_minute else 0.0
        self._clock, self._sleep = clock, sleep
        self._next = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._started = 0
        self._halved_at = 0
        self._replies = self._refusals = 0

    async def enter(self, tokens: float = 0) -> int:
        """Wait for a place; gives the request's number, which `refused` wants."""
        while self.in_flight >= max(1, int(self.limit)):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            await place
        self.in_flight += 1
        self._started += 1
        number = self._started
        cost = max(self._per_request, tokens * self._per_token)
        if cost:
            now = self._clock()
            start = max(now, self._next)
            self._next = start + cost
            if start > now:
                await self._sleep(start - now)
        return number

    def leave(self) -> None:
        """Give a place back."""
        self.in_flight -= 1
        self._wake()

    def refused(self, number: int) -> None:
        """Note a refusal for haste of the request with this number."""
        if number <= self._halved_at:
            return
        self._refusals += 1
        if self._refusals > TOLERATED * self._round:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = self._started
            self._replies = self._refusals = 0
        else:
            self._count()

    def answered(self) -> None:
        """Note a reply."""
        self._count()
        if self.limit < self.most:
            self.limit = min(float(self.most), self.limit + 1 / self.limit + GROWTH)

    @property
    def _round(self) -> float:
        return max(self.limit, LEAST_ROUND)

    def _count(self) -> None:
        self._replies += 1
        if self._replies >= self._round:
            self._replies = self._refusals = 0

    def _wake(self) -> None:
        free = max(1, int(self.limit)) - self.in_flight
        while self._waiting and free > 0:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                free -= 1
