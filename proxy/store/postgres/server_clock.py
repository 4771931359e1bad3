"""The server's clock as this process knows it: its own may be wrong, and may be set."""

from collections.abc import Callable
from time import monotonic, time


class ServerClock:
    """Unix seconds by the server's clock, from what the server has said last.

    Before it has said anything, those of this machine. `clock`: for tests, instead of it.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._offset = time() - monotonic()

    def learn(self, told: float, asked: float) -> None:
        """The server said `told` after it was asked at `asked` (monotonic), and before now."""
        self._offset = told - (asked + monotonic()) / 2

    def now(self) -> float:
        return monotonic() + self._offset if self._clock is None else self._clock()
