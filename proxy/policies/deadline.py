"""Deadlines: how long an exchange and each of its attempts may take."""

from dataclasses import dataclass
from math import inf
from typing import Self


@dataclass(frozen=True, slots=True)
class TimeoutsConfig:
    """Seconds. `max_duration` 0 means no limit; every other one is above 0."""

    connect: float = 1.0
    attempt: float = 5.0
    request: float = 15.0
    idle: float = 60.0
    max_duration: float = 0.0
    propagate: bool = True


class Deadline:
    """A point in monotonic time that stands still while it is paused.

    `at` is that point (inf: none). While paused it is the point as of the pause; `resume` moves
    it on by the time that stood still.
    """

    __slots__ = ("_paused_at", "at", "stood_still")

    def __init__(self, now: float, seconds: float) -> None:
        """`seconds` 0: no deadline."""
        self.at = now + seconds if seconds else inf
        self._paused_at: float | None = None
        self.stood_still = 0.0  # seconds, pauses that have ended

    @classmethod
    def within(cls, outer: Self, now: float, seconds: float) -> Self:
        """A deadline of its own that never lies behind what is left of `outer`."""
        inner = cls(now, seconds)
        left = outer.at if outer._paused_at is None else now + outer.remaining(now)
        if left < inner.at:
            inner.at = left
        return inner

    @property
    def paused(self) -> bool:
        return self._paused_at is not None

    def remaining(self, now: float) -> float:
        """Seconds left, 0 or less when it has passed."""
        return self.at - (now if self._paused_at is None else self._paused_at)

    def expired(self, now: float) -> bool:
        return self.remaining(now) <= 0

    def pause(self, now: float) -> None:
        """Stop the clock, while the client's body flows; a second pause changes nothing."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """Let it run again; without a pause nothing happens."""
        if self._paused_at is not None:
            self.at += now - self._paused_at
            self.stood_still += now - self._paused_at
            self._paused_at = None

    def shorten(self, now: float, seconds: float) -> None:
        """Leave at most `seconds` from now; a later deadline than the present one has no effect."""
        since = now if self._paused_at is None else self._paused_at
        self.at = min(self.at, since + seconds)
