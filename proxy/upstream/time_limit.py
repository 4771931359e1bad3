"""A time limit for a task, judged after the loop has read all input that arrived before it.

`asyncio.timeout` judges earlier: after the process was stopped, timers run first, and an answer in
the socket is never read.
"""

import asyncio
from time import monotonic
from types import TracebackType

from proxy.wire.alarm import HELD_UP, LATE

_SECOND_LOOK = 0.05
"""Seconds for a task that the loop delayed to continue: a TLS handshake takes several turns."""


class TimeLimit:
    """``with TimeLimit(loop, seconds)``: raises TimeoutError when the time has expired.

    `stood_still`: the process was stopped meanwhile, or had no CPU time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._looked = False
        self._task: asyncio.Task[object] | None = None
        self._over = False
        self.stood_still = False

    def __enter__(self) -> "TimeLimit":
        self._task = asyncio.current_task()
        self._due = monotonic() + self._seconds
        self._timer = self._loop.call_later(self._seconds, self._ring)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._cancelled_alone() and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _cancelled_alone(self) -> bool:
        """Whether this limit has cancelled the task, and nothing else has.

        A function of its own: `__exit__` must not refer to the task. Its frame belongs to the
        TimeoutError, and that to the task, which would keep each other in memory.
        """
        task, self._task = self._task, None
        return self._over and task is not None and task.uncancel() == 0

    def _ring(self) -> None:
        behind = monotonic() - self._due
        if behind > HELD_UP and not self._looked:
            self._looked = True
            self.stood_still = behind > LATE
            self._timer = self._loop.call_later(_SECOND_LOOK, self._ring)
            return
        self._over = True
        if self._task is not None:
            self._task.cancel()
