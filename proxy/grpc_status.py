"""The status codes of gRPC: numbers, names, and what they mean in HTTP.

A code is an int from 0 to 16; `NO_GRPC` stands for "no gRPC call", or for a status that is not
known yet. Metrics and log use the name (``UNAVAILABLE``), configuration uses it in lower case with
dashes (``unavailable``).
"""

from typing import Final

NO_GRPC: Final = -1
OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
ALREADY_EXISTS: Final = 6
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
FAILED_PRECONDITION: Final = 9
ABORTED: Final = 10
OUT_OF_RANGE: Final = 11
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
DATA_LOSS: Final = 15
UNAUTHENTICATED: Final = 16

NAMES: Final[tuple[str, ...]] = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""By code."""

WORDS: Final[tuple[str, ...]] = tuple(name.lower().replace("_", "-") for name in NAMES)
"""By code: the names as configuration spells them."""

FAILURES: Final = frozenset({UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS})
"""``grpc-failure``: codes that say that the upstream failed. The others are answers."""


def name_of(code: int) -> str:
    """``UNAVAILABLE``; "" for `NO_GRPC`."""
    return NAMES[code] if code >= 0 else ""


def code_of(word: str) -> int | None:
    """The code of ``unavailable``, None for another word."""
    return WORDS.index(word) if word in WORDS else None


_OF_HTTP: Final = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}


def of_http_response(status: int) -> int:
    """What a client makes of a response with this HTTP status and without grpc-status.

    gRPC's "HTTP to gRPC Status Code Mapping". A 200 without grpc-status is UNKNOWN too.
    """
    return _OF_HTTP.get(status, UNKNOWN)


_TOLD_TO_GRPC: Final = {
    400: INVALID_ARGUMENT,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: NOT_FOUND,
    409: ALREADY_EXISTS,
    412: FAILED_PRECONDITION,
    429: RESOURCE_EXHAUSTED,
    499: CANCELLED,
    501: UNIMPLEMENTED,
    503: UNAVAILABLE,
    504: DEADLINE_EXCEEDED,
}


def of_http_answer(status: int) -> int:
    """The code that tells a gRPC caller an answer which is configured with an HTTP status."""
    return _TOLD_TO_GRPC.get(status, INTERNAL)


_TOLD_TO_HTTP: Final = {code: status for status, code in _TOLD_TO_GRPC.items()} | {
    OK: 200,
    ABORTED: 409,
}


def to_http_answer(code: int) -> int:
    """The HTTP status that tells other callers an answer which is configured with a gRPC code."""
    return _TOLD_TO_HTTP.get(code, 500)


_OF_RESET: Final = {
    0x7: UNAVAILABLE,  # REFUSED_STREAM
    0x8: CANCELLED,  # CANCEL
    0xB: RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    0xC: PERMISSION_DENIED,  # INADEQUATE_SECURITY
}


def of_reset(error_code: int) -> int:
    """The code for a stream that was reset without a status (gRPC over HTTP/2, Errors)."""
    return _OF_RESET.get(error_code, INTERNAL)
