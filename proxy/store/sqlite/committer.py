"""The thread with the only connection: group commit, checkpoints, expiry, and what fails.

Everything that waits in the queue goes together in one transaction; then its results are delivered,
and then the log is copied into the file if it has grown. What can go wrong:

    full      the transaction has been rolled back: the reserve is given up, each runs alone, and
              new promises are refused
    failed    an I/O error, a failed fsync, a damaged file: the store is not used again
    astray    the file is not at its path: new promises are refused, those that were made are kept
              as long as this process lives
    a fault   of one operation: the others of its transaction run again without it
"""

import logging
import sqlite3
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from math import ceil
from queue import Empty, SimpleQueue
from time import monotonic, perf_counter
from typing import Any, Final

from proxy.errors import InternalError, ProxyError, StoreFailed, StoreFull
from proxy.store.group import Group, tell
from proxy.store.records import Committed
from proxy.store.sqlite.connection import MEMORY, Failure, SqliteConfig, error_name, meaning
from proxy.store.sqlite.place import Place, left_open
from proxy.store.sqlite.reserve import Reserve
from proxy.store.sqlite.running import expire, next_expiry, run
from proxy.store.sqlite.tables import NoRoom, Tables
from proxy.store.store import StoreStats

MOST_IN_ONE: Final = 512
"""Groups of operations in one transaction."""
BYTES_IN_ONE: Final = 4 * 1024 * 1024
CHECKPOINT_BYTES: Final = 8 * 1024 * 1024
"""About the size of the log from which it is copied into the file. That waits for two flushes,
and all commits wait for it."""
_LEAST_SHARE: Final = 0.25
SWEEP_SECONDS: Final = 1.0
_FULL_SECONDS: Final = 1.0
"""Seconds after which a full disk is tried again."""
_LONGEST_RETRY: Final = 300
"""Seconds that a Retry-After asks for at most."""
_FULL: Final = "The store takes no new promises until others are kept or forgotten."

_log = logging.getLogger("proxy.store")


class Point(Enum):
    """Where a process may die, for tests: `Committer.at`."""

    BEGUN = "begun"
    EXECUTED = "executed"
    COMMITTED = "committed"
    DELIVERED = "delivered"


_Outcome = tuple["Future[Any]", Any, ProxyError | None]


