"""Events that wake scripts, in addition to failures, streams and attempts."""

from enum import Enum
from typing import Final


class Event(Enum):
    ALARM = "alarm"  # the time has come
    RESOLVED = "resolved"  # the upstream has addresses now
    GRANTED = "granted"  # a gate's queue has moved up to this exchange
    MOVED = "moved"  # the relay has ended, or writing to the client can continue


# Reading a global is ten times as fast as reading an enum member (CPython 3.11).
ALARM: Final = Event.ALARM
RESOLVED: Final = Event.RESOLVED
GRANTED: Final = Event.GRANTED
MOVED: Final = Event.MOVED


class Phase(Enum):
    """The phases of an exchange. A retry is possible only before COMMITTED."""

    ROUTING = "routing"
    QUEUED = "queued"
    TRYING = "trying"
    PAUSING = "pausing"
    COMMITTED = "committed"
    SETTLED = "settled"


ROUTING: Final = Phase.ROUTING
QUEUED: Final = Phase.QUEUED
TRYING: Final = Phase.TRYING
PAUSING: Final = Phase.PAUSING
COMMITTED: Final = Phase.COMMITTED
SETTLED: Final = Phase.SETTLED
