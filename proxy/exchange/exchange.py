"""One client request, from its head to settle, as one coroutine.

    route → admit (gates of the request) → attempts (gates, deadline, connection, retry)
        → commit → relay → settle

`committing` has the commit and what follows it, `watching` what can end an exchange while it waits.
In every case `_settle` returns everything held, exactly once, and records.
"""

import logging
from time import monotonic

from proxy.errors import DrainCut, Draining, InternalError, ProxyError, let_go
from proxy.exchange.answers import Answer, error_answer, fixed_answer, upstream_answer
from proxy.exchange.attempt import Attempt
from proxy.exchange.binding import Binding
from proxy.exchange.body import RequestBody
from proxy.exchange.committing import Committing
from proxy.exchange.events import COMMITTED, MOVED, PAUSING, QUEUED, SETTLED, TRYING
from proxy.exchange.fallback import answers_failure, answers_outcome, fall_back
from proxy.exchange.faults import injected
from proxy.exchange.heads import caller_timeout
from proxy.exchange.keeping import covers, enter, keep, rescue
from proxy.exchange.lineage import Lineage
from proxy.exchange.lost_client import LostClient
from proxy.exchange.mirroring import begin_mirror
from proxy.exchange.promise import Promise
from proxy.exchange.queueing import wait_for_permit
from proxy.exchange.relay import client_gone
from proxy.exchange.request import Keeper, Request
from proxy.exchange.retrying import make_attempts
from proxy.exchange.terms import Terms
from proxy.exchange.timing import Timing
from proxy.http.message import RequestHead
from proxy.outcome import IGNORED
from proxy.policies.gate import Answer as GateAnswer
from proxy.policies.gate import Refusal, pass_gates, settle_gates
from proxy.wire.alarm import NEVER
from proxy.wire.streams import ClientStream, Trailers

_log = logging.getLogger("proxy.exchange")


class Exchange(Committing):
    """Carries one request."""

    __slots__ = ()

    def __init__(
        self, gate: Keeper, terms: Terms, stream: ClientStream, head: RequestHead, piece: bytes
    ) -> None:
        super().__init__(gate)
        body = None
        if head.length or head.chunked:
            body = RequestBody(stream, piece, awaits_word=head.expects_continue)
        timing = Timing(stream.alarm, self, monotonic())
        self.request = Request(terms, stream, head, body, timing)
        self.record = self.request.record

    # --- the way of a request ---------------------------------------------------------------------

    async def run(self) -> None:
        """The whole exchange. It ends by returning the client's stream."""
        request = self.request
        try:
            binding = self._bind()
            self._enter(binding)
            attempt: Attempt | None = None
            failure: ProxyError | None = None
            answer: Answer | None = None
            try:
                if binding.promises is not None:
                    answer = await self._ask_promises(binding, binding.promises)
                if answer is None:
                    asked = pass_gates(self._gates, self._permits, request.timing.started, request)
                    if asked is not None:
                        await self._queue(asked)
                    self.phase = TRYING
                    if binding.route.respond is None:
                        attempt = await make_attempts(self, binding)
                    else:
                        answer = fixed_answer(request, binding.route.respond)
            except ProxyError as error:
                if not self._replaces(binding, error):
                    raise
                failure = error
                let_go(error)
            # Not in the handler above: a compiled coroutine that waits there would leave its
            # exception behind as the one that its caller handles.
            if answer is None and binding.promises is not None:
                answer = await rescue(self, binding.promises, failure, attempt)
            if answer is not None:
                self._commit(answer)
            elif attempt is not None and self._forwards(binding, attempt):
                self._forward(attempt)
            else:
                self._commit(await self._other_answer(binding, attempt, failure))
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

    def _forwards(self, binding: Binding, attempt: Attempt) -> bool:
        """Whether the response of this attempt is the answer as it is, and no one keeps it."""
        if attempt.fault is not None or self.request.claim is not None:
            return False
        fallback = binding.policies.fallback
        return fallback is None or not answers_outcome(self.request, fallback, attempt)

    async def _other_answer(
        self, binding: Binding, attempt: Attempt | None, failure: ProxyError | None
    ) -> Answer:
        """The answer that is not the response of an attempt as it is. Raises a failure that stays.

        `failure`: of the last attempt, or before one; without it there is an `attempt`.
        """
        request, fallback = self.request, binding.policies.fallback
        if attempt is None:
            assert failure is not None
            if fallback is None or not answers_failure(request, fallback, failure):
                raise failure
            return await fall_back(self, binding, fallback, failure)
        if fallback is not None and answers_outcome(request, fallback, attempt):
            attempt.drop()
            return await fall_back(self, binding, fallback, None, attempt.record.status)
        given = self._given(attempt)
        if request.claim is not None and given.attempt is not None:
            given = await keep(self, request.claim, given)
        return given

    def _given(self, attempt: Attempt) -> Answer:
        """The response of an attempt; one that suffered a fault says so."""
        if attempt.fault is None:
            return upstream_answer(self.request, attempt)
        request, error = self.request, injected(attempt)
        if error is not None:
            self.record.failed(error)
            return error_answer(request, error)
        status = request.terms.proxy_status
        made = len(self.record.attempts)
        status_field = status.faulty(attempt.record.fault, attempts=made)
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
            return self.request.inherit(lineage, binding.policies.timeouts.inherit)
        return NEVER

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

    async def pause(self, seconds: float) -> None:
        self.phase = PAUSING
        until = monotonic() + seconds
        while monotonic() < until:
            await self.wait(until)
        self.phase = TRYING

    # --- the end ----------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        if isinstance(error, ProxyError):
            self._conclude(error)
            let_go(error)
            return
        _log.error("internal error in request %s", self.record.request_id, exc_info=error)
        self._conclude(InternalError("This is a bug of the proxy; its log has a traceback."))

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
        former.break_off(hard=False, cancelled=True)
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
