"""The claim of one request with an idempotency key, from its commit to its record.

claimed ──▶ renewed while the request goes on ──▶ keep ─ FinishKey ─▶ the answer is sent
                                            │
                                            └──▶ settle: released, unknown, unreplayable

found ──▶ what a repeat gets: the stored answer, a wait, or a refusal
"""

import logging
from asyncio import AbstractEventLoop, Future, TimerHandle, get_running_loop
from functools import partial
from time import monotonic
from typing import Final

from proxy.errors import (
    IdempotencyInProgress,
    IdempotencyKeyReused,
    IdempotencyUnknown,
    IdempotencyUnreplayable,
    ProxyError,
    StoreFailed,
)
from proxy.exchange.answers import Answer
from proxy.exchange.carrier import Carrier
from proxy.exchange.events import MOVED
from proxy.exchange.gathering import WHOLE, gather_up_to
from proxy.exchange.holding import hold, is_endless
from proxy.exchange.lease import Lease, Moment, present
from proxy.exchange.promised import heard, promised
from proxy.exchange.record import AttemptRecord, Record
from proxy.exchange.relay import client_gone
from proxy.exchange.request import Request
from proxy.exchange.stats import RouteStats
from proxy.exchange.stored_answer import pack, replay
from proxy.policies.idempotency import (
    Fate,
    IdempotencyConfig,
    OnUnknown,
    fate_of,
)
from proxy.policies.idempotency_keys import (
    same_request,
)
from proxy.store.operations import ClaimKey, DoubtKey, FinishKey, Operation, ReleaseKey, RenewKeys
from proxy.store.records import KeyRecord, KeyRef, KeyState
from proxy.store.store import Store

_LOOK_AGAIN: Final = 1.0
"""Seconds until a waiting repeat asks again by itself: its first may be another process's."""
_RENEWED_AT: Final = 3
"""A lease is renewed when this part of it has passed."""

_log = logging.getLogger("proxy.store")


