"""The fields that the proxy adds to heads, removes from them, and reads.

Forwarded fields keep their order and spelling; the proxy's own fields follow them.
"""

from typing import Final

from proxy.config.model import HeaderRules
from proxy.http.grpc import ATTEMPTS_FIELD as GRPC_ATTEMPTS_FIELD
from proxy.http.grpc import TIMEOUT as GRPC_TIMEOUT
from proxy.http.grpc import TIMEOUT_FIELD as GRPC_TIMEOUT_FIELD
from proxy.http.grpc import format_timeout, parse_timeout
from proxy.http.message import Field, FieldName, OwnField, OwnFields, make_field

TIMEOUT_FIELD: Final = b"x-request-timeout-ms"
REQUEST_ID_FIELD: Final = b"x-request-id"
RETRY_FIELD: Final = b"x-retry-attempt"

VIA: Final = FieldName(b"Via")
REQUEST_ID: Final = FieldName(b"X-Request-Id")
RETRY_ATTEMPT: Final = FieldName(b"X-Retry-Attempt")
EXPECT: Final = FieldName(b"Expect")
PROXY_STATUS: Final = FieldName(b"Proxy-Status")
DATE: Final = FieldName(b"Date")
_TIMEOUT: Final = FieldName(b"X-Request-Timeout-Ms")

FAULT_DELAY_FIELD: Final = b"x-fault-delay"
FAULT_ABORT_FIELD: Final = b"x-fault-abort"
FAULT_THROTTLE_FIELD: Final = b"x-fault-throttle"
HELD_FOR_EXCHANGE = frozenset(
    {
        TIMEOUT_FIELD,
        GRPC_TIMEOUT_FIELD,
        GRPC_ATTEMPTS_FIELD,
        REQUEST_ID_FIELD,
        RETRY_FIELD,
        FAULT_DELAY_FIELD,
        FAULT_ABORT_FIELD,
        FAULT_THROTTLE_FIELD,
    }
)
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

    def apply_but(self, names: frozenset[bytes], fields: list[Field]) -> list[Field]:
        """The same, except for fields of these names: they stay as they are."""
        dropped = self._dropped - names
        kept = [field for field in fields if field.name.lower not in dropped]
        return kept + [field for field in self._added if field.name.lower not in names]

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
        given = parse_timeout(grpc[0])
        if given is not None and (seconds is None or given < seconds):
            seconds = given
    return seconds


def repeat_number(held: dict[bytes, list[bytes]]) -> bytes:
    """The X-Retry-Attempt of a request that is a repeat (1 or more), else b""."""
    given = held.get(RETRY_FIELD)
    if given is None:
        return b""
    value = given[0]
    return value if len(value) <= 9 and value.isdigit() and int(value) > 0 else b""


class TimeLeft:
    """Tells the remaining time. It is the same for most requests of a route, and written once."""

    __slots__ = ("_field", "_milliseconds")

    def __init__(self) -> None:
        self._milliseconds = 0
        self._field: OwnField = (_TIMEOUT, b"")

    def add_to(self, own: OwnFields, seconds: float, *, grpc: bool) -> None:
        """The remaining time in whole milliseconds, at least one.

        `grpc`: as grpc-timeout too, for a request that has one although it is not a gRPC call.
        """
        milliseconds = int(seconds * 1000) or 1
        if milliseconds != self._milliseconds:
            self._milliseconds = milliseconds
            self._field = (_TIMEOUT, b"%d" % milliseconds)
        own.append(self._field)
        if grpc:
            own.append((GRPC_TIMEOUT, format_timeout(milliseconds / 1000)))
