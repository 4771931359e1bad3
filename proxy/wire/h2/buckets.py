"""Token buckets against floods: what a peer may cost for nothing."""

from typing import Final

PROGRESS: Final = 4.0
"""Control frames that come with a frame of DATA or HEADERS: window updates, a ping."""
LITTLE: Final = 64
"""A received frame of DATA with fewer bytes pays for one: it must not cover a flood."""


class Bucket:
    """`take` is false when more was taken than `burst` and `rate` per second allow."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token."""
        left = self._left + (now - self._at) * self._rate
        self._at = now
        if left > self._burst:
            left = self._burst
        self._left = left - 1.0
        return left >= 1.0

    def give(self, tokens: float) -> None:
        """Give tokens back, for work that moved something on."""
        left = self._left + tokens
        self._left = left if left < self._burst else self._burst


def bucket_of_resets(now: float) -> Bucket:
    """For streams that are reset before they were of use."""
    return Bucket(200.0, 20.0, now)


def bucket_of_idle_frames(now: float) -> Bucket:
    """For control frames that move nothing on."""
    return Bucket(1000.0, 100.0, now)
