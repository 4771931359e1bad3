"""The heads that the proxy writes: the request's that goes upstream, the response's that returns.

Both are serialised anew from parsed values. Order and spelling of the fields that pass are kept;
the proxy's own fields stand behind them.
"""

from proxy.config.model import HeaderRules
from proxy.http.fields import without
from proxy.http.request import RequestHead
from proxy.http.response import ResponseHead

TIMEOUT_FIELD = b"x-request-timeout-ms"
GRPC_TIMEOUT_FIELD = b"grpc-timeout"
REQUEST_ID_FIELD = b"x-request-id"
RETRY_FIELD = b"x-retry-attempt"

HELD_FOR_EXCHANGE = frozenset({TIMEOUT_FIELD, GRPC_TIMEOUT_FIELD, REQUEST_ID_FIELD, RETRY_FIELD})
FORWARDED_FIELDS = frozenset({b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"})
"""Written by the inbound listener; the outbound one passes them untouched."""

_NO_RULES = HeaderRules()


class FieldRules:
    """A route's `headers.request` or `headers.response`, ready to apply."""

    __slots__ = ("_added", "_dropped")

    def __init__(self, rules: HeaderRules) -> None:
        self._dropped = frozenset(
            name.lower().encode() for name in (*rules.remove, *(name for name, _ in rules.set))
        )
        self._added = [f"{name}: {value}\r\n".encode("latin-1") for name, value in rules.set]

    def apply(self, lines: list[bytes]) -> list[bytes]:
        return without(lines, self._dropped) + self._added

    @classmethod
    def of(cls, rules: HeaderRules) -> "FieldRules | None":
        """None where there is nothing to do."""
        return None if rules == _NO_RULES else cls(rules)


def request_prefix(
    head: RequestHead, front: bytes, *, via: bytes, forwarded: bytes, request_id: bytes
) -> bytes:
    """All of a request's head that is the same for each attempt, up to its own last fields.

    `front`: what `RequestHead.front` gave.
    """
    if b"via" in head.held:
        via = b", ".join((*head.held[b"via"], via))  # RFC 9110 section 7.6.3
    fields = (front, b"Via: ", via, b"\r\n", forwarded, b"X-Request-Id: ", request_id, b"\r\n")
    return b"".join(fields)


def forwarded_lines(head: RequestHead, client: str, scheme: bytes) -> bytes:
    """What the inbound listener adds: the client appended, protocol and host as they came in."""
    chain = [*head.held.get(b"x-forwarded-for", ()), client.encode("latin-1")]
    host = str(head.authority).encode("latin-1") if head.authority else b""
    lines = b"X-Forwarded-For: " + b", ".join(chain) + b"\r\n"
    lines += b"X-Forwarded-Proto: " + scheme + b"\r\n"
    return lines + b"X-Forwarded-Host: " + host + b"\r\n" if host else lines


def informational_head(head: ResponseHead) -> bytes:
    """A 1xx head as it goes on."""
    return head.front + b"\r\n"


def caller_timeout(held: dict[bytes, list[bytes]]) -> float | None:
    """Seconds that the caller gives, by X-Request-Timeout-Ms or grpc-timeout; None: no word.

    Malformed values are as good as none.
    """
    if TIMEOUT_FIELD not in held and GRPC_TIMEOUT_FIELD not in held:
        return None
    seconds: float | None = None
    values = held.get(TIMEOUT_FIELD)
    if values is not None and values[0].isdigit() and len(values[0]) <= 12:
        seconds = int(values[0]) / 1000
    grpc = held.get(GRPC_TIMEOUT_FIELD)
    if grpc is not None:
        given = _grpc_seconds(grpc[0])
        if given is not None and (seconds is None or given < seconds):
            seconds = given
    return seconds


_GRPC_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def _grpc_seconds(value: bytes) -> float | None:
    """gRPC over HTTP/2, Requests: at most 8 digits and a unit."""
    digits, unit = value[:-1], _GRPC_UNITS.get(value[-1:])
    if unit is None or not digits.isdigit() or len(digits) > 8:
        return None
    return int(digits) * unit


def timeout_lines(seconds: float, *, grpc: bool) -> bytes:
    """The time that is left, whole milliseconds and at least one."""
    milliseconds = int(seconds * 1000) or 1
    lines = b"X-Request-Timeout-Ms: %d\r\n" % milliseconds
    if grpc:
        if milliseconds < 100_000_000:
            return lines + b"grpc-timeout: %dm\r\n" % milliseconds
        return lines + b"grpc-timeout: %dS\r\n" % (milliseconds // 1000)
    return lines
