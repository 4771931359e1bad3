"""One client request, from its head to settle, as one coroutine.

    route → admit (bulkhead) → attempts (breaker, deadline, connection, retry) → commit → relay
        → settle

Before commit all may be done again; after it nothing is. `_commit` is the one place where that
line is crossed. Whatever happens, `_settle` gives back what is held, exactly once, and records.
"""

import logging
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from proxy.config.model import Listener
from proxy.errors import (
    ClientGone,
    DrainCut,
    Draining,
    InternalError,
    ProxyError,
    RequestTimeout,
    UpstreamTruncated,
)
from proxy.exchange.admission import wait_for_permit
from proxy.exchange.answers import error_answer
from proxy.exchange.attempt import Attempt
from proxy.exchange.attempts import make_attempts
from proxy.exchange.binding import Binding
from proxy.exchange.body import RequestBody
from proxy.exchange.events import ALARM, BODY_END, WRITABLE
from proxy.exchange.fallback import answers_failure, answers_status, fall_back
from proxy.exchange.heads import GRPC_TIMEOUT_FIELD, RETRY_FIELD, caller_timeout, timeout_lines
from proxy.exchange.relay import Relay
from proxy.exchange.script import SUSPENDED, Script
from proxy.exchange.tunnel import Tunnel
from proxy.http.request import RequestHead
from proxy.http.w3c import SAMPLED
from proxy.outcome import IGNORED, Condition, Verdict
from proxy.policies.deadline import Deadline
from proxy.policies.gate import Permit, pass_gates, settle_gates
from proxy.wire.alarm import NEVER
from proxy.wire.downstream import Downstream

if TYPE_CHECKING:
    from proxy.exchange.gateway import ListenerGate

_log = logging.getLogger("proxy.exchange")


