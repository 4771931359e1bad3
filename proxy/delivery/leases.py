"""Keeps the claims in hand: renews them, and ends what goes on under one that is lost.

    held ──▶ renewed at a third ──▶ … ──▶ dropped, when its result is committed
               │
               ├── the store says that it is lost ─────────▶ ended
               └── not renewed in time ────────────────────▶ ended

After a pause of this process the store is asked first: a claim that no other owner took is still
this one's, and a response may have arrived. Until it has answered nothing is sent.
"""

import asyncio
from asyncio import Future
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Final

from proxy.errors import ClaimLost
from proxy.exchange.lease import Lease, Moment, present, seconds_since

_LOOKS: Final = 30
"""Looks in the time of a lease."""
_RENEWED_AT: Final = 3
_STOOD_STILL: Final = 3
"""A look that comes after so many times its interval was kept from coming earlier. The store then
has as long to say what is lost."""

Renew = Callable[[Sequence[Any], float], "Future[list[Any]]"]


class Leases:
    """The claims in hand, by what the store knows them by. All have leases of `seconds`.

    `renew` asks the store to extend claims, and gives those that are lost.
    """

    def __init__(self, seconds: float, renew: Renew) -> None:
        self._seconds = seconds
        self._renew = renew
        self._held: dict[Hashable, Lease] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._looked = present()
        self._went_on: Moment | None = None
        self._asking = False

    def hold(self, ref: Hashable, since: Moment) -> Lease:
        """A claim was made. `since`: before it was asked for."""
        lease = self._held[ref] = Lease(self._seconds, since, _lost)
        if self._timer is None:
            self._looked = present()
            self._look_later()
        return lease

    def drop(self, ref: Hashable) -> None:
        """The claim was given back."""
        self._held.pop(ref, None)

    def look(self) -> None:
        """Renew what is due, and end what is over. Also before other claims: of what stood still
        this process would else take its own claims over.
        """
        passed, patience = seconds_since(self._looked), _STOOD_STILL * self._interval
        if passed < self._interval / 2:
            return  # a claim follows a claim, and each lease costs three looks at a clock
        if passed > patience:
            self._went_on = present()
        self._looked = present()
        if self._went_on is None or seconds_since(self._went_on) > patience:
            for ref, lease in list(self._held.items()):
                if lease.over:
                    self._end(ref)
        due = self._seconds / _RENEWED_AT
        if not self._asking and any(lease.age >= due for lease in self._held.values()):
            self._asking = True
            refs = list(self._held)
            asked = self._renew(refs, self._seconds)
            asked.add_done_callback(partial(self._renewed, refs, self._looked))

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._held.clear()

    @property
    def _interval(self) -> float:
        return self._seconds / _LOOKS

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._look_on)

    def _look_on(self) -> None:
        self._timer = None
        self.look()
        if self._held:
            self._look_later()

    def _renewed(self, refs: list[Hashable], since: Moment, future: "Future[list[Any]]") -> None:
        self._asking = False
        if future.cancelled() or future.exception() is not None:
            return  # the store has said so; what is over is ended by the next look
        lost = set(future.result())
        for ref in refs:
            lease = self._held.get(ref)
            if lease is None:
                continue  # given back meanwhile
            if ref in lost:
                self._end(ref)
            else:
                lease.renew(since)

    def _end(self, ref: Hashable) -> None:
        self._held.pop(ref).end()


def _lost() -> ClaimLost:
    return ClaimLost("The claim ended before the request was sent: another process may have it.")
