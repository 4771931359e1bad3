"""A reload with exchanges and connections under way: they finish as they began, the next do not."""

import pytest
from exchange.wires import request, response

from proxy.config.model import Listener

BEFORE = """
service: before
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies:
  default: {retry: {backoff: {initial: 100ms, jitter: none}, on: [503]}}
tracing: {propagate: []}
routes:
  - {name: shop, match: {prefix: /}, upstream: shop}
"""
AFTER = """
service: after
upstreams: {shop: {endpoints: ["http://10.0.0.2:80"]}}
policies:
  default: {retry: {attempts: 1}}
tracing: {propagate: [tracecontext]}
limits: {url_bytes: 50B, idle_timeout: 5s}
routes:
  - {name: renamed, match: {prefix: /}, upstream: shop}
"""


@pytest.fixture
def stage(make_stage):
    return make_stage(BEFORE)


def reload(stage, text=AFTER):
    stage.reload(text)


def test_a_response_goes_on_under_the_old_names(stage):
    client = stage.ask(request())
    server = stage.accept()
    server.request()
    reload(stage)
    server.send(response(200, b"12345"))
    answer = client.answer()
    assert (answer.status, answer.body) == (200, b"12345")
    assert "before" in answer.get("via")
    assert stage.records[0].route == "shop"


def test_the_next_request_of_the_connection_goes_by_the_new_file(stage):
    client = stage.ask(request())
    stage.accept().answer()
    client.received()
    reload(stage)
    client.send(request())
    server = stage.accept()
    assert server.request().get("traceparent")
    server.answer()
    assert "after" in client.answer().get("via")
    assert [record.route for record in stage.records] == ["shop", "renamed"]


def test_retries_and_trace_headers_are_those_that_it_began_with(stage):
    trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client = stage.ask(request("GET /x HTTP/1.1", trace))
    server = stage.accept()
    server.request()
    reload(stage)
    server.answer(503)
    stage.pass_time(0.11)
    again = stage.accept()  # nothing is kept for an upstream that is no more
    assert again.request().all("traceparent") == [trace.partition(": ")[2]]
    again.answer()
    assert client.answer().status == 200


def test_limits_hold_for_who_is_connected(stage):
    client = stage.ask(request())
    stage.accept().answer()
    client.received()
    reload(stage)
    client.send(request(f"GET /{'x' * 60} HTTP/1.1"))
    assert client.answer().status == 414


def test_a_drain_that_begins_after_it_reaches_what_began_before(stage):
    client = stage.ask(request())
    server = stage.accept()
    server.request()
    reload(stage)
    stage.gate().closing = True
    server.answer()
    assert client.answer().get("connection") == "close"


def test_what_is_in_flight_is_counted_and_let_go(stage):
    stage.ask(request())
    server = stage.accept()
    reload(stage)
    reload(stage, BEFORE)
    gate = stage.gate(Listener.OUTBOUND)
    assert len(gate.in_flight) == len(gate.connections) == 1
    server.answer()
    assert not gate.in_flight
    assert gate.last_active == stage.loop.now
    stats = stage.gateway.bindings.stats["outbound", "shop"]
    assert stats.answers == {(200, ""): 1}


def test_no_connection_to_an_upstream_that_stays_is_lost(stage):
    client = stage.ask(request())
    stage.accept().answer()
    client.received()
    reload(stage, BEFORE.replace("before", "again"))
    client.send(request())
    stage.servers[0].answer()
    assert "again" in client.answer().get("via")
    assert stage.connects == 0


def test_a_connect_that_is_under_way_is_of_use(stage):
    client = stage.ask(request())
    assert stage.connects == 1
    reload(stage)
    stage.accept().answer()
    assert client.answer().status == 200
