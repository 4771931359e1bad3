"""The lease of a claim, by the clocks of this process.

A claim is its owner's until its lease ends by the store's clock. The owner cannot see that clock:
it counts from before it asked for the claim, and stops a little earlier. What stood still meanwhile
(a paused process, a frozen machine) finds its lease over, and sends nothing more under it.
"""

import time
from collections.abc import Callable
from time import clock_gettime, monotonic
from time import time as wall_clock
from typing import Final, TypeAlias

from proxy.errors import ProxyError

Moment: TypeAlias = tuple[float, float, float]
"""One moment by three clocks: only differences of the same clock mean anything."""

EARLY: Final = 1 / 15
"""A lease counts as over when this part of it is left: a request needs time to arrive."""
_SLEEPING: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps."""


def present() -> Moment:
    return monotonic(), clock_gettime(_SLEEPING), wall_clock()


def seconds_since(moment: Moment) -> float:
    """By the clock that has moved most: none of them goes on through every kind of pause, and the
    wall clock of a frozen machine is corrected afterwards.
    """
    return max([now - then for now, then in zip(present(), moment, strict=True)])


class Lease:
    """The lease of one claim. `on_end` is called once if it is lost; None: nothing goes on."""

    __slots__ = ("_refusal", "_since", "ended", "on_end", "seconds")

    def __init__(self, seconds: float, since: Moment, refusal: Callable[[], ProxyError]) -> None:
        """`since`: before the claim was asked for. `refusal`: what refuses a sending."""
        self.seconds = seconds
        self.ended = False
        self.on_end: Callable[[], object] | None = None
        self._since = since
        self._refusal = refusal

    def renew(self, since: Moment) -> None:
        """It was renewed. `since`: before that was asked for."""
        self._since = since

    @property
    def age(self) -> float:
        """Seconds since the claim was made, or was last renewed."""
        return seconds_since(self._since)

    @property
    def over(self) -> bool:
        """Whether the claim may be another owner's by now."""
        return self.ended or self.age >= self.seconds * (1 - EARLY)

    def check(self) -> None:
        """Before anything is sent. Raises the refusal if it is over."""
        if self.over:
            raise self._refusal()

    def end(self) -> None:
        """The claim is lost, or must be taken for lost: end what goes on under it."""
        self.ended = True
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()
