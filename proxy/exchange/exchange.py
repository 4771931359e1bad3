"""One client request, from its head to settle, as one coroutine.

    route → admit (gates of the request) → attempts (gates, deadline, connection, retry)
        → commit → relay → settle

Before the commit everything can be retried, after it nothing. `_commit_head` is the only place
where that happens, for upstreams' responses, fallbacks and the proxy's own answers. In every case
`_settle` returns everything held, exactly once, and records.
"""

import logging
from time import monotonic
from typing import Any, Final

from proxy.errors import BodyTimeout, ClientGone, DrainCut, Draining, InternalError, ProxyError
from proxy.exchange.answers import (
    Answer,
    error_answer,
    fixed_answer,
    forwarded_head,
    upstream_answer,
)
from proxy.exchange.attempt import Attempt
from proxy.exchange.binding import Binding
from proxy.exchange.body import RequestBody
from proxy.exchange.carrier import Carrier
from proxy.exchange.events import (
    ALARM,
    COMMITTED,
    MOVED,
    PAUSING,
    QUEUED,
    ROUTING,
    SETTLED,
    TRYING,
    Phase,
)
from proxy.exchange.fallback import answers_failure, answers_outcome, fall_back
from proxy.exchange.faults import injected
from proxy.exchange.grpc_attempt import GrpcAttempt
from proxy.exchange.grpc_relay import GrpcRelay
from proxy.exchange.heads import caller_timeout
from proxy.exchange.keeping import covers, enter, keep, rescue
from proxy.exchange.lineage import Lineage
from proxy.exchange.lost_client import LostClient
from proxy.exchange.marks import BODY_RATE
from proxy.exchange.mirroring import begin_mirror
from proxy.exchange.pace import GRACE, Pace, TakingPace
from proxy.exchange.promise import Promise
from proxy.exchange.queueing import wait_for_permit
from proxy.exchange.record import Record
from proxy.exchange.relay import Relay, client_gone
from proxy.exchange.request import Keeper, Request
from proxy.exchange.retrying import let_go, make_attempts
from proxy.exchange.terms import Terms
from proxy.exchange.timing import Timing
from proxy.exchange.tunnel import Tunnel
from proxy.http.message import OwnFields, RequestHead, ResponseHead
from proxy.outcome import IGNORED
from proxy.policies.deadline import InheritConfig
from proxy.policies.fallback import FallbackResponse
from proxy.policies.gate import Answer as GateAnswer
from proxy.policies.gate import Gate, Permit, Refusal, pass_gates, settle_gates
from proxy.wire.alarm import NEVER
from proxy.wire.streams import ClientStream, Trailers

_log = logging.getLogger("proxy.exchange")
_NO_GATES: Final[list[Gate]] = []