class Committer:
    """`full`, `failure`, `astray` and `ended` are read by the loop. `ended`: why nothing is
    committed any more, else "". `clock` gives Unix seconds."""

    def __init__(
        self,
        db: sqlite3.Connection,
        config: SqliteConfig,
        loop: AbstractEventLoop,
        stats: StoreStats,
        clock: Callable[[], float],
        due_earlier: Callable[[], None],
    ) -> None:
        self.full = False
        self.ended = ""
        self._place = Place("" if config.path == MEMORY else config.path)
        self._db = db
        self._config = config
        self._loop = loop
        self._stats = stats
        self._clock = clock
        self._due_earlier = due_earlier
        self._tables = Tables(db)
        self._queue: SimpleQueue[Group | None] = SimpleQueue()
        self._written = 0  # at most about this, since the last checkpoint
        self._share = 1.0  # of `_written` that the last checkpoint found in the log
        self._swept_at = monotonic()
        self._unused = 0  # bytes of the file without content
        self._disk_full_until = 0.0
        self._reserve = Reserve(config.path, config.disk_reserve)
        self._closing = False
        (self._page,) = db.execute("PRAGMA page_size").fetchone()
        self._measure()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    # --- for the loop -------------------------------------------------------------------------

    @property
    def failure(self) -> str:
        return self.ended or self._place.problem

    @property
    def astray(self) -> bool:
        return bool(self._place.problem)

    def start(self) -> None:
        self._thread.start()

    def submit(self, group: Group) -> None:
        self._queue.put(group)

    def stop(self) -> None:
        """Commit what waits, then end; blocks."""
        self._queue.put(None)
        self._thread.join()

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        self._reserve.take()
        self._maintain(self._empty_log)
        while not self._closing:
            batch = self._next_batch()
            if batch:
                self._process(batch)
            if not self.ended and monotonic() - self._swept_at >= SWEEP_SECONDS:
                self._maintain(self._sweep)
        self._place.look()
        if self.astray:
            left_open.append(self._db)
            return
        if not self.ended:
            # Copies the log into the file; a failure here loses nothing, the log is kept.
            with suppress(sqlite3.Error):
                self._db.close()
        self._reserve.give()

    def _next_batch(self) -> list[Group]:
        try:
            group = self._queue.get(timeout=SWEEP_SECONDS)
        except Empty:
            return []
        batch: list[Group] = []
        size = 0
        while group is not None:
            batch.append(group)
            size += group.size
            if len(batch) >= MOST_IN_ONE or size >= BYTES_IN_ONE:
                return batch
            try:
                group = self._queue.get_nowait()
            except Empty:
                return batch
        self._closing = True
        return batch

    def _process(self, batch: list[Group]) -> None:
        outcomes = self._commit(batch)
        due_earlier, self._tables.due_earlier = self._tables.due_earlier, False
        self._deliver(outcomes, due_earlier)
        self.at(Point.DELIVERED)
        if self._log_is_long and not self.ended:
            self._maintain(self._checkpoint)

    def _commit(self, batch: list[Group]) -> list[_Outcome]:
        """Commit all of it; or, where that fails, what can be committed without the rest."""
        if self.ended:
            return [(group.future, None, self._failed()) for group in batch]
        try:
            return self._transaction(batch)
        except sqlite3.Error as error:
            kind = meaning(error)
            self._roll_back()
            if kind is Failure.FAILED:
                self._fail(error)
                return [(group.future, None, self._failed()) for group in batch]
            if kind is Failure.FULL:
                if self._disk_is_full() or len(batch) > 1:
                    return self._one_by_one(batch)
                return [self._refused(batch[0])]
            return self._one_at_fault(batch, error)
        except Exception as error:  # noqa: BLE001 - a fault in one operation must not affect others
            self._roll_back()
            return self._one_at_fault(batch, error)

    def _one_at_fault(self, batch: list[Group], error: Exception) -> list[_Outcome]:
        if len(batch) > 1:
            return self._one_by_one(batch)
        _log.error("internal error in the store", exc_info=error)
        return [(batch[0].future, None, InternalError("This is a bug of the proxy's store."))]

    def _one_by_one(self, batch: list[Group]) -> list[_Outcome]:
        return [outcome for group in batch for outcome in self._commit([group])]

    def _transaction(self, batch: list[Group]) -> list[_Outcome]:
        started = perf_counter()
        tables = self._tables
        self._place.look()
        tables.begin(self._clock(), room=not (self.astray or self._refuses_growth()))
        self._db.execute("BEGIN IMMEDIATE")
        self.at(Point.BEGUN)
        outcomes: list[_Outcome] = []
        promising: list[Group] = []
        for group in batch:
            before = tables.promises
            outcomes.append(self._run_group(group))
            if tables.promises > before:
                promising.append(group)
        tables.write_parts()
        self.at(Point.EXECUTED)
        self._db.execute("COMMIT")
        self.at(Point.COMMITTED)
        self._count(len(batch), sum(group.size for group in batch), perf_counter() - started)
        self._place.look()
        if self.astray:  # the first outcome of a future counts
            outcomes[:0] = [(group.future, None, self._failed()) for group in promising]
        return outcomes

    def _run_group(self, group: Group) -> _Outcome:
        if len(group.operations) > 1:
            return self._run_as_one(group)
        operation = group.operations[0]
        try:
            result = run(self._tables, operation, [])
        except NoRoom:
            return self._refused(group)
        if group.alone:
            return group.future, result, None
        # No savepoint: what it changed is true if its condition is not met, too (an ended lease).
        unmet = -1 if operation.met(result) else 0
        return group.future, Committed([result], unmet), None

    def _run_as_one(self, group: Group) -> _Outcome:
        tables = self._tables
        tables.write_parts()  # what other groups changed
        due_earlier = tables.due_earlier
        self._db.execute("SAVEPOINT one")
        results: list[object] = []
        unmet = -1
        try:
            for number, operation in enumerate(group.operations):
                results.append(run(tables, operation, results))
                if not operation.met(results[-1]):
                    unmet = number
                    break
            else:
                self._db.execute("RELEASE one")
                return group.future, Committed(results), None
        except NoRoom:
            pass
        self._db.execute("ROLLBACK TO one")
        self._db.execute("RELEASE one")
        tables.reload()
        tables.due_earlier = due_earlier
        if unmet < 0:
            return self._refused(group)
        return group.future, Committed(results, unmet), None

    def _roll_back(self) -> None:
        """SQLite has often done so already."""
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        if not self.ended:
            with suppress(sqlite3.Error):
                self._tables.reload()

    # --- maintenance --------------------------------------------------------------------------

    def _maintain(self, work: Callable[[], None]) -> None:
        try:
            work()
        except sqlite3.Error as error:
            self._roll_back()
            if meaning(error) is Failure.FULL:
                self._disk_is_full()
            else:
                self._fail(error)

    @property
    def _log_is_long(self) -> bool:
        # What is in the log may make the file grow: the reserve has room for that.
        room = self._reserve.held or self._reserve.given
        most = min(CHECKPOINT_BYTES, room // 2) or CHECKPOINT_BYTES
        return self._written * self._share >= most

    def _empty_log(self) -> None:
        """What killed processes have left: each may end before it has written enough to do so."""
        if self._config.path != MEMORY:
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _checkpoint(self) -> None:
        if self._config.path != MEMORY:
            _, pages, _ = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            # How many pages a commit writes depends on how near its rows are to each other.
            found = pages * self._page / max(self._written, 1)
            self._share = min(max(found, _LEAST_SHARE), 1.0)
        self._written = 0

    def _sweep(self) -> None:
        """One transaction of what has expired. Called again soon while there is more."""
        self._swept_at = monotonic()
        self._place.look()
        if self._swept_at >= self._disk_full_until and not self.astray:
            self._reserve.take()
        self._measure()
        tables = self._tables
        tables.now = self._clock()
        self._db.execute("BEGIN IMMEDIATE")
        before = self._db.total_changes
        more = expire(tables)
        self._db.execute("COMMIT")
        if self._db.total_changes > before:
            self._written += CHECKPOINT_BYTES // 4
            self._measure()
        if more:
            self._swept_at -= SWEEP_SECONDS
        if self._log_is_long:
            self._checkpoint()

    # --- room ---------------------------------------------------------------------------------

    def _measure(self) -> None:
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        self._stats.bytes = (pages - free) * self._page
        self._unused = free * self._page
        self.full = self._refuses_growth()

    def _refuses_growth(self) -> bool:
        used = self._stats.bytes
        if used >= self._config.growth_limit or not self._reserve.allows_growth(self._unused):
            return True
        return monotonic() < self._disk_full_until

    def _disk_is_full(self) -> bool:
        """True: the reserve or the log has made room, and what failed may be possible now."""
        self._disk_full_until = monotonic() + _FULL_SECONDS
        self.full = True
        freed = self._reserve.held > 0 or self._written > 0
        self._reserve.give()
        try:
            self._checkpoint()  # then the log is written from its beginning again
        except sqlite3.Error as error:
            if meaning(error) is not Failure.FULL:
                self._fail(error)
            return False
        return freed

    def _refused(self, group: Group) -> _Outcome:
        if self.astray:
            return group.future, None, self._failed()
        self._stats.refused_full += 1
        self.full = True
        return group.future, None, StoreFull(_FULL, retry_after=self._room_in())

    def _room_in(self) -> int | None:
        """Whole seconds until something expires, None where that is not what room waits for."""
        if monotonic() < self._disk_full_until:
            return None
        at = next_expiry(self._tables)
        if at is None:
            return None
        return min(_LONGEST_RETRY, max(1, ceil(at - self._tables.now)))

    # --- telling ------------------------------------------------------------------------------

    def _count(self, groups: int, size: int, seconds: float) -> None:
        self._stats.count(groups, seconds)
        self._written += size + (4 + 2 * groups) * self._page
        self._measure()

    def _fail(self, error: sqlite3.Error) -> None:
        self.ended = f"{error} ({error_name(error)})"
        _log.error("the store has failed and is not used until a restart: %s", self.ended)

    def _failed(self) -> StoreFailed:
        self._stats.refused_failed += 1
        if self.ended:
            return StoreFailed(f"The store failed and is not used until a restart: {self.ended}.")
        return StoreFailed(f"The store takes no new promises until a restart: {self.failure}.")

    def _deliver(self, outcomes: list[_Outcome], due_earlier: bool) -> None:
        # The loop is closed: the process is ending, and nothing waits for the results.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._resolve, outcomes, due_earlier)

    def _resolve(self, outcomes: list[_Outcome], due_earlier: bool) -> None:
        """In the loop."""
        for future, result, error in outcomes:
            tell(future, result, error)
        if due_earlier:
            self._due_earlier()

    def at(self, point: Point) -> None:
        """A test may replace it, to end the process at this point."""
