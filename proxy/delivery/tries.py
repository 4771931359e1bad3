"""Tries: exchanges whose request comes from a record, and whose response is kept.

    StoredRequest ──▶ StoredExchange ──▶ gates from the bulkhead on, retry, breaker, connection
                           │                                    │
                           └──────── StoredStream ◀── response ─┘ ──▶ TryResult

A try is an ordinary exchange: it obeys its route's whole policy from the bulkhead on. Rate limits,
fallback and promises are for requests that arrive.
"""

import asyncio
from collections.abc import Callable
from time import time
from typing import Final

from proxy.config.model import Listener
from proxy.delivery.stored_request import StoredRequest, TryResult
from proxy.errors import ClaimLost, by_reason
from proxy.exchange.answers import fixed_answer
from proxy.exchange.binding import Binding
from proxy.exchange.events import COMMITTED, TRYING
from proxy.exchange.exchange import Exchange
from proxy.exchange.gate import Observer
from proxy.exchange.lineage import Lineage
from proxy.exchange.record import Record
from proxy.exchange.request import Keeper
from proxy.exchange.retrying import make_attempts
from proxy.exchange.script import Script
from proxy.exchange.terms import Terms
from proxy.http.message import OwnFields, RequestHead, ResponseHead
from proxy.http.retry_after import parse_retry_after
from proxy.policies.gate import Gate as PolicyGate
from proxy.policies.gate import pass_gates
from proxy.routing.table import Route
from proxy.wire.alarm import NEVER
from proxy.wire.no_client import NoClient
from proxy.wire.streams import Trailers

MOST_IGNORED: Final = 1024 * 1024
"""Bytes of a response's body beyond those to keep that are read, so that its connection can be
used again."""
_UNKNOWN: Final = b'details="idempotency-unknown"'
_CONFLICT: Final = 409


class StoredStream(NoClient):
    """Takes the response instead of a client."""

    __slots__ = (
        "_body",
        "_bytes",
        "_ended",
        "_head",
        "_keep",
        "_loop",
        "_timer",
        "on_done",
        "patience",
        "record",
    )

    record: Record

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: str,
        keep: int,
        on_done: Callable[[TryResult], object],
    ) -> None:
        """`keep`: how many bytes of the response's body are kept."""
        super().__init__(loop, client)
        self._loop = loop
        self.patience = 0.0
        self._keep = keep
        self.on_done = on_done
        self._head: ResponseHead | None = None
        self._body: list[bytes] = []
        self._bytes = 0
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None

    def write_head(
        self,
        head: ResponseHead,
        own: OwnFields,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
        last: bool,
    ) -> None:
        self._head = head
        self._ended = ended
        self._take(piece)
        if not ended:
            # After the head no deadline of the request runs.
            self._timer = self._loop.call_later(self.patience, self._tire)

    def write_body(self, piece: bytes) -> None:
        self._take(piece)
        if self._bytes > self._keep + MOST_IGNORED:
            self._tire()

    def _take(self, piece: bytes) -> None:
        room = self._keep - self._bytes
        self._bytes += len(piece)
        if room > 0:
            self._body.append(piece[:room])

    def _tire(self) -> None:
        """The response's body is too long or takes too long; the status is known."""
        handler = self.handler
        if handler is not None:
            self.handler = None
            handler.on_client_gone()

    def end(self, trailers: Trailers) -> None:
        self._ended = True

    def finish(self, now: float) -> None:
        super().finish(now)
        if self._timer is not None:
            self._timer.cancel()
        # Not at once: what follows may begin another try, and the stack would grow with each.
        self._loop.call_soon(self._finish)

    def _finish(self) -> None:
        self.on_done(self._result())

    def _result(self) -> TryResult:
        head, record = self._head, self.record
        # A failure after an upstream's head says nothing about the status.
        reason = "" if head is not None and record.reason in _AFTER_HEAD else record.reason
        failure = by_reason(reason) if reason else None
        status = head.status if head is not None else record.status
        values = head.values(b"retry-after") if head is not None else []
        unknown = False
        if head is not None and status == _CONFLICT and not reason:
            unknown = any([_UNKNOWN in value for value in head.values(b"proxy-status")])
        return TryResult(
            status,
            reason,
            record.detail if reason else "",
            retry_after=parse_retry_after(values, time()),
            body=b"".join(self._body),
            complete=self._ended and self._bytes <= self._keep,
            sent=any([attempt.sent for attempt in record.attempts]),
            postponed=failure is not None and failure.postpones,
            unknown=unknown,
            seconds=record.duration,
            seen=[attempt.status for attempt in record.attempts if attempt.sent],
        )


