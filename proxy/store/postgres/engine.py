"""The Store on PostgreSQL."""

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from proxy.errors import StoreFailed
from proxy.store.group import Group
from proxy.store.operations import Operation
from proxy.store.postgres.committer import Committer
from proxy.store.postgres.connection import PostgresConfig
from proxy.store.records import Committed
from proxy.store.store import Store, StoreState, StoreStats

R = TypeVar("R")


class PostgresStore(Store):
    """One process's part of a store that replicas share.

    Claims of a process that died are taken over when their leases end. `clock`: for tests, instead
    of the server's.
    """

    engine = "postgresql"
    shared = True
    recovers = True
    dies_with_pod = False
    max_bytes = 0

    def __init__(self, config: PostgresConfig, *, clock: Callable[[], float] | None = None) -> None:
        self.stats = StoreStats()
        self._closed = False
        self._opened = False
        self._watchers: list[Callable[[], None]] = []
        self._committer = Committer(config, self.stats, clock, self._due_earlier)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, patience: float) -> None:
        """Does not wait for a server that cannot be reached: the connections go on trying."""
        self._loop = asyncio.get_running_loop()
        await self._committer.start()
        self._opened = True

    async def close(self) -> None:
        if self._opened and not self._closed:
            self._closed = True
            await self._committer.stop()
        self._closed = True

    @property
    def state(self) -> StoreState:  # type: ignore[override]
        if self._closed:
            return StoreState.CLOSED
        return StoreState.OPEN if self._committer.up else StoreState.OPENING

    @property
    def full(self) -> bool:  # type: ignore[override]
        return self._committer.full

    @property
    def failure(self) -> str:  # type: ignore[override]
        return self._committer.failure if self._opened else ""

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

    def _future(self) -> "Future[Any]":
        assert self._loop is not None
        return self._loop.create_future()

    def _submit(
        self, operations: Sequence[Operation[Any]], future: "Future[Any]", *, alone: bool
    ) -> None:
        if self._closed:
            future.set_exception(StoreFailed("The store is not open."))
            return
        size = sum(operation.size for operation in operations)
        self._committer.submit(Group(operations, future, alone, size))

    def _due_earlier(self) -> None:
        for changed in self._watchers:
            changed()
