"""The latency of one endpoint: a moving average that follows a peak at once (peak EWMA).

A sample above the average replaces it; one below moves it by its age: after `DECAY` seconds the
past counts for 1/e. An endpoint without samples decays towards 0, so that a slow one is tried
again some time. The algorithm is that of Finagle and Linkerd.
"""

from math import exp
from typing import Final

DECAY: Final = 10.0
PENALTY: Final = 5.0
"""Seconds that a failure counts for: a fast failure must not attract traffic."""


class PeakEwma:
    """All times are monotonic seconds. `known`: there has been a sample."""

    __slots__ = ("_at", "_seconds", "known")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at = 0.0
        self.known = False

    def note(self, seconds: float, now: float) -> None:
        """An attempt took so long to a response's head."""
        if seconds >= self._seconds or not self.known:
            self._seconds = seconds
        else:
            past = exp(-(now - self._at) / DECAY) if now > self._at else 1.0
            self._seconds = self._seconds * past + seconds * (1.0 - past)
        self._at = now
        self.known = True

    def at_least(self, seconds: float, now: float) -> None:
        """An attempt was cancelled after so long: only a peak means something."""
        if seconds > self.estimate(now):
            self.note(seconds, now)

    def forget(self) -> None:
        """Begin again, without a sample."""
        self._seconds = 0.0
        self.known = False

    def estimate(self, now: float) -> float:
        """Seconds that an attempt would take now; 0 without a sample."""
        if now <= self._at:
            return self._seconds
        return self._seconds * exp(-(now - self._at) / DECAY)
