"""Delivers the outbox's entries.

    claim ──▶ try ──▶ judge ──▶ settle, committed ──▶ the lane's next entry can be claimed
      ▲                            │
      └──── something is due ◀─────┘

Lanes are claimed, not entries: within a lane one entry at a time, and the result of its try is
committed before the next one begins. A crash between a try and its commit repeats that one try:
at least once. Where nothing was tried (circuit open, bulkhead full, drain), no attempt is spent; a
route with one upstream then pauses as a whole.
"""

import asyncio
import logging
from asyncio import Future
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final

from proxy.config.model import Config, Listener
from proxy.delivery.entries import StoredHead, outcome_of, with_outcome
from proxy.delivery.leases import Leases
from proxy.delivery.queues import Queue
from proxy.delivery.results import result_route, told_result
from proxy.delivery.stored_request import CROWDED, TryResult
from proxy.delivery.tries import StoredExchange, Tries
from proxy.errors import StoreFailed, StoreFull
from proxy.exchange.gateway import Gateway
from proxy.exchange.lease import Lease, present
from proxy.policies.outbox import Fate, OnDead, judge, next_try
from proxy.store.operations import ClaimEntries, CountEntries, Operation, RenewEntries, Settle
from proxy.store.records import Entry, EntryState, QueueCounts
from proxy.store.store import Store

LEASE: Final = 30.0
"""Seconds of a claim; renewed at a third."""
_AGAIN: Final = 1.0
"""Seconds until a commit that a full store refused is asked for again."""
_LONGEST_SLEEP: Final = 60.0

_log = logging.getLogger("proxy.outbox")


