"""One line of a trailer section (RFC 9110 section 6.5): checked, and dropped if it is forbidden.

A field that frames, routes, authenticates or describes a message has no meaning after the body,
and harms a receiver that merges trailers into its head. Section 6.5.1 forbids a sender to generate
such fields and lets a recipient ignore them: they are dropped. So are ``Proxy`` and spellings with
underscores that CGI and WSGI cannot tell from such a field or from one of the proxy's own. A field
that would frame or route the message again is an attack rather than a mistake, so the message is
refused.
"""

import re
from typing import Final

_FIELD = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\x21-\x7e\x80-\xff]"
    rb"(?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)

FORBIDDEN: Final = frozenset(
    name.encode()
    for group in (
        # framing and the connection
        "trailer te upgrade connection keep-alive proxy-connection",
        # routing, and the identity of the caller; `is_dropped` has the rest of X-Forwarded-*
        "via forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-port",
        "x-real-ip max-forwards proxy",
        # controls and conditions of a request
        "cache-control pragma expect range if-match if-none-match if-modified-since",
        "if-unmodified-since if-range",
        # authentication and state
        "authorization www-authenticate authentication-info cookie set-cookie",
        "proxy-authenticate proxy-authorization proxy-authentication-info",
        # control data of a response
        "age date expires location retry-after vary warning",
        # how to read the content
        "content-encoding content-type content-range",
    )
    for name in group.split()
)
"""Lower-case names that are dropped from a trailer section."""

_FAMILY: Final = b"x-forwarded-"
_UNDERSCORE: Final = 0x5F
"""Sought as a number: as `bytes`, Python first raises and drops an exception inside."""

_IMITATED: Final = frozenset(
    {b"x-request-id", b"x-request-timeout-ms", b"x-retry-attempt"}
    | {b"content-length", b"transfer-encoding"}
)
"""Names that are dropped from a trailer section where they are spelled with underscores."""

REFUSED: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})
"""Lower-case names that make a trailer section invalid."""


def is_dropped(name: bytes) -> bool:
    """Whether a trailer of this lower-case name is not forwarded."""
    if name in FORBIDDEN or name.startswith(_FAMILY):
        return True
    if _UNDERSCORE not in name:
        return False
    dashed = name.replace(b"_", b"-")
    return dashed in FORBIDDEN or dashed in _IMITATED or dashed.startswith(_FAMILY)


def parse_trailer(line: bytes) -> tuple[bytes, bytes] | None:
    """Name as received and value without surrounding white space; None for a forbidden field.

    `line` comes without its CRLF. Raises ValueError, saying what is wrong with it.
    """
    field = _FIELD.fullmatch(line)
    if field is None:
        raise ValueError(_fault(line))
    name, value = field.group(1, 2)
    lower = name.lower()
    if lower in REFUSED:
        raise ValueError("a trailer field that would frame or route the message again")
    return None if is_dropped(lower) else (name, value)


def _fault(line: bytes) -> str:
    if line[:1] in (b" ", b"\t"):
        return "line folding in the trailer section"
    name, colon, _ = line.partition(b":")
    if not colon:
        return "trailer field without a colon"
    if not name:
        return "trailer field without a name"
    if name[-1:] in (b" ", b"\t"):
        return "white space before the colon of a trailer field"
    if b"\r" in line:
        return "bare CR in the trailer section"
    return "forbidden character in a trailer field"
