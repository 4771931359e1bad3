"""The asyncio tasks that look names up and open connections: kept referenced, ended together."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """A set of running tasks. After `close` new ones are cancelled before their first step."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it. The caller adds a done callback: it hears of a cancellation too."""
        task = self.loop.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        if self._closed:
            task.cancel()
        return task

    def report(self, message: str, error: BaseException) -> None:
        """Hand an error that nobody foresaw to the loop's exception handler."""
        self.loop.call_exception_handler({"message": message, "exception": error})

    def close(self) -> None:
        """Cancel all; `wait_closed` tells when they have ended."""
        self._closed = True
        for task in tuple(self._running):
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when no task is left."""
        while self._running:
            await asyncio.wait(tuple(self._running))
