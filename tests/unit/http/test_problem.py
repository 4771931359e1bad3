"""Answers made by the proxy: the problem body, Proxy-Status, and the head around them."""

import json

import pytest

from proxy.errors import (
    BulkheadFull,
    CircuitOpen,
    ConnectTimeout,
    ProxyError,
    TlsFailure,
    subclasses,
)
from proxy.http.problem import ProxyStatus, problem_body

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def body(error: ProxyError, route: str | None = None) -> dict[str, object]:
    raw = problem_body(
        error=error, route=route, upstream=None, attempts=[], request_id="r", trace_id=TRACE
    )
    document = json.loads(raw)
    assert isinstance(document, dict)
    return document


def test_the_body_has_every_member_of_the_contract() -> None:
    attempts = [{"endpoint": "10.0.0.1:80", "failure": "connect-timeout", "duration_ms": 12.5}]
    raw = problem_body(
        error=ConnectTimeout("10.0.0.1:80 did not answer within 1s."),
        route="reserve-stock",
        upstream="inventory",
        attempts=attempts,
        request_id="r-1",
        trace_id=TRACE,
    )
    assert json.loads(raw) == {
        "type": "urn:resilience-proxy:problem:connect-timeout",
        "title": "Connecting took too long",
        "status": 504,
        "detail": "10.0.0.1:80 did not answer within 1s.",
        "reason": "connect-timeout",
        "route": "reserve-stock",
        "upstream": "inventory",
        "attempts": attempts,
        "request_id": "r-1",
        "trace_id": TRACE,
    }


def test_why_it_was_not_retried_is_told_where_that_was_asked() -> None:
    raw = problem_body(
        error=ConnectTimeout(),
        route=None,
        upstream=None,
        attempts=[],
        request_id="r",
        trace_id=TRACE,
        retry_refused="attempts",
    )
    assert json.loads(raw)["retry_refused"] == "attempts"


def test_what_is_not_known_yet_is_null() -> None:
    document = body(CircuitOpen())
    assert document["route"] is None
    assert document["upstream"] is None
    assert document["attempts"] == []


@pytest.mark.parametrize("error", subclasses(), ids=lambda error: error.reason)
def test_every_failure_has_a_body_and_a_status(error: type[ProxyError]) -> None:
    document = body(error())
    assert document["type"] == f"urn:resilience-proxy:problem:{error.reason}"
    assert document["detail"]
    assert document["status"] == error.status
    assert error.reason.encode() in ProxyStatus("s").value(error=error())


def test_text_that_is_no_unicode_does_not_cost_the_answer() -> None:
    assert body(CircuitOpen("bad \udcff byte"), route="straße")["route"] == "straße"


@pytest.mark.parametrize(
    ("service", "item"),
    [
        ("orders", b"orders"),
        ("*orders/eu:1.2~x", b"*orders/eu:1.2~x"),
        ("Orders-2", b"Orders-2"),
        ("2orders", b'"2orders"'),
        ("-orders", b'"-orders"'),
        ("order service", b'"order service"'),
        ('a"b\\c', b'"a\\"b\\\\c"'),
        ("größe", b'"gr??e"'),
        ("a\r\nb", b'"a??b"'),
        ("", b'""'),
    ],
)
def test_the_service_is_a_token_or_a_string(service: str, item: bytes) -> None:
    assert ProxyStatus(service).value(attempts=2) == item + b"; attempts=2"


def test_a_failure_names_error_and_reason() -> None:
    status = ProxyStatus("orders")
    expected = b'orders; error=connection_timeout; details="connect-timeout"'
    assert status.value(error=ConnectTimeout()) == expected
    assert status.value(error=ConnectTimeout("again"), attempts=3) == expected
    assert status.value(error=BulkheadFull()) == (
        b'orders; error=connection_limit_reached; details="bulkhead-full"'
    )


def test_an_instance_may_refine_the_error_type() -> None:
    status = ProxyStatus("orders")
    certificate = TlsFailure()
    certificate.proxy_error = "tls_certificate_error"
    assert b"error=tls_protocol_error;" in status.value(error=TlsFailure())
    assert b"error=tls_certificate_error;" in status.value(error=certificate)
    assert b"error=tls_protocol_error;" in status.value(error=TlsFailure())


def test_fallbacks_are_marked() -> None:
    status = ProxyStatus("orders")
    assert status.value(error=CircuitOpen(), fallback=True) == (
        b'orders; error=destination_unavailable; details="circuit-open"; fallback'
    )
    assert status.value(fallback=True, received_status=503, attempts=3) == (
        b"orders; attempts=3; received-status=503; fallback"
    )
    assert status.value(fallback=True, received_status=503) == (
        b"orders; received-status=503; fallback"
    )


def test_a_retry_that_was_refused_is_told_with_the_endpoint() -> None:
    assert ProxyStatus("orders").refused(2, "[::1]:80", "circuit-open") == (
        b'orders; attempts=2; next-hop="[::1]:80"; retry-refused=circuit-open'
    )
    assert b'next-hop="a?b?"' in ProxyStatus("orders").refused(2, 'a"b\\', "budget")


def test_nothing_to_say_is_no_field() -> None:
    assert ProxyStatus("orders").value(attempts=1) == b""