_TRY_FIELD: Final = b"x-outbox-attempt"
_FIRST: Final = [b"1"]
_AFTER_HEAD: Final = frozenset(("client-gone", "upstream-truncated", "drain-cut"))


class StoredExchange(Exchange):
    """One try. `cut` ends it. `number` and `step` are those of its request."""

    __slots__ = ("_route", "number", "step")

    def __init__(
        self,
        keeper: Keeper,
        terms: Terms,
        route: Route,
        stream: StoredStream,
        head: RequestHead,
        stored: StoredRequest,
    ) -> None:
        super().__init__(keeper, terms, stream, head, stored.body)
        self._route = route
        self.number = stored.number
        self.step = stored.step
        self.request.lease = lease = stored.lease
        if lease is not None:
            lease.on_end = self.lose_claim

    def lose_claim(self) -> None:
        """Another process may try it now: end it, unless a response's head has arrived."""
        if self.phase is not COMMITTED:
            self.wake(ClaimLost("The claim was lost during the try: another process may have it."))

    async def run(self) -> None:
        """Like an exchange of a client, without what is for requests that arrive."""
        request = self.request
        try:
            binding = self._bind()
            self._enter(binding)
            answer = pass_gates(self._gates, self._permits, request.timing.started, request)
            if answer is not None:
                await self._queue(answer)
            self.phase = TRYING
            if binding.route.respond is not None:
                self._commit(fixed_answer(request, binding.route.respond))
            else:
                attempt = await make_attempts(self, binding)
                self._commit(self._given(attempt))
            if self._relay is not None:
                await self._relaying(self._relay)
        except Exception as error:  # noqa: BLE001 - a bug in one request must not affect others
            self._fail(error)
        self._settle()

    def _bind(self) -> Binding:
        request = self.request
        route = self._route
        if route.respond is not None:
            binding = request.terms.bindings.of_route(route)
        else:
            binding = request.terms.bind_to(route, request.head, request.stream.client)
        self._gates = binding.stored_gates
        request.use(binding)
        if request.head.values(_TRY_FIELD) != _FIRST:
            request.mirrors = None  # a request is copied once, whatever it takes to deliver it
        return binding

    def _relate(self, lineage: Lineage, binding: Binding) -> float:
        """A try has no caller that waits: it inherits nothing, and hands nothing on."""
        return NEVER

    def _enter(self, binding: Binding) -> None:
        super()._enter(binding)
        request = self.request
        stream = request.stream
        assert isinstance(stream, StoredStream)
        stream.patience = binding.policies.timeouts.request or binding.policies.timeouts.idle
        if request.body is not None:
            request.body.set_limit(request.head.length)  # it is in memory anyway


class Tries(Keeper):
    """Begins the tries of one listener's routes, and knows those in flight."""

    def __init__(self, listener: Listener, tell: Observer) -> None:
        """`tell` gets the record of every try."""
        super().__init__(listener)
        self.exchanges: set[StoredExchange] = set()
        self._tell = tell

    def begin_try(
        self,
        terms: Terms,
        route: Route,
        stored: StoredRequest,
        on_done: Callable[[TryResult], object],
        *,
        keep: int = 0,
    ) -> None:
        """Begin a try of a stored request; `on_done` gets its result in a later turn of the loop.

        `keep`: how many bytes of the response's body the result has. Raises ValueError for a
        host that is not one.
        """
        loop = asyncio.get_running_loop()
        head = stored.head()
        stream = StoredStream(loop, stored.client, keep, on_done)
        exchange = StoredExchange(self, terms, route, stream, head, stored)
        exchange.record.outbox_id = stored.entry
        exchange.record.delivers = True
        exchange.record.saga = stored.saga
        stream.record = exchange.record
        stream.handler = exchange
        self.exchanges.add(exchange)
        exchange.start(exchange.run())

    def cut(self) -> None:
        """End all tries; each counts as postponed, unless a response's head has arrived."""
        for exchange in list(self.exchanges):
            exchange.cut()

    def make_room(self, gate: PolicyGate, now: float) -> bool:
        return False

    def settled(self, exchange: Script, record: Record, now: float) -> None:
        assert isinstance(exchange, StoredExchange)
        self.exchanges.discard(exchange)
        lease = exchange.request.lease
        if lease is not None:
            lease.on_end = None
        self._tell(record)
