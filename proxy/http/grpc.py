"""gRPC over HTTP/2: which requests are calls, and the fields that carry a call's facts.

Source: gRPC's "PROTOCOL-HTTP2", and proposal A6 for retries. grpc-web is not gRPC here: it passes
as plain HTTP.
"""

from typing import Final

from proxy.grpc_status import NO_GRPC, UNKNOWN, of_http_response
from proxy.http.making import make_response
from proxy.http.message import Field, FieldName, RequestHead, ResponseHead, named_field
from proxy.outcome import Condition, Outcome, of_status

TIMEOUT_FIELD: Final = b"grpc-timeout"
ATTEMPTS_FIELD: Final = b"grpc-previous-rpc-attempts"
STATUS_FIELD: Final = b"grpc-status"
PUSHBACK_FIELD: Final = b"grpc-retry-pushback-ms"

TIMEOUT: Final = FieldName(TIMEOUT_FIELD)
ATTEMPTS: Final = FieldName(ATTEMPTS_FIELD)
_TYPE: Final = FieldName(b"content-type")
_STATUS: Final = FieldName(STATUS_FIELD)
_MESSAGE: Final = FieldName(b"grpc-message")
_PUSHBACK: Final = FieldName(PUSHBACK_FIELD)

GRPC_TYPE: Final = b"application/grpc"
NO_RETRY: Final = -1.0
"""A pushback that forbids another attempt."""


def is_call(method: str, content_types: list[bytes]) -> bool:
    """Whether a request with this method and these content-types is a gRPC call."""
    if method != "POST" or len(content_types) != 1:
        return False
    kind = content_types[0].lower()
    return kind.startswith(GRPC_TYPE) and kind[16:17] in (b"", b"+", b";", b" ")


def is_grpc(head: RequestHead) -> bool:
    """Whether it looks like a gRPC call, whatever its version of HTTP."""
    return head.method == "POST" and is_call("POST", head.values(b"content-type"))


# --- deadlines ----------------------------------------------------------------------------------

_UNITS: Final = {
    ord("H"): 3600.0,
    ord("M"): 60.0,
    ord("S"): 1.0,
    ord("m"): 1e-3,
    ord("u"): 1e-6,
    ord("n"): 1e-9,
}
_DIGITS: Final = 8
"""A timeout has at most so many."""
_MOST: Final = 10**_DIGITS


def parse_timeout(value: bytes) -> float | None:
    """The seconds of a grpc-timeout; None if it is malformed."""
    digits = len(value) - 1
    if not 0 < digits <= _DIGITS:
        return None
    unit = _UNITS.get(value[digits])
    if unit is None:
        return None
    number = 0
    for at in range(digits):
        digit = value[at] - 0x30
        if not 0 <= digit <= 9:
            return None
        number = 10 * number + digit
    return number * unit


def format_timeout(seconds: float) -> bytes:
    """A grpc-timeout in the finest unit that fits; at least one nanosecond."""
    count = int(seconds * 1e9)
    if count < _MOST:
        return b"%dn" % max(count, 1)
    count = int(seconds * 1e6)
    if count < _MOST:
        return b"%du" % count
    count = int(seconds * 1e3)
    if count < _MOST:
        return b"%dm" % count
    count = int(seconds)
    if count < _MOST:
        return b"%dS" % count
    count = int(seconds / 60)
    if count < _MOST:
        return b"%dM" % count
    return b"%dH" % min(int(seconds / 3600), _MOST - 1)


# --- retries ------------------------------------------------------------------------------------


def parse_pushback(values: list[bytes]) -> float | None:
    """The seconds of grpc-retry-pushback-ms; None without one, `NO_RETRY` if it forbids a retry.

    A negative number forbids it, and so does anything that is not a number (A6).
    """
    if not values:
        return None
    value = values[0]
    if len(values) > 1 or not value.isdigit() or len(value) > 10:
        return NO_RETRY
    return int(value) / 1000


def attempts_before(values: list[bytes]) -> int:
    """The attempts that a caller says it has made; 0 if it says nothing usable."""
    if len(values) == 1 and values[0].isdigit() and len(values[0]) <= 6:
        return int(values[0])
    return 0


# --- the outcome --------------------------------------------------------------------------------


def status_in(values: list[bytes]) -> int:
    """The code of grpc-status fields; `NO_GRPC` without one.

    A code that gRPC does not know, or no number, is UNKNOWN.
    """
    if not values:
        return NO_GRPC
    value = values[0]
    size = len(value)
    if not 0 < size <= 2:
        return UNKNOWN
    code = 0
    for at in range(size):
        digit = value[at] - 0x30
        if not 0 <= digit <= 9:
            return UNKNOWN
        code = 10 * code + digit
    return code if code <= 16 else UNKNOWN


def trailer_values(trailers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The values of a trailer; `name` in lower case."""
    size = len(name)
    found: list[bytes] = []
    for given, value in trailers:
        if len(given) == size and given.lower() == name:
            found.append(value)
    return found


def outcome_of(
    status: int, head_values: list[bytes], trailers: list[tuple[bytes, bytes]]
) -> Outcome:
    """The outcome of a call whose response is complete.

    `head_values`: grpc-status of a Trailers-Only response. A grpc-status counts whatever the HTTP
    status is; without one the HTTP status does. A 200 without one is malformed.
    """
    code = status_in(head_values or trailer_values(trailers, STATUS_FIELD))
    if code >= 0:
        return _BY_CODE[code]
    if status != 200:
        return Outcome(status, None, of_http_response(status))
    return NO_STATUS


_BY_CODE: Final[tuple[Outcome, ...]] = tuple(Outcome(200, None, code) for code in range(17))
NO_STATUS: Final = Outcome(200, Condition.RESET, UNKNOWN)
"""A response that ended without grpc-status: the condition of a malformed response."""


def outcome_of_code(status: int, code: int) -> Outcome:
    """The outcome that a record tells: an HTTP status, and a code or `NO_GRPC`."""
    if code < 0:
        return of_status(status)
    return _BY_CODE[code] if status == 200 else Outcome(status, None, code)


# --- answers ------------------------------------------------------------------------------------


def encode_message(text: str) -> bytes:
    """A grpc-message: UTF-8, percent-encoded outside of 0x20 to 0x7E, and for ``%``."""
    raw = text.encode("utf-8", "replace")
    if raw.isascii() and text.isprintable() and b"%" not in raw:
        return raw
    return b"".join(
        b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in raw
    )


def status_fields(code: int, message: str) -> list[Field]:
    """grpc-status and grpc-message."""
    fields = [named_field(_STATUS, b"%d" % code)]
    if message:
        fields.append(named_field(_MESSAGE, encode_message(message)))
    return fields


def status_trailers(code: int, message: str) -> list[tuple[bytes, bytes]]:
    """The trailers that end a call whose head has been sent."""
    return [(field.name.text, field.value) for field in status_fields(code, message)]


def trailers_only(
    code: int, message: str, fields: list[Field], pushback: float | None = None
) -> ResponseHead:
    """A whole answer in one head, with these fields too.

    `pushback`: seconds that the caller should wait before it tries again.
    """
    own = [named_field(_TYPE, GRPC_TYPE), *status_fields(code, message), *fields]
    if pushback is not None:
        own.append(named_field(_PUSHBACK, b"%d" % max(0, int(pushback * 1000 + 0.999))))
    return make_response(200, own, None)
