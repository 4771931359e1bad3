"""Every failure of a request, as one tree by phase.

    ProxyError
    ├── AcceptError    the client's bytes are not a valid request
    ├── AdmitError     a policy or the drain refused it
    ├── ConnectError   no connection to an endpoint: nothing was sent
    ├── ReceiveError   the request was sent, no usable response head came back
    └── RelayError     the response was truncated after its head went to the client

Each class has the reason, the one name of its failure in problem body, Proxy-Status, metric and
log, its status, its RFC 9209 section 2.3 error type, and the party at fault. The detail of an
instance is a sentence that says what to look at.
"""

from enum import Enum
from typing import ClassVar

from proxy.outcome import Condition


class Blame(Enum):
    """The party that must change something to fix the failure."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    PROXY = "proxy"


class ProxyError(Exception):
    """A named failure. `detail` is sent to the client: it contains no header or query values."""

    reason: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int]
    proxy_error: ClassVar[str]
    blame: ClassVar[Blame]
    condition: ClassVar[Condition | None] = None

    def __init__(self, detail: str = "", *, retry_after: int | None = None) -> None:
        """`retry_after`: whole seconds for the Retry-After field, None for no field."""
        super().__init__(detail)
        self.detail = detail or self.title + "."
        self.retry_after = retry_after


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


class BodyTimeout(AcceptError):
    reason, title, status = "body-timeout", "Request body stalled", 408


class BodyTooLarge(AcceptError):
    reason, title, status = "body-too-large", "Request body too large", 413


class UrlTooLong(AcceptError):
    reason, title, status = "url-too-long", "URL too long", 414


class HeadersTooLarge(AcceptError):
    reason, title, status = "headers-too-large", "Request head too large", 431


# --- admit ----------------------------------------------------------------------------------


class AdmitError(ProxyError):
    """A request that the proxy refused; nothing of it reached an upstream."""

    blame = Blame.PROXY


class EgressDenied(AdmitError):
    reason, title, status = "egress-denied", "Destination not allowed", 403
    proxy_error = "http_request_denied"
    blame = Blame.CLIENT


class Loop(AdmitError):
    reason, title, status = "loop", "Request would loop", 508
    proxy_error = "proxy_loop_detected"
    blame = Blame.CLIENT


class Draining(AdmitError):
    reason, title, status = "draining", "Proxy is draining", 503
    proxy_error = "http_request_denied"


class CircuitOpen(AdmitError):
    reason, title, status = "circuit-open", "Circuit breaker is open", 503
    proxy_error = "destination_unavailable"
    blame = Blame.UPSTREAM


class LimitReached(AdmitError):
    proxy_error = "connection_limit_reached"

    def __init__(self, detail: str = "", *, retry_after: int | None = 1) -> None:
        super().__init__(detail, retry_after=retry_after)


class BulkheadFull(LimitReached):
    reason, title, status = "bulkhead-full", "Bulkhead is full", 503


class QueueTimeout(LimitReached):
    reason, title, status = "queue-timeout", "Waited too long in the bulkhead's queue", 503


class ConnectionsFull(LimitReached):
    reason, title, status = "connections-full", "Too many client connections", 503


class RequestTimeout(AdmitError):
    """The request's own deadline expired: the attempt in progress is cancelled."""

    reason, title, status = "request-timeout", "Request deadline exceeded", 504
    proxy_error = "http_response_timeout"
    blame = Blame.UPSTREAM


class InternalError(AdmitError):
    reason, title, status = "internal", "Internal error of the proxy", 500
    proxy_error = "proxy_internal_error"


# --- connect --------------------------------------------------------------------------------


class ConnectError(ProxyError):
    """Nothing of the request was sent: a retry is safe for every method."""

    status = 502
    proxy_error = "destination_unavailable"
    blame = Blame.UPSTREAM
    condition = Condition.CONNECT_FAILURE


class DnsFailure(ConnectError):
    reason, title = "dns-failure", "Name look-up failed"
    proxy_error = "dns_error"


class ConnectRefused(ConnectError):
    reason, title = "connect-refused", "Connection refused"
    proxy_error = "connection_refused"


class ConnectFailed(ConnectError):
    reason, title = "connect-failed", "Connection failed"


class ConnectTimeout(ConnectError):
    reason, title, status = "connect-timeout", "Connecting took too long", 504
    proxy_error = "connection_timeout"


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
    reason, title = "upstream-reset", "Upstream closed the connection"
    proxy_error = "connection_terminated"
    condition = Condition.RESET


class UpstreamMalformed(ReceiveError):
    reason, title = "upstream-malformed", "Upstream's response is malformed"
    proxy_error = "http_protocol_error"
    condition = Condition.RESET


class AttemptTimeout(ReceiveError):
    reason, title, status = "attempt-timeout", "Upstream took too long to answer", 504
    proxy_error = "http_response_timeout"
    condition = Condition.TIMEOUT


# --- relay ----------------------------------------------------------------------------------


class RelayError(ProxyError):
    """The response had begun: the client's connection is closed, the reason logged and counted."""

    status = 502
    proxy_error = "connection_terminated"


class UpstreamTruncated(RelayError):
    reason, title = "upstream-truncated", "Upstream's response was truncated"
    blame = Blame.UPSTREAM
    condition = Condition.RESET


class ClientGone(RelayError):
    """No client is left to answer. 499 is nginx's status for it; it is logged, never sent."""

    reason, title, status = "client-gone", "Client went away", 499
    proxy_error = "connection_terminated"
    blame = Blame.CLIENT


class DrainCut(RelayError):
    reason, title, status = "drain-cut", "Cut at the end of the drain", 503
    blame = Blame.PROXY


def subclasses(root: type[ProxyError] = ProxyError) -> list[type[ProxyError]]:
    """Every failure with its own reason, in the order of this file."""
    found: list[type[ProxyError]] = []
    for child in root.__subclasses__():
        if "reason" in vars(child):
            found.append(child)
        found.extend(subclasses(child))
    return found