class Worker:
    """Delivers what is due. `queues` by name, those of unknown routes too.

    `draining`: no new claims, unless the store dies with the pod.
    """

    def __init__(self, store: Store, gateway: Gateway, new_id: Callable[[], str]) -> None:
        self._store = store
        self._gateway = gateway
        self._new_id = new_id
        self._tries = {listener: Tries(listener, gateway.tell) for listener in Listener}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._leases = Leases(LEASE, lambda refs, lease: store.do(RenewEntries(refs, lease)))
        self._closing = False
        self._settling = 0
        self._next_due: float | None = None
        self._drained_at = 0.0
        self.draining = False
        self.queues: dict[str, Queue] = {}
        store.watch(self._changed.set)

    # --- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin with what a former process left."""
        self.reconfigure()
        counts = await self._store.do(CountEntries())
        for name in counts:
            self.queue(name)
        self._warn_of_unknown(counts)
        self._task = asyncio.get_running_loop().create_task(self._work())

    def reconfigure(self) -> None:
        """The gateway has another configuration."""
        for name in _queues_of(self._gateway.config):
            self.queue(name)
        for queue in self.queues.values():
            queue.use(result_route(self._gateway, queue.name))
            queue.paused_until = 0.0
        self._changed.set()
        if self._task is not None and any(one.route is None for one in self.queues.values()):
            self._store.do(CountEntries()).add_done_callback(self._counted)

    def _counted(self, future: "Future[dict[str, QueueCounts]]") -> None:
        if not future.cancelled() and future.exception() is None:
            self._warn_of_unknown(future.result())

    def queue(self, name: str) -> Queue:
        """The queue of that name; results may be for any upstream."""
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = Queue(name)
            queue.use(result_route(self._gateway, name))
        return queue

    def begin_drain(self, seconds: float) -> None:
        """The process ends in that time."""
        self.draining = True
        self._drained_at = self._store.now() + seconds
        self._changed.set()

    @property
    def busy(self) -> bool:
        """Whether the drain should wait: something is tried, or would be lost with the pod."""
        if self._in_flight or self._settling:
            return True
        if not self._store.dies_with_pod or self._next_due is None:
            return False
        return self._next_due < self._drained_at

    @property
    def _in_flight(self) -> int:
        return sum(len(tries.exchanges) for tries in self._tries.values())

    @property
    def tries(self) -> list[StoredExchange]:
        """Those in flight."""
        return [one for tries in self._tries.values() for one in tries.exchanges]

    async def stop(self) -> None:
        """End the tries in flight without spending their attempts, and commit what is known."""
        self._closing = self.draining = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for tries in self._tries.values():
            tries.cut()
        deadline = monotonic() + 2
        while (self._in_flight or self._settling) and monotonic() < deadline:  # noqa: ASYNC110 - tries have no event
            await asyncio.sleep(0.005)
        self._leases.stop()

    # --- claims -----------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            self._changed.clear()
            try:
                seconds = await self._claim()
            except StoreFailed as failure:
                if not self._store.recovers:
                    _log.error("the outbox has stopped delivering: %s", failure.detail)
                    return
                seconds = _AGAIN  # the store has said so, and says when it can be reached
            except StoreFull:
                seconds = _AGAIN  # the store has said so; entries that expire make room
            except Exception:  # noqa: BLE001 - a bug must not end all deliveries
                _log.exception("internal error while entries were claimed")
                seconds = _AGAIN
            await self._sleep(seconds)

    async def _claim(self) -> float:
        """Claim and begin what there is room for; returns the seconds until more may be due."""
        now = monotonic()
        if self.draining and (self._closing or not self._store.dies_with_pod):
            return _LONGEST_SLEEP
        limits = {name: room for name, queue in self.queues.items() if (room := queue.room(now))}
        pauses = [q.paused_until - now for q in self.queues.values() if q.paused_until > now]
        wait = min(pauses, default=_LONGEST_SLEEP)
        if not limits:
            return wait
        self._leases.look()
        since = present()
        claimed = await self._store.do(ClaimEntries(limits, LEASE))
        for entry in claimed.entries:
            self._begin(entry, self._leases.hold(entry.ref, since))
        self._next_due = claimed.next_due_at
        if claimed.next_due_at is not None:
            wait = min(wait, max(0.0, claimed.next_due_at - claimed.now))
        return wait

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    # --- tries ------------------------------------------------------------------------------------

    def _begin(self, entry: Entry, lease: Lease) -> None:
        queue = self.queue(entry.queue)
        queue.in_flight[entry.id] = entry
        route = queue.route
        if route is None:  # a reload removed it meanwhile
            waits = Settle(entry.ref, EntryState.PENDING, entry.attempts, entry.history)
            self._settle(queue, entry, [waits])
            return
        try:
            head = StoredHead.unpack(entry.meta)
            request = head.request(entry.id, entry.attempts + 1, entry.body or b"")
            request.lease = lease
            self._tries[head.listener].begin_try(
                self._gateway.gates[head.listener].terms,
                route,
                request,
                partial(self._tried, queue, entry),
            )
        except (ValueError, LookupError) as problem:
            _log.error("entry %s cannot be read: %s", entry.id, problem)
            broken = TryResult(0, "internal", f"The stored request cannot be read: {problem}.")
            self._settle(queue, entry, self._finished(queue, entry, EntryState.DEAD, broken, ""))

    def _tried(self, queue: Queue, entry: Entry, result: TryResult) -> None:
        config = queue.config
        fate = judge(
            config.dead_on,
            result.status,
            reason=result.reason,
            retry_after=result.retry_after,
            postponed=result.postponed,
            unknown=result.unknown,
        )
        if fate is Fate.DELIVERED:
            queue.paused_until = 0.0
            settle = self._finished(queue, entry, EntryState.DELIVERED, result, "")
        elif fate is Fate.DEAD:
            settle = self._finished(queue, entry, self._dead(queue, entry), result, "")
        else:
            settle = self._later(queue, entry, fate, result)
            if _state_of(settle) is EntryState.PENDING:
                queue.outcomes[fate.value] += 1
        self._settle(queue, entry, settle)

    def _later(
        self, queue: Queue, entry: Entry, fate: Fate, result: TryResult
    ) -> list[Operation[Any]]:
        config, postponed = queue.config, fate is Fate.POSTPONED
        attempts = entry.attempts + (not postponed)
        following = next_try(
            fate,
            attempts=attempts,
            most=config.attempts,
            left=entry.give_up_at - self._store.now(),
            delay=queue.backoff.delay(max(attempts, 1)),
            retry_after=result.retry_after,
        )
        if postponed and result.ended_here:
            return [Settle(entry.ref, EntryState.PENDING, attempts, entry.history)]
        if following.spent:
            state = self._dead(queue, entry)
            return self._finished(queue, entry, state, result, following.spent, spent=not postponed)
        wait = following.wait
        if postponed and self._pauses(queue, result, wait):
            wait = 0.0
        history = entry.history
        if not postponed:
            history = with_outcome(history, outcome_of(result, self._store.now()))
        return [Settle(entry.ref, EntryState.PENDING, attempts, history, due_in=wait)]

    def _pauses(self, queue: Queue, result: TryResult, wait: float) -> bool:
        """Whether the whole queue waits, because its other entries would get the same refusal."""
        route = queue.route
        if route is None or route.config.upstream is None:
            return False  # each authority has its own breaker
        crowded = result.crowded_out
        seconds = CROWDED if crowded else wait
        queue.paused_until = max(queue.paused_until, monotonic() + seconds)
        return True

    def _dead(self, queue: Queue, entry: Entry) -> EntryState:
        blocks = queue.config.on_dead is OnDead.BLOCK and entry.lane != ""
        return EntryState.PARKED if blocks else EntryState.DEAD

    def _finished(
        self,
        queue: Queue,
        entry: Entry,
        state: EntryState,
        result: TryResult,
        why: str,
        *,
        spent: bool = True,
    ) -> list[Operation[Any]]:
        """The operations that end an entry: its state, and where a result is told its telling."""
        config = queue.config
        attempts = entry.attempts + spent
        history = with_outcome(entry.history, outcome_of(result, self._store.now(), why))
        keep = config.keep_done if state is EntryState.DELIVERED else config.keep_dead
        queue.outcomes[state.value] += 1
        if state is not EntryState.DELIVERED:
            _log.warning(
                "an entry of the outbox is %s", state.value, extra={"fields": {
                    "outbox_id": entry.id, "route": queue.name, "attempts": attempts,
                    "status": result.status, "reason": result.reason or why,
                }},
            )  # fmt: skip
        operations: list[Operation[Any]] = [Settle(entry.ref, state, attempts, history, keep=keep)]
        if config.result is not None:
            put = told_result(config.result, entry, state, attempts, history, self._new_id())
            self.queue(put.queue)
            operations.append(put)
        return operations

    # --- commits ----------------------------------------------------------------------------------

    def _settle(self, queue: Queue, entry: Entry, operations: list[Operation[Any]]) -> None:
        """Commit; only then the entry's place, and its lane, are free."""
        self._settling += 1
        future = self._store.commit(operations)
        future.add_done_callback(partial(self._settled, queue, entry, operations))

    def _settled(
        self, queue: Queue, entry: Entry, operations: list[Operation[Any]], future: "Future[Any]"
    ) -> None:
        self._settling -= 1
        if future.cancelled():
            return
        error = future.exception()
        if self._passes(error) and not self._closing:
            # The entry stays claimed: its lane waits, and what it would have told is not lost. If
            # the commit was done, and only its answer lost, the second one changes nothing.
            asyncio.get_running_loop().call_later(_AGAIN, self._settle, queue, entry, operations)
            return
        self._leases.drop(entry.ref)
        if queue.in_flight.get(entry.id) is entry:  # else this process has claimed it again
            del queue.in_flight[entry.id]
        if error is not None:
            _log.error("the result of a try of entry %s was not stored: %s", entry.id, error)
            return
        if future.result().unmet >= 0:
            _log.warning("the claim of entry %s was lost: another process tries it", entry.id)
        if _state_of(operations).finished:
            queue.rate.count(monotonic())
        self._changed.set()

    def _passes(self, error: BaseException | None) -> bool:
        """Whether the same commit may succeed later."""
        away = isinstance(error, StoreFailed) and self._store.recovers
        return away or isinstance(error, StoreFull)

    def _warn_of_unknown(self, counts: Mapping[str, QueueCounts]) -> None:
        for name, found in counts.items():
            waiting = found.of(EntryState.PENDING, EntryState.DELIVERING, EntryState.PARKED)
            if waiting and self.queue(name).route is None:
                _log.warning(
                    "the outbox has %d entries of route %r, which the file does not have: they "
                    "wait", waiting, name,
                )  # fmt: skip


def _state_of(operations: list[Operation[Any]]) -> EntryState:
    """The entry's state after them."""
    settle = operations[0]
    assert isinstance(settle, Settle)
    return settle.state


def _queues_of(config: Config) -> Iterable[str]:
    """The routes that may accept."""
    routes = [*config.routes, *(config.default_route(listener) for listener in Listener)]
    return [route.name for route in routes if route.stores]
