"""Checks what follows a CONNECT that was accepted for plain HTTP (RFC 9110 section 9.3.6).

Some clients send CONNECT for plain HTTP too. To a port outside `egress.connect_ports` the CONNECT
is accepted, and the requests that follow are forwarded like any others. TLS is refused with an
alert, because it cannot be forwarded in this way; other protocols get no answer.
"""

from typing import Final

from proxy.errors import BadRequest, EgressDenied
from proxy.http.authority import DEFAULT_PORTS, Authority
from proxy.http.message import RequestHead

ACCESS_DENIED: Final = bytes.fromhex("15030100020231")
"""The fatal TLS alert access_denied (RFC 8446 section 6.2)."""
_HANDSHAKE: Final = b"\x16"
"""The first byte of a ClientHello (RFC 8446 section 5.1)."""


def speaks_tls(start: bytes) -> bool:
    return start[:1] == _HANDSHAKE


def speaks_http(start: bytes) -> bool:
    """Whether these first bytes may be HTTP, even if malformed."""
    line, end, _ = start.partition(b"\n")
    if not end or line == b"\r":
        return start[:1] == b"\r" or start[:1].isalpha()
    return b" HTTP/" in line


def not_plain_http(bound: Authority, start: bytes) -> EgressDenied:
    """The refusal of input that begins like this after the CONNECT to `bound`."""
    what = "TLS" if speaks_tls(start) else "A protocol other than HTTP"
    return EgressDenied(
        f"{what} followed the CONNECT to {bound}: "
        f"port {bound.port} is not in egress.connect_ports, so it must be plain HTTP."
    )


def check_bound(head: RequestHead, bound: Authority) -> None:
    """Raise BadRequest unless the request is for the CONNECT's authority."""
    if head.method == "CONNECT":
        raise BadRequest(f"A CONNECT followed the CONNECT to {bound}.")
    named = head.authority
    if named is None:
        raise BadRequest(f"The request after the CONNECT to {bound} names no host.")
    if named.host != bound.host or (named.port or DEFAULT_PORTS[head.scheme]) != bound.port:
        raise BadRequest(f"The request is for {named}, but the CONNECT was to {bound}.")
