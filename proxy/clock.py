"""Time and chance, as values that are handed in.

Floors 0 to 2 never ask for the time or for a random number themselves: they take ``now`` as an
argument, or one of these callables when they are built. The running proxy passes
``loop.time`` and ``random.random``; tests pass their own.
"""

from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Monotonic seconds; only differences mean anything."""

WallClock: TypeAlias = Callable[[], float]
"""Seconds since the Unix epoch: for dates that people or HTTP headers give, never for durations."""

Random: TypeAlias = Callable[[], float]
"""A number drawn uniformly from [0, 1)."""
