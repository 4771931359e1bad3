"""Requests that come from a record instead of a client."""

import pytest

from proxy.config.model import Listener
from proxy.delivery.stored_request import StoredRequest
from proxy.delivery.tries import MOST_IGNORED, Tries

CONFIG = """
service: stage
upstreams:
  shop: {endpoints: ["http://10.0.0.1:80"]}
policies:
  default:
    retry: {backoff: {initial: 100ms, jitter: none}, body_limit: 1KiB}
    circuit_breaker: {window: {size: 4}, minimum_calls: 4}
    bulkhead: {max_concurrent: 2}
routes:
  - name: shop
    upstream: shop
    rate_limits: [{rate: 1/h}]
    headers: {request: {set: {authorization: own}, remove: [x-drop]}}
    fallback: {when: [circuit-open, timeout, connect-failure, 5xx], response: {status: 200}}
"""
FIELDS = [(b"Idempotency-Key", b"k"), (b"X-Drop", b"1"), (b"content-type", b"application/json")]


class Bed:
    def __init__(self, stage):
        self.stage = stage
        self.results = []
        self.tries = Tries(Listener.OUTBOUND, stage._record)

    def begin(
        self, method="POST", target="/o?x=1", body=b"{}", *, keep=0, host="shop", more=(), **given
    ):
        stored = StoredRequest(method, target, [*FIELDS, *more], body, host=host, **given)
        gateway = self.stage.gateway
        self.tries.begin_try(
            gateway.gates[Listener.OUTBOUND].terms,
            gateway.table.named("shop"),
            stored,
            self.results.append,
            keep=keep,
        )
        self.stage.loop.run()

    def result(self):
        (result,) = self.results
        self.results.clear()
        assert not self.tries.exchanges
        return result


@pytest.fixture
def bed(make_stage):
    return Bed(make_stage(CONFIG))


def test_a_try_obeys_the_routes_rules_and_keeps_its_fields(bed):
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    held = {b"x-request-id": [b"r-1"], b"traceparent": [trace]}
    bed.begin(held=held, entry="e1")
    server = bed.stage.accept()
    head, _, body = server.received().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /o?x=1 HTTP/1.1"
    assert b"Host: shop" in lines
    assert b"Content-Length: 2" in lines
    assert b"Idempotency-Key: k" in lines
    assert b"authorization: own" in lines
    assert b"X-Request-Id: r-1" in lines
    assert not [line for line in lines if line.lower().startswith((b"x-drop", b"x-retry"))]
    (parent,) = [line for line in lines if line.startswith(b"traceparent")]
    assert b"4bf92f3577b34da6a3ce929d0e0e4736" in parent
    assert b"00f067aa0ba902b7" not in parent
    assert body == b"{}"
    server.answer(201, b"made")
    result = bed.result()
    assert (result.status, result.reason, result.body) == (201, "", b"")
    assert not result.complete  # nothing of the body was wanted
    assert result.sent
    assert not result.postponed


def test_the_body_of_the_response_is_kept_up_to_a_bound(bed):
    for wanted, kept, complete in ((4, b"made", True), (3, b"mad", False), (100, b"made", True)):
        bed.begin(keep=wanted)
        server = bed.stage.accept() if bed.stage.connects else bed.stage.servers[-1]
        server.received()
        server.answer(200, b"made")
        result = bed.result()
        assert (result.body, result.complete) == (kept, complete)


def test_neither_rate_limit_nor_fallback_applies(bed):
    for refusals in (3, 1):
        bed.begin("GET", body=b"")
        for _ in range(refusals):
            bed.stage.refuse()
            bed.stage.pass_time(1)
        result = bed.result()
        assert (result.status, result.reason) == (502, "connect-refused")
        assert not result.sent
        assert not result.postponed
    bed.begin("GET", body=b"")
    result = bed.result()
    assert (result.status, result.reason, result.postponed) == (503, "circuit-open", True)
    assert result.retry_after >= 1


def test_a_large_body_is_sent_again(bed):
    body = b"x" * 5000
    bed.begin(body=body)
    server = bed.stage.accept()
    assert server.received().endswith(body)
    server.answer(503)
    bed.stage.pass_time(1)
    again = bed.stage.servers[-1]
    received = again.received()
    assert received.endswith(body)
    assert b"X-Retry-Attempt: 1" in received
    again.answer(200)
    assert bed.result().status == 200


