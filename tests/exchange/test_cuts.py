"""Ends that somebody else decides: max_duration, the closing gate, the drain's last moment."""

import gc

import pytest
from exchange.wires import Answer, request, response

from proxy.config.model import Listener
from proxy.exchange.exchange import Exchange

CONFIG = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies:
  default:
    timeouts: {attempt: 5s, request: 15s, max_duration: 20s}
    retry: {backoff: {initial: 1s, jitter: none}}
    bulkhead: {max_concurrent: 1, max_queue: 5, queue_timeout: 10s}
    circuit_breaker: {counts: COUNTS}
routes: [{name: shop, upstream: shop}]
"""


@pytest.fixture(params=["attempts", "requests"])
def stage(make_stage, request):
    return make_stage(CONFIG.replace("COUNTS", request.param))


# --- max_duration -------------------------------------------------------------------------------


def test_max_duration_cuts_a_response(stage):
    client = stage.ask(request())
    server = stage.accept()
    server.send(response(200, b"", "Content-Length: 100"))
    for _ in range(19):
        stage.pass_time(1)
        server.send(b"1")
    assert not client.closed
    stage.pass_time(1.1)
    assert client.closed
    assert server.closed == "abort"
    assert [record.reason for record in stage.records] == ["upstream-truncated"]


def test_max_duration_cuts_an_upload(stage):
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 100") + b"0")
    server = stage.accept()
    for _ in range(19):
        stage.pass_time(1)
        client.send(b"1")
    stage.pass_time(1.1)
    assert client.answer().reason == "body-timeout", "the client owed the rest"
    assert server.closed == "abort"


# --- a closing gate -----------------------------------------------------------------------------


def test_every_response_of_a_closing_gate_is_the_last(stage):
    client = stage.ask(request())
    server = stage.accept()
    stage.gate().closing = True
    server.answer(200, b"one")
    answer = client.answer()
    assert (answer.body, answer.get("connection")) == (b"one", "close")
    assert client.transport.eof_written


def test_answers_of_the_proxy_and_fallbacks_too(make_stage):
    stage = make_stage("{service: stage, egress: {allow: [none]}}")
    stage.gate().closing = True
    assert stage.ask(request()).answer().get("connection") == "close"
    assert stage.ask(b"BAD\r\n\r\n").answer().get("connection") == "close"


def test_a_response_that_had_begun_before_leaves_a_moment_for_the_next_request(stage):
    """Its head did not say that it is the last, so the client may be sending another."""
    client = stage.ask(request())
    server = stage.accept()
    server.send(response(200, b"1", "Content-Length: 2"))
    stage.gate().closing = True
    server.send(b"2")
    assert client.answer().body == b"12"
    assert not client.closed
    client.send(request())
    server.answer()
    assert client.answer().get("connection") == "close"


def test_and_no_more_than_a_moment(stage):
    client = stage.ask(request())
    server = stage.accept()
    server.send(response(200, b"1", "Content-Length: 2"))
    stage.gate().closing = True
    server.send(b"2")
    stage.pass_time(1.01)
    assert client.closed == "close"


def test_pipelined_requests_behind_the_last_response_are_not_begun(stage):
    client = stage.ask(request() * 3)
    server = stage.accept()
    stage.gate().closing = True
    server.answer()
    assert Answer(client.received()).get("connection") == "close"
    assert len(stage.records) == 1


def test_idle_connections_can_be_closed(stage):
    idle, busy, begun = stage.client(), stage.ask(request()), stage.ask(b"GET / HT")
    for client in (idle, busy, begun):
        client.protocol.close_idle()
    stage.pass_time(0)
    assert [client.closed for client in (idle, busy, begun)] == ["close", "", ""]


# --- the cut at the end of a drain --------------------------------------------------------------


def cut(stage, listener=Listener.OUTBOUND):
    for exchange in tuple(stage.gate(listener).exchanges):
        exchange.cut()
    stage.loop.run()


@pytest.mark.parametrize("when", ["queueing", "connecting", "waiting", "pausing", "uploading"])
def test_a_cut_before_the_commit_is_an_honest_answer(stage, when):
    clients = [stage.ask(request())]
    if when == "queueing":
        clients.append(stage.ask(request()))
    elif when == "uploading":
        clients[0].reset()
        clients = [stage.ask(request("POST /x HTTP/1.1", "Content-Length: 5") + b"0")]
        stage.accept()
    elif when != "connecting":
        server = stage.accept()
        if when == "pausing":
            server.answer(503)
    stage.records.clear()
    cut(stage)
    for client in clients:
        answer = client.answer()
        assert (answer.status, answer.reason) == (503, "draining")
        assert answer.get("connection") == "close"
        assert client.transport.eof_written
    assert {record.reason for record in stage.records} == {"draining"}
    assert stage.snapshot().failures == (1 if when == "pausing" and not _requests(stage) else 0)
    assert stage.bulkhead().in_use == 0
    stage.pass_time(10)
    while stage.connects:
        stage.accept()


def _requests(stage):
    return stage.breaker().config.counts.value == "requests"


@pytest.mark.parametrize("framing", ["length", "chunks", "close"])
def test_a_cut_behind_it_never_looks_whole(stage, framing):
    begun = {
        "length": response(200, b"1", "Content-Length: 5"),
        "chunks": response(200, b"1\r\n1\r\n", "Transfer-Encoding: chunked"),
        "close": b"HTTP/1.1 200 OK\r\n\r\n1",
    }
    client = stage.ask(request())
    server = stage.accept()
    server.send(begun[framing])
    cut(stage)
    assert client.answer().body in (b"1", b"1\r\n1\r\n")
    assert client.closed
    assert server.closed == "abort"
    assert [record.reason for record in stage.records] == ["drain-cut"]
    assert stage.snapshot().failures == 0


def test_a_cut_of_a_body_that_ends_by_close_is_a_reset(stage):
    client = stage.ask(request("GET /x HTTP/1.0"))
    stage.accept().send(b"HTTP/1.1 200 OK\r\n\r\n1")
    cut(stage)
    assert client.closed == "abort"
    assert client.transport.socket.options


def test_a_second_cut_changes_nothing(stage):
    stage.ask(request())
    exchange = next(iter(stage.gate().exchanges))
    exchange.cut()
    exchange.cut()
    assert len(stage.records) == 1
    stage.loop.run()
    stage.accept()


def test_max_duration_of_an_upload_that_the_upstream_does_not_take_is_not_its_clients(stage):
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 100") + b"some")
    server = stage.accept()
    server.stop_reading()
    stage.pass_time(20.1)
    answer = client.answer()
    assert (answer.status, answer.reason) == (504, "request-timeout")
    assert stage.snapshot().failures == 1


def test_tunnels_whose_client_is_lost_leave_nothing(stage):
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            client = stage.ask(
                request("GET /chat HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket")
            )
            stage.accept().send(
                b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            assert client.answer().status == 101
            client.reset()
            stage.clients.clear()
        stage.loop.run()
        alive = [one for one in gc.get_objects() if isinstance(one, Exchange)]
        assert alive == []
    finally:
        gc.enable()
