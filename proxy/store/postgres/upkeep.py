"""What is done now and then on a server, beside what is asked for."""

import asyncio
from asyncio import Future
from collections.abc import Callable
from random import uniform
from time import monotonic
from typing import TYPE_CHECKING, Final

from proxy.errors import ProxyError
from proxy.store.group import Group
from proxy.store.operations import Expire
from proxy.store.postgres.connection import Failure, Lost, PostgresConfig, meaning, sentence
from proxy.store.postgres.limited import limited
from proxy.store.store import StoreStats

if TYPE_CHECKING:
    from asyncpg import Connection

POLL_SECONDS: Final = 1.0
"""Between two looks at what other replicas may have left."""
SWEEP_SECONDS: Final = 5.0
MEASURE_SECONDS: Final = 30.0


class Upkeep:
    """`up` tells whether there is a connection; `submit` queues a group for the next one."""

    def __init__(
        self,
        config: PostgresConfig,
        stats: StoreStats,
        *,
        up: Callable[[], bool],
        submit: Callable[[Group], None],
        due_earlier: Callable[[], None],
    ) -> None:
        self._config = config
        self._stats = stats
        self._up = up
        self._submit = submit
        self._due_earlier = due_earlier
        self._measure_at = 0.0

    async def poll(self) -> None:
        """Other replicas leave work, and tell no one. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(uniform(POLL_SECONDS / 2, POLL_SECONDS))
            if self._up():
                self._due_earlier()

    async def sweep(self) -> None:
        """Delete what has expired. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(uniform(SWEEP_SECONDS / 2, SWEEP_SECONDS))
            more = self._up()
            while more:
                future: Future[bool] = asyncio.get_running_loop().create_future()
                self._submit(Group([Expire()], future, True, 0))
                try:
                    more = await future
                except ProxyError:
                    more = False

    async def measure(self, connection: "Connection") -> None:
        """Learn the size of the tables, if that was long ago. Raises Lost."""
        if monotonic() < self._measure_at:
            return
        self._measure_at = monotonic() + MEASURE_SECONDS
        try:
            async with limited(connection, self._config.timeout), connection.transaction():
                size = await connection.fetchval(
                    "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_catalog.pg_class c"
                    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                    " WHERE n.nspname = $1 AND c.relkind = 'r'",
                    self._config.schema,
                )
        except Exception as error:  # noqa: BLE001 - only a lost connection matters here
            if meaning(error) is Failure.LOST:
                raise Lost(sentence(error)) from None
        else:
            self._stats.bytes = size or 0
