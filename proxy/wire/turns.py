"""Work that continues in a later turn of the event loop, so that no peer makes others wait.

A connection processes a small portion of each read at once. The rest waits in the loop's queue,
which all connections share, a portion at a time. A thousand floods therefore take no more of a
turn than one, and a connection with little work never waits for them.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TypeAlias

TURN_SECONDS = 0.001
"""Maximum time of the whole queue in one turn of the loop, plus at most one portion.

A request takes about three turns, and may take at most 20 ms longer beside a flood.
"""

Portion: TypeAlias = Callable[[], None]


class WorkQueue:
    """Portions of work of one event loop, in order."""

    __slots__ = ("_scheduled", "_waiting", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[Portion] = deque()
        self._scheduled = False

    def put(self, portion: Portion) -> None:
        self._waiting.append(portion)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        end = monotonic() + TURN_SECONDS
        try:
            while self._waiting:
                self._waiting.popleft()()
                if monotonic() >= end:
                    break
        finally:
            self._scheduled = False
            if self._waiting:
                self._schedule()


_queue: WorkQueue | None = None


def do_later(portion: Portion) -> None:
    """Let the running loop call `portion` once, in one of its next turns."""
    global _queue  # a process has one loop; tests have one after the other
    loop = asyncio.get_running_loop()
    if _queue is None or _queue.loop is not loop:
        _queue = WorkQueue(loop)
    _queue.put(portion)
