"""Types for time and randomness, which callers pass in.

Floors 0 to 2 never read a clock or draw a random number themselves: they take ``now`` as an
argument, or one of these callables when they are constructed. The running proxy passes
``loop.time`` and ``random.random``; tests pass their own.
"""

from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Monotonic seconds; only differences mean anything."""

WallClock: TypeAlias = Callable[[], float]
"""Seconds since the Unix epoch: for dates in HTTP headers and for people, never for durations."""

Random: TypeAlias = Callable[[], float]
"""A number drawn uniformly from [0, 1)."""
