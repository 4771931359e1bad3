"""All outbox tables of the process: delivered, shown, and given orders."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from proxy.config.model import Config
from proxy.config.postgres_url import without_password
from proxy.config.store_model import StoreConfig, StoreEngine, StoreUrl
from proxy.config.table_checks import url_of
from proxy.config.table_model import TableConfig
from proxy.delivery.tables.catalog import Unusable
from proxy.delivery.tables.session import Unreachable, open_session
from proxy.delivery.tables.statements import Statements
from proxy.delivery.tables.targets import SagaTarget, StartSaga, Target, UpstreamTarget, outbox_id
from proxy.delivery.tables.worker import State, TableWorker
from proxy.delivery.tries import StoredExchange
from proxy.errors import StoreFailed
from proxy.exchange.gateway import Gateway

_AT_ONCE: Final = 2
"""Connections for what operators ask."""
_BODY_LIMIT: Final = StoreConfig(StoreUrl(StoreEngine.MEMORY, "memory:")).record_bytes
"""Bytes of a row's body where there is no store whose `record_bytes` would say so."""


class OutboxTables:
    """`workers` by the name of their table."""

    def __init__(self, gateway: Gateway, start_saga: StartSaga) -> None:
        self._gateway = gateway
        self._start_saga = start_saga
        self._asking = asyncio.Semaphore(_AT_ONCE)
        self._leaving: set[TableWorker] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = False
        self.workers: dict[str, TableWorker] = {}

    # --- life -------------------------------------------------------------------------------------

    def reconfigure(self) -> None:
        """The gateway has this configuration: tables that are new or changed get a worker."""
        config = self._gateway.config
        self._leaving = {worker for worker in self._leaving if not worker.ended}
        for name in [*self.workers]:
            if not self._is_same(self.workers[name], config.outbox_tables.get(name), config):
                worker = self.workers.pop(name)
                worker.retire()
                self._leaving.add(worker)
        for name, table in config.outbox_tables.items():
            if name not in self.workers and not self._draining:
                worker = TableWorker(
                    table, url_of(table, config), self._target(table), _body_limit(config)
                )
                self.workers[name] = worker
                worker.start()

    def _is_same(self, worker: TableWorker, table: TableConfig | None, config: Config) -> bool:
        if table is None:
            return False
        present = (worker.table, worker.url, worker.body_limit)
        return present == (table, url_of(table, config), _body_limit(config))

    def _target(self, table: TableConfig) -> Target:
        if table.to.saga is not None:
            return SagaTarget(table, self._start_saga, self._run)
        return UpstreamTarget(table, self._gateway)

    def _run(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def begin_drain(self) -> None:
        """Claim nothing more: the rows are safe where they are."""
        self._draining = True
        for worker in self._all():
            worker.begin_drain()

    @property
    def busy(self) -> bool:
        """Whether the drain should wait for a try, or the commit of its result."""
        return any(worker.busy for worker in self._all())

    async def stop(self) -> None:
        await asyncio.gather(*(worker.stop() for worker in self._all()))

    def _all(self) -> list[TableWorker]:
        return [*self.workers.values(), *self._leaving]

    @property
    def tries(self) -> list[StoredExchange]:
        """The requests in flight."""
        return [one for worker in self._all() for one in worker.hand.tries]

    # --- what observers read ----------------------------------------------------------------------

    def figures(self) -> list["Figures"]:
        """Each table as a queue, for metrics."""
        return [Figures(worker) for worker in self.workers.values()]

    def ready(self) -> Mapping[str, bool]:
        """Whether the rows of each table can be delivered."""
        return {name: worker.state is State.READY for name, worker in self.workers.items()}

    @property
    def latest(self) -> list[dict[str, Any]]:
        """The tables and their rows by state, as of a moment ago."""
        return [_document(worker) for worker in self.workers.values()]

    async def rows(self, name: str, *, state: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest rows of a table. Raises LookupError, or StoreFailed if it cannot be read."""
        worker = self.workers[name]
        if state is None:
            return [_row(worker, row) for row in await self._ask(worker, "rows", limit)]
        value = getattr(worker.table.states, _STATES[state])
        return [_row(worker, row) for row in await self._ask(worker, "rows_of", limit, value)]

    async def row(self, which: str) -> dict[str, Any] | None:
        """One row, by ``TABLE/ID``."""
        name, _, row = which.partition("/")
        if name not in self.workers:
            return None
        worker = self.workers[name]
        found = await self._ask(worker, "row", row)
        return _row(worker, found[0]) if found else None

    # --- orders -----------------------------------------------------------------------------------

    async def redrive(self, which: str) -> bool:
        """Make a dead row pending; whether it was dead."""
        return await self._order(which, "redrive")

    async def cancel(self, which: str) -> bool:
        """Make a waiting row dead; whether it waited."""
        return await self._order(which, "cancel")

    async def _order(self, which: str, statement: str) -> bool:
        name, _, row = which.partition("/")
        return bool(await self._ask(self.workers[name], statement, row))

    async def redrive_many(self, name: str, limit: int) -> int:
        """Make the oldest dead rows pending. Raises LookupError."""
        return len(await self._ask(self.workers[name], "redrive_many", limit))

    async def _ask(self, worker: TableWorker, statement: str, *values: Any) -> Any:
        """Ask over a connection of its own: deliveries do not wait. Raises StoreFailed."""
        try:
            async with self._asking:
                session = await open_session(worker.url)
                try:
                    shape = await session.shape(worker.table)
                    sql = Statements(worker.table, shape, worker.body_limit)
                    async with session.transaction():
                        return await session.rows(getattr(sql, statement), *values)
                finally:
                    await session.close()
        except (Unreachable, Unusable) as problem:
            name = worker.table.name
            raise StoreFailed(f"The table of {name!r} cannot be asked: {problem}.") from None


class Figures:
    """One table as a queue, as metrics show it; seconds."""

    __slots__ = ("dead", "oldest", "outcomes", "pending", "route")

    def __init__(self, worker: TableWorker) -> None:
        told = _document(worker)
        self.route = worker.table.route_name
        self.pending: int = told["pending"] + told["failed"] + told["delivering"]
        self.dead: int = told["dead"]
        self.oldest: float = told["oldest_s"]
        self.outcomes: Mapping[str, int] = worker.hand.outcomes


_STATES: Final = {
    "pending": "pending",
    "delivering": "delivering",
    "failed": "failed",
    "dead": "dead",
    "delivered": "done",
}


def _document(worker: TableWorker) -> dict[str, Any]:
    table, counts = worker.table, worker.counts
    states = table.states
    by_value = {states.dead: "dead", states.failed: "failed", states.pending: "pending"}
    by_value[states.delivering] = "delivering"
    told: dict[str, Any] = dict.fromkeys(("pending", "delivering", "failed", "dead"), 0)
    oldest, held = 0.0, 0
    for status, row in counts.items():
        word = by_value.get(status)
        if word is None:
            continue
        told[word] += row["rows"]
        if word != "dead":
            oldest = max(oldest, row["oldest"] or 0.0)
        if word == "pending":
            held = row["held"]
    return {
        "name": table.name,
        "table": str(table.table),
        "database": without_password(worker.url),
        "state": worker.state.value,
        "why": worker.why or None,
        **told,
        "held": held if table.ordered else 0,
        "in_hand": len(worker.hand.rows),
        "oldest_s": round(oldest, 3),
        "to": f"saga {table.to.saga}" if table.to.saga else f"upstream {table.to.upstream}",
        "outcomes": dict(worker.hand.outcomes),
    }


def _row(worker: TableWorker, row: Any) -> dict[str, Any]:
    """A row as it is shown, without its body. `state`: as of an entry, None for another status."""
    states = worker.table.states
    words = {getattr(states, use): word for word, use in reversed(_STATES.items())}
    told = {
        "id": outbox_id(worker.table, row["id"]),
        "table": worker.table.name,
        "state": words.get(row["status"]),
    }
    told |= {name: row[name] for name in ("status", "key", "type", "attempts", "error")}
    times = (("created", "created"), ("claimed", "claimed"), ("due", "due"), ("done", "finished"))
    return told | {f"{word}_at": row[use] for use, word in times}


def _body_limit(config: Config) -> int:
    return _BODY_LIMIT if config.store is None else config.store.record_bytes
