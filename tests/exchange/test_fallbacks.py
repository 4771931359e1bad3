"""Fallbacks: which failures they replace, what the client is told, who has heard before."""

import pytest
from exchange.wires import request, response

FIXED = """
service: stage
upstreams:
  shop: {{endpoints: ["http://10.0.0.1:80"]}}
  backup: {{endpoints: ["http://10.0.0.9:80"]}}
policies:
  default:
    timeouts: {{attempt: 1s, request: 10s}}
    retry: {{attempts: 1, body_limit: 10B}}
    circuit_breaker: {{minimum_calls: 2, window: {{size: 2}}, counts: {counts}}}
    bulkhead: {{max_concurrent: 1}}
    fallback: {fallback}
routes: [{{name: shop, upstream: shop}}]
"""
RESPONSE = (
    "{when: [timeout, circuit-open, bulkhead-full, 502], "
    "response: {status: 200, headers: {x-fallback: shop}, json: {status: DEFERRED}}}"
)
UPSTREAM = "{when: [timeout, reset, circuit-open, 502], upstream: backup}"


@pytest.fixture
def falling_back(make_stage):
    def make(fallback=RESPONSE, counts="attempts"):
        return make_stage(FIXED.format(fallback=fallback, counts=counts))

    return make


# --- a fixed response ---------------------------------------------------------------------------


def test_instead_of_the_proxys_answer(falling_back):
    stage = falling_back()
    client = stage.ask(request())
    stage.accept()
    stage.pass_time(1.01)
    answer = client.answer()
    assert (answer.status, answer.body) == (200, b'{"status":"DEFERRED"}')
    assert (answer.get("x-fallback"), answer.get("content-type")) == ("shop", "application/json")
    expected = 'stage; error=http_response_timeout; details="attempt-timeout"; fallback'
    assert answer.get("proxy-status") == expected
    assert not client.closed
    assert stage.stats().fallbacks == 1
    assert stage.snapshot().failures == 1
    (record,) = stage.records
    assert (record.fallback, record.status, record.reason) == (True, 200, "attempt-timeout")
    assert record.bytes_out == 21


def test_instead_of_a_listed_status(falling_back):
    stage = falling_back()
    client = stage.ask(request())
    server = stage.accept()
    server.answer(502, b"sorry")
    answer = client.answer()
    assert answer.status == 200
    assert answer.get("proxy-status") == "stage; received-status=502; fallback"
    assert server.closed == ""
    assert stage.counts().idle == 1


def test_not_instead_of_what_is_not_listed(falling_back):
    stage = falling_back()
    client = stage.ask(request() * 2)
    server = stage.accept()
    server.answer(500)
    assert client.answer().status == 500
    server.close()
    assert client.answer().reason == "upstream-reset"
    assert stage.stats().fallbacks == 0


def test_instead_of_refusals(falling_back):
    stage = falling_back()
    first = stage.ask(request())
    assert stage.ask(request()).answer().get("x-fallback") == "shop"
    server = stage.accept()
    server.answer(500)
    first.send(request())
    server.answer(500)
    assert stage.ask(request()).answer().get("x-fallback") == "shop"
    assert [record.reason for record in stage.records] == ["bulkhead-full", "", "", "circuit-open"]


def test_head_gets_the_head_alone(falling_back):
    stage = falling_back()
    client = stage.ask(request("HEAD /x HTTP/1.1"))
    stage.accept().answer(502)
    answer = client.answer()
    assert (answer.get("content-length"), answer.body) == ("21", b"")
    assert stage.records[0].bytes_out == 0


def test_a_body_that_is_still_to_come_ends_the_connection(falling_back):
    stage = falling_back()
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 5") + b"01")
    stage.accept().answer(502)
    assert client.answer().get("connection") == "close"
    assert client.transport.eof_written


# --- another upstream ---------------------------------------------------------------------------


def test_another_upstream_gets_the_request(falling_back):
    stage = falling_back(UPSTREAM)
    client = stage.ask(request("POST /x HTTP/1.1", "X-Request-Id: one", body=b"12345"))
    stage.accept().close()
    backup = stage.accept()
    assert backup.endpoint.ip == "10.0.0.9"
    seen = backup.request()
    assert (seen.get("x-request-id"), seen.body) == ("one", b"12345")
    backup.send(response(200, b"hel", "Content-Length: 5"), b"lo")
    answer = client.answer()
    assert answer.body == b"hello"
    assert answer.get("proxy-status").endswith('details="upstream-reset"; fallback')
    assert stage.snapshot("shop").failures == 1
    assert stage.snapshot("shop:backup").calls == 1
    assert stage.counts("backup").idle == 1


def test_the_first_failure_is_told_where_it_fails_too(falling_back):
    stage = falling_back(UPSTREAM)
    client = stage.ask(request())
    stage.accept()
    stage.pass_time(1.01)
    stage.refuse()
    assert client.answer().reason == "attempt-timeout"
    assert stage.stats().fallbacks == 0


def test_a_listed_status_of_the_fallback_is_the_clients(falling_back):
    stage = falling_back(UPSTREAM)
    client = stage.ask(request())
    stage.accept().answer(502, b"one")
    stage.accept().answer(502, b"two")
    assert client.answer().body == b"two"


def test_a_body_that_is_no_longer_whole_is_not_sent_in_part(falling_back):
    stage = falling_back(UPSTREAM)
    client = stage.ask(request("PUT /x HTTP/1.1", "Content-Length: 20") + b"0" * 15)
    stage.accept().close()
    assert stage.connects == 0
    assert client.answer().reason == "upstream-reset"


def test_with_half_a_body_the_upstreams_own_answer_is_the_clients(falling_back):
    stage = falling_back(UPSTREAM)
    client = stage.ask(request("PUT /x HTTP/1.1", body=b"0" * 15))
    stage.accept().answer(502, b"sorry")
    assert stage.connects == 0
    assert client.answer().body == b"sorry"


@pytest.mark.parametrize("counts", ["attempts", "requests"])
def test_it_stands_under_its_own_breaker(falling_back, counts):
    stage = falling_back(UPSTREAM, counts)
    for _ in range(2):
        client = stage.ask(request("GET /x HTTP/1.1", "Connection: close"))
        stage.accept().close()
        stage.accept().close()
        assert client.answer().reason == "upstream-reset"
    assert stage.snapshot("shop").state.value == "open"
    assert stage.snapshot("shop:backup").state.value == "open"
    assert stage.ask(request()).answer().reason == "circuit-open"
    assert stage.connects == 0
