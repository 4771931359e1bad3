"""Every failure of a request, as one tree by phase.

    ProxyError
    ├── AcceptError    the client's bytes are not a valid request
    ├── AdmitError     a policy or the drain refused it
    ├── ConnectError   no connection to an endpoint: nothing was sent
    ├── ReceiveError   the request was sent, no usable response head came back
    └── RelayError     the response was truncated after its head went to the client

Each class has all facts of its failure: the reason, its one name in problem body, Proxy-Status,
metric and log; its status, and the code that a gRPC caller gets; its RFC 9209 section 2.3 error
type; the party at fault; the part of the proxy that decided; whether a fallback may replace it. No
other module lists failures. The detail of an instance is a sentence that says what to look at.
"""

from enum import Enum
from typing import ClassVar

from proxy.grpc_status import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    INTERNAL,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    of_http_answer,
)
from proxy.outcome import Condition


class Blame(Enum):
    """The party that must change something to fix the failure."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    PROXY = "proxy"


class ProxyError(Exception):
    """A named failure. `detail` is sent to the client: it contains no header or query values.

    `condition`: what it says about the upstream, None if nothing. `decided_by`: the part of the
    proxy that decided, with its configuration keys; "" for a failure of the upstream.
    `covered_by`: words of a fallback's `when` that mean it, beside its reason; None: no fallback
    may replace it. `postpones`: nothing was tried, so a stored request waits without having
    spent an attempt. `grpc`: the code for gRPC callers; a stream that the upstream reset has its
    own.
    """

    reason: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int]
    grpc: int = INTERNAL
    proxy_error: ClassVar[str]
    blame: ClassVar[Blame]
    condition: ClassVar[Condition | None] = None
    decided_by: ClassVar[str] = ""
    covered_by: ClassVar[tuple[str, ...] | None] = None
    postpones: ClassVar[bool] = False

    fields: tuple[tuple[bytes, bytes], ...] = ()
    """More fields of the answer, as (name, value)."""

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: int | None = None,
        pushback: float | None = None,
    ) -> None:
        """`retry_after`: whole seconds for the Retry-After field, None for no field.

        `pushback`: the same in exact seconds, for grpc-retry-pushback-ms.
        """
        super().__init__(detail)
        self.detail = detail or self.title + "."
        self.retry_after = retry_after
        self.pushback = pushback


# --- accept ---------------------------------------------------------------------------------


class AcceptError(ProxyError):
    """The client sent an invalid request, or one beyond the limits."""

    proxy_error = "http_request_error"
    blame = Blame.CLIENT


class BadRequest(AcceptError):
    reason, title, status = "bad-request", "Malformed request", 400


class NoAuthority(AcceptError):
    reason, title, status = "no-authority", "No usable authority", 400


class HeaderTimeout(AcceptError):
    reason, title, status = "header-timeout", "Request head too slow", 408
    grpc = DEADLINE_EXCEEDED
    decided_by = "the listener (limits.header_timeout)"


class BodyTimeout(AcceptError):
    reason, title, status = "body-timeout", "Request body stalled", 408
    grpc = DEADLINE_EXCEEDED
    decided_by = "the limits of a slow body (limits.body_rate, timeouts.idle and max_duration)"


class BodyTooLarge(AcceptError):
    reason, title, status = "body-too-large", "Request body too large", 413
    grpc = RESOURCE_EXHAUSTED
    decided_by = "the listener (limits.body_bytes), or the store (store.record_bytes)"


class UrlTooLong(AcceptError):
    reason, title, status = "url-too-long", "URL too long", 414
    decided_by = "the listener (limits.url_bytes)"


class HeadersTooLarge(AcceptError):
    reason, title, status = "headers-too-large", "Request head too large", 431
    grpc = RESOURCE_EXHAUSTED
    decided_by = "the listener (limits.header_bytes and limits.headers)"


# --- admit ----------------------------------------------------------------------------------


class AdmitError(ProxyError):
    """A request that the proxy refused; nothing of it reached an upstream."""

    blame = Blame.PROXY


class EgressDenied(AdmitError):
    reason, title, status = "egress-denied", "Destination not allowed", 403
    grpc = PERMISSION_DENIED
    proxy_error = "http_request_denied"
    blame = Blame.CLIENT
    decided_by = "egress.allow and egress.connect_ports"


class Loop(AdmitError):
    reason, title, status = "loop", "Request would loop", 508
    proxy_error = "proxy_loop_detected"
    blame = Blame.CLIENT


class Draining(AdmitError):
    reason, title, status = "draining", "Proxy is draining", 503
    grpc = UNAVAILABLE
    proxy_error = "http_request_denied"
    postpones = True
    decided_by = "the drain (drain.timeout)"


class CircuitOpen(AdmitError):
    reason, title, status = "circuit-open", "Circuit breaker is open", 503
    grpc = UNAVAILABLE
    proxy_error = "destination_unavailable"
    blame = Blame.UPSTREAM
    decided_by = "a circuit breaker (circuit_breaker)"
    covered_by = ()
    postpones = True


class NoHealthyEndpoint(AdmitError):
    reason, title, status = "no-healthy-endpoint", "No endpoint can be used", 503
    grpc = UNAVAILABLE
    proxy_error = "destination_unavailable"
    blame = Blame.UPSTREAM
    decided_by = "ejection and health checks (outlier_detection.on_none: refuse)"
    covered_by = ()
    postpones = True

    def __init__(self, detail: str = "", *, retry_after: int | None = 1) -> None:
        super().__init__(detail, retry_after=retry_after, pushback=retry_after)


class LimitReached(AdmitError):
    postpones = True
    grpc = RESOURCE_EXHAUSTED
    proxy_error = "connection_limit_reached"

    def __init__(
        self, detail: str = "", *, retry_after: int | None = 1, pushback: float | None = 1.0
    ) -> None:
        super().__init__(detail, retry_after=retry_after, pushback=pushback)


class RateLimited(AdmitError):
    reason, title, status = "rate-limited", "Rate limit reached", 429
    grpc = RESOURCE_EXHAUSTED
    proxy_error = "http_request_denied"
    blame = Blame.CLIENT
    decided_by = "a rate limit (rate_limits)"
    covered_by = ()

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: int | None = 1,
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(detail, retry_after=retry_after, pushback=retry_after)
        self.fields = fields


class BulkheadFull(LimitReached):
    reason, title, status = "bulkhead-full", "Bulkhead is full", 503
    decided_by = "the bulkhead (bulkhead.max_concurrent and max_queue)"
    covered_by = ()


class ConcurrencyLimited(LimitReached):
    reason, title, status = "concurrency-limited", "Upstream has as much as it can take", 503
    decided_by = "the bulkhead's learned limit (bulkhead.limit: gradient)"
    covered_by = ()


class QueueTimeout(LimitReached):
    reason, title, status = "queue-timeout", "Waited too long in the bulkhead's queue", 503
    decided_by = "the bulkhead's queue (bulkhead.queue_timeout)"
    covered_by = ()


class ConnectionsFull(LimitReached):
    reason, title, status = "connections-full", "Too many client connections", 503
    decided_by = "the listener (limits.connections)"


class IdempotencyKeyMissing(AdmitError):
    reason, title, status = "idempotency-key-missing", "Idempotency key is missing", 400
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "idempotency keys (idempotency.mode)"


class IdempotencyKeyInvalid(AdmitError):
    reason, title, status = "idempotency-key-invalid", "Idempotency key is invalid", 400
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "idempotency keys (idempotency.headers)"


class IdempotencyKeyReused(AdmitError):
    reason, title, status = "idempotency-key-reused", "Idempotency key of another request", 422
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "idempotency keys (idempotency.fingerprint)"


class IdempotencyConflict(AdmitError):
    """A repeat that gets no answer of the first request."""

    status = 409
    proxy_error = "http_request_denied"
    blame = Blame.CLIENT


class IdempotencyInProgress(IdempotencyConflict):
    reason, title = "idempotency-in-progress", "First request is in progress"
    decided_by = "idempotency keys (idempotency.wait)"


class IdempotencyUnknown(IdempotencyConflict):
    reason, title = "idempotency-unknown", "Result of the first request is unknown"
    decided_by = "idempotency keys (idempotency.on_unknown)"


class IdempotencyUnreplayable(IdempotencyConflict):
    reason, title = "idempotency-unreplayable", "First response was not kept"
    decided_by = "idempotency keys (idempotency.response_limit)"


class StoreFull(AdmitError):
    reason, title, status = "store-full", "Store is full", 503
    grpc = UNAVAILABLE
    proxy_error = "http_request_denied"
    decided_by = "the store (store.max_bytes, and its disk)"


class OutboxFull(AdmitError):
    reason, title, status = "outbox-full", "Outbox is full", 503
    grpc = RESOURCE_EXHAUSTED
    proxy_error = "http_request_denied"
    decided_by = "the outbox (outbox.max_pending), or its store (store.max_bytes)"


class OutboxCredentials(AdmitError):
    reason, title, status = "outbox-credentials", "Credentials are never stored", 400
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "the outbox (outbox.without, headers.request.set)"


class StoreFailed(AdmitError):
    reason, title, status = "store-failed", "Store has failed", 503
    grpc = UNAVAILABLE
    proxy_error = "proxy_internal_error"
    decided_by = "the store (store.url, and its disk)"


class SagaInvalid(AdmitError):
    """The request cannot start a saga."""

    reason, title, status = "saga-invalid", "Not the input of a saga", 400
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "a saga (sagas)"


class SagaConflict(AdmitError):
    """Another input under the id of a saga that exists."""

    reason, title, status = "saga-conflict", "Another saga has this id", 422
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "a saga (sagas)"


class RequestTimeout(AdmitError):
    """The request's own deadline expired: the attempt in progress is cancelled."""

    reason, title, status = "request-timeout", "Request deadline exceeded", 504
    grpc = DEADLINE_EXCEEDED
    proxy_error = "http_response_timeout"
    blame = Blame.UPSTREAM
    decided_by = "the request's deadline (timeouts.request, or the caller's)"
    covered_by = ("timeout",)


