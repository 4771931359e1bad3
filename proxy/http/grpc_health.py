"""The messages of grpc.health.v1: what a health check asks, and whether the answer is SERVING.

Source: gRPC's "GRPC Health Checking Protocol". The two messages have one field each, so that they
need no library: ``HealthCheckRequest {string service = 1}``, ``HealthCheckResponse {ServingStatus
status = 1}``.
"""

from typing import Final

PATH: Final = "/grpc.health.v1.Health/Check"
MOST: Final = 1024
"""Bytes of an answer that are looked at."""

_NAMES: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_PREFIX: Final = 5
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def question(service: str) -> bytes:
    """A whole gRPC message that asks for the status of a service; "": of the server."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def serving_status(body: bytes) -> str:
    """The status in a response's body; "" if it is no such message. Only SERVING is healthy."""
    if len(body) < _PREFIX or body[0] or len(body) != _PREFIX + int.from_bytes(body[1:5], "big"):
        return ""
    status = 0
    at = _PREFIX
    while at < len(body):
        tag, at = _read_varint(body, at)
        if at < 0:
            return ""
        number, at = _skip(body, at, tag & 7)
        if at < 0:
            return ""
        if tag == 1 << 3:
            status = number
    return _NAMES[status] if status < len(_NAMES) else "UNKNOWN"


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    """A number and the place behind it; the place is -1 if it is malformed."""
    number = shift = 0
    while at < len(body) and shift < 64:
        byte = body[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    return 0, -1


def _skip(body: bytes, at: int, kind: int) -> tuple[int, int]:
    """The value of a varint field, 0 for other kinds, and the place behind it."""
    if kind == _VARINT:
        return _read_varint(body, at)
    size = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
    if kind == _LENGTH:
        size, at = _read_varint(body, at)
    if at < 0 or size < 0 or at + size > len(body):
        return 0, -1
    return 0, at + size
