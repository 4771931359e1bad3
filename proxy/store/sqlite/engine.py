"""The Store on SQLite."""

import asyncio
import logging
import sqlite3
from asyncio import Future
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any, Final, TypeVar

from proxy.errors import StoreFailed
from proxy.store.group import Group
from proxy.store.operations import Operation
from proxy.store.records import Committed
from proxy.store.sqlite import entries, keys, sagas
from proxy.store.sqlite.committer import Committer
from proxy.store.sqlite.connection import MEMORY, Busy, SqliteConfig, connect
from proxy.store.sqlite.schema import MIGRATIONS
from proxy.store.sqlite.tables import Tables
from proxy.store.store import CannotOpen, Store, StoreState, StoreStats

R = TypeVar("R")

_log = logging.getLogger("proxy.store")

_LOOK_AGAIN: Final = 0.1
"""Seconds between two looks whether another process still has the file."""


class SqliteStore(Store):
    """One process's store in one file, or in memory."""

    shared = False

    def __init__(
        self,
        config: SqliteConfig,
        *,
        dies_with_pod: bool = True,
        clock: Callable[[], float] = time,
        migrations: tuple[str, ...] = MIGRATIONS,
    ) -> None:
        self.engine = "memory" if config.path == MEMORY else "sqlite"
        self.state = StoreState.OPENING
        self.dies_with_pod = dies_with_pod
        self.max_bytes = config.max_bytes
        self.stats = StoreStats()
        self.freed = 0
        self._config = config
        self._clock = clock
        self._migrations = migrations
        self._watchers: list[Callable[[], None]] = []
        self._committer: Committer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        db = await self._connect(patience)
        self.freed = _free_claims(db, self._clock())
        self._committer = Committer(
            db, self._config, self._loop, self.stats, self._clock, self._due_earlier
        )
        self._committer.start()
        self.state = StoreState.OPEN

    async def _connect(self, patience: float) -> sqlite3.Connection:
        """The connection belongs to the committer's thread from then on."""
        give_up_at = monotonic() + patience
        told = False
        while True:
            try:
                return await asyncio.to_thread(connect, self._config, self._migrations)
            except Busy:
                if monotonic() >= give_up_at:
                    raise CannotOpen(
                        f"the store {self._config.path} is in use by another process, and still "
                        f"was after {patience:g} s (drain.timeout)"
                    ) from None
                if not told:
                    told = True
                    _log.warning("waiting for the store: another process has its file")
            await asyncio.sleep(_LOOK_AGAIN)

    async def close(self) -> None:
        if self._committer is not None and self.state is not StoreState.CLOSED:
            await asyncio.to_thread(self._committer.stop)
        self.state = StoreState.CLOSED

    @property
    def full(self) -> bool:  # type: ignore[override]  # only read
        return self._committer is not None and self._committer.full

    @property
    def failure(self) -> str:  # type: ignore[override]  # only read
        return self._committer.failure if self._committer is not None else ""

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
        committer = self._committer
        if committer is None or self.state is StoreState.CLOSED:
            future.set_exception(StoreFailed("The store is not open."))
            return
        size = 0
        for operation in operations:
            size += operation.size
        committer.submit(Group(operations, future, alone, size))

    def _due_earlier(self) -> None:
        for changed in self._watchers:
            changed()


def _free_claims(db: sqlite3.Connection, now: float) -> int:
    tables = Tables(db)
    tables.now = now
    db.execute("BEGIN IMMEDIATE")
    freed = keys.free_claims(tables) + entries.free_claims(tables) + sagas.free_claims(tables)
    db.execute("COMMIT")
    return freed
