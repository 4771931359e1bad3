"""The way of an attempt to a stream: gates, look-up, endpoint, connection; and the way back.

    ask ─▶ look-up ─▶ choose, and ask the endpoint's own gates ─▶ a stream, or connect

`Attempt` calls these steps in this order. A step that waits ends when the attempt is due at the
latest. The stream goes back to its pool once, whatever happened.
"""

from time import monotonic
from typing import Final

from proxy.errors import AdmitError, ConnectTimeout, ProxyError
from proxy.exchange.attempt_clocks import AttemptClocks
from proxy.exchange.binding import Binding
from proxy.exchange.events import ALARM, RESOLVED
from proxy.exchange.heads import EXPECT, RETRY_ATTEMPT, RETRY_FIELD
from proxy.exchange.record import AttemptRecord
from proxy.exchange.request import Request
from proxy.exchange.throttle import Throttle
from proxy.http.grpc import TIMEOUT_FIELD as GRPC_TIMEOUT_FIELD
from proxy.http.hash_key import HashKey
from proxy.http.message import OwnFields
from proxy.http.w3c import SAMPLED
from proxy.outcome import IGNORED, Condition, Outcome
from proxy.policies.gate import Gate, Permit, Refusal, pass_gates
from proxy.upstream.dialing import Connected
from proxy.upstream.endpoint import HTTP1, Endpoint, Seat
from proxy.upstream.pool import Pool
from proxy.wire.alarm import NEVER
from proxy.wire.streams import UpstreamStream

_NO_CONNECTION: Final = Outcome(0, Condition.CONNECT_FAILURE)