class InternalError(AdmitError):
    reason, title, status = "internal", "Internal error of the proxy", 500
    proxy_error = "proxy_internal_error"


# --- connect --------------------------------------------------------------------------------


class ConnectError(ProxyError):
    """Nothing of the request was sent: a retry is safe for every method."""

    status = 502
    grpc = UNAVAILABLE
    proxy_error = "destination_unavailable"
    blame = Blame.UPSTREAM
    condition: ClassVar[Condition | None] = Condition.CONNECT_FAILURE
    covered_by: ClassVar[tuple[str, ...] | None] = ("connect-failure",)


class DnsFailure(ConnectError):
    reason, title = "dns-failure", "Name look-up failed"
    proxy_error = "dns_error"


class ConnectRefused(ConnectError):
    reason, title = "connect-refused", "Connection refused"
    proxy_error = "connection_refused"


class ConnectFailed(ConnectError):
    reason, title = "connect-failed", "Connection failed"


class SessionLost(ConnectFailed):
    """HTTP/2: a connection that was open was found dead before a byte of the request was sent."""


class ConnectTimeout(ConnectError):
    reason, title, status = "connect-timeout", "Connecting took too long", 504
    proxy_error = "connection_timeout"
    covered_by = ("connect-failure", "timeout")


class TlsFailure(ConnectError):
    """`proxy_error` of the instance is tls_certificate_error if the certificate is at fault."""

    reason, title = "tls-failure", "TLS handshake failed"
    proxy_error = "tls_protocol_error"


