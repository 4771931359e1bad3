"""Delivers the rows of one table.

    connect ──▶ look at the table ──▶ cycle ──▶ cycle ──▶ …        any error: connect again
                                        │
      one transaction: settle what is finished, renew what lasts, claim the heads of lanes
                                        │
                              committed ──▶ try ──▶ finished ──▶ the next cycle

What became of a row is committed before the next row of its lane can be claimed. A crash between
a try and that commit repeats the try, after `reclaim`, with the same key: at least once. A result
that could not be committed is kept, and committed when the database is back.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from time import monotonic
from typing import Any, Final

from proxy.config.table_model import TableConfig
from proxy.delivery.tables.catalog import Changed, Refused, Shape, Unusable
from proxy.delivery.tables.hand import Hand
from proxy.delivery.tables.rows import Ending, HeldRow
from proxy.delivery.tables.session import Session, Unreachable, open_session
from proxy.delivery.tables.sightings import MOST, Sight, Sightings
from proxy.delivery.tables.statements import Statements
from proxy.delivery.tables.targets import Target, outbox_id
from proxy.exchange.lease import present

_AGAIN: Final = 5.0
"""Seconds until an unusable table is looked at again."""
_FIRST_AGAIN: Final = 0.25
"""Seconds until a connection is tried again; they double up to `_AGAIN`."""
_LONGEST_SLEEP: Final = 60.0
_COUNT: Final = 1.0
_COUNT_SHARE: Final = 50
"""Rows are counted every second, but at most this part of the time is spent on it."""
_NEAR: Final = 1000
_ALL: Final = 1 << 40
"""Of the oldest rows, how many a claim looks at."""
_WIDE_SHARE: Final = 10
_LOCKED: Final = 0.05
"""Seconds until a row that another session has locked is settled."""
_LOST_COMMITS: Final = 10
_LAST_COMMIT: Final = 2.0
"""Seconds for the last commit when the process ends."""

_log = logging.getLogger("proxy.outbox")


class State(Enum):
    """Whether a table's rows can be delivered."""

    CONNECTING = "connecting"
    READY = "ready"
    UNREACHABLE = "unreachable"  # the database does not answer
    UNUSABLE = "unusable"  # table, columns or rights are not as they must be


