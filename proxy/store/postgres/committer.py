"""The connections: each takes all that waits as one batch, one statement, one transaction.

    queue ──▶ connection 1  [ v1_run ] ──▶ results, after the commit
         └──▶ connection 2  …

What can go wrong:

    lost      the connection broke while a batch ran: it is not known whether it was committed, and
              its futures say so; the connection is opened again
    down      no connection: what is asked for is refused until there is one again
    full      the server's disk: each group of the batch runs alone, new ones are refused
    slow      the server ended the statement in time: the batch is refused, nothing was done
    a fault   of one operation: the others of its batch run again without it
"""

import asyncio
import logging
from asyncio import Future, Task
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import uniform
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, Final

from proxy.errors import InternalError, StoreFailed, StoreFull
from proxy.store.group import Group, tell
from proxy.store.postgres.batches import brings_forward, decode, encode
from proxy.store.postgres.connection import (
    Failure,
    Lost,
    Opened,
    PostgresConfig,
    Unreachable,
    drop,
    meaning,
    open_connection,
    sentence,
)
from proxy.store.postgres.limited import limited
from proxy.store.postgres.server_clock import ServerClock
from proxy.store.postgres.upkeep import Upkeep
from proxy.store.records import ClaimedEntries, ClaimedSagas
from proxy.store.store import CannotOpen, StoreStats

if TYPE_CHECKING:
    from asyncpg import Connection

MOST_IN_ONE: Final = 128
"""Groups of operations in one batch. Each may take some of the server's locks, which are counted
(max_locks_per_transaction × max_connections)."""
BYTES_IN_ONE: Final = 4 * 1024 * 1024
AGAIN: Final = 3
"""How often a batch that met another transaction is run again."""
FIRST_WAIT: Final = 0.05
LONGEST_WAIT: Final = 5.0
"""Seconds between two attempts to connect."""
_FULL_SECONDS: Final = 1.0
"""Seconds after which a full disk is tried again."""
_NO_ROOM: Final = "The store's server has no room on its disk."

_log = logging.getLogger("proxy.store")


