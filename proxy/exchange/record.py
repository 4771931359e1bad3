"""Records: what observers get of each settled exchange, and `/in-flight` before.

Records are plain values. They do not refer to the exchange.
"""

from typing import Final

from proxy.config.model import Listener
from proxy.errors import ProxyError
from proxy.exchange.binding import Binding
from proxy.grpc_status import FAILURES, NO_GRPC, name_of
from proxy.http.message import RequestHead
from proxy.http.tracing import TraceContext
from proxy.http.w3c import SAMPLED
from proxy.outcome import IGNORED, Verdict
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.gate import Gate
from proxy.policies.retry import Retry, Stop
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.standings import NONE_LEFT_OUT, LeftOut

_NO_GATES: Final[list[Gate]] = []
_NOTHING: Final[list[str]] = []


class AttemptRecord:
    """One attempt: endpoint, status or failure, duration and the wait before it in seconds.

    `number` is 1 for the first. `hedge`: it began while another attempt was in flight. `repeat`:
    attempts before it that a service may have seen.
    `span_id` is "" unless its span is going to be exported. `detail` is the failure's sentence,
    `decision` what the retry policy said afterwards; None: it was not asked. `gates`: those that
    it asked. `chosen`: the endpoint, None where it came to none. `grpc`: the code of a gRPC call,
    `NO_GRPC` for others and while it is not known. `verdict` and `seconds`: what its gates
    were told. `sent`: it was sent, at least in part. `unprocessed`: it failed, and no service has
    processed it. `fault`: the kinds of the fault that it suffered, joined by ``+``. `version`: of
    HTTP, that its response came in: 10, 11 or 20. `left_out`: endpoints that were ejected or
    unhealthy when it chose.
    """

    __slots__ = (
        "binding",
        "chosen",
        "decision",
        "detail",
        "duration",
        "endpoint",
        "failure",
        "fault",
        "gates",
        "grpc",
        "hedge",
        "left_out",
        "number",
        "repeat",
        "seconds",
        "sent",
        "span_id",
        "started",
        "status",
        "unprocessed",
        "verdict",
        "version",
        "wait",
    )

    def __init__(
        self, binding: Binding, number: int, wait: float, repeat: int, started: float
    ) -> None:
        self.binding = binding
        self.number = number
        self.wait = wait
        self.repeat = repeat
        self.started = started
        self.gates: list[Gate] = _NO_GATES
        self.chosen: Endpoint | None = None
        self.decision: Retry | Stop | None = None
        self.detail = ""
        self.duration = 0.0
        self.seconds = 0.0
        self.endpoint = ""
        self.failure = ""
        self.fault = ""
        self.grpc: int = NO_GRPC
        self.hedge = False
        self.left_out: LeftOut = NONE_LEFT_OUT
        self.sent = False
        self.span_id = ""
        self.status = 0
        self.unprocessed = False
        self.version = 11
        self.verdict: Verdict = IGNORED

    @property
    def upstream(self) -> str:
        return self.binding.label

    @property
    def breaker(self) -> CircuitBreaker | None:
        """The circuit breaker that it asked."""
        for gate in self.gates:
            if isinstance(gate, CircuitBreaker):
                return gate
        return None