class TableWorker:
    """One table, under one configuration. `why` says what is wrong unless it is ready.

    `counts`: rows by status, as of a moment ago. `hand`: those that it has.
    """

    def __init__(self, table: TableConfig, url: str, target: Target, body_limit: int) -> None:
        self.table = table
        self.url = url
        self.body_limit = body_limit
        self.state = State.CONNECTING
        self.why = ""
        self.counts: Mapping[str, Mapping[str, Any]] = {}
        self._wake = asyncio.Event()
        self.hand = hand = Hand(table, target, body_limit, self._wake)
        self._sightings = Sightings(table.reclaim, lambda tries: hand.backoff.delay(max(tries, 1)))
        self._lost: list[str] = []
        self._settle_at_once = MOST
        self._wide, self._wide_at = False, 0.0
        self._look_at = self._renew_at = self._count_at = 0.0
        self._draining = self._over = False
        self._task: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work())

    @property
    def busy(self) -> bool:
        """Whether a row is tried, or its result is not committed."""
        return bool(self.hand.rows)

    @property
    def ended(self) -> bool:
        return self._task is None or self._task.done()

    def begin_drain(self) -> None:
        """Claim nothing more, and give back what is not tried yet."""
        self._draining = True
        self.hand.give_back()

    def retire(self) -> None:
        """The same, and end after the last commit."""
        self._over = True
        self.begin_drain()

    async def stop(self) -> None:
        """End the tries in flight without spending their attempts, and commit what is known."""
        self.retire()
        self.hand.cut()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_LAST_COMMIT)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _work(self) -> None:
        again = _FIRST_AGAIN
        while not (self._over and not self.hand.rows):
            self.hand.end_overdue()
            session: Session | None = None
            try:
                session = await open_session(self.url)
                shape = await session.shape(self.table)
                self._become(State.READY, "")
                again = _FIRST_AGAIN
                await self._deliver(session, shape)
            except Unreachable as problem:
                self._become(State.UNREACHABLE, str(problem))
                await self._sleep(again)
                again = min(_AGAIN, 2 * again)
            except Changed:
                fields = {"table": self.table.name}
                _log.warning(
                    "the outbox table has been changed: it is looked at again",
                    extra={"fields": fields},
                )
                self.hand.give_back()  # they were read as the table was
            except Unusable as problem:
                self._become(State.UNUSABLE, str(problem))
                if self._over:
                    self._give_up(str(problem))
                await self._sleep(_AGAIN)
            except Exception:  # noqa: BLE001 - a bug must not end all deliveries
                _log.exception("internal error while rows of %s were delivered", self.table.name)
                await self._sleep(_AGAIN)
            finally:
                if session is not None:
                    await session.close()

    def _give_up(self, why: str) -> None:
        """The configuration names this table no more: its columns may stay as they are."""
        for row in self.hand.finished:
            _log.error(
                "the result of row %s was not stored: %s", outbox_id(self.table, row.id), why
            )
            del self.hand.rows[row.id]

    def _become(self, state: State, why: str) -> None:
        if (state, why) == (self.state, self.why):
            return
        before, self.state, self.why = self.state, state, why
        fields = {"table": self.table.name}
        if state is State.READY:
            if before is not State.CONNECTING:
                _log.info("rows of the outbox table are delivered again", extra={"fields": fields})
        else:
            fields["state"] = state.value
            _log.error("no row of the outbox table is delivered: %s", why, extra={"fields": fields})

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    # --- cycles -----------------------------------------------------------------------------------

    async def _deliver(self, session: Session, shape: Shape) -> None:
        """Cycle until the table is given up. Raises Unreachable and Unusable."""
        sql = Statements(self.table, shape, self.body_limit)
        self._look_at = self._count_at = 0.0
        session.on_lost(self._wake.set)
        if self.table.notify is not None:
            await session.listen(self.table.notify, self._wake.set)
        while not (self._over and not self.hand.rows):
            if session.closed:
                raise Unreachable("the connection was lost")
            try:
                await self._look(session, sql)
                await self._cycle(session, sql, shape)
                self.hand.begin(shape)
                await self._count(session, sql, shape)
            except (Changed, Refused):
                raise
            except Unusable:
                await session.check(self.table, shape)  # it may be usable as it is now
                raise
            await self._sleep(self._until_next())

    async def _cycle(self, session: Session, sql: Statements, shape: Shape) -> None:
        """Settle finished rows, renew the claims of others, and claim new ones: one transaction."""
        now, since = monotonic(), present()
        finished = self.hand.finished[: self._settle_at_once]
        renewed = self._to_renew(now)
        room = self._room(now)
        if not (finished or renewed or room):
            return
        version = ""
        settled: Sequence[Any] = ()
        claimed: Sequence[Any] = ()
        still: Sequence[Any] = ()
        signs: Sequence[Any] = ()
        lost: set[str] = set()
        try:
            async with session.transaction():
                if room or renewed:
                    version = (await session.rows(sql.guards))[0]["version"]
                if finished:
                    settled = await self._settle(session, sql, finished)
                    still = await self._unsettled(session, sql, finished, settled)
                if renewed:
                    signs, lost = await self._renew(session, sql, renewed)
                if room:
                    hand = self.hand.rows.keys() - {row["id"] for row in settled}
                    claimed = await self._claim(session, sql, room, list(hand), now)
                await session.check(self.table, shape)
        except Unreachable:
            if version:  # whether this commit is there is not known
                self._lost = [*self._lost, version][-_LOST_COMMITS:]
            raise
        if room:
            self._lost = []
        left = {row["id"] for row in still}
        self._settled([row for row in finished if row.id not in left], settled, sql)
        for sign in signs:
            self.hand.renewed(sign["id"], sign["version"], since)
        self.hand.lost(lost)
        for one in claimed:
            self.hand.take(one, now, since)

    async def _renew(
        self, session: Session, sql: Statements, renewed: list[HeldRow]
    ) -> tuple[Sequence[Any], set[str]]:
        """Renew the claims of these rows: their new signs, and the ids of claims that were lost."""
        ids = [row.id for row in renewed]
        versions = [row.version for row in renewed]
        signs = await session.rows(sql.renew, ids, versions, self._lost)
        kept = await self._unsettled(session, sql, renewed, signs)
        return signs, set(ids) - {row["id"] for row in (*signs, *kept)}

    async def _claim(
        self, session: Session, sql: Statements, room: int, hand: list[str], now: float
    ) -> Sequence[Any]:
        """Claim at most `room` rows, except those in `hand`."""
        window = _ALL if self._wide else max(_NEAR, 10 * self.table.batch)
        ready = self._sightings.ready(now)
        began = monotonic()
        claimed = await session.rows(sql.claim, room, hand, *ready, self._lost, window)
        self._widen(room, len(claimed), window, monotonic() - began)
        return claimed

    def _widen(self, room: int, claimed: int, window: int, seconds: float) -> None:
        """Whether the next claim looks at all rows.

        The oldest ones may all be of lanes that wait. To look at all costs time that grows with
        their number, so it is done again only while it finds enough, or after a while.
        """
        now = monotonic()
        if self._wide:
            self._wide = claimed == room
            self._wide_at = now + max(self.table.poll, _WIDE_SHARE * seconds)
        elif claimed < room and now >= self._wide_at and self._unfinished > window:
            self._wide = True
            self._wake.set()

    @property
    def _unfinished(self) -> int:
        dead = self.table.states.dead
        return sum(row["rows"] for status, row in self.counts.items() if status != dead)

    async def _unsettled(
        self, session: Session, sql: Statements, finished: Sequence[HeldRow], settled: Sequence[Any]
    ) -> Sequence[Any]:
        """Those that another session has locked: they are written later."""
        done = {row["id"] for row in settled}
        missing = [row for row in finished if row.id not in done]
        if not missing:
            return ()
        ids, versions = [row.id for row in missing], [row.version for row in missing]
        return await session.rows(sql.still, ids, versions, self._lost)

    def _room(self, now: float) -> int:
        return 0 if self._draining else self.hand.room(now)

    def _to_renew(self, now: float) -> list[HeldRow]:
        if now < self._renew_at:
            return []
        self._renew_at = now + self.table.reclaim / 3
        return self.hand.lasting

    async def _settle(
        self, session: Session, sql: Statements, finished: Sequence[HeldRow]
    ) -> Sequence[Any]:
        columns = [
            [row.id for row in finished],
            [row.version for row in finished],
            [row.ending.value for row in finished if row.ending is not None],
            [row.attempts for row in finished],
            [
                row.error if row.error is None else row.error[: sql.longest_error]
                for row in finished
            ],
            [row.wait for row in finished],
        ]
        try:
            return await session.rows(sql.settle, *columns, self._lost)
        except Refused as problem:
            if len(finished) > 1:
                self._settle_at_once = 1  # find the row that the database refuses
            else:
                row = finished[0]
                _log.error(
                    "the result of row %s was not stored: %s",
                    outbox_id(self.table, row.id), problem,
                )  # fmt: skip
                self.hand.rows.pop(row.id, None)
            raise

    def _settled(
        self, finished: Sequence[HeldRow], settled: Sequence[Any], sql: Statements
    ) -> None:
        versions = {row["id"]: row["version"] for row in settled}
        now = monotonic()
        for row in finished:
            self.hand.rows.pop(row.id, None)
            version = versions.get(row.id)
            if version is None:
                _log.warning(
                    "the claim of row %s was lost: it has been changed meanwhile",
                    outbox_id(self.table, row.id),
                )
            elif row.ending is Ending.FAILED and not sql.has("due"):
                self._sightings.expect(row.id, version, now + row.wait)
        if finished and self._settle_at_once == 1 and not self.hand.rows:
            self._settle_at_once = MOST

    async def _look(self, session: Session, sql: Statements) -> None:
        """Watch rows whose time no column tells."""
        now = monotonic()
        if now < self._look_at or not self._room(now):
            return
        self._look_at = now + self.table.poll
        async with session.transaction():
            rows = await session.rows(sql.sight, MOST)
        sights = [
            Sight(row["id"], row["version"], row["delivering"], row["attempts"])
            for row in rows
            if row["id"] not in self.hand.rows
        ]
        self._sightings.see(sights, now)

    async def _count(self, session: Session, sql: Statements, shape: Shape) -> None:
        """Keep the counts fresh for metrics: a scrape cannot wait for a database."""
        began = monotonic()
        if began < self._count_at:
            return
        async with session.transaction():
            rows = await session.rows(sql.counts)
            await session.check(self.table, shape)
        self.counts = {row["status"]: dict(row) for row in rows}
        ended = monotonic()
        self._count_at = ended + max(_COUNT, _COUNT_SHARE * (ended - began))

    def _until_next(self) -> float:
        now = monotonic()
        if self._draining:
            return self._renew_at - now if self.hand.rows else _LONGEST_SLEEP
        times = [now + (_LOCKED if self.hand.finished else self.table.poll)]
        if self.hand.paused_until > now:
            times = [min(self.hand.paused_until, now + _LONGEST_SLEEP)]
        if self.hand.rows:
            times.append(self._renew_at)
        due = self._sightings.next_due()
        if due is not None and self.hand.paused_until <= now:
            times.append(due)
        return max(0.005, min(times) - now)
