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
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import partial
from random import random
from time import monotonic
from typing import Any, Final

from proxy.config.table_model import TableConfig
from proxy.delivery.stored_request import StoredExchange, TryResult
from proxy.delivery.tables.catalog import Shape, Unusable
from proxy.delivery.tables.rows import Ending, HeldRow, told
from proxy.delivery.tables.session import Session, Unreachable, open_session
from proxy.delivery.tables.sightings import MOST, Sight, Sightings
from proxy.delivery.tables.statements import Statements
from proxy.delivery.tables.targets import Target, dead, outbox_id, unusable
from proxy.errors import (
    BulkheadFull,
    ConcurrencyLimited,
    Draining,
    InternalError,
    QueueTimeout,
)
from proxy.policies.backoff import Backoff
from proxy.policies.outbox import Fate, next_try
from proxy.templates import Unusable as NoRequest

_AGAIN: Final = 5.0
"""Seconds until an unusable table is looked at again."""
_FIRST_AGAIN: Final = 0.25
"""Seconds until a connection is tried again; they double up to `_AGAIN`."""
_CROWDED: Final = 0.1
"""Seconds of a pause if the policy's places are taken."""
_OF_PLACES: Final = frozenset({BulkheadFull.reason, QueueTimeout.reason, ConcurrencyLimited.reason})
_LONGEST_SLEEP: Final = 60.0
_COUNT: Final = 1.0
_COUNT_SHARE: Final = 50
"""Rows are counted every second, but at most this part of the time is spent on it."""
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

    `counts`: rows by status, as of a moment ago. `outcomes` counts tries.
    """

    def __init__(self, table: TableConfig, url: str, target: Target, body_limit: int) -> None:
        self.table = table
        self.url = url
        self.body_limit = body_limit
        self.state = State.CONNECTING
        self.why = ""
        self.counts: Mapping[str, Mapping[str, Any]] = {}
        self.outcomes: Counter[str] = Counter()
        self._target = target
        self._backoff = Backoff(table.outbox.backoff, random)
        self._sightings = Sightings(table.reclaim, lambda tries: self._backoff.delay(max(tries, 1)))
        self._hand: dict[str, HeldRow] = {}
        self._waiting: deque[HeldRow] = deque()
        self._flying: set[str] = set()
        self._lost: list[str] = []
        self._settle_at_once = MOST
        self._paused_until = 0.0
        self._look_at = self._renew_at = self._count_at = 0.0
        self._draining = self._over = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work())

    @property
    def busy(self) -> bool:
        """Whether a row is tried, or its result is not committed."""
        return bool(self._hand)

    @property
    def tries(self) -> list[StoredExchange]:
        """The requests in flight."""
        return self._target.tries

    @property
    def in_hand(self) -> int:
        return len(self._hand)

    @property
    def ended(self) -> bool:
        return self._task is None or self._task.done()

    def begin_drain(self) -> None:
        """Claim nothing more, and give back what is not tried yet."""
        self._draining = True
        self._give_back()
        self._wake.set()

    def retire(self) -> None:
        """The same, and end after the last commit."""
        self._over = True
        self.begin_drain()

    async def stop(self) -> None:
        """End the tries in flight without spending their attempts, and commit what is known."""
        self.retire()
        self._target.cut()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_LAST_COMMIT)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _work(self) -> None:
        again = _FIRST_AGAIN
        while not (self._over and not self._hand):
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
            except Unusable as problem:
                self._become(State.UNUSABLE, str(problem))
                await self._sleep(_AGAIN)
            except Exception:  # noqa: BLE001 - a bug must not end all deliveries
                _log.exception("internal error while rows of %s were delivered", self.table.name)
                await self._sleep(_AGAIN)
            finally:
                if session is not None:
                    await session.close()

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
        while not (self._over and not self._hand):
            if session.closed:
                raise Unreachable("the connection was lost")
            await self._look(session, sql)
            await self._cycle(session, sql)
            self._begin(shape)
            await self._count(session, sql)
            await self._sleep(self._until_next())

    async def _cycle(self, session: Session, sql: Statements) -> None:
        now = monotonic()
        finished = [row for row in self._hand.values() if row.ending is not None]
        finished = finished[: self._settle_at_once]
        renewed = self._to_renew(now)
        room = self._room(now)
        if not (finished or renewed or room):
            return
        version = ""
        settled: Sequence[Any] = ()
        claimed: Sequence[Any] = ()
        signs: Sequence[Any] = ()
        try:
            async with session.transaction():
                if room or renewed:
                    version = (await session.rows(sql.guards))[0]["version"]
                if finished:
                    settled = await self._settle(session, sql, finished)
                if renewed:
                    ids = [row.id for row in renewed]
                    versions = [row.version for row in renewed]
                    signs = await session.rows(sql.renew, ids, versions, self._lost)
                if room:
                    ready = self._sightings.ready(now)
                    hand = list(self._hand.keys() - {row["id"] for row in settled})
                    claimed = await session.rows(sql.claim, room, hand, *ready, self._lost)
        except Unreachable:
            if version:  # whether this commit is there is not known
                self._lost = [*self._lost, version][-_LOST_COMMITS:]
            raise
        if room:
            self._lost = []
        self._settled(finished, settled, sql)
        self._renewed(signs)
        taken = monotonic()
        for one in claimed:
            row = self._hand[one["id"]] = HeldRow(one, taken)
            self._waiting.append(row)

    def _room(self, now: float) -> int:
        if self._draining or now < self._paused_until:
            return 0
        return max(0, self.table.batch - len(self._hand))

    def _to_renew(self, now: float) -> list[HeldRow]:
        if now < self._renew_at:
            return []
        self._renew_at = now + self.table.reclaim / 3
        return [row for row in self._hand.values() if row.ending is None]

    def _renewed(self, signs: Sequence[Any]) -> None:
        for sign in signs:
            row = self._hand.get(sign["id"])
            if row is not None:
                row.version = sign["version"]

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
        except Unusable as problem:
            if len(finished) > 1:
                self._settle_at_once = 1  # find the row that the database refuses
            else:
                row = finished[0]
                _log.error(
                    "the result of row %s was not stored: %s",
                    outbox_id(self.table, row.id), problem,
                )  # fmt: skip
                self._hand.pop(row.id, None)
            raise

    def _settled(
        self, finished: Sequence[HeldRow], settled: Sequence[Any], sql: Statements
    ) -> None:
        versions = {row["id"]: row["version"] for row in settled}
        now = monotonic()
        for row in finished:
            self._hand.pop(row.id, None)
            version = versions.get(row.id)
            if version is None:
                _log.warning(
                    "the claim of row %s was lost: it has been changed meanwhile",
                    outbox_id(self.table, row.id),
                )
            elif row.ending is Ending.FAILED and not sql.has("due"):
                self._sightings.expect(row.id, version, now + row.wait)
        if finished and self._settle_at_once == 1 and len(self._hand) == 0:
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
            if row["id"] not in self._hand
        ]
        self._sightings.see(sights, now)

    async def _count(self, session: Session, sql: Statements) -> None:
        """Keep the counts fresh for metrics: a scrape cannot wait for a database."""
        began = monotonic()
        if began < self._count_at:
            return
        async with session.transaction():
            rows = await session.rows(sql.counts)
        self.counts = {row["status"]: dict(row) for row in rows}
        ended = monotonic()
        self._count_at = ended + max(_COUNT, _COUNT_SHARE * (ended - began))

    def _until_next(self) -> float:
        now = monotonic()
        if self._draining:
            return self._renew_at - now if self._hand else _LONGEST_SLEEP
        times = [now + self.table.poll]
        if self._paused_until > now:
            times = [min(self._paused_until, now + _LONGEST_SLEEP)]
        if self._hand:
            times.append(self._renew_at)
        due = self._sightings.next_due()
        if due is not None and self._paused_until <= now:
            times.append(due)
        return max(0.005, min(times) - now)

    # --- tries ------------------------------------------------------------------------------------

    def _begin(self, shape: Shape) -> None:
        """Begin as many tries as there are places."""
        self._shape = shape
        while self._waiting and len(self._flying) < self.table.outbox.concurrency:
            row = self._waiting.popleft()
            if row.ending is not None:
                continue
            self._flying.add(row.id)
            done = partial(self._tried, row)
            if row.too_large:
                done(*dead(f"The body has {row.length} bytes, more than {self.body_limit}."))
                continue
            try:
                self._target.send(row, shape, done)
            except NoRequest as problem:
                done(*unusable(problem))
            except LookupError:  # a reload has removed the route: this worker is about to retire
                self._flying.discard(row.id)
                row.end(Ending.GIVEN_BACK)
                self._wake.set()
            except Exception:  # noqa: BLE001 - a bug must not keep the row for ever
                _log.exception("internal error in a try of %s", outbox_id(self.table, row.id))
                done(TryResult(0, InternalError.reason, sent=False), Fate.AGAIN)

    def _tried(self, row: HeldRow, result: TryResult, fate: Fate) -> None:
        self._flying.discard(row.id)
        self._judge(row, result, fate)
        self.outcomes[_WORDS[row.ending or Ending.GIVEN_BACK]] += 1
        if row.ending is Ending.DEAD:
            _log.warning(
                "a row of an outbox table is dead", extra={"fields": {
                    "outbox_id": outbox_id(self.table, row.id), "attempts": row.attempts,
                    "status": result.status, "reason": result.reason, "error": row.error,
                }},
            )  # fmt: skip
        if self._waiting:
            self._begin(self._shape)
        self._wake.set()

    def _judge(self, row: HeldRow, result: TryResult, fate: Fate) -> None:
        rules, postponed = self.table.outbox, fate is Fate.POSTPONED
        row.attempts += not postponed
        if fate is Fate.DELIVERED:
            self._paused_until = 0.0
            row.end(Ending.DONE)
            return
        if fate is Fate.DEAD:
            row.end(Ending.DEAD, told(result))
            return
        if postponed and result.reason == Draining.reason:
            row.end(Ending.GIVEN_BACK)
            return
        following = next_try(
            fate,
            attempts=row.attempts,
            most=rules.attempts,
            left=self._left(row),
            delay=self._backoff.delay(max(row.attempts, 1)),
            retry_after=result.retry_after,
        )
        if following.spent:
            row.end(Ending.DEAD, told(result, following.spent))
        elif postponed:
            row.end(Ending.GIVEN_BACK)
            self._pause(result, following.wait)
        else:
            row.end(Ending.FAILED, told(result), following.wait)

    def _left(self, row: HeldRow) -> float:
        """Seconds of its age that are left."""
        if row.age is None:
            return float("inf")
        return self.table.outbox.max_age - row.age - (monotonic() - row.taken)

    def _pause(self, result: TryResult, wait: float) -> None:
        """Other rows would get the same refusal; another replica may have them."""
        seconds = _CROWDED if result.reason in _OF_PLACES else wait
        self._paused_until = max(self._paused_until, monotonic() + seconds)
        self._give_back()

    def _give_back(self) -> None:
        for row in self._waiting:
            row.end(Ending.GIVEN_BACK)
        self._waiting.clear()


_WORDS: Final = {
    Ending.DONE: "delivered",
    Ending.FAILED: "again",
    Ending.GIVEN_BACK: "postponed",
    Ending.DEAD: "dead",
}
