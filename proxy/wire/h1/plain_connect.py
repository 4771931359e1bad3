"""What follows a CONNECT that was accepted for plain HTTP (RFC 9110 section 9.3.6).

Some clients ask by CONNECT for plain HTTP too. To a port that is none of `egress.connect_ports` the
CONNECT is accepted, and the requests that follow are carried like any others. TLS, which cannot be
carried so, is refused in its own words; other protocols are not answered.
"""

from typing import Final

from proxy.errors import BadRequest, EgressDenied
from proxy.http.authority import DEFAULT_PORTS, Authority
from proxy.http.message import RequestHead

ACCESS_DENIED: Final = bytes.fromhex("15030100020231")
"""TLS's alert access_denied, fatal (RFC 8446 section 6.2)."""
_HANDSHAKE: Final = b"\x16"
"""How a ClientHello begins (RFC 8446 section 5.1)."""


def speaks_tls(start: bytes) -> bool:
    return start[:1] == _HANDSHAKE


def speaks_http(start: bytes) -> bool:
    """Whether these bytes are HTTP's, malformed or not, as far as can be told from them."""
    line, end, _ = start.partition(b"\n")
    if not end or line == b"\r":
        return start[:1] == b"\r" or start[:1].isalpha()
    return b" HTTP/" in line


def not_plain_http(bound: Authority, start: bytes) -> EgressDenied:
    """Why what began so behind the CONNECT to `bound` is not carried."""
    what = "TLS" if speaks_tls(start) else "a protocol that is not HTTP"
    return EgressDenied(
        f"Behind the CONNECT to {bound} came {what}: "
        f"port {bound.port} is not in egress.connect_ports, so only plain HTTP is carried."
    )


def check_bound(head: RequestHead, bound: Authority) -> None:
    """Raise BadRequest unless the request is for the CONNECT's authority."""
    if head.method == "CONNECT":
        raise BadRequest(f"A CONNECT came behind the CONNECT to {bound}.")
    named = head.authority
    if named is None:
        raise BadRequest(f"The request behind the CONNECT to {bound} names no host.")
    if named.host != bound.host or (named.port or DEFAULT_PORTS[head.scheme]) != bound.port:
        raise BadRequest(f"The request is for {named}, but the CONNECT was to {bound}.")
