"""The rows that a proxy has claimed: waiting, tried now, or finished and not committed.

taken ──▶ waiting ──▶ a try ──▶ finished ──▶ committed by the worker, and forgotten
             └──────── given back ──┘
"""

import asyncio
import logging
from collections import Counter, deque
from functools import partial
from random import random
from time import monotonic
from typing import Any, Final

from proxy.config.table_model import TableConfig
from proxy.delivery.stored_request import CROWDED, TryResult
from proxy.delivery.tables.catalog import Shape
from proxy.delivery.tables.rows import Ending, HeldRow, told
from proxy.delivery.tables.targets import Target, dead, outbox_id, unusable
from proxy.delivery.tries import StoredExchange
from proxy.errors import ClaimLost, InternalError
from proxy.exchange.lease import Lease, Moment
from proxy.policies.backoff import Backoff
from proxy.policies.outbox import Fate, next_try
from proxy.templates import Unusable as NoRequest

_log = logging.getLogger("proxy.outbox")


class Hand:
    """At most `batch` rows, by id, of which at most `outbox.concurrency` are tried at once.

    `paused_until` (monotonic): until then no try makes sense. `outcomes` counts tries. `changed` is
    set when there is something to commit.
    """

    def __init__(
        self, table: TableConfig, target: Target, body_limit: int, changed: asyncio.Event
    ) -> None:
        self._table = table
        self._target = target
        self._body_limit = body_limit
        self._changed = changed
        self._waiting: deque[HeldRow] = deque()
        self._flying: set[str] = set()
        self.backoff = Backoff(table.outbox.backoff, random)
        self.rows: dict[str, HeldRow] = {}
        self.paused_until = 0.0
        self.outcomes: Counter[str] = Counter()

    @property
    def tries(self) -> list[StoredExchange]:
        """The requests in flight."""
        return self._target.tries

    @property
    def finished(self) -> list[HeldRow]:
        """Those whose ending is to be committed."""
        return [row for row in self.rows.values() if row.ending is not None]

    @property
    def lasting(self) -> list[HeldRow]:
        """Those that wait, or are tried now."""
        return [row for row in self.rows.values() if row.ending is None]

    def room(self, now: float) -> int:
        """How many other rows may be claimed; none while enough wait here."""
        if now < self.paused_until or len(self._waiting) >= self._table.outbox.concurrency:
            return 0
        return max(0, self._table.batch - len(self.rows))

    def take(self, claimed: Any, now: float, since: Moment) -> None:
        """A row of the statement `claim`, which began then."""
        lease = Lease(self._table.reclaim, since, _lost)
        row = self.rows[claimed["id"]] = HeldRow(claimed, now, lease)
        self._waiting.append(row)

    def renewed(self, row_id: str, version: str, since: Moment) -> None:
        """A row has another version, which this proxy has made."""
        row = self.rows.get(row_id)
        if row is not None:
            row.version = version
            row.lease.renew(since)

    def lost(self, ids: set[str]) -> None:
        """Others have changed these rows: what waits is not tried, and tries in flight end."""
        for row in self._waiting:
            if row.id in ids:
                row.end(Ending.GIVEN_BACK)
                self._changed.set()
        for row_id in ids & self._flying:
            self.rows[row_id].lease.end()

    def end_overdue(self) -> None:
        """The database is away: end the tries whose claims could not be renewed in time."""
        self.lost({row.id for row in self.lasting if row.lease.over})

    def cut(self) -> None:
        """End all tries; each counts as postponed, unless a response's head has arrived."""
        self._target.cut()

    def give_back(self) -> None:
        """End what waits for its try."""
        for row in self._waiting:
            row.end(Ending.GIVEN_BACK)
        self._waiting.clear()
        self._changed.set()

    # --- tries ------------------------------------------------------------------------------------

    def begin(self, shape: Shape) -> None:
        """Begin as many tries as there are places."""
        self._shape = shape
        while self._waiting and len(self._flying) < self._table.outbox.concurrency:
            row = self._waiting.popleft()
            if row.ending is not None:
                continue
            if row.lease.over:
                # This proxy was paused: another one may have had the row meanwhile.
                row.end(Ending.GIVEN_BACK)
                self._changed.set()
                continue
            self._flying.add(row.id)
            done = partial(self._tried, row)
            if row.too_large:
                done(*dead(f"The body has {row.length} bytes, more than {self._body_limit}."))
                continue
            try:
                self._target.send(row, shape, done)
            except NoRequest as problem:
                done(*unusable(problem))
            except LookupError:  # a reload has removed the route: this worker is about to retire
                self._flying.discard(row.id)
                row.end(Ending.GIVEN_BACK)
                self._changed.set()
            except Exception:  # noqa: BLE001 - a bug must not keep the row for ever
                _log.exception("internal error in a try of %s", outbox_id(self._table, row.id))
                done(TryResult(0, InternalError.reason, sent=False), Fate.AGAIN)

    def _tried(self, row: HeldRow, result: TryResult, fate: Fate) -> None:
        self._flying.discard(row.id)
        self._judge(row, result, fate)
        self.outcomes[_WORDS[row.ending or Ending.GIVEN_BACK]] += 1
        if row.ending is Ending.DEAD:
            _log.warning(
                "a row of an outbox table is dead", extra={"fields": {
                    "outbox_id": outbox_id(self._table, row.id), "attempts": row.attempts,
                    "status": result.status, "reason": result.reason, "error": row.error,
                }},
            )  # fmt: skip
        if self._waiting:
            self.begin(self._shape)
        self._changed.set()

    def _judge(self, row: HeldRow, result: TryResult, fate: Fate) -> None:
        rules, postponed = self._table.outbox, fate is Fate.POSTPONED
        row.attempts += not postponed
        if fate is Fate.DELIVERED:
            self.paused_until = 0.0
            row.end(Ending.DONE)
            return
        if fate is Fate.DEAD:
            row.end(Ending.DEAD, told(result))
            return
        if postponed and result.ended_here:
            row.end(Ending.GIVEN_BACK)
            return
        following = next_try(
            fate,
            attempts=row.attempts,
            most=rules.attempts,
            left=self._left(row),
            delay=self.backoff.delay(max(row.attempts, 1)),
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
        return self._table.outbox.max_age - row.age - (monotonic() - row.taken)

    def _pause(self, result: TryResult, wait: float) -> None:
        """Other rows would get the same refusal; another replica may have them."""
        seconds = CROWDED if result.crowded_out else wait
        self.paused_until = max(self.paused_until, monotonic() + seconds)
        self.give_back()


def _lost() -> ClaimLost:
    return ClaimLost("The claim ended before the row was sent: another process may have it.")


_WORDS: Final = {
    Ending.DONE: "delivered",
    Ending.FAILED: "again",
    Ending.GIVEN_BACK: "postponed",
    Ending.DEAD: "dead",
}
