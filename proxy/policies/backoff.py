"""Backoff: how long to wait before another attempt."""

from dataclasses import dataclass
from enum import Enum


class JitterKind(Enum):
    FULL = "full"
    EQUAL = "equal"
    DECORRELATED = "decorrelated"
    NONE = "none"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class Jitter:
    """`ratio` (0 to 1) belongs to RATIO alone: 0.2 is plus or minus a fifth."""

    kind: JitterKind = JitterKind.FULL
    ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class BackoffConfig:
    """Seconds; `multiplier` is at least 1, `max` at least `initial`."""

    initial: float = 0.025
    multiplier: float = 2.0
    max: float = 1.0
    jitter: Jitter = Jitter()