class Exchange(Script):
    """One request and what became of it; also the record that observers get once it is settled.

    `reason` is "" where the upstream answered, `detail` the sentence that goes with it.
    `retry_refused` is the `StopReason` of a failure or bad status that was not retried, else "".
    `verdict`: what became of it, for the gates that are asked once for the whole request.
    `outer_permits`: those of the gates around all attempts, None without such a gate.
    `duration`, and `queued` for the wait in the bulkhead's queue, are in seconds, `started` is
    monotonic.
    """

    __slots__ = (
        "_permits",
        "activity",
        "attempts",
        "binding",
        "body",
        "bytes_in",
        "bytes_out",
        "committed",
        "cutoff",
        "deadline",
        "detail",
        "downstream",
        "duration",
        "fallback",
        "gate",
        "head",
        "id",
        "keep_alive",
        "outer_permits",
        "prefix",
        "queued",
        "reason",
        "relay",
        "retry_refused",
        "shortened",
        "started",
        "status",
        "status_field",
        "trace",
        "verdict",
    )

    def __init__(
        self, gate: "ListenerGate", downstream: Downstream, head: RequestHead, piece: bytes
    ) -> None:
        super().__init__()
        self.started = self.activity = monotonic()
        self.gate = gate
        self._permits: list[Permit] = []
        self.outer_permits: list[Permit] | None = None
        self.downstream = downstream
        self.head = head
        self.keep_alive = head.keep_alive
        self.id = gate.request_id(head)
        self.trace = gate.trace(head)
        self.body = (
            RequestBody(
                downstream,
                piece,
                complete=not downstream.receiving,
                awaits_word=head.expects_continue,
            )
            if head.length or head.chunked
            else None
        )
        self.binding: Binding | None = None
        self.deadline: Deadline
        self.cutoff = NEVER
        self.prefix = b""
        self.relay: Relay | Tunnel | None = None
        self.attempts: list[Attempt] = []
        self.committed = False
        self.verdict: Verdict = IGNORED
        self.shortened = False
        self.fallback = False
        self.status = 0
        self.status_field = b""
        self.reason = ""
        self.detail = ""
        self.retry_refused = ""
        self.queued = 0.0
        self.duration = 0.0
        self.bytes_in = 0
        self.bytes_out = 0

    # What only a record is asked for is not kept a second time for every request.

    @property
    def client(self) -> str:
        return self.downstream.client

    @property
    def host(self) -> str:
        return self.head.host

    @property
    def listener(self) -> Listener:
        return self.gate.listener

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def path(self) -> str:
        return self.head.path

    @property
    def request_id(self) -> str:
        return self.id.decode("ascii")

    @property
    def route(self) -> str:
        """Its name; "" for a request that was refused before it had one."""
        return self.binding.route.name if self.binding is not None else ""

    @property
    def upstream(self) -> str:
        return self.binding.label if self.binding is not None else ""

    @property
    def tries(self) -> int:
        return len(self.attempts)

    def values(self, name: bytes) -> Sequence[bytes]:
        return self.head.values(name)

    @property
    def trace_id(self) -> str:
        return self.trace.trace_id

    @property
    def sampled(self) -> bool:
        return self.trace.flags & SAMPLED == SAMPLED

    # --- the way of a request -----------------------------------------------------------------

    async def run(self) -> None:
        """All of it. Ends with the client's connection handed back."""
        try:
            self.binding = binding = self.gate.bind(self.head)
            self._enter(binding)
            fallback = binding.policies.fallback
            answered_by: Attempt | None
            try:
                gates, permits = binding.request_gates, self._permits
                answer = pass_gates(gates, permits, self.started, self)
                while answer is not None:
                    permits.append(await wait_for_permit(self, gates[len(permits)], answer))
                    answer = pass_gates(gates, permits, monotonic(), self)
                answered_by = attempt = await make_attempts(self, binding)
            except ProxyError as error:
                if fallback is None or not answers_failure(self, fallback, error):
                    raise
                answered_by = await fall_back(self, binding, fallback, error)
            else:
                if fallback is not None and answers_status(self, fallback, attempt.status):
                    self.drop(attempt)
                    answered_by = await fall_back(self, binding, fallback, None, attempt.status)
            if answered_by is not None:
                relay = self._commit(answered_by)
                if relay.goes_on:
                    await relay.run()
        except ProxyError as error:
            self._conclude(error)
        except Exception:  # noqa: BLE001 - one request's bug must not become another's outage
            _log.exception("internal error in request %s", self.request_id)
            self._conclude(InternalError("This is a bug of the proxy; its log has a traceback."))
        self._settle()

    def _enter(self, binding: Binding) -> None:
        """The route is known: its clocks start, with the request's head."""
        timeouts = binding.policies.timeouts
        self.deadline = Deadline(self.started, timeouts.request)
        given = caller_timeout(self.head.held)
        if given is not None and given < timeouts.request:
            self.shortened = True
            self.deadline.shorten(self.started, given)
        if timeouts.max_duration:
            self.cutoff = self.started + timeouts.max_duration
        if self.body is not None:
            self.body.set_limit(binding.policies.retry.body_limit)
        self.prefix = self.gate.request_prefix(self)

    def _commit(self, attempt: Attempt) -> Relay | Tunnel:
        """This response it is: from here on nothing can be done again."""
        head = attempt.head
        assert head is not None
        self.status = head.status
        relay: Relay | Tunnel
        if head.status == 101 or self.head.method == "CONNECT":
            self.keep_alive = False
            relay = Tunnel(self, attempt)
        else:
            relay = Relay(self, attempt)
        self.relay = relay
        self.committed = True
        relay.commit(head)
        return relay

    # --- endings ------------------------------------------------------------------------------

    def _conclude(self, error: ProxyError) -> None:
        """It failed: answer if nothing was sent yet, else make sure that nothing looks whole."""
        self.reason = error.reason
        self.detail = error.detail
        attempt = self.attempts[-1] if self.attempts else None
        if attempt is not None:
            attempt.release(reusable=False)
        if self.committed:
            # There is no honest end any more: close, or reset where closing would look like one.
            self.keep_alive = False
            ends_by_close = self.relay is not None and self.relay.ends_by_close
            self.downstream.cut(reset=ends_by_close or isinstance(error, ClientGone))
            return
        self.status = error.status
        if isinstance(error, ClientGone):
            self.keep_alive = False
            return
        self.downstream.write(error_answer(self.gate, self, error))

    def _settle(self) -> None:
        """Everything back, in reverse order, and then the record."""
        if self.body is not None:
            self.bytes_in = self.downstream.request_bytes
        now = monotonic()
        self.duration = now - self.started
        if self.binding is not None:
            gates = self.binding.request_gates
            settle_gates(gates, self._permits, self.verdict, self.duration, now)
        self.gate.settled(self, now)
        # Attempts and relay point back here: without this only the cycle collector could free it.
        self.attempts.clear()
        self.relay = None
        self.downstream.finish(keep_alive=self.keep_alive, now=now)

    def drop(self, attempt: Attempt) -> None:
        """This response will not be used; its connection is, if it came whole."""
        attempt.resume_clocks()
        attempt.release(reusable=attempt.ended)

    async def pause(self, seconds: float) -> None:
        """The wait before another attempt."""
        until = monotonic() + seconds
        while monotonic() < until:
            await self.wait(until)

    # --- waiting ------------------------------------------------------------------------------

    async def wait(self, until: float) -> Any:
        """What happens next; ALARM at `until` (monotonic seconds) at the latest.

        Raises what ends the exchange or the attempt: a ProxyError that something woke it with.
        """
        self.downstream.alarm.set(until if until < self.cutoff else self.cutoff)
        await SUSPENDED
        happened, self._news = self._news, None
        if isinstance(happened, ProxyError):
            raise happened
        if happened is ALARM and monotonic() >= self.cutoff:
            raise self._overlong()
        return happened

    @property
    def idle_at(self) -> float:
        """When it will have been too long since a byte of a body moved."""
        assert self.binding is not None
        return self.activity + self.binding.policies.timeouts.idle

    def request_timeout(self) -> RequestTimeout:
        assert self.binding is not None
        if self.shortened:
            return RequestTimeout("The time that the caller gave for this request is over.")
        seconds = self.binding.policies.timeouts.request
        return RequestTimeout(f"No answer within {seconds:g} s (timeouts.request).")

    def _overlong(self) -> ProxyError:
        assert self.binding is not None
        seconds = self.binding.policies.timeouts.max_duration
        text = f"The exchange took longer than {seconds:g} s (timeouts.max_duration)."
        return UpstreamTruncated(text) if self.committed else RequestTimeout(text)

    def condition_of(self, error: ProxyError) -> Condition | None:
        """What a failure says about the upstream; None: nothing."""
        if isinstance(error, RequestTimeout) and not self.shortened:
            # The policy's own deadline: the upstream had its time. One that the caller made
            # shorter says nothing about the upstream.
            return Condition.TIMEOUT
        return error.condition

    # --- what the attempts ask and say --------------------------------------------------------

    def attempt_head(self, attempt: Attempt, now: float) -> bytes:
        """The request's head for this attempt: what is the same for all, and its own fields."""
        held = self.head.held
        trace, propagator = self.trace, self.gate.propagator
        if trace.flags & SAMPLED and propagator.records:
            attempt.span_id = propagator.new_span_id()
            own = propagator.inject_recorded(trace, attempt.span_id)
        else:
            own = propagator.inject_new(trace)
        if attempt.repeat:
            own += b"X-Retry-Attempt: %d\r\n" % attempt.repeat
        elif RETRY_FIELD in held:
            own += b"X-Retry-Attempt: " + held[RETRY_FIELD][0] + b"\r\n"
        if attempt.binding.policies.timeouts.propagate:
            own += timeout_lines(self.deadline.remaining(now), grpc=GRPC_TIMEOUT_FIELD in held)
        body = self.body
        if body is not None and not body.started and self.head.expects_continue:
            own += b"Expect: 100-continue\r\n"
        return b"".join((self.prefix, own, b"\r\n"))

    def on_informational(self, data: bytes) -> None:
        """A 1xx goes on to clients that can know it (RFC 9110 section 15.2)."""
        if self.head.minor == 1:
            self.downstream.write(data)

    def on_response_piece(self, piece: bytes) -> None:
        if self.relay is not None:
            self.relay.on_piece(piece)

    # --- what the client's connection says ----------------------------------------------------

    def on_body(self, piece: bytes) -> None:
        self.activity = monotonic()
        body = self.body
        if body is not None:
            body.on_piece(piece)
            if self.attempts and body.flowing:
                self.attempts[-1].pause_clocks()
        elif isinstance(self.relay, Tunnel):
            self.relay.on_client_bytes(piece)

    def on_body_end(self) -> None:
        if self.body is not None:
            self.body.complete = True
        if self.attempts and self.attempts[-1].clocks_paused:
            self.attempts[-1].resume_clocks()
            self.wake(BODY_END)

    def on_client_end(self) -> None:
        """In a tunnel: the client sends no more."""
        if isinstance(self.relay, Tunnel):
            self.relay.on_client_end()
            self.wake(BODY_END)

    def on_body_error(self, error: ProxyError) -> None:
        self.keep_alive = False
        self.wake(error)

    def on_client_gone(self) -> None:
        self.wake(ClientGone("The client closed its connection before the response's end."))

    def on_client_writable(self, writable: bool) -> None:
        connection = self.attempts[-1].connection if self.attempts else None
        if connection is not None:
            if writable:
                connection.resume_reading()
            else:
                connection.pause_reading()
        if writable:
            self.activity = monotonic()
            self.wake(WRITABLE)

    def on_alarm(self) -> None:
        self.wake(ALARM)

    # --- what the drain says ------------------------------------------------------------------

    def cut(self) -> None:
        """The drain's time is up: an honest answer if none has begun, else the end."""
        if self.committed:
            self.wake(DrainCut("The proxy ended before the response did (drain.timeout)."))
        else:
            self.wake(Draining("The proxy is ending and could not wait longer (drain.timeout)."))
