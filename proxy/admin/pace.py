"""Limits the admin side's share of the event loop's time.

Work costs seconds of the loop's time. The budget grows by `share` per second, up to `burst`.
Without budget a task waits, first come, first served, for `longest` seconds at most.
"""

import asyncio
from collections import deque

from proxy.clock import Clock


class Pace:
    """One kind of work. `turn` before it, `spent` after it."""

    def __init__(
        self, share: float, clock: Clock, *, burst: float = 0.1, longest: float = 2.0
    ) -> None:
        self._share = share
        self._clock = clock
        self._burst = burst
        self._longest = longest
        self._saved = burst
        self._as_of = clock()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self) -> None:
        """Return when the next piece of work may begin. May be cancelled."""
        if not self._waiting and self._save() > 0:
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._set_timer()
        try:
            async with asyncio.timeout(self._longest):
                await place
        except TimeoutError:
            return
        finally:
            if not place.done() or place.cancelled():
                self._leave(place)

    def wait_needed(self) -> float:
        """Seconds until there is something to pay with; 0: there is."""
        saved = self._save()
        return 0.0 if saved > 0 else max(-saved / self._share, 0.001)

    def spent(self, seconds: float) -> None:
        """Charge the loop time that was used."""
        self._save()
        self._saved -= seconds

    def _save(self) -> float:
        now = self._clock()
        self._saved = min(self._saved + (now - self._as_of) * self._share, self._burst)
        self._as_of = now
        return self._saved

    def _set_timer(self) -> None:
        if self._timer is None and self._waiting:
            wait = max(self.wait_needed(), 0.001)
            self._timer = asyncio.get_running_loop().call_later(wait, self._next)

    def _next(self) -> None:
        """Start the next task; its cost is known at its end."""
        self._timer = None
        if self._save() > 0 and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
        self._set_timer()

    def _leave(self, place: "asyncio.Future[None]") -> None:
        if place in self._waiting:
            self._waiting.remove(place)
