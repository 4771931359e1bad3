"""One attempt of a gRPC call: its status may come long after the response's head.

    on_head ─┬─ Trailers-Only, or an HTTP error ───────────────────────────▶ done, settled
             ├─ a retry by status is possible: peek ─┬─ trailers ──────────▶ done, settled
             │                                       └─ DATA, or 50 ms ─┐
             └─ otherwise ──────────────────────────────────────────────┴─▶ done, still open

To peek is to hold the head back for one more frame. Nothing is held back from a client that still
sends, because it may wait for the head. A message is never kept: DATA means that the response is
committed.

An open attempt keeps its permits until the trailers come. After `timeouts.attempt` they are
settled as a success: a stream without an end must not hold a half-open breaker. A status that comes
later is only counted.
"""

from time import monotonic
from typing import Final

from proxy.errors import ProxyError, UpstreamMalformed
from proxy.exchange.attempt import Attempt
from proxy.exchange.binding import Binding
from proxy.exchange.request import Request
from proxy.exchange.script import Script
from proxy.grpc_status import OK, UNKNOWN, WORDS, of_http_answer, of_http_response
from proxy.http.grpc import (
    ATTEMPTS,
    ATTEMPTS_FIELD,
    STATUS_FIELD,
    TIMEOUT,
    TIMEOUT_FIELD,
    attempts_before,
    format_timeout,
    outcome_of,
    parse_timeout,
    status_trailers,
)
from proxy.http.making import make_response
from proxy.http.message import OwnFields, ResponseHead
from proxy.outcome import FAILURE, IGNORED, SUCCESS, Outcome, Verdict
from proxy.policies.gate import Gate, Permit, settle_gates
from proxy.wire.alarm import NEVER
from proxy.wire.streams import Trailers

PEEK: Final = 0.05
"""Seconds that a head is held back at most."""


