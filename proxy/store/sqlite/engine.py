"""The Store on SQLite."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from time import monotonic, time
from typing import Final

from proxy.store.group import Group
from proxy.store.queued import QueuedStore
from proxy.store.sqlite import entries, keys, sagas
from proxy.store.sqlite.committer import Committer
from proxy.store.sqlite.connection import MEMORY, Busy, SqliteConfig, connect
from proxy.store.sqlite.schema import MIGRATIONS
from proxy.store.sqlite.tables import Tables
from proxy.store.store import CannotOpen, StoreState

_log = logging.getLogger("proxy.store")

_LOOK_AGAIN: Final = 0.1
"""Seconds between two looks whether another process still has the file."""


class SqliteStore(QueuedStore):
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
        super().__init__()
        self.engine = "memory" if config.path == MEMORY else "sqlite"
        self._state = StoreState.OPENING
        self._dies_with_pod = dies_with_pod
        self.max_bytes = config.max_bytes
        self.freed = 0
        self._config = config
        self._clock = clock
        self._migrations = migrations
        self._committer: Committer | None = None

    async def open(self, patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        db = await self._connect(patience)
        self.freed = _free_claims(db, self._clock())
        self._committer = Committer(
            db, self._config, self._loop, self.stats, self._clock, self._due_earlier
        )
        self._committer.start()
        self._state = StoreState.OPEN

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
        if self._committer is not None and self._state is not StoreState.CLOSED:
            await asyncio.to_thread(self._committer.stop)
        self._state = StoreState.CLOSED

    def now(self) -> float:
        return self._clock()

    @property
    def state(self) -> StoreState:
        return self._state

    @property
    def full(self) -> bool:
        return self._committer is not None and self._committer.full

    @property
    def dies_with_pod(self) -> bool:
        return self._dies_with_pod or (self._committer is not None and self._committer.astray)

    @property
    def failure(self) -> str:
        return self._committer.failure if self._committer is not None else ""

    @property
    def finishes(self) -> bool:
        return self._committer is None or not self._committer.ended

    def _queue(self) -> Callable[[Group], None] | None:
        if self._committer is None or self._state is StoreState.CLOSED:
            return None
        return self._committer.submit


def _free_claims(db: sqlite3.Connection, now: float) -> int:
    tables = Tables(db)
    tables.now = now
    db.execute("BEGIN IMMEDIATE")
    freed = keys.free_claims(tables) + entries.free_claims(tables) + sagas.free_claims(tables)
    db.execute("COMMIT")
    return freed
