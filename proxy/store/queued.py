"""What engines do alike in the event loop: operations become groups in a committer's queue."""

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from proxy.errors import StoreFailed
from proxy.store.group import Group
from proxy.store.operations import Operation
from proxy.store.records import Committed
from proxy.store.store import Store, StoreStats

R = TypeVar("R")


class QueuedStore(Store):
    """An engine sets `_loop` and opens its committer in `open`."""

    def __init__(self) -> None:
        self.stats = StoreStats()
        self._watchers: list[Callable[[], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def do(self, operation: Operation[R]) -> "Future[R]":
        future: Future[R] = self._future()
        self._submit([operation], future, alone=True)
        return future

    def commit(self, operations: Sequence[Operation[Any]]) -> "Future[Committed]":
        future: Future[Committed] = self._future()
        self._submit(operations, future, alone=False)
        return future

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)

    def _queue(self) -> Callable[[Group], None] | None:
        """Where a group goes; None unless the store is open."""
        raise NotImplementedError

    def _future(self) -> "Future[Any]":
        assert self._loop is not None
        return self._loop.create_future()

    def _submit(
        self, operations: Sequence[Operation[Any]], future: "Future[Any]", *, alone: bool
    ) -> None:
        submit = self._queue()
        if submit is None:
            future.set_exception(StoreFailed("The store is not open."))
            return
        size = 0
        for operation in operations:
            size += operation.size
        submit(Group(operations, future, alone, size))

    def _due_earlier(self) -> None:
        for changed in self._watchers:
            changed()