class Reaching(AttemptClocks):
    """An attempt with what it holds: permits, a seat at its endpoint, a stream.

    `refused`: a gate refused, so nothing was attempted. `pool` lent the stream. `throttle` stands
    between stream and attempt if a fault asks for it.
    """

    __slots__ = (
        "_seat",
        "pool",
        "refused",
        "throttle",
    )

    pool: Pool

    def __init__(self, request: Request, binding: Binding, record: AttemptRecord) -> None:
        super().__init__(request, binding, record)
        self._seat: Seat | None = None
        self.refused = False
        self.throttle: Throttle | None = None

    # --- gates and endpoints ----------------------------------------------------------------------

    def _ask(self) -> Refusal | None:
        """Ask the remaining gates; None: all admit it."""
        answer = pass_gates(self._gates, self._permits, self.record.started, self._request)
        if answer is None:
            return None
        assert isinstance(answer, Refusal), "only gates of requests may answer Wait"
        return answer

    def _choose(self) -> Endpoint:
        """An endpoint whose gates admit the attempt, preferably one that was not tried yet."""
        binding = self.binding
        tried = self._tried() if len(self._request.record.attempts) > 1 else ()
        upstream = binding.upstream
        hash_key = upstream.choice.hash_key
        key = b"" if hash_key is None else self._key(hash_key)
        standings = upstream.choice.standings
        if standings is not None:
            self.record.left_out = standings.left_out
        endpoint = upstream.pick(tried, None, key)
        if endpoint is None:
            error = upstream.none_left()
            self.refused = isinstance(error, AdmitError)
            raise error
        if binding.per_endpoint:
            endpoint = self._ask_endpoint(endpoint, key)
        self._chosen(endpoint)
        return endpoint

    def _key(self, key: HashKey) -> bytes:
        return key.of(self._request.head, self._request.client)

    def _chosen(self, endpoint: Endpoint) -> None:
        self.record.chosen = endpoint
        self.record.endpoint = endpoint.label
        if endpoint.watched and self._counts:
            self._seat = endpoint.enter(self.record.started)

    @property
    def _counts(self) -> bool:
        """Whether endpoints learn from this attempt; not from the copy of a mirror."""
        return self._request.record.binding is not None

    def _leave_unreached(self) -> None:
        """The endpoint learns nothing: `connections.max` kept the attempt from it."""
        seat, self._seat = self._seat, None
        if seat is not None:
            seat.leave(IGNORED, monotonic())

    def _connected(self, connected: Connected) -> None:
        """There is a connection, perhaps to another endpoint than the chosen one."""
        before, seat = self.record.chosen, self._seat
        if connected.endpoint is not before:
            self._seat = None
            verdict = self.binding.verdict_of(_NO_CONNECTION)
            now = monotonic()
            for endpoint in connected.failed:
                if endpoint is not before and endpoint.watched and self._counts:
                    endpoint.enter(now).leave(verdict, now)
            if seat is not None:
                seat.leave(verdict if before in connected.failed else IGNORED, now)
            self._chosen(connected.endpoint)
        self.pool = connected.pool

    def _tried(self) -> list[Endpoint]:
        """The endpoints of the previous attempts."""
        return [one.chosen for one in self._request.record.attempts if one.chosen is not None]

    def _ask_endpoint(self, endpoint: Endpoint, key: bytes) -> Endpoint:
        """If each endpoint has its own gates, another endpoint may admit the attempt."""
        binding = self.binding
        refused: set[Endpoint] = set()
        while True:
            self._gates = [*binding.attempt_gates, *binding.endpoint_gates(endpoint)]
            refusal = self._ask()
            if refusal is None:
                return endpoint
            refused.add(endpoint)
            other = binding.upstream.pick(self._tried(), lambda other: other not in refused, key)
            if other is None:
                self.refused = True
                raise refusal.error()
            self._give_back_endpoint_permits()
            endpoint = other

    def _give_back_endpoint_permits(self) -> None:
        """Settle the permits of an endpoint whose later gate refused."""
        kept = len(self.binding.attempt_gates)
        while len(self._permits) > kept:
            permit = self._permits.pop()
            self._gates[len(self._permits)].settle(permit, IGNORED, 0.0, self.record.started)

    def keep(self, gates: list[Gate], permits: list[Permit]) -> None:
        """Take the permits of the gates around all attempts, if its own are not settled yet."""

    # --- the request that it will send ------------------------------------------------------------

    def _own_fields(self, now: float) -> OwnFields:
        """The proxy's own fields: those of all attempts, and this attempt's."""
        request, record = self._request, self.record
        held = request.head.held
        own = request.terms.request_fields(request.head, request.stream.client, request.id)
        trace, propagator = request.trace, request.terms.propagator
        if trace.flags & SAMPLED and propagator.records:
            record.span_id = propagator.new_span_id()
            propagator.inject_recorded(own, trace, record.span_id)
        else:
            propagator.inject_new(own, trace)
        if record.repeat:
            own.append((RETRY_ATTEMPT, b"%d" % record.repeat))
        elif RETRY_FIELD in held:
            own.append((RETRY_ATTEMPT, held[RETRY_FIELD][0]))
        elif request.nested:
            own.append((RETRY_ATTEMPT, request.nested))
        self._add_deadline(own, now)
        body = request.body
        if body is not None and not body.started and request.head.expects_continue:
            own.append((EXPECT, b"100-continue"))
        rules = self.binding.request_rules
        return own if rules is None else rules.left_of(own)

    def _add_deadline(self, own: OwnFields, now: float) -> None:
        if self.binding.policies.timeouts.propagate:
            request = self._request
            left = request.timing.left_to_tell(now)
            if left < NEVER:
                grpc = GRPC_TIMEOUT_FIELD in request.head.held
                self.binding.time_left.add_to(own, left, grpc=grpc)

    @property
    def head_held(self) -> dict[bytes, list[bytes]]:
        """The fields of the request's head that are not forwarded."""
        return self._request.head.held

    # --- what waits -------------------------------------------------------------------------------

    async def _resolve(self) -> None:
        upstream = self.binding.upstream
        endpoints = upstream.config.endpoints
        self.record.endpoint = ", ".join([f"{one.host}:{one.port}" for one in endpoints])
        began = monotonic()
        ticket = upstream.resolve(self._resolved, self._connect_seconds)
        try:
            while await self._wait(self._due) is not RESOLVED:
                overdue = upstream.overdue()
                if overdue.condition is not None:
                    self._check_request()
                if monotonic() >= self._due:
                    raise overdue
        finally:
            ticket.cancel()
            self._connect_took(began)

    def _resolved(self, error: ProxyError | None) -> None:
        self.wake(error or RESOLVED)

    def _take(self, endpoint: Endpoint, now: float) -> UpstreamStream | None:
        """A stream of an open connection that can carry the request; None: connect."""
        if endpoint.plain:
            pool = self.pool = endpoint.pool
            return pool.take()
        request = self._request
        protocol = endpoint.protocol_for(request.head.method, request.grpc, now)
        pool = endpoint.pool_of(protocol)
        self.pool = pool
        stream = pool.take()
        if stream is not None and not self._carries(stream):
            stream = self._take_http1(endpoint, stream)
        return stream

    def _take_http1(self, endpoint: Endpoint, instead_of: UpstreamStream) -> UpstreamStream | None:
        """Give a stream back that cannot carry the request, and take one of HTTP/1.1."""
        self.pool.give_back(instead_of, True)
        self.pool = endpoint.pool_of(HTTP1)
        return self.pool.take()

    def _carries(self, stream: UpstreamStream) -> bool:
        """Whether the stream can carry this request: an upgrade needs more than most."""
        head = self._request.sent
        return stream.upgrades or b"upgrade" not in head.held or head.upgrade is None

    async def _connect(self, endpoint: Endpoint) -> UpstreamStream:
        """A stream of a new connection, or the next one that is returned."""
        stream = await self._lease(endpoint, self.pool)
        if self._carries(stream):
            return stream
        taken = self._take_http1(endpoint, stream)
        return taken if taken is not None else await self._lease(endpoint, self.pool)

    async def _lease(self, endpoint: Endpoint, pool: Pool) -> UpstreamStream:
        binding = self.binding
        # An endpoint with gates of its own is not skipped: the next attempt asks those of another.
        alone = binding.per_endpoint
        # A wait for room in the pool is not part of the connect.
        full = pool.full
        began = NEVER if full else monotonic()
        ticket = binding.upstream.connect(
            endpoint,
            self.wake,
            self._connect_seconds,
            alone=alone,
            protocol=pool.address.protocol,
        )
        try:
            while True:
                happened = await self._wait(self._due)
                if isinstance(happened, Connected):
                    self._connected(happened)
                    return happened.stream
                if happened is ALARM and monotonic() >= self._due:
                    if full:
                        self._leave_unreached()
                    self._check_request()
                    raise ConnectTimeout(f"No connection to {endpoint.where} became free in time.")
        except Exception:
            ticket.cancel()
            raise
        finally:
            self._connect_took(began)

    # --- the way back -----------------------------------------------------------------------------

    @property
    def source(self) -> UpstreamStream | None:
        """Where a relay gets the response's body from."""
        return self.stream if self.throttle is None else self.throttle.view

    def hold(self) -> None:
        """Whether its response is used is not decided yet: read no more of it."""
        source = self.source
        if source is not None:
            source.pause_reading()

    def go_on(self) -> None:
        """Its response is used after all."""
        source = self.source
        if source is not None:
            source.resume_reading()

    def _count_bytes(self) -> None:
        source = self.source
        if source is not None:
            self._request.record.bytes_out = source.payload_bytes

    def release(self, *, reusable: bool) -> None:
        """Return the stream; it sends no more events."""
        stream = self.stream
        if stream is None:
            return
        self.stream = None
        if self.throttle is not None:
            self.throttle.close()
            self.throttle = None
        body = self._request.body
        if body is not None:
            body.detach(stream)
            reusable = reusable and body.complete  # else it waits for the rest of this request
        stream.detach()
        self.pool.give_back(stream, reusable)
