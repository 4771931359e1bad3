"""One attempt: an endpoint, a stream to it, the request sent, a response's head received.

    start ─┬─ reach: look-up, endpoint, stream (waits if necessary) ──▶ send ─▶ on_head ─▶ done
           └────────────── refused, failed, timed out, cancelled ───────────────────────▶ done

An attempt is a separate script and wakes its owner when it is done, so two attempts of one request
can run at once. It settles its permits exactly once, with the same `Outcome` that the retry policy,
the metrics and the log use. The steps of *reach* are in `reaching`, its deadlines in
`attempt_clocks`.
"""

from time import monotonic

from proxy.errors import (
    ConnectError,
    HedgeLost,
    Http11Required,
    InternalError,
    ProxyError,
    SessionLost,
    UpstreamReset,
    let_go,
)
from proxy.exchange.attempt_clocks import DONE, REACHING, SENT
from proxy.exchange.binding import Binding
from proxy.exchange.events import ALARM
from proxy.exchange.reaching import Reaching
from proxy.exchange.record import AttemptRecord
from proxy.exchange.request import Request
from proxy.exchange.script import Script
from proxy.exchange.throttle import Throttle
from proxy.grpc_status import RESOURCE_EXHAUSTED
from proxy.http.making import make_response
from proxy.http.message import ResponseHead
from proxy.outcome import FAILURE, IGNORED, SUCCESS, UNPROCESSED, Outcome, Verdict
from proxy.policies.faults import Fault
from proxy.policies.gate import settle_gates
from proxy.upstream.endpoint import Endpoint, Seat
from proxy.wire.alarm import NEVER
from proxy.wire.streams import NO_TRAILERS, StreamHandler, Trailers, UpstreamStream


