"""The outbox: accepting, delivering, and operators' orders, over one store."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any

from proxy.delivery.accepting import Accepting
from proxy.delivery.documents import details_of, lane_of, queue_of, summary_of
from proxy.delivery.entries import StoredHead
from proxy.delivery.identities import Identities
from proxy.delivery.places import OutboxPlaces
from proxy.delivery.tries import StoredExchange
from proxy.delivery.worker import Worker
from proxy.errors import StoreFailed
from proxy.exchange.gateway import Gateway
from proxy.exchange.promise import Promise
from proxy.routing.table import Route
from proxy.store.operations import (
    BlockedLanes,
    Cancel,
    CountEntries,
    GetEntry,
    ListEntries,
    Put,
    Redrive,
)
from proxy.store.records import Entry, EntryState, QueueCounts
from proxy.store.store import Store

_log = logging.getLogger("proxy.outbox")

_AT_ONCE = 100
_SEARCHED = 2000
"""Entries that are looked through for a request's id, the newest: there is no index of them."""
_LANES = 10
_REFRESH = 1.0
_REFRESH_SHARED = 5.0
"""Seconds between two readings of the counts; replicas that share a store ask one server."""


class Outbox:
    """Everything of the outbox of one process.

    `left`: entries that the end of the process loses with the pod. `counts`: each queue's entries,
    as of the last `refresh`, `latest` the summary then.
    """

    def __init__(self, store: Store, gateway: Gateway, *, record_bytes: int) -> None:
        self.store = store
        self._record_bytes = record_bytes
        self._new_id = new_id = Identities().new
        self.worker = Worker(store, gateway, new_id)
        self.places = OutboxPlaces(
            store, lambda name: self.worker.queue(name).config.keep_done, self.earliest
        )
        self.left = 0
        self._refreshing: asyncio.Task[None] | None = None
        self.counts: Mapping[str, QueueCounts] = {}
        self.latest: Mapping[str, Any] = {"queues": [], "blocked_lanes": []}

    def promise(self, route: Route) -> Promise | None:
        """The promise of a route; None if it accepts nothing."""
        if not route.config.stores:
            return None
        return Accepting(
            self.store,
            route.config,
            self.worker.queue(route.name),
            record_bytes=self._record_bytes,
            new_id=self._new_id,
        )

    async def start(self) -> None:
        await self.worker.start()
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        """Keep the counts fresh for metrics: a scrape cannot wait for the store."""
        while True:
            try:
                self.latest = await self.summary(_LANES)
            except StoreFailed:
                if not self.store.recovers:
                    return
            await asyncio.sleep(_REFRESH_SHARED if self.store.shared else _REFRESH)

    def reconfigure(self) -> None:
        self.worker.reconfigure()

    def begin_drain(self, seconds: float) -> None:
        self.worker.begin_drain(seconds)

    @property
    def busy(self) -> bool:
        return self.worker.busy

    async def stop(self) -> None:
        """End the tries in flight, and name what would be lost with the pod."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        await self.worker.stop()
        if not (self.store.dies_with_pod and self.store.finishes):
            return
        for name, counts in (await self.refresh()).items():
            unfinished = counts.of(EntryState.PENDING, EntryState.DELIVERING, EntryState.PARKED)
            if unfinished:
                self.left += unfinished
                fields = {"route": name, "entries": unfinished}
                _log.error(
                    "entries of the outbox are left in a store that is lost with the pod",
                    extra={"fields": fields},
                )

    # --- what observers read ----------------------------------------------------------------------

    @property
    def tries(self) -> list[StoredExchange]:
        """Those in flight."""
        return self.worker.tries

    async def refresh(self) -> Mapping[str, QueueCounts]:
        """Read the counts of all queues."""
        counts = await self.store.do(CountEntries())
        self.counts = counts
        return counts

    def figures(self) -> list["Figures"]:
        """Each queue, for metrics."""
        return [Figures(name, self) for name in sorted({*self.counts, *self.worker.queues})]

    async def summary(self, lanes_at_most: int = _AT_ONCE) -> dict[str, Any]:
        """The queues and the lanes that do not move."""
        now = self.store.now()
        counts = await self.refresh()
        lanes = await self.store.do(BlockedLanes(limit=lanes_at_most))
        return {
            "queues": [queue_of(name, found, now) for name, found in sorted(counts.items())],
            "blocked_lanes": [lane_of(lane) for lane in lanes],
        }

    async def entries(
        self,
        *,
        route: str | None = None,
        state: EntryState | None = None,
        since: float = 0.0,
        before: int | None = None,
        limit: int = _AT_ONCE,
    ) -> list[dict[str, Any]]:
        """The newest first."""
        found = await self.store.do(
            ListEntries(queue=route, state=state, since=since, before_seq=before, limit=limit)
        )
        return [self._summary(entry) for entry in found]

    def _summary(self, entry: Entry) -> dict[str, Any]:
        return {**summary_of(entry, self.earliest(entry.queue)), "seq": entry.seq}

    def earliest(self, route: str) -> float | None:
        """Unix seconds before which no entry of a route is tried. None: the file has no route of
        this name. Another replica may know it, or try sooner."""
        now = self.store.now()
        if self.store.shared:
            return now
        queue = self.worker.queue(route)
        return None if queue.route is None else now + max(0.0, queue.paused_until - monotonic())

    async def of_request(self, request_id: str, limit: int) -> list[dict[str, Any]]:
        """Entries that this request became, of the newest `_SEARCHED`."""
        found: list[dict[str, Any]] = []
        before: int | None = None
        for _ in range(_SEARCHED // _AT_ONCE):
            page = await self.store.do(ListEntries(before_seq=before, limit=_AT_ONCE))
            found += [
                self._summary(entry)
                for entry in page
                if StoredHead.unpack(entry.meta).held.get("x-request-id") == request_id
            ]
            if len(page) < _AT_ONCE or len(found) >= limit:
                break
            before = page[-1].seq
        return found[:limit]

    async def entry(self, entry_id: str) -> dict[str, Any] | None:
        """One entry with its outcomes."""
        found = await self.store.do(GetEntry(entry_id))
        return None if found is None else details_of(found, self.earliest(found.queue))

    async def body(self, entry_id: str) -> bytes | None:
        """The stored body of an entry."""
        found = await self.store.do(GetEntry(entry_id, with_body=True))
        return None if found is None else found.body

    # --- orders -----------------------------------------------------------------------------------

    async def cancel(self, entry_id: str) -> tuple[bool, EntryState | None]:
        """Cancel what waits; returns whether it was, and the state before."""
        entry = await self.store.do(GetEntry(entry_id))
        if entry is None:
            return False, None
        ask = Cancel(entry_id, self.worker.queue(entry.queue).config.keep_done)
        before = await self.store.do(ask)
        return ask.met(before), before

    async def redrive(self, entry_id: str) -> tuple[bool, EntryState | None]:
        """Put a dead or parked entry back, with its id and key."""
        entry = await self.store.do(GetEntry(entry_id))
        if entry is None:
            return False, None
        ask = Redrive(entry_id, self.worker.queue(entry.queue).config.max_age)
        before = await self.store.do(ask)
        return ask.met(before), before

    async def replay(self, entry_id: str) -> tuple[str, EntryState | None]:
        """Copy a delivered entry under a new id and key; returns the new id, "" if it is not one.

        The caller's key is left out: the receiver would answer what it answered before.
        """
        entry = await self.store.do(GetEntry(entry_id, with_body=True))
        if entry is None or entry.state is not EntryState.DELIVERED:
            return "", None if entry is None else entry.state
        copied = self._new_id()
        await self.store.do(self._copy(entry, copied))
        return copied, entry.state

    def _copy(self, entry: Entry, copied: str) -> Put:
        head = StoredHead.unpack(entry.meta)
        head.key, head.accepted = None, 0.0
        config = self.worker.queue(entry.queue).config
        return Put(
            copied,
            entry.queue,
            head.pack(),
            entry.body or b"",
            lane=entry.lane,
            give_up_in=config.max_age,
        )

    async def redrive_many(
        self, *, route: str | None, states: Iterable[str], since: float, rate: float, limit: int
    ) -> int:
        """Put entries of these states (parked, dead) back, the oldest of the newest `limit` first,
        `rate` a second (0: at once). Returns how many."""
        done = 0
        for state in map(EntryState, states):
            if done >= limit:
                break
            found = await self.store.do(
                ListEntries(queue=route, state=state, since=since, limit=limit - done)
            )
            for entry in reversed(found):
                ask = Redrive(entry.id, self.worker.queue(entry.queue).config.max_age)
                done += ask.met(await self.store.do(ask))
                if rate:
                    await asyncio.sleep(1 / rate)
        return done


class Figures:
    """One queue, as metrics show it; seconds."""

    __slots__ = ("dead", "oldest", "outcomes", "pending", "route")

    def __init__(self, name: str, outbox: Outbox) -> None:
        counts = outbox.counts.get(name, _NONE)
        self.route = name
        self.pending = counts.of(EntryState.PENDING, EntryState.DELIVERING)
        self.dead = counts.of(EntryState.DEAD, EntryState.PARKED)
        now, oldest = outbox.store.now(), counts.oldest_at
        self.oldest = max(0.0, now - oldest) if oldest is not None else 0.0
        self.outcomes: Mapping[str, int] = outbox.worker.queue(name).outcomes


_NONE = QueueCounts({}, None)
