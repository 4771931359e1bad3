"""Runs sagas: claims what is due, and takes each one as far as it goes now.

    claim ─▶ load ─▶ advance ─▶ intent committed ─▶ try ─▶ outcome committed with the next intent …
                        │
                        └─▶ wait, stuck or ended: committed, and the claim given back

Every saga in hand is one task. One that waits is not in hand: it is in the store, due later. A
claim is a lease with a fence: a write of an owner that lost it changes nothing, and that owner
stops. A try repeats the same Idempotency-Key, so a step that is tried by two owners is done once.
"""

import asyncio
import json
import logging
from asyncio import Future, Task
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from proxy.clock import Random
from proxy.delivery.entries import instant
from proxy.delivery.leases import Leases
from proxy.delivery.saga_record import Accepted, unpack
from proxy.delivery.saga_request import render_request, told_of
from proxy.delivery.saga_stats import SagaStats
from proxy.delivery.stored_request import StoredRequest, TryResult
from proxy.errors import ProxyError, StoreFull
from proxy.exchange.lease import Lease, present
from proxy.policies.outbox import ResultConfig
from proxy.policies.saga import Act, Saga, SagaState, Send, Wait
from proxy.policies.saga_rules import Effect, Phase, Told
from proxy.policies.saga_steps import StepState
from proxy.routing.route import Route
from proxy.store.operations import ClaimSagas, CountSagas, Operation, RenewSagas, UpdateSaga
from proxy.store.records import SagaRecord
from proxy.store.store import Store, StoreState
from proxy.templates import Unusable

LEASE: Final = 30.0
"""Seconds of a claim; it is renewed at a third."""
MAX_IN_HAND: Final = 64
"""Sagas that run at once."""
_LOOK_AGAIN: Final = 30.0
_FULL_WAIT: Final = 5.0
_UNUSABLE_UPSTREAM: Final = 10.0
_LIVE: Final = (SagaState.RUNNING.value, SagaState.UNDOING.value)

_log = logging.getLogger("proxy.saga")


class Sender(Protocol):
    """Where tries are sent, under the configuration of the moment."""

    def route(self, accepted: Accepted, send: Send) -> Route | None:
        """The route of a step's request; None if its upstream is not configured."""

    def present(self, accepted: Accepted, send: Send) -> Any:
        """The same request in the present configuration (a `SagaRequest`), None without it."""

    def address(self, route: Route) -> tuple[str, str]:
        """The Host and the scheme for a route's upstream."""

    def send(
        self,
        route: Route,
        request: StoredRequest,
        keep: int,
        on_done: Callable[[TryResult], object],
    ) -> None:
        """Begin a try; `on_done` is called in a later turn of the loop."""


TellResult = Callable[[str, ResultConfig, dict[str, Any]], Operation[Any]]
"""The operation that tells how the saga of a token ended."""


