"""The fields that the proxy adds to heads, removes from them, and reads.

Forwarded fields keep their order and spelling; the proxy's own fields follow them.
"""

from typing import Final

from proxy.config.model import HeaderRules
from proxy.http.message import Field, FieldName, OwnFields, make_field

TIMEOUT_FIELD: Final = b"x-request-timeout-ms"
GRPC_TIMEOUT_FIELD: Final = b"grpc-timeout"
REQUEST_ID_FIELD: Final = b"x-request-id"
RETRY_FIELD: Final = b"x-retry-attempt"

VIA: Final = FieldName(b"Via")
REQUEST_ID: Final = FieldName(b"X-Request-Id")
RETRY_ATTEMPT: Final = FieldName(b"X-Retry-Attempt")
EXPECT: Final = FieldName(b"Expect")
PROXY_STATUS: Final = FieldName(b"Proxy-Status")
DATE: Final = FieldName(b"Date")
_TIMEOUT: Final = FieldName(b"X-Request-Timeout-Ms")
_GRPC_TIMEOUT: Final = FieldName(b"grpc-timeout")

HELD_FOR_EXCHANGE = frozenset({TIMEOUT_FIELD, GRPC_TIMEOUT_FIELD, REQUEST_ID_FIELD, RETRY_FIELD})
_NO_RULES = HeaderRules()


class FieldRules:
    """A route's `headers.request` or `headers.response`, ready to apply.

    They are the last word: the proxy's own fields of these names are left out as well. `check`
    allows no rule for what frames a message, for the connection's fields and for Via.
    """

    __slots__ = ("_added", "_dropped")

    def __init__(self, rules: HeaderRules) -> None:
        self._dropped = frozenset(
            name.lower().encode() for name in (*rules.remove, *(name for name, _ in rules.set))
        )
        self._added = [
            make_field(name.encode("latin-1"), value.encode("latin-1")) for name, value in rules.set
        ]

    def apply(self, fields: list[Field]) -> list[Field]:
        kept = [field for field in fields if field.name.lower not in self._dropped]
        return kept + self._added

    def left_of(self, own: OwnFields) -> OwnFields:
        """The proxy's own fields, without those that the rules set or remove."""
        return [field for field in own if field[0].lower not in self._dropped]

    @classmethod
    def of(cls, rules: HeaderRules) -> "FieldRules | None":
        """None without rules."""
        return None if rules == _NO_RULES else cls(rules)


def caller_timeout(held: dict[bytes, list[bytes]]) -> float | None:
    """The caller's deadline in seconds, from X-Request-Timeout-Ms or grpc-timeout, or None.

    Malformed values are ignored.
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


def add_timeout(own: OwnFields, seconds: float, *, grpc: bool) -> None:
    """The remaining time in whole milliseconds, at least one."""
    milliseconds = int(seconds * 1000) or 1
    own.append((_TIMEOUT, b"%d" % milliseconds))
    if grpc:
        short = milliseconds < 100_000_000
        value = b"%dm" % milliseconds if short else b"%dS" % (milliseconds // 1000)
        own.append((_GRPC_TIMEOUT, value))
