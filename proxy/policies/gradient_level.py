"""What a learned limit adds up over several windows."""

from math import log
from typing import Final

MANY: Final = 1000  # answers: the most that a level counts

# A run of slow halves. Evidence is the logarithm of how much likelier the answers are if they take
# _SLOW times as long than if not, for times that vary as much as exponential ones.
_SLOW: Final = 1.75
_FOR_EACH_TIME: Final = 1.0 - 1.0 / _SLOW
_FOR_EACH_ANSWER: Final = log(_SLOW)
_SURE: Final = 5.0
_HALVES: Final = 2
_SAMPLES: Final = 10
_ENOUGH: Final = 50  # answers in a half: its window says enough alone


class Level:
    """Averages of the windows at one limit: requests in use, and the time in seconds."""

    __slots__ = ("count", "in_use", "time", "windows")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.count = self.windows = 0
        self.in_use = self.time = 0.0

    def add(self, count: int, in_use: float, time: float) -> None:
        self.count = min(self.count + count, MANY)
        self.windows += 1
        share = min(count / self.count, 1.0)
        self.in_use += share * (in_use - self.in_use)
        self.time += share * (time - self.time)


class SlowRun:
    """Half windows in a row in which answers are slow, whichever windows they belong to.

    A run goes on while its evidence is above zero (Page's test). Halves with many answers are not
    part of one: their windows are judged alone, and need no more evidence.
    """

    __slots__ = ("_count", "_evidence", "_halves", "in_use", "time")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._count = self._halves = 0
        self.in_use = self.time = self._evidence = 0.0

    def add(self, count: int, in_use: float, time: float, expected: float) -> bool:
        """Add a half. Returns whether the answers have become slow.

        `in_use` and `time` are averages. `expected`: seconds of an answer that is not slow.
        """
        self._evidence += count * (_FOR_EACH_TIME * time / expected - _FOR_EACH_ANSWER)
        if self._evidence <= 0.0 or count >= _ENOUGH:
            self.clear()
            return False
        self._count += count
        self._halves += 1
        share = count / self._count
        self.in_use += share * (in_use - self.in_use)
        self.time += share * (time - self.time)
        return self._evidence >= _SURE and self._halves >= _HALVES and self._count >= _SAMPLES