class Keys:
    """The claims of this process, and the repeats that wait for them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._waiting: dict[bytes, list[Carrier]] = {}
        self._ending: set[bytes] = set()

    def ends(self, ref: KeyRef) -> None:
        """A claim of this process has been answered; what became of it is being committed."""
        self._ending.add(_identity(ref.route, ref.scope, ref.key))

    def is_ending(self, ask: ClaimKey) -> bool:
        return _identity(ask.route, ask.scope, ask.key) in self._ending

    def wait(self, ask: ClaimKey, carrier: Carrier) -> None:
        """Wake the carrier when the record may have changed."""
        self._waiting.setdefault(_identity(ask.route, ask.scope, ask.key), []).append(carrier)

    def leave(self, ask: ClaimKey, carrier: Carrier) -> None:
        identity = _identity(ask.route, ask.scope, ask.key)
        waiting = self._waiting.get(identity)
        if waiting is not None and carrier in waiting:
            waiting.remove(carrier)
            if not waiting:
                del self._waiting[identity]

    def changed(self, ref: KeyRef) -> None:
        """A claim of this process has ended."""
        identity = _identity(ref.route, ref.scope, ref.key)
        self._ending.discard(identity)
        for carrier in tuple(self._waiting.get(identity, ())):
            carrier.wake(MOVED)


def _identity(route: str, scope: bytes, key: bytes) -> bytes:
    return key + scope + route.encode()


class HeldKey:
    """The claim of one request (`exchange.claim.Claim`).

    `ask` is what to claim. A promise that answers by itself claims and finishes it in its own
    commit: see `found` and `stored`.
    """

    def __init__(self, keys: Keys, config: IdempotencyConfig, ask: ClaimKey, stats: RouteStats):
        self.ask = ask
        self.held = False
        self.alone = False
        self.endless = False
        self.ref: KeyRef | None = None
        self._keys = keys
        self._config = config
        self._stats = stats
        self._request: Request | None = None
        self._waits_until: float | None = None
        self._too_long = False
        self._renewal: TimerHandle | None = None
        self._lease: Lease | None = None

    # --- claiming -----------------------------------------------------------------------------

    def claimed(self, carrier: Carrier, record: KeyRecord, since: Moment) -> None:
        """The claim is committed: renew it until it is recorded what came of it.

        `since`: before it was asked for.
        """
        self._request = request = carrier.request
        request.lease = self._lease = lease = Lease(self._config.lease, since, self._lost)
        if self._config.on_unknown is OnUnknown.EXECUTE:
            # The repeat that took the claim over is sent: not two at once.
            lease.on_end = lambda: carrier.wake(self._lost())
        self.ref = record.ref
        self.held = True
        self._stats.claims += 1
        self._renew_later(get_running_loop())

    def _lost(self) -> ProxyError:
        """The answer if the claim ends before the service's."""
        request = self._request
        if request is None or any(attempt.sent for attempt in request.record.attempts):
            return IdempotencyUnknown(
                "The claim of this idempotency key ended while the proxy stood still: a repeat may "
                "be in flight, and whether this request was processed is not known."
            )
        return StoreFailed(
            "The claim of this idempotency key ended while the proxy stood still; the request was "
            "not sent."
        )

    def _renew_later(self, loop: AbstractEventLoop) -> None:
        self._renewal = loop.call_later(self._config.lease / _RENEWED_AT, self._renew, loop)

    def _renew(self, loop: AbstractEventLoop) -> None:
        if self.held and self.ref is not None:
            renewal = self._keys.store.do(RenewKeys([self.ref], self._config.lease))
            renewal.add_done_callback(partial(self._renewed, present()))
            self._renew_later(loop)

    def _renewed(self, since: Moment, future: "Future[list[KeyRef]]") -> None:
        heard(future)
        lease = self._lease
        if lease is None or future.cancelled():
            return
        if future.exception() is not None:
            if lease.over:
                lease.end()
        elif future.result():
            lease.end()
        else:
            lease.renew(since)

    async def found(self, carrier: Carrier, record: KeyRecord) -> Answer | None:
        """What a repeat gets, if the record exists. None: ask again, it may be free now.

        Raises the refusal.
        """
        request = carrier.request
        left = request.timing.time_left
        if record.state is KeyState.IN_FLIGHT and self._keys.is_ending(self.ask) and left > 0:
            # Its caller may have read the answer before the store says what became of it.
            await self._until_moved(carrier, monotonic() + min(left, _LOOK_AGAIN))
            return None
        fingerprint = await self._whole_fingerprint(carrier, record)
        if not same_request(record.fingerprint, fingerprint):
            self._tell(request, "reused")
            raise IdempotencyKeyReused(
                "The idempotency key was used for another request: its method, path, query, "
                "content-type or body differed."
            )
        if record.state is KeyState.DONE and record.response is not None:
            self._tell(request, "replayed")
            return replay(request, record.response)
        if record.state is KeyState.IN_FLIGHT:
            await self._wait(carrier)
            return None
        if record.state is KeyState.UNKNOWN:
            self._tell(request, "unknown")
            raise IdempotencyUnknown(
                "It is not known whether the first request with this idempotency key was "
                "processed: look before you repeat it with another key."
            )
        self._tell(request, "unreplayable")
        raise IdempotencyUnreplayable(
            f"The first request with this idempotency key was answered with {record.status}; the "
            "response was too large to keep (idempotency.response_limit)."
        )

    async def _whole_fingerprint(self, carrier: Carrier, record: KeyRecord) -> bytes:
        """Of a repeat, whose body is read to its end before it is judged."""
        body = carrier.request.body
        if body is None or body.digest is None:
            return self.ask.fingerprint
        if body.complete:
            return self.whole_fingerprint(carrier.request)
        if record.state is KeyState.IN_FLIGHT:
            return self.ask.fingerprint  # nothing to compare it with, and it may yet be sent
        if not same_request(record.fingerprint, self.ask.fingerprint):
            return self.ask.fingerprint
        body.forfeit()
        await gather_up_to(carrier, WHOLE)
        return self.whole_fingerprint(carrier.request)

    async def _wait(self, carrier: Carrier) -> None:
        """Until the first request may have been answered. Raises IdempotencyInProgress."""
        request = carrier.request
        now = monotonic()
        if self._waits_until is None:
            self._waits_until = now + min(self._config.wait, request.timing.time_left)
        until = self._waits_until
        if now >= until or self._stats.waiting >= self._most_waiting(request):
            self._tell(request, "in-progress")
            raise IdempotencyInProgress(
                "The first request with this idempotency key has not been answered yet.",
                retry_after=1,
            )
        await self._until_moved(carrier, min(until, now + _LOOK_AGAIN))

    async def _until_moved(self, carrier: Carrier, until: float) -> None:
        """Until the record may have changed, or `until`."""
        self._stats.waiting += 1
        self._keys.wait(self.ask, carrier)
        try:
            await carrier.wait(until)
        finally:
            self._stats.waiting -= 1
            self._keys.leave(self.ask, carrier)

    def _most_waiting(self, request: Request) -> int:
        return request.binding.policies.bulkhead.max_concurrent

    # --- recording ----------------------------------------------------------------------------

    async def keep(self, carrier: Carrier, answer: Answer) -> Answer:
        """Record an upstream's answer before it is sent (`exchange.claim.Claim`)."""
        record, status = carrier.request.record, answer.head.status
        if self._lease is not None:
            self._lease.on_end = None  # its service has answered
        fate = _fate(record.attempts, status)
        if fate is not Fate.REMEMBERED:
            self._let_go(record, fate)
            return answer
        self.endless = is_endless(answer.head)
        body = None
        if not self.endless:
            body = await hold(carrier, answer, self._config.response_limit)
        if body is None:
            self._too_long = True  # recorded when all of it has gone
            return answer
        answer.trailers = []  # repeats get none either
        finish = FinishKey(self.ref, status, pack(answer, body), self._fingerprint)
        self._end(record, "remembered")
        try:
            if not await promised(carrier, self._keys.store.do(finish), deadline=False):
                record.idempotency = "unknown"
                _log.warning("the claim of request %s was lost", record.request_id)
        except ProxyError as error:
            if error.reason not in _OF_STORE:
                raise
            # The answer is right although it was not recorded: a repeat will hear "unknown".
            record.idempotency = "unknown"
        self._done()
        return answer

    def settle(self, record: Record, complete: bool) -> None:
        """Record what `keep` has not (`exchange.claim.Claim`)."""
        complete = complete and not record.reason
        if self.held and self._too_long and complete:
            self._end(record, "remembered")
            status = record.attempts[-1].status
            self._later(FinishKey(self.ref, status, None, self._fingerprint))
        elif self.held and any(_may_have_been_seen(attempt) for attempt in record.attempts):
            self._let_go(record, Fate.UNKNOWN)
        elif self.held:
            self._let_go(record, Fate.RELEASED)
        if self.alone:
            gone = client_gone()
            record.failed(gone)
            record.status, record.answered = gone.status, False
        self._request = None

    def whole_fingerprint(self, request: Request) -> bytes:
        """Of a request whose body has ended: the claim has only the start of a long one."""
        body = request.body
        if body is None or body.digest is None:
            return self.ask.fingerprint
        return self.ask.fingerprint + bytes(body.digest.digest())

    def stored(self, record: Record) -> None:
        """Another promise has recorded its own answer in the commit of the claim."""
        self._end(record, "remembered")
        self._done()

    def _let_go(self, record: Record, fate: Fate) -> None:
        assert self.ref is not None
        self._end(record, fate.value)
        if fate is Fate.RELEASED:
            self._later(ReleaseKey(self.ref))
        else:
            self._later(DoubtKey(self.ref, self._fingerprint))

    def _end(self, record: Record, result: str) -> None:
        if self.held:
            self.held = False
            self._stats.claims -= 1
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        if self._lease is not None:
            self._lease.on_end = None
            self._lease = None
        record.idempotency = result
        self._stats.count_idempotency(result)

    def _later(self, operation: Operation[bool]) -> None:
        """Without waiting: a crash before the commit leaves the record unknown, which is true."""
        if self.ref is not None:
            self._keys.ends(self.ref)
        future = self._keys.store.do(operation)
        future.add_done_callback(self._recorded)

    def _recorded(self, future: "Future[bool]") -> None:
        heard(future)
        self._done()

    def _done(self) -> None:
        if self.ref is not None:
            self._keys.changed(self.ref)

    def _tell(self, request: Request, result: str) -> None:
        request.record.idempotency = result
        self._stats.count_idempotency(result)

    @property
    def _fingerprint(self) -> bytes:
        """Of the claimed request, with all of its body if all of it has come."""
        request = self._request
        if request is None or request.body is None or not request.body.complete:
            return self.ask.fingerprint
        return self.whole_fingerprint(request)


_OF_STORE: Final = frozenset(("store-full", "store-failed"))


def _may_have_been_seen(attempt: AttemptRecord) -> bool:
    """Whether a service may have processed it, and has not said that it refused to."""
    if not attempt.sent:
        return False
    if attempt.status:
        return fate_of(attempt.status) is not Fate.RELEASED
    return not attempt.unprocessed


def _fate(attempts: list[AttemptRecord], status: int) -> Fate:
    """By the final response, if no earlier attempt makes it unknown."""
    fate = fate_of(status)
    if fate is Fate.RELEASED and any(_may_have_been_seen(one) for one in attempts[:-1]):
        return Fate.UNKNOWN
    return fate