class Attempt(Reaching):
    """One attempt. `over`: it is done, with a `head` or with an `error`.

    `piece` is the part of the body received with the head, `ended` whether the body is complete,
    with its `trailers`. `bug`: an exception of the proxy's own code, which the exchange raises.
    `fault` is suffered in place of the upstream.
    """

    __slots__ = (
        "_owner",
        "_taken_again",
        "bug",
        "ended",
        "error",
        "fault",
        "head",
        "piece",
        "trailers",
    )

    def __init__(
        self,
        request: Request,
        binding: Binding,
        owner: Script,
        number: int = 1,
        wait: float = 0.0,
        repeat: int = 0,
        now: float = 0.0,
    ) -> None:
        """`owner` is woken with this attempt when it is done, unless it is already running.

        `now`: when it starts, if that is known.
        """
        record = AttemptRecord(binding, number, wait, repeat, now or monotonic())
        super().__init__(request, binding, record)
        self._owner = owner
        self._taken_again = False
        self.bug: Exception | None = None
        self.error: ProxyError | None = None
        self.fault: Fault | None = None
        self.head: ResponseHead | None = None
        self.piece = b""
        self.ended = False
        self.trailers = NO_TRAILERS

    @property
    def over(self) -> bool:
        return self._phase is DONE

    def begin(self) -> None:
        """Run as far as possible without waiting. Raises nothing."""
        request = self._request
        request.timing.join(self)
        request.record.attempts.append(self.record)
        try:
            if request.timing.deadline.at <= self.record.started:
                raise request.timing.request_timeout()
            # Before the look-up, which is part of the attempt: the gates count it too.
            refusal = self._ask()
            if refusal is not None:
                self.refused = True
                raise refusal.error()
            if self.fault is not None:
                self.start(self._suffer(self.fault))
                return
            endpoint = None
            if self.binding.upstream.endpoints:
                endpoint = self._choose()
                stream = self._take(endpoint, self.record.started)
                if stream is not None:
                    self.stream = stream
                    self._send(stream, self.record.started)
                    return
            self.start(self._reach(endpoint))
        except ProxyError as error:
            self._fail(error)
        except Exception as bug:  # noqa: BLE001 - the owner raises it
            self._break(bug)

    def cancel(self, error: ProxyError) -> None:
        """Cancel it for an external reason; it sends no more events."""
        if self._phase is DONE:
            return
        if self._steps is not None:
            self.wake(error)  # what it waits for is cancelled too
        else:
            self._fail(error)

    async def _suffer(self, fault: Fault) -> None:
        """What the upstream would do with this fault; without an end of its own, go on."""
        for kind in fault.kinds:
            self.binding.stats.count_fault(kind)
        try:
            endpoint = self._choose() if self.binding.upstream.endpoints else None
            until = self._wake_at = self.record.started + fault.delay
            while monotonic() < until:
                due = self._due
                await self._wait(until if until < due else due)
                error = self._overdue() if self._request.timing.marks is None else None
                if error is not None:
                    raise error
            self._wake_at = NEVER
            if fault.abort:
                self._abort(fault.abort)
                return
            if fault.reset:
                raise UpstreamReset("A fault of this route closes the connection (faults).")
        except ProxyError as failure:
            self._fail(failure)
            return
        except Exception as bug:  # noqa: BLE001 - the owner raises it
            self._break(bug)
            return
        await self._reach(endpoint)

    def _abort(self, status: int) -> None:
        """A fault answers with this status in place of the upstream."""
        self.on_head(make_response(status, [], 0), b"", True, NO_TRAILERS)

    async def _reach(self, endpoint: Endpoint | None) -> None:
        """Wait for addresses and a stream if necessary."""
        try:
            if endpoint is None:
                await self._resolve()
                endpoint = self._choose()
            stream = self._take(endpoint, monotonic())
            if stream is None:
                stream = await self._connect(endpoint)
            self.stream = stream
            self._send(stream, monotonic())
        except ProxyError as error:
            self._fail(error)
        except Exception as bug:  # noqa: BLE001 - the owner raises it
            self._break(bug)

    # --- the request and its response's head ------------------------------------------------------

    def _send(self, stream: UpstreamStream, now: float) -> None:
        request = self._request
        timing, body, lease = request.timing, request.body, request.lease
        if lease is not None:
            lease.check()
        timing.activity = now
        own = self._own_fields(now)
        self._phase = SENT
        self.record.sent = True
        held: bytes = b""
        ended, trailers = True, NO_TRAILERS
        if body is not None:
            held = body.attach(stream)
            ended, trailers = body.complete, body.trailers
            if body.flowing:
                self.pause_clocks()
        handler: StreamHandler = self
        if self.fault is not None and self.fault.throttle:
            handler = self.throttle = Throttle(self.fault.throttle, stream, self)
        stream.send_head(handler, request.sent, own, held, ended, trailers)
        self._arm()
        if request.mirrors is not None and self.binding is request.binding:
            self._owner.on_sending(held)

    def on_due(self) -> None:
        if self._request.timing.marks is not None:
            self.on_mark()
            return
        if self._phase is not SENT:
            self.wake(ALARM)
            return
        error = self._overdue()
        if error is None:
            self._arm()
        else:
            self._fail(error)

    # --- events of the stream, until the relay gets them ----------------------------------------

    def on_informational(self, head: ResponseHead) -> None:
        request = self._request
        body = request.body
        if head.status == 100 and body is not None:
            body.start()
            if body.flowing:
                self.pause_clocks()
                request.timing.activity = monotonic()
                self._arm()
        request.stream.write_informational(head)

    def on_head(self, head: ResponseHead, piece: bytes, ended: bool, trailers: Trailers) -> None:
        self.head = head
        self.piece = piece
        self.ended = ended
        self.trailers = trailers
        self._succeed(head.status)

    def on_piece(self, piece: bytes) -> None:
        self.piece += piece

    def on_end(self, trailers: Trailers) -> None:
        self.ended = True
        self.trailers = trailers

    def on_lost(self, error: ProxyError) -> None:
        if self._phase is not SENT:
            self.error = error
        elif not self._take_again(error):
            self._fail(error)

    def _take_again(self, error: ProxyError) -> bool:
        """Send the request on another stream, once, if the upstream has seen nothing of it."""
        endpoint, body = self.record.chosen, self._request.body
        lost = isinstance(error, SessionLost)
        over_http1 = isinstance(error, Http11Required) and not self._request.grpc
        if endpoint is None or not (lost or over_http1):
            return False
        if not lost:
            endpoint.require_http1(monotonic())
        if self._taken_again or (body is not None and not body.whole):
            return False
        self._taken_again = True
        self.resume_clocks()
        self.release(reusable=False)
        self._phase = REACHING
        self.start(self._reach(endpoint))
        return True

    def on_upstream_writable(self, writable: bool) -> None:
        request = self._request
        if request.body is not None:
            request.body.on_writable(writable)
        if writable:
            request.timing.activity = monotonic()

    # --- the end ----------------------------------------------------------------------------------

    def _succeed(self, status: int) -> None:
        verdict = SUCCESS
        if status in self.binding.failing:
            verdict = IGNORED if self._gave_up else FAILURE
        self._receive(status, verdict)

    def _receive(self, status: int, verdict: Verdict) -> None:
        """There is a response that the owner may use."""
        self.record.status = status
        if self.head is not None:
            self.record.version = self.head.version
        self._phase = DONE
        self.resume_clocks()
        self._settle(verdict)
        self._tell()

    def _fail(self, error: ProxyError) -> None:
        """The response is not used: close the stream."""
        self.error = error
        let_go(error)  # nothing raises it again if another attempt wins, or if this is a copy
        self.record.failure = error.reason
        self.record.detail = error.detail
        self.record.unprocessed = error.condition in UNPROCESSED
        self._phase = DONE
        body = self._request.body
        # A client that waits for its 100 Continue may send without one (RFC 9110 section 10.1.1).
        client_owes = self._client_owes or (body is not None and body.unsaid)
        if self.record.chosen is not None and not isinstance(error, Http11Required):
            self.record.chosen.insist_no_more()
        self.resume_clocks()
        self.release(reusable=False)
        condition = self._request.condition_of(error)
        if condition is None or (client_owes and not isinstance(error, ConnectError)):
            self._settle(IGNORED)
        else:
            self._settle(self.binding.verdict_of(Outcome(0, condition, self.record.grpc)))
        self._tell()

    def _break(self, bug: Exception) -> None:
        """Release permits and stream after a bug."""
        self.bug = bug
        if self._phase is DONE:
            self._tell()
        else:
            self._fail(InternalError())

    def _tell(self) -> None:
        self._request.timing.leave(self)
        if not self._owner.running:
            self._owner.wake(self)

    def _settle(self, verdict: Verdict) -> None:
        """Return the permits, and count."""
        now = monotonic()
        record = self.record
        record.duration = now - record.started
        record.gates = self._gates
        record.verdict = verdict
        record.seconds = record.duration - self._stood
        self._return_permits(verdict, now)

    def _return_permits(self, verdict: Verdict, now: float) -> None:
        settle_gates(self._gates, self._permits, verdict, self.record.seconds, now)
        if self._seat is not None:
            self._leave(self._seat, verdict, now)
        if not self.refused:
            self.binding.count_attempt(self.record.status, self._counted_as)

    def _leave(self, seat: Seat, verdict: Verdict, now: float) -> None:
        """Tell its endpoint the outcome; one that a fault touched says nothing about it."""
        self._seat = None
        if self.fault is not None:
            verdict = IGNORED
        latency = seat.latency
        if latency is not None:
            record = self.record
            overloaded = record.status == 429 or record.grpc == RESOURCE_EXHAUSTED
            seat.note(verdict, record.seconds, now, overloaded)
            if self._unanswered:
                latency.at_least(record.seconds, now)
        seat.leave(verdict, now)

    @property
    def _unanswered(self) -> bool:
        """Whether the endpoint had its time until a client, its deadline or a hedge ended this.

        Else an endpoint that hangs would have no samples, and attract the traffic.
        """
        if self.error is None or self.fault is not None or self._request.timing.stood_still:
            return False
        return self.record.sent or isinstance(self.error, HedgeLost)

    @property
    def _counted_as(self) -> str:
        """Its failure, as metrics name it; "": none."""
        return self.record.failure

    def finish(self) -> None:
        """Its response was sent to the client completely."""
        self._count_bytes()
        self.release(reusable=True)

    def drop(self) -> None:
        """Its response is not used; its connection is kept if the response is complete."""
        self.resume_clocks()
        self.release(reusable=self.ended)

    def give_up(self) -> None:
        """Its response was partly sent to the client, and will not be completed."""
        self._count_bytes()
        self.release(reusable=False)