class GrpcAttempt(Attempt):
    """`committed`: it was done before its status was known.

    `open`: committed, and its permits are not settled yet.
    """

    __slots__ = (
        "_caller_at",
        "_outer",
        "_outer_permits",
        "_outer_took",
        "_peek_until",
        "committed",
        "open",
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
        super().__init__(request, binding, owner, number, wait, repeat, now)
        self.committed = False
        self.open = False
        self._peek_until = NEVER
        self._caller_at = NEVER
        self._outer: list[Gate] = []
        self._outer_permits: list[Permit] = []
        self._outer_took = 0.0
        given = request.head.held.get(TIMEOUT_FIELD)
        seconds = None if given is None else parse_timeout(given[0])
        if seconds is not None:
            self._caller_at = request.timing.started + seconds
        self._caller_at = min(self._caller_at, request.timing.stream_until)

    # --- its request ------------------------------------------------------------------------------

    def _add_deadline(self, own: OwnFields, now: float) -> None:
        """The caller's deadline goes on as what is left of it; the policy's ends with the head."""
        request, held = self._request, self._request.head.held
        if self.binding.policies.timeouts.propagate:
            left = request.timing.left_to_tell(now)
            if left < NEVER:
                self.binding.time_left.add_to(own, left, grpc=False)
        if self._caller_at != NEVER:
            own.append((TIMEOUT, format_timeout(self._caller_at - now)))
        before = attempts_before(held.get(ATTEMPTS_FIELD, [])) + self.record.repeat
        if before:
            own.append((ATTEMPTS, b"%d" % before))

    # --- its clocks -------------------------------------------------------------------------------

    def _arm(self) -> None:
        timing = self._request.timing
        until = timing.idle_at if timing.deadline.paused else self._due
        timing.arm(self, min(until, self._caller_at, self._peek_until))

    def _overdue(self) -> ProxyError | None:
        """The caller's deadline runs while its messages flow: it knows how long they take."""
        if monotonic() >= self._caller_at:
            timing = self._request.timing
            timing.shortened = True
            return timing.request_timeout()
        return super()._overdue()

    def on_due(self) -> None:
        if self.open:
            self._end_call(SUCCESS)
        elif self._peek_until != NEVER:
            self._commit_open()
        else:
            super().on_due()

    # --- events of the stream ---------------------------------------------------------------------

    def on_head(self, head: ResponseHead, piece: bytes, ended: bool, trailers: Trailers) -> None:
        self.head = head
        self.piece = piece
        self.ended = ended
        self.trailers = trailers
        given = head.values(STATUS_FIELD)
        if ended or given:
            self._know(outcome_of(head.status, given, trailers))
        elif head.status != 200:
            self._know(Outcome(head.status, None, of_http_response(head.status)))
        elif piece or not self._may_peek():
            self._commit_open()
        else:
            self._peek_until = monotonic() + PEEK
            self._arm()

    def on_piece(self, piece: bytes) -> None:
        super().on_piece(piece)
        if self._peek_until != NEVER:
            self._commit_open()

    def on_end(self, trailers: Trailers) -> None:
        super().on_end(trailers)
        if self._peek_until != NEVER:
            self._know(outcome_of(200, [], trailers))
        elif self.committed:
            self._learn(outcome_of(200, [], trailers))

    def on_lost(self, error: ProxyError) -> None:
        self.lose(error)
        super().on_lost(error)

    def _may_peek(self) -> bool:
        """Whether the status could still change what the client gets."""
        request, binding = self._request, self.binding
        body, policies = request.body, binding.policies
        if body is not None and not body.complete:
            return False
        fallback = policies.fallback
        if fallback is not None and fallback.outcomes.grpc:
            return True
        if not policies.retry.on.grpc:
            return False
        if len(request.timing.attempts) > 1:  # another one may still have a better answer
            return True
        return (
            self.record.number < policies.retry.attempts
            and (body is None or body.whole)
            and binding.retry.repeatable(request.head.method, request.keyed)
        )

    def _abort(self, status: int) -> None:
        """All policies see the code that the caller is told."""
        self.head = make_response(status, [], 0)
        self.ended = True
        self._know(Outcome(status, None, of_http_answer(status)))

    # --- before the commit ------------------------------------------------------------------------

    def _know(self, outcome: Outcome) -> None:
        """The call's outcome is known before anything of it was sent to the client."""
        self._peek_until = NEVER
        assert self.head is not None
        if outcome.condition is not None:
            self._fail(_without_status())
            return
        self.record.grpc = outcome.grpc
        self._receive(self.head.status, self._verdict(outcome))

    def _commit_open(self) -> None:
        """Its status is not known yet: the response goes to the client."""
        self._peek_until = NEVER
        assert self.head is not None
        self.committed = self.open = True
        timing = self._request.timing
        self._receive(self.head.status, SUCCESS)
        if self.open:
            timing.join(self)
            timing.arm(self, self.record.started + self._attempt_seconds)

    def _return_permits(self, verdict: Verdict, now: float) -> None:
        """Only if the call has ended."""
        if not self.open:
            super()._return_permits(verdict, now)

    @property
    def _counted_as(self) -> str:
        record = self.record
        if not record.failure and record.grpc > OK:
            return f"grpc-{WORDS[record.grpc]}"
        return record.failure

    def _fail(self, error: ProxyError) -> None:
        self._peek_until = NEVER
        self.record.grpc = error.grpc
        super()._fail(error)

    def _verdict(self, outcome: Outcome) -> Verdict:
        verdict = self.binding.verdict_of(outcome)
        return IGNORED if verdict is FAILURE and self._gave_up else verdict

    # --- while it is open -------------------------------------------------------------------------

    def keep(self, gates: list[Gate], permits: list[Permit]) -> None:
        if self.open:
            timing = self._request.timing
            self._outer = gates
            self._outer_permits = permits[:]
            self._outer_took = monotonic() - timing.started - timing.deadline.stood_still
            permits.clear()

    def _learn(self, outcome: Outcome) -> None:
        """The status of a call whose response is committed."""
        record = self.record
        record.grpc = outcome.grpc
        if outcome.condition is not None:
            error = _without_status()
            record.failure, record.detail = error.reason, error.detail
            self._request.record.failed(error)
            self.trailers = status_trailers(UNKNOWN, error.detail)
        self._end_call(self.binding.verdict_of(outcome))

    def lose(self, error: ProxyError) -> None:
        """The call ends without a status, after its response was committed."""
        if not self.committed:
            return
        condition = self._request.condition_of(error)
        self.record.grpc = error.grpc
        self.record.failure, self.record.detail = error.reason, error.detail
        if condition is None:
            self._end_call(IGNORED)
        else:
            self._end_call(self.binding.verdict_of(Outcome(0, condition, error.grpc)))

    def _end_call(self, verdict: Verdict) -> None:
        """Settle the permits of an open attempt."""
        if not self.open:
            return
        self.open = False
        self._request.timing.leave(self)
        now = monotonic()
        self.record.verdict = verdict
        self._return_permits(verdict, now)
        settle_gates(self._outer, self._outer_permits, verdict, self._outer_took, now)

    def release(self, *, reusable: bool) -> None:
        self._end_call(SUCCESS)
        super().release(reusable=reusable)


def _without_status() -> UpstreamMalformed:
    return UpstreamMalformed("The upstream ended the call without a grpc-status.")
