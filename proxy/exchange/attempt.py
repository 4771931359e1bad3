"""One attempt: an endpoint, a connection to it, the request sent, a response's head received.

An attempt settles its breaker permit exactly once, with the one `Outcome` that the retry policy,
the metrics and the log see too.
"""

from time import monotonic
from typing import TYPE_CHECKING, cast

from proxy.errors import (
    AttemptTimeout,
    BodyTimeout,
    ConnectFailed,
    ConnectTimeout,
    InternalError,
    ProxyError,
)
from proxy.exchange.binding import Binding
from proxy.exchange.events import ALARM, END, HEAD, RESOLVED
from proxy.exchange.heads import informational_head
from proxy.http.response import ResponseHead
from proxy.outcome import FAILURE, IGNORED, SUCCESS, Outcome, Verdict
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.gate import (
    Permit,
    Refusal,
    pass_gates,
    pause_gates,
    resume_gates,
    settle_gates,
)
from proxy.policies.retry import Retry, Stop
from proxy.upstream.endpoint import Endpoint
from proxy.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from proxy.exchange.exchange import Exchange


class Attempt:
    """One attempt, and its record: endpoint, status or failure, seconds taken and waited before.

    `head` is the response's head once it is there, `piece` the part of the body that came with
    it, `ended` whether that was all. `span_id` is "" unless its span is going to be exported.
    `detail` is the failure's sentence, `decision` what the retry policy said afterwards; None: it
    was not asked. `repeat`: attempts before it that a service may have seen. `refused`: a gate
    did not let it pass, so nothing was attempted.
    """

    __slots__ = (
        "_exchange",
        "_gates",
        "_permits",
        "_stood_before",
        "binding",
        "chosen",
        "connection",
        "decision",
        "detail",
        "duration",
        "ended",
        "endpoint",
        "failure",
        "head",
        "number",
        "piece",
        "refused",
        "repeat",
        "span_id",
        "started",
        "status",
        "wait",
    )

    def __init__(self, exchange: "Exchange", binding: Binding, number: int, wait: float) -> None:
        self._exchange = exchange
        self.binding = binding
        self._gates = binding.attempt_gates
        self._permits: list[Permit] = []
        self.refused = False
        self.number = number
        self.wait = wait
        self.repeat = 0
        self.endpoint = ""
        self.status = 0
        self.failure = ""
        self.span_id = ""
        self.detail = ""
        self.decision: Retry | Stop | None = None
        self.duration = 0.0
        self.chosen: Endpoint | None = None
        self.connection: UpstreamConnection | None = None
        self.head: ResponseHead | None = None
        self.piece = b""
        self.ended = False
        self.started = monotonic()
        self._stood_before = exchange.deadline.stood_still

    # What only a record is asked for.

    @property
    def upstream(self) -> str:
        return self.binding.label

    @property
    def breaker(self) -> CircuitBreaker | None:
        """The circuit breaker that it asked."""
        for gate in self._gates:
            if isinstance(gate, CircuitBreaker):
                return gate
        return None

    async def run(self) -> ResponseHead:
        """The response's head. Raises what came instead of it; the attempt is settled then."""
        try:
            exchange = self._exchange
            deadline = exchange.deadline
            if deadline.at <= self.started:
                raise exchange.request_timeout()
            # Before the look-up, which is part of the attempt: the breaker hears of it too.
            refusal = self._ask()
            if refusal is not None:
                self.refused = True
                raise refusal.error()
            if not self.binding.upstream.endpoints:
                await self._resolve()
            endpoint = self._choose()
            taken = endpoint.pool.take()
            # Only HTTP/1 connections are opened.
            connection = (
                await self._connect(endpoint) if taken is None else cast(UpstreamConnection, taken)
            )
            self.connection = connection
            self._send(connection)
            while (head := self.head) is None:
                until = exchange.idle_at if deadline.paused else self._due
                if await exchange.wait(until) is ALARM:
                    self._check_clocks()
            if deadline.paused:
                self.resume_clocks()
        except ProxyError as error:
            self._end(error)
            raise
        except Exception:  # a bug must not keep the permit and the connection
            self._end(InternalError())
            raise
        self.status = head.status
        failed = head.status in self.binding.failing
        self._settle(FAILURE if failed else SUCCESS)
        return head

    @property
    def _due(self) -> float:
        """When its own time is over, or the request's; both clocks stand still together."""
        deadline = self._exchange.deadline
        stood_still = deadline.stood_still - self._stood_before
        own = self.started + self.binding.policies.timeouts.attempt + stood_still
        return own if own < deadline.at else deadline.at

    # --- before the request is sent -----------------------------------------------------------

    def _choose(self) -> Endpoint:
        """An endpoint whose gates let the attempt pass, preferably one not yet tried."""
        binding = self.binding
        tried = self._tried() if len(self._exchange.attempts) > 1 else ()
        endpoint = binding.upstream.pick(tried, None)
        if endpoint is None:
            raise ConnectFailed(f"Upstream {binding.upstream.name!r} has no endpoint.")
        if binding.per_endpoint:
            endpoint = self._ask_endpoint(endpoint)
        self.chosen = endpoint
        self.endpoint = endpoint.label
        return endpoint

    def _tried(self) -> list[Endpoint]:
        """The endpoints of the attempts before."""
        return [one.chosen for one in self._exchange.attempts if one.chosen is not None]

    def _ask_endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Where each endpoint has gates of its own, another one may let the attempt pass."""
        binding = self.binding
        refused: set[Endpoint] = set()
        while True:
            self._gates = [*binding.attempt_gates, *binding.endpoint_gates(endpoint)]
            refusal = self._ask()
            if refusal is None:
                return endpoint
            refused.add(endpoint)
            other = binding.upstream.pick(self._tried(), lambda other: other not in refused)
            if other is None:
                self.refused = True
                raise refusal.error()
            self._give_back_endpoint_permits()
            endpoint = other

    def _give_back_endpoint_permits(self) -> None:
        """Those of an endpoint of which a later gate refused."""
        kept = len(self.binding.attempt_gates)
        while len(self._permits) > kept:
            permit = self._permits.pop()
            self._gates[len(self._permits)].settle(permit, IGNORED, 0.0, self.started)

    async def _resolve(self) -> None:
        exchange = self._exchange
        upstream = self.binding.upstream
        self.endpoint = ", ".join(f"{e.host}:{e.port}" for e in upstream.config.endpoints)
        ticket = upstream.resolve(
            lambda error: exchange.wake(error or RESOLVED),
            self.binding.policies.timeouts.connect,
        )
        try:
            while (happened := await exchange.wait(self._due)) is not RESOLVED:
                if happened is ALARM:
                    self._check_request()
                    raise ConnectTimeout("The name look-up took longer than the attempt may.")
        finally:
            ticket.cancel()

    def _ask(self) -> Refusal | None:
        """Ask the gates that were not asked yet; None: all let it pass."""
        answer = pass_gates(self._gates, self._permits, self.started, self._exchange)
        if answer is None:
            return None
        assert isinstance(answer, Refusal), "only the gates of a request may let it wait"
        return answer

    async def _connect(self, endpoint: Endpoint) -> UpstreamConnection:
        exchange = self._exchange
        ticket = endpoint.pool.request(exchange.wake, self.binding.policies.timeouts.connect)
        try:
            while True:
                happened = await exchange.wait(self._due)
                if isinstance(happened, UpstreamConnection):
                    return happened
                if happened is ALARM:
                    self._check_request()
                    raise ConnectTimeout(f"No connection to {endpoint.where} came free in time.")
        except Exception:
            ticket.cancel()
            raise

    # --- the request and its response's head --------------------------------------------------

    def _send(self, connection: UpstreamConnection) -> None:
        exchange = self._exchange
        body = exchange.body
        exchange.activity = now = monotonic()
        head = exchange.attempt_head(self, now)
        held = b""
        if body is not None:
            held = body.attach(connection)
            if body.flowing:
                self.pause_clocks()
        asked = exchange.head
        connection.begin(
            self,
            asked.method,
            head,
            held,
            payload=asked.minor == 0,
            upgrade=b"upgrade" in asked.held and asked.upgrade is not None,
        )

    @property
    def clocks_paused(self) -> bool:
        return self._exchange.deadline.paused

    def pause_clocks(self) -> None:
        """The client's body flows: `idle` watches now, the deadlines stand still."""
        exchange = self._exchange
        if exchange.deadline.paused:
            return
        now = monotonic()
        exchange.deadline.pause(now)
        pause_gates(self._gates, self._permits, now)
        outer = exchange.outer_permits
        if outer is not None:
            pause_gates(self.binding.outer_gates, outer, now)

    def resume_clocks(self) -> None:
        """The body has ended, or the attempt has."""
        exchange = self._exchange
        if not exchange.deadline.paused:
            return
        now = monotonic()
        exchange.deadline.resume(now)
        resume_gates(self._gates, self._permits, now)
        outer = exchange.outer_permits
        if outer is not None:
            resume_gates(self.binding.outer_gates, outer, now)

    def _check_clocks(self) -> None:
        exchange = self._exchange
        now = monotonic()
        timeouts = self.binding.policies.timeouts
        if exchange.deadline.paused:
            if now < exchange.idle_at:
                return
            if self.connection is not None and self.connection.write_paused:
                raise AttemptTimeout(
                    f"{self.endpoint} took none of the request's body for {timeouts.idle:g} s."
                )
            raise BodyTimeout(f"None of the request's body came for {timeouts.idle:g} s.")
        if now < self._due:
            return
        self._check_request()
        raise AttemptTimeout(
            f"{self.endpoint} sent no response head within {timeouts.attempt:g} s "
            "(timeouts.attempt)."
        )

    def _check_request(self) -> None:
        """If the request's own deadline has passed, that is what has run out."""
        if self._exchange.deadline.expired(monotonic()):
            raise self._exchange.request_timeout()

    # --- what the connection says -------------------------------------------------------------

    def on_informational(self, head: ResponseHead) -> None:
        body = self._exchange.body
        if head.status == 100 and body is not None:
            body.started = True  # it is the client's turn
            if body.flowing:
                self.pause_clocks()
                self._exchange.activity = monotonic()
        self._exchange.on_informational(informational_head(head))

    def on_head(self, head: ResponseHead, piece: bytes, ended: bool) -> None:
        self.head = head
        self.piece = piece
        self.ended = ended
        self._exchange.wake(HEAD)

    def on_piece(self, piece: bytes) -> None:
        self._exchange.on_response_piece(piece)

    def on_end(self) -> None:
        self.ended = True
        self._exchange.wake(END)

    def on_lost(self, error: ProxyError) -> None:
        self._exchange.wake(error)

    def on_upstream_writable(self, writable: bool) -> None:
        exchange = self._exchange
        if exchange.body is not None:
            exchange.body.on_writable(writable)
        elif writable:
            exchange.downstream.resume_reading()
        else:
            exchange.downstream.pause_reading()
        if writable:
            exchange.activity = monotonic()

    # --- the end ------------------------------------------------------------------------------

    def _end(self, error: ProxyError) -> None:
        """It failed: no response will be used, and the connection is of no more use."""
        self.failure = error.reason
        self.detail = error.detail
        exchange = self._exchange
        self.resume_clocks()
        self.release(reusable=False)
        condition = exchange.condition_of(error)
        if condition is None:
            self._settle(IGNORED)
        else:
            failed = Outcome(condition=condition) in self.binding.failures
            self._settle(FAILURE if failed else SUCCESS)

    def _settle(self, verdict: Verdict) -> None:
        """Give the permits back, and count."""
        now = monotonic()
        exchange = self._exchange
        self.duration = now - self.started
        exchange.verdict = verdict
        stood_still = exchange.deadline.stood_still - self._stood_before
        settle_gates(self._gates, self._permits, verdict, self.duration - stood_still, now)
        if not self.refused:
            self.binding.count_attempt(self.status, self.failure)

    def release(self, *, reusable: bool) -> None:
        """Give the connection back; once it is back, nothing more is heard of it."""
        exchange, connection, endpoint = self._exchange, self.connection, self.chosen
        body = exchange.body
        if body is not None:
            body.detach()
            reusable = reusable and body.complete  # else it waits for the rest of this request
        if connection is not None and endpoint is not None:
            if exchange.committed:
                exchange.bytes_out = connection.payload_bytes
            self.connection = None
            connection.detach()
            endpoint.pool.give_back(connection, reusable)