class Exchange(Carrier):
    """Carries one request. `phase` is its current phase, `record` is what observers get."""

    __slots__ = ("_gates", "_permits", "_relay", "_tunnel", "gate", "phase", "record")

    def __init__(
        self, gate: Keeper, terms: Terms, stream: ClientStream, head: RequestHead, piece: bytes
    ) -> None:
        super().__init__()
        self.gate = gate
        self.phase: Phase = ROUTING
        self._gates: list[Gate] = _NO_GATES
        self._permits: list[Permit] = []
        self._relay: Relay | None = None
        self._tunnel: Tunnel | None = None
        body = None
        if head.length or head.chunked:
            body = RequestBody(stream, piece, awaits_word=head.expects_continue)
        timing = Timing(stream.alarm, self, monotonic())
        self.request = Request(terms, stream, head, body, timing)
        self.record: Record = self.request.record

    # --- the way of a request ---------------------------------------------------------------------

    async def run(self) -> None:
        """The whole exchange. It ends by returning the client's stream."""
        request = self.request
        try:
            binding = self._bind()
            self._enter(binding)
            fallback = binding.policies.fallback
            attempt: Attempt | None = None
            failure: ProxyError | None = None
            fixed: FallbackResponse | None = None
            kept: Answer | None = None
            try:
                if binding.promises is not None:
                    kept = await self._ask_promises(binding, binding.promises)
                if kept is None:
                    answer = pass_gates(self._gates, self._permits, request.timing.started, request)
                    if answer is not None:
                        await self._queue(answer)
                    self.phase = TRYING
                    fixed = binding.route.respond
                    if fixed is None:
                        attempt = await make_attempts(self, binding)
            except ProxyError as error:
                if not self._replaces(binding, error):
                    raise
                failure = error
                let_go(error)
            # Not in the handler above: a compiled coroutine that waits there would leave its
            # exception behind as the one that its caller handles.
            if binding.promises is not None and kept is None and fixed is None:
                kept = await rescue(self, binding.promises, failure, attempt)
            if kept is not None:
                self._commit(kept)
            elif fixed is not None and failure is None:
                self._commit(fixed_answer(request, fixed))
            elif attempt is None:
                assert failure is not None
                if fallback is None or not answers_failure(request, fallback, failure):
                    raise failure
                self._commit(await fall_back(self, binding, fallback, failure))
            elif fallback is not None and answers_outcome(request, fallback, attempt):
                attempt.drop()
                status = attempt.record.status
                self._commit(await fall_back(self, binding, fallback, None, status))
            else:
                if attempt.fault is None and request.claim is None:
                    self._forward(attempt)
                else:
                    given = self._given(attempt)
                    if request.claim is not None and given.attempt is not None:
                        given = await keep(self, request.claim, given)
                    self._commit(given)
            if self._relay is not None:
                await self._relaying(self._relay)
            elif self._tunnel is not None:
                await self._tunnelling(self._tunnel)
        except Exception as error:  # noqa: BLE001 - a bug in one request must not affect others
            self._fail(error)
        self._settle()

    def _bind(self) -> Binding:
        """Find the destination, and the gates that are asked."""
        binding = self.request.bind()
        self._gates = binding.request_gates
        return binding

    async def _ask_promises(self, binding: Binding, promises: list[Promise]) -> Answer | None:
        """Ask the gates before them, then the promises."""
        gates = self._gates
        self._gates = binding.arrival_gates
        answer = pass_gates(self._gates, self._permits, self.request.timing.started, self.request)
        if answer is not None:
            await self._queue(answer)
        self._gates = gates
        return await enter(self, promises)

    def _replaces(self, binding: Binding, error: ProxyError) -> bool:
        """Whether a promise or the fallback may answer instead of this failure."""
        fallback, promises = binding.policies.fallback, binding.promises
        if fallback is not None and answers_failure(self.request, fallback, error):
            return True
        return promises is not None and covers(self, promises, error, 0)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, ProxyError):
            self._conclude(error)
            let_go(error)
            return
        _log.error("internal error in request %s", self.record.request_id, exc_info=error)
        self._conclude(InternalError("This is a bug of the proxy; its log has a traceback."))

    def _given(self, attempt: Attempt) -> Answer:
        """The response of an attempt; one that suffered a fault says so."""
        if attempt.fault is None:
            return upstream_answer(self.request, attempt)
        request, error = self.request, injected(attempt)
        if error is not None:
            self.record.failed(error)
            return error_answer(request, error)
        status_field = request.terms.proxy_status.faulty(attempt.record.fault)
        return upstream_answer(request, attempt, status_field)

    def _enter(self, binding: Binding) -> None:
        """The route is known: its clocks start, with the request's head."""
        request = self.request
        lineage = request.terms.lineage
        left = NEVER if lineage is None else self._relate(lineage, binding)
        given = caller_timeout(request.head.held)
        request.timing.begin(binding.policies.timeouts, given, left)
        if request.timing.inherited and lineage is not None:
            lineage.enter(request)
        else:
            request.parent = None
        if request.grpc:
            request.timing.idle_seconds = binding.policies.timeouts.stream_idle or NEVER
        if request.body is not None:
            request.body.set_limit(binding.policies.retry.body_limit)
            rate = request.body_rate
            if rate:
                request.body.measure(rate, request.timing)

    def _relate(self, lineage: Lineage, binding: Binding) -> float:
        """Note an inbound request; take what an outbound one inherits.

        Returns the seconds left of the inherited deadline, NEVER without one.
        """
        if self.request.inbound:
            lineage.enter(self.request)
        elif lineage.occupied:
            return self._inherit(lineage, binding.policies.timeouts.inherit)
        return NEVER

    def _inherit(self, lineage: Lineage, wanted: InheritConfig) -> float:
        """Take what the inbound request that this call is made for hands on."""
        request = self.request
        if not wanted.deadline and not wanted.retries:
            return NEVER
        now = request.timing.started
        found = lineage.inherited(request.kinship, now)
        if found is None:
            return NEVER
        parent = found.parent
        assert isinstance(parent, Request)
        self.record.inherited_from = parent.record.request_id
        if wanted.retries:
            request.nested = found.repeat
        if not wanted.deadline:
            return NEVER
        request.parent = parent
        if found.streams:
            request.timing.stream_until = now + found.left
        return found.left

    async def _queue(self, answer: GateAnswer | None) -> None:
        """Wait for permits that the request's gates did not grant at once."""
        gates, permits = self._gates, self._permits
        self.phase = QUEUED
        searched = False
        while answer is not None:
            gate = gates[len(permits)]
            if gate.has_places and not searched:
                searched = True
                if self.gate.make_room(gate, monotonic()) and isinstance(answer, Refusal):
                    answer = pass_gates(gates, permits, monotonic(), self.request)
                    continue
            permits.append(await wait_for_permit(self, gate, answer))
            answer = pass_gates(gates, permits, monotonic(), self.request)

    def _commit(self, answer: Answer) -> None:
        """Commit to this answer. No retry is possible afterwards."""
        self._commit_head(
            answer.head,
            answer.own,
            answer.attempt,
            answer.piece,
            answer.ended,
            answer.trailers,
            answer.last,
        )

    def _forward(self, attempt: Attempt) -> None:
        """Commit to the response of this attempt, as nearly always: no `Answer` is made for it."""
        head, own = forwarded_head(self.request, attempt)
        self._commit_head(head, own, attempt, attempt.piece, attempt.ended, attempt.trailers, False)

    def _commit_head(
        self,
        head: ResponseHead,
        own: OwnFields,
        attempt: Attempt | None,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
        last: bool,
    ) -> None:
        """The commit, for all of them. `attempt` got the response, None: it is the proxy's own."""
        request, record, stream = self.request, self.record, self.request.stream
        record.status = head.status
        record.answered = True
        self.phase = COMMITTED
        if request.lineage is not None and attempt is not None:
            request.lineage.answered(request)
        if attempt is not None and (head.status == 101 or request.head.method == "CONNECT"):
            self._tunnel = Tunnel(request, attempt, self)
            self._tunnel.take_over(stream.open_tunnel(head, own, piece))
            return
        stream.write_head(head, own, piece, ended, trailers, last or self.gate.closing)
        if attempt is None:
            record.bytes_out = len(piece)
        elif ended and not stream.write_paused:
            attempt.finish()
        else:
            if isinstance(attempt, GrpcAttempt):
                self._relay = GrpcRelay(request, attempt, self)
            else:
                self._relay = Relay(request, attempt, self)
            self._relay.take_over()

    async def _relaying(self, relay: Relay) -> None:
        """Relay until the upstream's body has ended and the client has read it."""
        timing = self.request.timing
        while not relay.over:
            await self.wait(timing.idle_at)
            relay.go_on()

    async def _tunnelling(self, tunnel: Tunnel) -> None:
        """Relay a tunnel until it ends."""
        timing = self.request.timing
        try:
            while not tunnel.over:
                await self.wait(timing.idle_at)
                if tunnel.idle:
                    break
        except ProxyError as error:
            tunnel.break_off()
            if not isinstance(error, ClientGone):
                raise
        else:
            tunnel.leave(reset=False)

    # --- endings ----------------------------------------------------------------------------------

    def _conclude(self, error: ProxyError) -> None:
        """It failed: answer if nothing was sent yet, else make sure that nothing looks complete."""
        self.record.failed(error)
        stream = self.request.stream
        if self.phase is not COMMITTED:
            if isinstance(error, ClientGone):
                self.record.status = error.status
                if self.request.grpc:
                    self.record.grpc = error.grpc
                stream.break_off(hard=False)
            else:
                self._commit(error_answer(self.request, error))
            return
        # The response is already partly sent: close, or reset if closing would look complete.
        hard = isinstance(error, ClientGone)
        if self._relay is not None and self._relay.give_up(error):
            return
        if self._tunnel is not None:
            hard = hard or not self._tunnel.upstream_ended
            self._tunnel.break_off()
        stream.break_off(hard=hard)

    def _settle(self) -> None:
        """Return everything held, in reverse order, then record."""
        request, record = self.request, self.record
        if request.body is not None:
            record.bytes_in = request.stream.request_bytes
            request.body.leave()
        now = monotonic()
        record.duration = now - request.timing.started
        record.stood_still = request.timing.deadline.stood_still
        if record.binding is not None:
            verdict, seconds = IGNORED, 0.0
            if record.attempts:
                last = record.attempts[-1]
                verdict, seconds = last.verdict, last.seconds
            settle_gates(self._gates, self._permits, verdict, seconds, now)
        if request.claim is not None:
            request.claim.settle(record, self.phase is COMMITTED)
        self.phase = SETTLED
        if request.lineage is not None:
            request.lineage.leave(request)
        self.gate.settled(self, record, now)
        # These refer to this exchange: without this only the cycle collector could free it.
        request.timing.close()
        self._relay = None
        self._tunnel = None
        request.stream.finish(now)

    # --- waiting ----------------------------------------------------------------------------------

    def expect(self, until: float) -> None:
        timing = self.request.timing
        timing.undelayed = False
        timing.arm(self, until if until < timing.watch else timing.watch)

    def heard(self) -> Any:
        happened = super().heard()
        if happened is ALARM:
            self._look()
        return happened

    def _look(self) -> None:
        """Raise if the whole exchange takes too long, or if its client is too slow."""
        timing, body, relay = self.request.timing, self.request.body, self._relay
        now = monotonic()
        if now < timing.watch:
            return
        marks, committed = timing.marks, self.phase is COMMITTED
        if marks is not None:
            timing.watch = marks.look(self.record, now, committed=committed)
        elif now >= timing.cutoff:
            raise timing.overlong(committed=committed, client_owes=body is not None and body.owed)
        else:
            timing.watch = timing.cutoff
        if body is not None and body.pace is not None:
            self._judge(body.pace, now)
        if relay is not None and relay.pace is not None:
            self._judge(relay.pace, now)

    def _judge(self, pace: Pace, now: float) -> None:
        timing = self.request.timing
        if timing.stood_still:
            pace.begin_again(now)
        elif pace.too_slow(now):
            if self.request.observes_rate:
                self.record.observe(BODY_RATE)
                pace.begin_again(now)
                return
            raise self._too_slow(pace, now, f"after waiting for it for {GRACE:g} s")
        timing.look_at(pace.look_at)

    def _too_slow(self, pace: Pace, now: float, why: str) -> ProxyError:
        text = (
            f"at {pace.average(now):.3g} bytes per second, {why}; the minimum is {pace.rate} "
            "(limits.body_rate, timeouts.body_rate)."
        )
        if isinstance(pace, TakingPace):
            return ClientGone(f"The client read the response {text}")
        return BodyTimeout(f"The client sent the request's body {text}")

    # --- if another exchange needs its permit ----------------------------------------------------

    def behind(self, gate: Gate, now: float) -> float:
        """Bytes that its client is behind `body_rate`, if it holds a permit of `gate`; else 0."""
        pace = self._slowest_pace(now)
        if pace is None or self.request.observes_rate or not self._holds(gate):
            return 0.0
        return pace.behind(now)

    def places(self) -> list[Gate]:
        """The gates with places of which it holds a permit."""
        held = self._gates[: len(self._permits)]
        return [gate for gate in held if gate.has_places]

    def give_place(self, now: float) -> None:
        """End it: its client is too slow, and another exchange needs its permit."""
        pace = self._slowest_pace(now)
        if pace is not None:
            self.wake(
                self._too_slow(pace, now, "while other requests wait for its permit (bulkhead)")
            )

    def _slowest_pace(self, now: float) -> Pace | None:
        body, relay = self.request.body, self._relay
        sending = body.pace if body is not None else None
        taking = relay.pace if relay is not None else None
        if sending is None or (taking is not None and taking.behind(now) > sending.behind(now)):
            return taking
        return sending

    def _holds(self, gate: Gate) -> bool:
        if self.running:
            return False
        held = len(self._permits)
        for at, one in enumerate(self._gates):
            if one is gate:
                return at < held
        return False

    async def pause(self, seconds: float) -> None:
        self.phase = PAUSING
        until = monotonic() + seconds
        while monotonic() < until:
            await self.wait(until)
        self.phase = TRYING

    def on_sending(self, held: bytes) -> None:
        mirrors, self.request.mirrors = self.request.mirrors, None
        if mirrors is not None:
            begin_mirror(self.request, mirrors, held)

    # --- events of the client's stream, until the commit ------------------------------------------

    def on_body(self, piece: bytes) -> None:
        request = self.request
        request.timing.activity = monotonic()
        body = request.body
        if body is not None:
            body.on_piece(piece)
            if body.gathering:
                self.wake(MOVED)
            elif body.flowing:
                for attempt in request.timing.attempts:
                    attempt.pause_clocks()

    def on_body_end(self, trailers: Trailers) -> None:
        body = self.request.body
        if body is not None:
            body.on_end(trailers)
            if body.gathering:
                self.wake(MOVED)
        for attempt in self.request.timing.attempts:
            attempt.resume_clocks()

    def on_body_error(self, error: ProxyError) -> None:
        self.wake(error)

    def on_client_gone(self) -> None:
        if not self.goes_on_alone():
            self.wake(client_gone())

    def goes_on_alone(self) -> bool:
        """A claimed request is answered although its client has left, for its next repeat."""
        request, claim, body = self.request, self.request.claim, self.request.body
        if claim is None or not claim.held or claim.endless:
            return False
        if body is not None and not body.complete:
            return False
        former, relay = request.stream, self._relay
        client = LostClient(former, self if relay is None else relay)
        claim.alone = True
        request.stream = client
        request.timing.use(client.alarm)
        if body is not None:
            body.use_client(client)
        if relay is not None:
            relay.use_client(client)
        former.break_off(hard=False)
        former.finish(monotonic())
        return True

    def on_client_writable(self, writable: bool) -> None:
        """Before the commit only informational heads are written: nothing waits for them."""

    def on_alarm(self) -> None:
        self.request.timing.ring()

    # --- events of the drain ----------------------------------------------------------------------

    def cut(self) -> None:
        """The drain's time has expired: answer if no response has begun, else close."""
        if self.phase is COMMITTED:
            self.wake(DrainCut("The proxy ended before the response did (drain.timeout)."))
        else:
            self.wake(Draining("The proxy is ending and could not wait longer (drain.timeout)."))