class Record:
    """One request and its result.

    `reason` is "" if the upstream answered, `detail` is its sentence.
    `observed`: what policies in mode observe would have done, each once (``policy.what``).
    `retry_refused` is the `StopReason` of a failure or bad status that was not retried, else "".
    `outbox_id`: the entry of the outbox that this request became, or, with `delivers`, whose try it
    is. `saga`: the saga that it started, or, with `delivers`, is a try of.
    `answered`: a response's head was sent to the client. `duration`, `queued` (the wait in the
    bulkhead's queue) and `stood_still` (the time in which the client's body flowed) are in seconds,
    `started` is monotonic. `grpc` is the code that a gRPC caller got, `NO_GRPC` for others. Input
    that is not a request has no `head`. `idempotency`: what its key led to, "" without one.
    `mirrored`: the upstream that got a copy, else "".
    `parent_id`: the id of the inbound request that it is made for, b"" if there is none.
    """

    __slots__ = (
        "answered",
        "attempts",
        "binding",
        "bytes_in",
        "bytes_out",
        "client",
        "delivers",
        "detail",
        "duration",
        "fallback",
        "grpc",
        "head",
        "id",
        "idempotency",
        "listener",
        "mirrored",
        "observed",
        "outbox_id",
        "parent_id",
        "queued",
        "reason",
        "retry_refused",
        "saga",
        "started",
        "status",
        "stood_still",
        "trace",
    )

    def __init__(
        self,
        listener: Listener,
        client: str,
        head: RequestHead | None,
        request_id: bytes,
        trace: TraceContext | None,
        started: float,
    ) -> None:
        self.listener = listener
        self.client = client
        self.head = head
        self.id = request_id
        self.trace = trace
        self.started = started
        self.binding: Binding | None = None
        self.attempts: list[AttemptRecord] = []
        self.answered = False
        self.status = 0
        self.reason = ""
        self.detail = ""
        self.retry_refused = ""
        self.grpc: int = NO_GRPC
        self.observed = _NOTHING
        self.mirrored = ""
        self.idempotency = ""
        self.parent_id = b""
        self.outbox_id = ""
        self.delivers = False
        self.saga = ""
        self.fallback = False
        self.duration = 0.0
        self.queued = 0.0
        self.stood_still = 0.0
        self.bytes_in = 0
        self.bytes_out = 0

    def failed(self, error: ProxyError) -> None:
        """The failure that the client got or would have got."""
        self.reason = error.reason
        self.detail = error.detail

    def observe(self, what: str) -> None:
        """Note, and count, what a policy in mode observe would have done; each once."""
        binding = self.binding
        if binding is None or what in self.observed:
            return
        self.observed = [*self.observed, what]
        binding.stats.count_observed(what)

    @property
    def troubled(self) -> bool:
        """Whether the proxy answered or acted, or would have, or the response was bad.

        One property, because observers in Python ask it for every request.
        """
        return (
            self.reason != ""
            or self.status >= 500
            or self.grpc_failed
            or len(self.attempts) > 1
            or self.fallback
            or len(self.observed) > 0
        )

    # Derived on demand: only observers read these.

    @property
    def request_id(self) -> str:
        return self.id.decode("ascii")

    @property
    def inherited_from(self) -> str:
        """The id of the inbound request that it is made for, "" if there is none."""
        return self.parent_id.decode("ascii")

    @property
    def grpc_status(self) -> str:
        """``UNAVAILABLE``; "" for what is not a gRPC call."""
        return name_of(self.grpc)

    @property
    def grpc_failed(self) -> bool:
        """Whether it is a gRPC call with a status of ``grpc-failure``."""
        return self.grpc > 0 and self.grpc in FAILURES

    @property
    def method(self) -> str:
        return self.head.method if self.head is not None else ""

    @property
    def host(self) -> str:
        return self.head.host if self.head is not None else ""

    @property
    def path(self) -> str:
        return self.head.path if self.head is not None else ""

    @property
    def route(self) -> str:
        """The route's name; "" for a request that was refused before routing."""
        return self.binding.route.name if self.binding is not None else ""

    @property
    def upstream(self) -> str:
        return self.binding.label if self.binding is not None else ""

    @property
    def fault(self) -> str:
        """The fault of its last attempt that suffered one."""
        for attempt in reversed(self.attempts):
            if attempt.fault:
                return attempt.fault
        return ""

    @property
    def hedged(self) -> int:
        """Hedges among its attempts. The attempt that decided is the last one."""
        return sum([attempt.hedge for attempt in self.attempts])

    @property
    def trace_id(self) -> str:
        return self.trace.trace_id if self.trace is not None else ""

    @property
    def sampled(self) -> bool:
        return self.trace is not None and self.trace.flags & SAMPLED == SAMPLED


def refusal_record(
    listener: Listener, client: str, error: ProxyError, request_id: bytes, now: float
) -> Record:
    """The record of input that is not a request."""
    record = Record(listener, client, None, request_id, None, now)
    record.status = error.status
    record.failed(error)
    return record