# --- receive --------------------------------------------------------------------------------


class ReceiveError(ProxyError):
    """The request was sent, completely or in part; the upstream may have acted on it."""

    status = 502
    blame = Blame.UPSTREAM


class UpstreamReset(ReceiveError):
    """`grpc` of the instance is the code of the stream's reset, if the upstream reset it."""

    reason, title = "upstream-reset", "Upstream closed the connection"
    grpc = UNAVAILABLE
    proxy_error = "connection_terminated"
    condition = Condition.RESET
    covered_by = ("reset",)


class StreamRefused(UpstreamReset):
    """HTTP/2: the upstream says that it has not processed the request (RFC 9113 section 8.7)."""

    condition = Condition.REFUSED_STREAM


class Http11Required(StreamRefused):
    """HTTP/2: the upstream accepts the request only over HTTP/1.1 (RFC 9113 section 7)."""


class UpstreamMalformed(ReceiveError):
    reason, title = "upstream-malformed", "Upstream's response is malformed"
    proxy_error = "http_protocol_error"
    condition = Condition.RESET
    covered_by = ("reset",)


class AttemptTimeout(ReceiveError):
    reason, title, status = "attempt-timeout", "Upstream took too long to answer", 504
    grpc = DEADLINE_EXCEEDED
    proxy_error = "http_response_timeout"
    condition = Condition.TIMEOUT
    covered_by = ("timeout",)


class FaultInjected(ReceiveError):
    """A response that a fault of the configuration made; its status is the configured one."""

    reason, title, status = "fault-injected", "A fault was injected", 503
    grpc = UNAVAILABLE
    proxy_error = "proxy_internal_response"
    blame = Blame.PROXY
    decided_by = "a fault of the configuration (faults)"

    def __init__(self, status: int = 503) -> None:
        super().__init__("The configuration of this route asks for this answer (faults).")
        self.status = status  # type: ignore[misc]
        self.grpc = of_http_answer(status)


# --- relay ----------------------------------------------------------------------------------


class RelayError(ProxyError):
    """The response had begun: the client's connection is closed, the reason logged and counted."""

    status = 502
    grpc = UNAVAILABLE
    proxy_error = "connection_terminated"


class UpstreamTruncated(RelayError):
    reason, title = "upstream-truncated", "Upstream's response was truncated"
    blame = Blame.UPSTREAM
    condition = Condition.RESET


class HedgeLost(RelayError):
    """An attempt that was cancelled because another one answered; no client gets it."""

    reason, title, status = "hedge-lost", "Another attempt answered first", 499
    grpc = CANCELLED
    blame = Blame.PROXY
    decided_by = "the hedge (hedge.delay)"


class ClientGone(RelayError):
    """No client is left to answer. 499 is nginx's status for it; it is logged, never sent."""

    reason, title, status = "client-gone", "Client went away", 499
    grpc = CANCELLED
    proxy_error = "connection_terminated"
    blame = Blame.CLIENT


class DrainCut(RelayError):
    reason, title, status = "drain-cut", "Cut at the end of the drain", 503
    blame = Blame.PROXY
    decided_by = "the drain (drain.timeout)"


def by_reason(reason: str) -> type[ProxyError] | None:
    """The failure of that reason."""
    for failure in subclasses():
        if failure.reason == reason:
            return failure
    return None


def subclasses(root: type[ProxyError] = ProxyError) -> list[type[ProxyError]]:
    """Every failure with its own reason, in the order of this file."""
    found: list[type[ProxyError]] = []
    for child in root.__subclasses__():
        if "reason" in vars(child):
            found.append(child)
        found.extend(subclasses(child))
    return found
