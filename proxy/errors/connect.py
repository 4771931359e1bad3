"""No connection to an endpoint: nothing of the request was sent."""

from typing import ClassVar

from proxy.errors.base import Blame, ProxyError
from proxy.grpc_status import UNAVAILABLE
from proxy.outcome import Condition


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
