"""Refusals: a policy, the drain or a deadline ended the request, or the proxy itself failed."""

from proxy.errors.base import Blame, ProxyError
from proxy.grpc_status import DEADLINE_EXCEEDED, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAVAILABLE


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
