"""The Store on PostgreSQL."""

import asyncio
from collections.abc import Callable

from proxy.store.group import Group
from proxy.store.postgres.committer import Committer
from proxy.store.postgres.connection import PostgresConfig
from proxy.store.queued import QueuedStore
from proxy.store.store import StoreState


class PostgresStore(QueuedStore):
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
        super().__init__()
        self._closed = False
        self._opened = False
        self._committer = Committer(config, self.stats, clock, self._due_earlier)

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
    def state(self) -> StoreState:
        if self._closed:
            return StoreState.CLOSED
        return StoreState.OPEN if self._committer.up else StoreState.OPENING

    def now(self) -> float:
        return self._committer.clock.now()

    @property
    def full(self) -> bool:
        return self._committer.full

    @property
    def failure(self) -> str:
        return self._committer.failure if self._opened else ""

    def _queue(self) -> Callable[[Group], None] | None:
        return None if self._closed else self._committer.submit