def test_a_full_bulkhead_postpones(bed):
    for _ in range(3):
        bed.begin()
    (full,) = bed.results
    assert (full.status, full.reason, full.postponed, full.sent) == (
        503, "bulkhead-full", True, False,
    )  # fmt: skip
    bed.results.clear()
    server = bed.stage.accept()
    server.answer(200)
    server.answer(200)
    assert [one.status for one in bed.results] == [200, 200]


def test_the_drain_postpones_what_has_no_answer(bed):
    bed.begin()
    bed.stage.accept().received()
    bed.tries.cut()
    bed.stage.loop.run()
    result = bed.result()
    assert (result.reason, result.postponed, result.sent) == ("draining", True, True)


def test_retry_after_and_idempotency_unknown_are_told(bed):
    bed.begin()
    server = bed.stage.accept()
    server.answer(
        409, b"{}", "Retry-After: 7",
        'Proxy-Status: orders; error=http_request_denied; details="idempotency-unknown"',
    )  # fmt: skip
    result = bed.result()
    assert (result.status, result.retry_after, result.unknown) == (409, 7, True)


def test_an_endless_response_is_cut_and_its_status_counts(bed):
    bed.begin()
    server = bed.stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    assert not bed.results
    for _ in range(MOST_IGNORED // 65536 + 2):
        if server.closed:
            break
        server.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    result = bed.result()
    assert (result.status, result.reason, result.complete) == (200, "", False)
    assert server.closed


def test_a_response_that_never_ends_is_cut_after_the_requests_time(bed):
    bed.begin()
    bed.stage.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
    bed.stage.pass_time(14)
    assert not bed.results
    bed.stage.pass_time(2)
    assert (bed.result().status, bed.results) == (200, [])


def test_a_response_that_breaks_off_keeps_its_status(bed):
    bed.begin(keep=100)
    server = bed.stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
    server.reset()
    result = bed.result()
    assert (result.status, result.reason) == (200, "")
    assert (result.body, result.complete) == (b"hello", False)


def test_a_timeout_may_have_been_seen(bed):
    bed.begin()
    for _ in range(3):
        bed.stage.accept()
        bed.stage.pass_time(5.2)
    result = bed.result()
    assert (result.status, result.reason, result.sent) == (504, "request-timeout", True)
    assert not result.postponed


def test_the_record_names_its_entry(bed):
    seen = []
    bed.tries = Tries(Listener.OUTBOUND, lambda record: seen.append(record.outbox_id))
    bed.begin(entry="e7")
    bed.stage.accept().answer(200)
    assert seen == ["e7"]


def test_a_host_that_is_none(bed):
    with pytest.raises(ValueError, match="host"):
        bed.begin(host="a b")


def test_only_the_first_delivery_is_copied(make_stage):
    stage = make_stage(
        CONFIG.replace(
            "  shop: {end", '  copy: {endpoints: ["http://10.0.0.2:80"]}\n  shop: {end'
        ).replace("    upstream: shop\n", "    upstream: shop\n    mirror: {upstream: copy}\n")
    )
    bed = Bed(stage)
    bed.begin(more=[(b"X-Outbox-Attempt", b"1")])
    server = stage.accept()
    stage.accept().answer(200)
    server.answer(409)
    bed.result()
    for more in ([(b"X-Outbox-Attempt", b"2")], []):
        bed.begin(more=more)
        assert not stage.connects, "the connection is used again, and there is no copy"
        server.answer(200)
        bed.result()
    assert stage.stats().mirrors == {"2xx": 1}


def test_a_try_inherits_nothing(make_stage):
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    stage = make_stage(CONFIG.replace("  shop: {end", APP + "  shop: {end"))
    parent = stage.ask(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Retry-Attempt: 1\r\nX-Request-Timeout-Ms: 900\r\n"
        b"traceparent: " + trace + b"\r\n\r\n",
        listener=Listener.INBOUND,
    )
    served = stage.accept()
    bed = Bed(stage)
    bed.begin(held={b"traceparent": [trace]})
    server = stage.accept()
    request = server.request()
    assert request.get("x-request-timeout-ms") == "15000"
    assert request.get("x-retry-attempt") is None
    server.answer(200)
    bed.result()
    assert stage.records[-1].inherited_from == ""
    served.answer()
    assert parent.answer().status == 200


APP = '  app: {endpoints: ["http://10.0.0.8:80"]}\n'