class SagaRunner:
    """Owns the sagas that it has claimed. `record_bytes`: the most that is read of an answer.

    `next_due`: when the next one that is not in hand is due, None if none waits for a time.
    `changes` grows with each step of a saga.
    """

    def __init__(
        self,
        store: Store,
        sender: Sender,
        *,
        stats: SagaStats,
        tell: TellResult,
        record_bytes: int,
        random: Random,
    ) -> None:
        self._store = store
        self._sender = sender
        self._stats = stats
        self._tell = tell
        self._record_bytes = record_bytes
        self._random = random
        self._leases = Leases(LEASE, lambda refs, lease: store.do(RenewSagas(refs, lease)))
        self._in_hand: dict[str, tuple[SagaRecord, Task[None]]] = {}
        self._news = asyncio.Event()
        self._claiming: Task[None] | None = None
        self._stopping = False
        self.next_due: float | None = None
        self.changes = 0

    # --- start and end ----------------------------------------------------------------------------

    def start(self) -> None:
        """Claim and run from now on."""
        self._store.watch(self._news.set)
        self._claiming = asyncio.create_task(self._claim_on())

    def stop_claiming(self) -> None:
        """Claim no other saga; each one in hand ends its try and is given back."""
        self._stopping = True
        self._news.set()

    async def ended(self, patience: float | None = None) -> None:
        """Until no saga is in hand, `patience` seconds at most."""
        tasks = [task for _, task in self._in_hand.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=patience)

    async def stop(self) -> None:
        """End at once: open tries are lost, and repeated by the next owner."""
        self.stop_claiming()
        tasks = [task for _, task in self._in_hand.values()]
        if self._claiming is not None:
            tasks.append(self._claiming)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._leases.stop()

    @property
    def in_hand(self) -> int:
        """Sagas that it runs at this moment."""
        return len(self._in_hand)

    def now(self) -> float:
        """Unix seconds by the store's clock."""
        return self._store.now()

    # --- claims -----------------------------------------------------------------------------------

    async def _claim_on(self) -> None:
        while not self._stopping:
            self._news.clear()
            wait = await self._claim()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), wait)

    async def _claim(self) -> float:
        """Claim what is due; returns the seconds until something else is."""
        room = MAX_IN_HAND - len(self._in_hand)
        if room <= 0 or self._store.state is not StoreState.OPEN:
            return _LOOK_AGAIN
        self._leases.look()
        try:
            counts = self._stats.counts = await self._store.do(CountSagas())
            names = sorted({name for name, state in counts if state in _LIVE})
            if not names:
                self.next_due = None
                return _LOOK_AGAIN
            since = present()
            claimed = await self._store.do(ClaimSagas(names, room, LEASE))
        except ProxyError as error:
            _log.error("sagas cannot be claimed: %s", error.detail)
            return _LOOK_AGAIN
        for record in claimed.sagas:
            lease = self._leases.hold(record.ref, since)
            task = asyncio.create_task(self._run(record, lease))
            self._in_hand[record.token] = (record, task)
            task.add_done_callback(self._forget(record))
        self.next_due = claimed.next_due_at
        if claimed.next_due_at is None:
            return _LOOK_AGAIN
        return min(max(claimed.next_due_at - claimed.now, 0.001), _LOOK_AGAIN)

    def _forget(self, record: SagaRecord) -> Callable[[Task[None]], None]:
        token = record.token

        def ended(task: Task[None]) -> None:
            self.changes += 1
            self._leases.drop(record.ref)
            held = self._in_hand.get(token)
            if held is not None and held[1] is task:  # it may have been claimed again
                del self._in_hand[token]
            self._news.set()
            if not task.cancelled() and task.exception() is not None:
                _log.error("internal error in saga %s", token, exc_info=task.exception())

        return ended

    # --- one saga ---------------------------------------------------------------------------------

    async def _run(self, record: SagaRecord, lease: Lease) -> None:
        try:
            accepted = unpack(record.input)
            kept = json.loads(record.journal)
            saga = Saga.load(accepted.saga.rules, kept, self.now(), self._random)
            await self._take_on(record, lease, accepted, saga)
        except ProxyError as error:
            _log.error("saga %s stands still: %s", record.id, error.detail)

    async def _take_on(
        self, record: SagaRecord, lease: Lease, accepted: Accepted, saga: Saga
    ) -> None:
        """Take it as far as it goes now."""
        while True:
            act = saga.advance(self.now())
            self.changes += 1
            if not isinstance(act, Send) or self._stopping:
                if not await self._give_back(record, accepted, saga, act):
                    self._warn_lost(record)
                return
            sending = self._prepare(record, accepted, saga, act)
            if isinstance(sending, Told):
                self._count(accepted, act, saga, sending)
                continue
            if not await self._store.do(UpdateSaga(record.ref, saga.state.value, _journal(saga))):
                self._warn_lost(record)
                return
            route, request = sending
            request.lease = lease
            wanted = accepted.saga.wanted(accepted.saga.steps[act.step].name)
            most = self._record_bytes if wanted and act.phase is Phase.DO else 0
            result = await self._try(route, request, most)
            step = accepted.saga.steps[act.step]
            told = told_of(act.phase, result, step.dead_on, wanted if most else (), most)
            saga.finish(act, told, self.now())
            self._count(accepted, act, saga, told)

    def _prepare(
        self, record: SagaRecord, accepted: Accepted, saga: Saga, act: Send
    ) -> tuple[Route, StoredRequest] | Told:
        """The request to send, with its intent noted; else how the try ended without one."""
        sender, now = self._sender, self.now()
        route = sender.route(accepted, act)
        if route is None:
            told = Told(
                Effect.NONE,
                reason="no-upstream",
                spends=False,
                retry_after=_UNUSABLE_UPSTREAM,
            )
            saga.intend(act, now)
            saga.finish(act, told, now)
            return told
        try:
            request = render_request(
                accepted,
                saga,
                act,
                sender.present(accepted, act),
                token=record.token,
                address=sender.address(route),
            )
        except Unusable as error:
            saga.cannot_send(act, str(error))
            _log.warning(
                "saga %s: step %s cannot be sent: %s",
                accepted.id,
                accepted.saga.steps[act.step].name,
                error,
            )
            return Told(Effect.NONE, reason="no-value")
        saga.intend(act, now)
        return route, request

    async def _try(self, route: Route, request: StoredRequest, most: int) -> TryResult:
        done: Future[TryResult] = asyncio.get_running_loop().create_future()

        def on_done(result: TryResult) -> None:
            if not done.done():
                done.set_result(result)

        self._sender.send(route, request, most, on_done)
        return await done

    async def _give_back(
        self, record: SagaRecord, accepted: Accepted, saga: Saga, act: Act
    ) -> bool:
        """Commit the journal and give the claim back; False: the claim was lost."""
        journal = _journal(saga)
        if saga.ended:
            return await self._end(record, accepted, saga, journal)
        due_in: float | None = 0.0
        if isinstance(act, Wait):
            due_in = max(act.until - self.now(), 0.0)
        elif saga.state is SagaState.STUCK:
            due_in = None
            _log.error("saga %s (%s) is stuck: %s", record.id, record.name, _why_stuck(saga))
        update = UpdateSaga(record.ref, saga.state.value, journal, release=True, due_in=due_in)
        return await self._store.do(update)

    async def _end(
        self, record: SagaRecord, accepted: Accepted, saga: Saga, journal: bytes
    ) -> bool:
        """Commit the end together with the entry that tells it."""
        keep = accepted.saga.keep
        update = UpdateSaga(record.ref, saga.state.value, journal, release=True, keep=keep)
        target = accepted.saga.result
        if target is None:
            kept = await self._store.do(update)
        else:
            told = self._tell(record.token, target, result_of(accepted.id, saga))
            try:
                committed = await self._store.commit([update, told])
            except StoreFull:
                # The end is kept, and told when there is room: its state in the store stays.
                later = UpdateSaga(record.ref, _LIVE[0], journal, release=True, due_in=_FULL_WAIT)
                return await self._store.do(later)
            kept = committed.unmet != 0
            if committed.unmet == 1:  # it was told before
                kept = await self._store.do(update)
        return kept

    def _warn_lost(self, record: SagaRecord) -> None:
        _log.warning("saga %s has another owner now", record.id)

    def _count(self, accepted: Accepted, act: Send, saga: Saga, told: Told) -> None:
        state = saga.steps[act.step].progress(act.phase).state
        outcome = "retried" if state is StepState.WAITING else state.value
        if not told.spends:
            outcome = "postponed"
        step = accepted.saga.steps[act.step].name
        self._stats.count(accepted.saga.name, step, act.phase.value, outcome)


def result_of(saga_id: str, saga: Saga) -> dict[str, Any]:
    """How a saga ended, as it is told."""
    tries = [one for step in saga.steps for phase in Phase for one in step.progress(phase).tries]
    last = max(tries, key=lambda one: one.ended, default=None)
    attempts = sum(step.progress(phase).attempts for step in saga.steps for phase in Phase)
    return {
        "id": saga_id,
        "state": saga.state.value,
        "attempts": attempts,
        "last": None
        if last is None
        else {
            "status": last.status or None,
            "reason": last.reason or None,
            "at": instant(last.ended),
        },
    }


def _journal(saga: Saga) -> bytes:
    return json.dumps(saga.dump(), separators=(",", ":")).encode()


def _why_stuck(saga: Saga) -> str:
    for step in saga.steps:
        for phase in Phase:
            progress = step.progress(phase)
            if progress.state is StepState.STUCK:
                last = progress.tries[-1] if progress.tries else None
                seen = progress.reason or (last and (last.reason or f"status {last.status}")) or ""
                what = "undo of step" if phase is Phase.UNDO else "step"
                return f"{what} {step.rules.name}: {seen}"
    return ""
