"""Backoff: how long to wait before another attempt.

The base is min(max, initial * multiplier^(retry - 1)). It is capped before the jitter, so that late
retries spread over the whole range below the cap instead of gathering at the cap.
"""

from dataclasses import dataclass
from enum import Enum

from proxy.clock import Random


class JitterKind(Enum):
    FULL = "full"
    EQUAL = "equal"
    DECORRELATED = "decorrelated"
    NONE = "none"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class Jitter:
    """`ratio` (0 to 1) applies to RATIO only: 0.2 means plus or minus a fifth."""

    kind: JitterKind = JitterKind.FULL
    ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class BackoffConfig:
    """Seconds; `multiplier` is at least 1, `max` at least `initial`."""

    initial: float = 0.025
    multiplier: float = 2.0
    max: float = 1.0
    jitter: Jitter = Jitter()


class Backoff:
    """Draws the waits of one configuration; it has no state between draws."""

    __slots__ = ("_initial", "_jitter", "_max", "_multiplier", "_random")

    def __init__(self, config: BackoffConfig, random: Random) -> None:
        self._initial = config.initial
        self._multiplier = float(config.multiplier)
        self._max = config.max
        self._jitter = config.jitter
        self._random = random

    def delay(self, retry: int, previous: float = 0.0) -> float:
        """Seconds to wait before retry number `retry` (1: before the second attempt).

        `previous` is the wait before the attempt that just failed, 0 without one; only
        decorrelated jitter uses it.
        """
        kind = self._jitter.kind
        if kind is JitterKind.DECORRELATED:
            low = self._initial
            return min(self._max, low + self._random() * (3 * max(previous, low) - low))
        base = self._base(retry)
        if kind is JitterKind.FULL:
            return base * self._random()
        if kind is JitterKind.EQUAL:
            return base / 2 + base / 2 * self._random()
        if kind is JitterKind.RATIO:
            return base * (1 + self._jitter.ratio * (2 * self._random() - 1))
        return base

    def _base(self, retry: int) -> float:
        if not self._initial:
            return 0.0
        try:
            return min(self._max, self._initial * self._multiplier ** (retry - 1))
        except OverflowError:
            return self._max
