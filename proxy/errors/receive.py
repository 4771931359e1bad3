"""The request was sent, and no usable response head came back."""

from proxy.errors.base import Blame, ProxyError
from proxy.grpc_status import DEADLINE_EXCEEDED, UNAVAILABLE, of_http_answer
from proxy.outcome import Condition


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
        self.status = status
        self.grpc = of_http_answer(status)
