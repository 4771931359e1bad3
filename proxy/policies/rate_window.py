"""The window of a failure rate, as cheap as it can be: endpoints record every attempt in it."""


class RateWindow:
    """Calls and failures of the last whole seconds of the monotonic clock, the present included.

    A call within the same second costs additions only.
    """

    __slots__ = (
        "_calls",
        "_calls_now",
        "_failures",
        "_failures_now",
        "_second",
        "_size",
        "_until",
        "calls",
        "failures",
    )

    def __init__(self, size: int) -> None:
        self.calls = 0
        self.failures = 0
        self._size = size
        self._calls = [0] * size
        self._failures = [0] * size
        self._calls_now = 0
        self._failures_now = 0
        self._second = 0
        self._until = 0.0

    def record(self, failure: bool, now: float) -> None:
        """Add a call."""
        if now >= self._until:
            self._advance(now)
        self.calls += 1
        self._calls_now += 1
        if failure:
            self.failures += 1
            self._failures_now += 1

    def _advance(self, now: float) -> None:
        """Another second has begun; a jump costs at most one round of the ring."""
        size, before = self._size, self._second
        slot = before % size
        self._calls[slot], self._failures[slot] = self._calls_now, self._failures_now
        self._second = second = int(now)
        self._until = float(second + 1)
        self._calls_now = self._failures_now = 0
        for gone in range(max(before + 1, second - size + 1), second + 1):
            slot = gone % size
            self.calls -= self._calls[slot]
            self.failures -= self._failures[slot]
            self._calls[slot] = self._failures[slot] = 0
