"""Runs a coroutine without a task: callbacks step it.

An exchange reads as one coroutine, but no task of the event loop runs it: a callback with an event
calls `wake`, and the coroutine continues at once, inside that call, to its next wait. This saves a
task (2.9 µs) and a future's turn of the loop for every wait (1.8 µs), and makes whole exchanges
testable without a loop. The price: such a coroutine may only await what ends in a bare `yield`:
`Script.news`, or the `wait` of a subclass.
"""

from collections import deque
from collections.abc import Coroutine, Generator, Iterator
from types import CoroutineType
from typing import Any, Final, cast

from proxy.errors import ProxyError
from proxy.exchange.events import ALARM
from proxy.wire.alarm import NEVER
from proxy.wire.streams import StreamHandler


class _Suspension:
    """Awaiting it suspends until `wake` is called."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        # An iterator in C: a generator for each wait would cost three times as much.
        return cast(Generator[None, None, None], iter(_ONCE))


_INTERPRETED: Final = CoroutineType
_ONCE: Final = (None,)
SUSPENDED: Final = _Suspension()
_ENDED: Final = object()


class Script(StreamHandler):
    """One coroutine. Events that arrive while it runs are delivered at its next wait.

    `until`: when its timing calls `on_due`, in monotonic seconds.
    """

    __slots__ = ("_news", "_pending", "_running", "_steps", "until")

    def __init__(self) -> None:
        # The coroutine as an iterator: `next` signals its end without an exception.
        self._steps: Iterator[None] | None = None
        self._running = False
        self._news: Any = None
        self._pending: deque[Any] | None = None
        self.until = NEVER

    @property
    def done(self) -> bool:
        return self._steps is None

    @property
    def running(self) -> bool:
        """Whether its coroutine is running now."""
        return self._running

    def start(self, coroutine: Coroutine[None, Any, None]) -> None:
        """Run up to the first wait."""
        if type(coroutine) is _INTERPRETED:
            self._steps = coroutine.__await__()
        else:  # a compiled one is its own iterator
            self._steps = cast(Iterator[None], coroutine)
        self.wake(None)

    async def news(self) -> Any:
        """Suspend until `wake` is called; returns its value."""
        await SUSPENDED
        news, self._news = self._news, None
        return news

    def on_due(self) -> None:
        """The time of `until` has come."""
        self.wake(ALARM)

    def on_sending(self, held: bytes) -> None:
        """An attempt of its own sends the request now, with this part of the body."""

    def goes_on_alone(self) -> bool:
        """Its client has left: whether it goes on nevertheless."""
        return False

    def pause_clocks(self) -> None:
        """The client's body flows: pause its deadlines."""

    def resume_clocks(self) -> None:
        """The client's body has ended: resume its deadlines."""

    def heard(self) -> Any:
        """What woke it. Raises what ends it: a failure that something woke it with."""
        happened, self._news = self._news, None
        if isinstance(happened, Script):  # an attempt is done: nearly always
            return happened
        if isinstance(happened, ProxyError):
            raise happened
        return happened

    def wake(self, value: Any) -> None:
        """Deliver `value` to the wait; no effect after the coroutine has ended."""
        if self._running:
            if self._pending is None:
                self._pending = deque()
            self._pending.append(value)
            return
        steps = self._steps
        if steps is None:
            return
        self._running = True
        try:
            self._news = value
            ended = next(steps, _ENDED) is _ENDED
            while self._pending and not ended:
                self._news = self._pending.popleft()
                ended = next(steps, _ENDED) is _ENDED
        except BaseException:
            ended = True
            raise
        finally:
            self._running = False
            if ended:
                self._steps = None
                self._pending = None
                self._news = None
