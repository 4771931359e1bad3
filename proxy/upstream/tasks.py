"""Keeps references to tasks that look names up and open connections, and ends them together."""

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
        """Run the coroutine. The caller adds a done callback, which a cancellation also calls."""
        task = self.loop.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        if self._closed:
            task.cancel()
        return task

    def report(self, message: str, error: BaseException) -> None:
        """Pass an unexpected error to the loop's exception handler."""
        self.loop.call_exception_handler({"message": message, "exception": error})

    def close(self) -> None:
        """Cancel all tasks; `wait_closed` waits until they have ended."""
        self._closed = True
        for task in tuple(self._running):
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when no task is left."""
        while self._running:
            await asyncio.wait(tuple(self._running))