class Committer:
    """`failure`: a sentence while there is no connection. `clock`: what it knows of the server's.

    A `clock` that is given counts instead.
    """

    def __init__(
        self,
        config: PostgresConfig,
        stats: StoreStats,
        clock: Callable[[], float] | None,
        due_earlier: Callable[[], None],
    ) -> None:
        self.failure = "it has not been reached yet"
        self.clock = ServerClock(clock)
        self._config = config
        self._stats = stats
        self._clock = clock
        self._due_earlier = due_earlier
        self._queue: deque[Group] = deque()
        self._idle: deque[Future[None]] = deque()
        self._woken = False
        self._live = 0
        self._known = False
        self._closing = False
        self._ending = asyncio.Event()
        self._full_until = 0.0
        self._told = ""
        self._upkeep = Upkeep(
            config, stats, up=lambda: self.up, submit=self.submit, due_earlier=due_earlier
        )
        self._tasks: list[Task[None]] = []

    @property
    def up(self) -> bool:
        return self._live > 0

    @property
    def full(self) -> bool:
        return monotonic() < self._full_until

    # --- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the first connection. Raises CannotOpen; a server that is away comes later."""
        first: Opened | None = None
        try:
            first = await open_connection(self._config)
            self.clock.learn(*first.clock)
            self._tell_sync(first)
        except Unreachable as error:
            self._down(str(error))
        loop = asyncio.get_running_loop()
        for number in range(self._config.connections):
            self._tasks.append(loop.create_task(self._serve(first if number == 0 else None)))
        if first is not None:
            self._live += 1  # the first task's, which has not run yet
            self._up()
        self._tasks.append(loop.create_task(self._upkeep.poll()))
        self._tasks.append(loop.create_task(self._upkeep.sweep()))

    async def stop(self) -> None:
        """Commit what waits, then close."""
        self._closing = True
        self._ending.set()
        for waiting in self._idle:
            if not waiting.done():
                waiting.set_result(None)
        serving, others = self._tasks[:-2], self._tasks[-2:]
        for task in others:
            task.cancel()
        if serving and self._live:
            await asyncio.wait(serving, timeout=2 * self._config.timeout)
        for task in serving:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._refuse_waiting("The store is closed.")

    async def _pause(self, seconds: float) -> None:
        """Unless the store is closed meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()

    def submit(self, group: Group) -> None:
        if not self._live or self._closing:
            self._fail(group, f"The store cannot be used: {self.failure or 'it is closed'}.")
            return
        self._queue.append(group)
        self._wake()

    def _wake(self) -> None:
        """One connection takes all that comes in this turn of the loop."""
        if self._woken:
            return
        while self._idle:
            waiting = self._idle.popleft()
            if not waiting.done():
                waiting.set_result(None)
                self._woken = True
                return

    # --- a connection -----------------------------------------------------------------------------

    async def _serve(self, opened: Opened | None) -> None:
        """Keep one connection open, and do what waits over it."""
        wait = FIRST_WAIT
        while opened is not None or not self._closing:
            if opened is None:
                try:
                    opened = await open_connection(self._config, known=self._known)
                except (Unreachable, CannotOpen) as error:
                    self._down(str(error))
                    await self._pause(uniform(wait / 2, wait))
                    wait = min(2 * wait, LONGEST_WAIT)
                    continue
                self._live += 1
                self.clock.learn(*opened.clock)
                self._up()
            wait = FIRST_WAIT
            mine, opened = opened, None
            try:
                await self._work(mine)
            except Lost as error:
                self._lost(str(error))
            finally:
                await self._close(mine.connection)

    async def _close(self, connection: "Connection") -> None:
        if not self._closing or connection.is_closed():
            await drop(connection)
            return
        with suppress(Exception):  # it is left anyhow
            await connection.close(timeout=self._config.timeout)

    async def _work(self, opened: Opened) -> None:
        """Until it is closed. Raises Lost."""
        opened.connection.add_termination_listener(self._ended)
        while True:
            batch = await self._next_batch(opened.connection)
            if batch is None:
                return
            await self._process(opened, batch)
            await self._upkeep.measure(opened.connection)

    def _ended(self, connection: "Connection") -> None:
        """It broke; the one that waits with it must notice."""
        self._woken = False
        waiting, self._idle = self._idle, deque()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _next_batch(self, connection: "Connection") -> list[Group] | None:
        while not self._queue:
            if connection.is_closed():
                raise Lost("the server ended the connection")
            if self._closing:
                return None
            waiting: Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(waiting)
            await waiting
            self._woken = False
        if connection.is_closed():
            self._wake()
            raise Lost("the server ended the connection")
        batch: list[Group] = []
        size = 0
        while self._queue and len(batch) < MOST_IN_ONE and size < BYTES_IN_ONE:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        if self._queue:
            self._wake()
        return batch

    # --- a batch ----------------------------------------------------------------------------------

    async def _process(self, opened: Opened, batch: list[Group]) -> None:
        """Run it; where that fails, what can be done without the rest. Raises Lost."""
        todo: deque[list[Group]] = deque([batch])
        tries = 0
        while todo:
            part = todo.popleft()
            try:
                await self._run(opened, part)
                tries = 0
            except Exception as error:  # noqa: BLE001 - a fault in one operation must not affect others
                kind = meaning(error)
                if kind in (Failure.LOST, Failure.REFUSED):
                    self._give_up(kind, error, part, todo)
                elif kind is Failure.SLOW:
                    for group in part:
                        self._fail(group, f"The store did nothing: {sentence(error)}.")
                elif len(part) > 1:
                    todo.extendleft([group] for group in reversed(part))
                elif kind is Failure.AGAIN and tries < AGAIN:
                    tries += 1
                    todo.appendleft(part)
                else:
                    tries = 0
                    self._tell_fault(kind, error, part[0])

    def _give_up(
        self, kind: Failure, error: Exception, part: list[Group], rest: deque[list[Group]]
    ) -> None:
        why = sentence(error)
        unknown = "The connection to the store was lost, and it is not known what it did"
        refused = "The store did nothing"
        for group in part:
            self._fail(group, f"{unknown if kind is Failure.LOST else refused}: {why}.")
        for groups in rest:
            for group in groups:
                self._fail(group, f"{refused}: {why}.")
        raise Lost(why)

    def _tell_fault(self, kind: Failure, error: Exception, group: Group) -> None:
        if kind is Failure.FULL:
            self._full_until = monotonic() + _FULL_SECONDS
            self._stats.refused_full += 1
            tell(group.future, error=StoreFull(_NO_ROOM))
        elif kind is Failure.AGAIN:
            self._fail(group, f"The store did nothing: {sentence(error)}.")
        else:
            _log.error("internal error in the store", exc_info=error)
            tell(group.future, error=InternalError("This is a bug of the proxy's store."))

    async def _run(self, opened: Opened, batch: list[Group]) -> None:
        started, asked = perf_counter(), monotonic()
        calls = encode(batch)
        now = None if self._clock is None else self._clock()
        async with limited(opened.connection, self._config.timeout):
            rows = await opened.run(*calls.arguments(now))
        results = decode(batch, rows)
        self._stats.count(len(batch), perf_counter() - started)
        earlier = False
        for group, result in zip(batch, results, strict=True):
            if isinstance(result, ClaimedEntries | ClaimedSagas) and result.now:
                self.clock.learn(result.now, asked)
            earlier = earlier or any(brings_forward(*pair) for pair in _pairs(group, result))
            tell(group.future, result)
        if earlier:
            self._due_earlier()

    def _fail(self, group: Group, why: str) -> None:
        self._stats.refused_failed += 1
        tell(group.future, error=StoreFailed(why))

    # --- up and down ------------------------------------------------------------------------------

    def _up(self) -> None:
        self._known = True
        if self._told:
            _log.warning("the store can be reached again: %s", self._config.shown)
        self.failure = self._told = ""
        self._due_earlier()

    def _lost(self, why: str) -> None:
        self._live -= 1
        if not self._closing:
            self._down(f"the store {self._config.shown} was lost: {why}")

    def _down(self, why: str) -> None:
        if self._live:
            return
        self.failure = why
        if not self._told:
            _log.error("%s; what needs it is refused until it can be reached", why)
        self._told = why
        self._refuse_waiting(f"The store cannot be used: {why}.")

    def _refuse_waiting(self, why: str) -> None:
        while self._queue:
            self._fail(self._queue.popleft(), why)

    def _tell_sync(self, opened: Opened) -> None:
        if opened.sync.startswith(("off", "local")):
            _log.warning(
                "synchronous_commit of the store's server is %s: the last promises may be lost "
                "with the server", opened.sync,
            )  # fmt: skip


def _pairs(group: Group, result: Any) -> Iterator[tuple[Any, Any]]:
    """Each operation that was committed, with its result."""
    if group.alone:
        yield group.operations[0], result
    elif result.unmet < 0:
        yield from zip(group.operations, result.results, strict=True)
