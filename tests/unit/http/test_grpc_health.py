"""The bytes of grpc.health.v1."""

import pytest

from proxy.http.grpc_health import question, serving_status


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("", b""),
        ("shop.v1.Inventory", b"\x0a\x11shop.v1.Inventory"),
        ("x" * 200, b"\x0a\xc8\x01" + b"x" * 200),
    ],
)
def test_the_question(service, message):
    assert question(service) == b"\0" + len(message).to_bytes(4, "big") + message


def framed(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (framed(b"\x08\x01"), "SERVING"),
        (framed(b"\x08\x02"), "NOT_SERVING"),
        (framed(b"\x08\x03"), "SERVICE_UNKNOWN"),
        (framed(b""), "UNKNOWN"),
        (framed(b"\x08\x00"), "UNKNOWN"),
        (framed(b"\x08\x63"), "UNKNOWN"),
        (framed(b"\x08\x02\x08\x01"), "SERVING"),
        (framed(b"\x12\x03abc\x1d\0\0\0\0\x21\0\0\0\0\0\0\0\0\x08\x01"), "SERVING"),
        (framed(b"\x12\x09abc\x08\x01"), ""),
        (framed(b"\x08"), ""),
        (framed(b"\x08" + b"\xff" * 20), ""),
        (framed(b"\x0b\x08\x01"), ""),
        (b"\1" + framed(b"\x08\x01")[1:], ""),
        (framed(b"\x08\x01") + b"x", ""),
        (framed(b"\x08\x01")[:-1], ""),
        (b"", ""),
        (b"<html>", ""),
    ],
)
def test_the_answer(body, status):
    assert serving_status(body) == status
