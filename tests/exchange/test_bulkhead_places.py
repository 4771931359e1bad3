"""Places in a bulkhead: held to the last byte, waited for in line, given back by whoever leaves."""

import pytest
from exchange.wires import request, response

from proxy.policies.budget import RETRY_BUDGET

NARROW = """
service: stage
upstreams: {{shop: {{endpoints: ["http://10.0.0.1:80"]}}}}
policies:
  default:
    timeouts: {{attempt: 5s, request: 3s}}
    retry: {{attempts: 1}}
    circuit_breaker: {{minimum_calls: 1, window: {{size: 1}}}}
    bulkhead: {{max_concurrent: 1, max_queue: {queue}, queue_timeout: {seconds}}}
routes: [{{name: shop, upstream: shop}}]
"""


@pytest.fixture
def narrow(make_stage):
    return lambda queue=2, seconds="1s": make_stage(NARROW.format(queue=queue, seconds=seconds))


def test_a_place_is_held_to_the_last_byte(narrow):
    stage = narrow(0, "0s")
    client = stage.ask(request())
    server = stage.accept()
    server.send(response(200, b"12", "Content-Length: 5"))
    assert stage.bulkhead().in_use == 1
    server.send(b"34")
    assert stage.bulkhead().in_use == 1
    server.send(b"5")
    assert stage.bulkhead().in_use == 0
    assert client.answer().body == b"12345"


def test_a_place_is_held_while_the_client_is_behind(narrow):
    stage = narrow(0, "0s")
    client = stage.ask(request())
    server = stage.accept()
    client.stop_reading_soon()
    server.answer(200, b"hello")
    assert stage.bulkhead().in_use == 1
    assert stage.counts().idle == 1
    client.read_on()
    assert stage.bulkhead().in_use == 0


def test_no_place_and_no_queue(narrow):
    stage = narrow(0, "0s")
    stage.ask(request())
    answer = stage.ask(request()).answer()
    assert (answer.status, answer.reason, answer.get("retry-after")) == (503, "bulkhead-full", "1")
    assert stage.snapshot().calls == 0


def test_first_come_first_served(narrow):
    stage = narrow()
    clients = [stage.ask(request(f"GET /{n} HTTP/1.1")) for n in range(4)]
    assert clients[3].answer().reason == "bulkhead-full"
    assert stage.bulkhead().queued == 2
    server = stage.accept()
    for n in range(3):
        assert server.request().line == f"GET /{n} HTTP/1.1"
        server.answer(200, b"%d" % n)
        assert clients[n].answer().body == b"%d" % n


def test_the_queues_own_timeout(narrow):
    stage = narrow()
    stage.ask(request())
    waiting = stage.ask(request())
    stage.pass_time(0.99)
    assert waiting.received() == b""
    stage.pass_time(0.02)
    answer = waiting.answer()
    assert (answer.reason, answer.get("retry-after")) == ("queue-timeout", "1")
    assert stage.bulkhead().queued == 0


def test_waiting_counts_against_the_requests_deadline(narrow):
    stage = narrow(2, "10s")
    stage.ask(request("GET /x HTTP/1.1"))
    stage.accept()
    waiting = stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 500"))
    stage.pass_time(0.51)
    assert waiting.answer().reason == "request-timeout"
    assert stage.bulkhead().queued == 0


def test_a_client_that_leaves_gives_its_place_in_line_back(narrow):
    stage = narrow()
    first, second, third = (stage.ask(request(f"GET /{n} HTTP/1.1")) for n in range(3))
    second.reset()
    assert stage.bulkhead().queued == 1
    server = stage.accept()
    server.received()
    server.answer()
    assert server.request().line == "GET /2 HTTP/1.1"
    server.answer()
    assert first.answer().status == third.answer().status == 200
    assert stage.records[0].reason == "client-gone"


def test_a_client_that_leaves_gives_its_place_back(narrow):
    stage = narrow()
    first, second = stage.ask(request()), stage.ask(request("GET /2 HTTP/1.1"))
    stage.accept()
    first.reset()
    server = stage.accept()
    assert server.request().line == "GET /2 HTTP/1.1"
    server.answer()
    assert second.answer().status == 200


def test_a_granted_place_of_a_client_that_left_in_the_same_moment_goes_on(narrow):
    stage = narrow()
    first, second, third = (stage.ask(request(f"GET /{n} HTTP/1.1")) for n in range(3))
    server = stage.accept()
    server.received()
    second.transport.reset()
    server.answer()
    assert first.answer().status == 200
    stage.accept() if stage.connects else None
    assert stage.servers[-1].received().endswith(b"\r\n\r\n")
    stage.servers[-1].answer()
    assert third.answer().status == 200


def test_a_long_queue_that_ends_at_once(narrow):
    """Each place is refused by the breaker as soon as it is granted: no call within a call."""
    stage = narrow(1000, "2s")
    first = stage.ask(request())
    waiting = [stage.ask(request()) for _ in range(1000)]
    stage.accept().answer(503)
    assert first.answer().status == 503
    assert {client.answer().reason for client in waiting} == {"circuit-open"}
    assert stage.bulkhead().in_use == 0


def test_what_the_proxy_refuses_itself_is_no_traffic_of_the_retry_budget(make_stage):
    stage = make_stage(NARROW.format(queue=0, seconds="0s"))
    first = stage.ask(request())
    refused = [stage.ask(request()) for _ in range(5)]
    assert [client.answer().reason for client in refused] == ["bulkhead-full"] * 5
    stage.accept().answer()
    assert first.answer().status == 200
    stage.breaker().force_open(stage.loop.now)
    assert stage.ask(request()).answer().reason == "circuit-open"
    (budget,) = stage.bindings.gates.of(RETRY_BUDGET).values()
    assert budget.gate.snapshot(stage.loop.now).requests == 1
