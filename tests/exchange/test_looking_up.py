"""Names that must be looked up first: what a look-up's end, or its want of one, means."""

import pytest
from exchange.wires import request

from proxy.errors import DnsFailure

CONFIG = """
service: stage
upstreams: {shop: {endpoints: ["http://shop.test:80"]}}
policies:
  default:
    timeouts: {connect: 3s, attempt: 2s, request: 5s}
    retry: {attempts: 2, backoff: {initial: 100ms, jitter: none}}
routes: [{name: shop, upstream: shop}]
"""


@pytest.fixture
def stage(make_stage):
    return make_stage(CONFIG)


def test_a_request_waits_for_the_addresses(stage):
    client = stage.ask(request())
    assert stage.connects == 0
    stage.resolve(("10.0.0.1",))
    server = stage.accept()
    assert server.endpoint.ip == "10.0.0.1"
    server.answer(200, b"hello")
    assert client.answer().body == b"hello"


def test_all_who_wait_go_on(stage):
    clients = [stage.ask(request()) for _ in range(3)]
    stage.resolve(("10.0.0.1",))
    for server in [stage.accept() for _ in clients]:
        server.answer()
    assert [client.answer().status for client in clients] == [200] * 3


def test_a_name_that_does_not_exist(stage):
    client = stage.ask(request("POST /x HTTP/1.1", body=b"1"))
    stage.resolve(DnsFailure("no such name"))
    stage.pass_time(0.11)
    while stage.lookups.pending:
        stage.resolve(DnsFailure("no such name"))
    answer = client.answer()
    assert (answer.status, answer.reason) == (502, "dns-failure")
    assert stage.stats().retries == {"connect-failure": 1}


def test_a_look_up_that_takes_longer_than_the_attempt_may(stage):
    client = stage.ask(request())
    stage.pass_time(2.01)
    stage.pass_time(0.11)
    stage.resolve(("10.0.0.1",))
    stage.accept().answer()
    assert client.answer().status == 200
    assert stage.records[0].attempts[0][1] == "connect-timeout"


def test_a_look_up_in_the_proxys_own_line_is_nobodys_failure(stage):
    stage.lookups.in_line = True
    clients = [stage.ask(request()) for _ in range(3)]
    stage.pass_time(30)
    for client in clients:
        answer = client.answer()
        assert (answer.status, answer.reason) == (504, "connect-timeout")
        assert b"waited behind many others" in answer.body
    assert stage.snapshot().calls == 0
    assert stage.stats().retries == {}


def test_or_than_the_caller_allows(stage):
    client = stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 50"))
    stage.pass_time(0.06)
    assert client.answer().reason == "request-timeout"
    assert stage.snapshot().calls == 0


def test_a_client_that_leaves_meanwhile(stage):
    stage.ask(request()).reset()
    assert [record.reason for record in stage.records] == ["client-gone"]
    stage.resolve(("10.0.0.1",))
    assert stage.connects == 0


def test_a_reload_while_a_request_waits_for_the_addresses(stage):
    """It goes on under what it began with, and the next request under the new settings."""
    client = stage.ask(request("GET /a HTTP/1.1"))
    stage.reload(CONFIG.replace("shop.test:80", "shop.test:81"))
    other = stage.ask(request("GET /b HTTP/1.1"))
    stage.resolve(["10.0.0.1"])
    first = stage.accept()
    assert (first.endpoint.label, first.request().line) == ("10.0.0.1:80", "GET /a HTTP/1.1")
    stage.resolve(["10.0.0.1"])
    second = stage.accept()
    assert (second.endpoint.label, second.request().line) == ("10.0.0.1:81", "GET /b HTTP/1.1")
    for server, caller in ((first, client), (second, other)):
        server.answer()
        assert caller.answer().status == 200
