"""Floods on one connection beside a neighbour: how much is done before it has its turn."""

import itertools

import pytest
from exchange.wires import request, response

import proxy.wire.turns
from proxy.http.h1.chunked import FIRST_CHUNKS

EXPIRED = request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 0")
MANY = 3000
TINY = b"1\r\na\r\n" * MANY + b"0\r\n\r\n"
IN_CHUNKS = response(200, b"", "Transfer-Encoding: chunked")


@pytest.fixture
def loop(loop, monkeypatch):
    """Two portions of the queue fill a turn."""
    clock = itertools.count()
    monkeypatch.setattr(proxy.wire.turns, "monotonic", lambda: next(clock))
    monkeypatch.setattr(proxy.wire.turns, "TURN_SECONDS", 2)
    return loop


def turns(loop, most=10_000):
    """Turn by turn until nothing is left to do."""
    for _ in range(most):
        if not loop.turn():
            return
        yield


def test_requests_that_the_proxy_answers_itself(stage):
    flood, neighbour = stage.client(), stage.client()
    flood.transport.deliver(EXPIRED * MANY)
    assert len(stage.records) == 1
    before = 1
    for _ in turns(stage.loop):
        assert len(stage.records) - before <= 2
        assert flood.reading == (len(stage.records) == MANY)
        before = len(stage.records)
        if before == 101:
            neighbour.transport.deliver(request())
            assert stage.connects == 1
            neighbour.reset()
            break
    stage.loop.run()
    assert len(stage.records) == MANY + 1
    assert flood.received().count(b"request-timeout") >= MANY


def test_as_many_floods_as_there_are_clients(stage):
    """They share what one would have alone."""
    for client in [stage.client() for _ in range(50)]:
        client.transport.deliver(EXPIRED * 20)
    before = len(stage.records)
    assert before == 50
    for _ in turns(stage.loop):
        assert len(stage.records) - before <= 2
        before = len(stage.records)
    assert before == 50 * 20


def test_a_client_that_takes_none_of_the_proxys_answers(make_stage):
    stage = make_stage()
    client = stage.client()
    client.stop_reading_soon()
    client.send(EXPIRED * MANY)
    assert len(stage.records) == 1
    assert not client.reading
    client.read_on()
    assert len(stage.records) == MANY
    assert client.reading
    client.stop_reading_soon()
    client.send(EXPIRED * MANY)
    assert len(stage.records) == MANY + 1
    stage.pass_time(stage.config.limits.idle_timeout + 0.1)
    assert client.closed == "abort"
    assert len(stage.records) == MANY + 1


def test_a_drain_ends_a_flood(stage):
    client = stage.client()
    client.transport.deliver(EXPIRED * MANY)
    stage.gate().closing = True
    stage.loop.run()
    assert len(stage.records) == 2
    assert client.transport.eof_written
    stage.pass_time(1.01)
    assert client.gone


def test_an_upload_of_tiny_chunks(stage):
    client = stage.client()
    client.transport.deliver(request("POST /x HTTP/1.1", "Transfer-Encoding: chunked") + TINY)
    server = stage.accept()
    sent = server.received()
    assert sent.endswith(b"0\r\n\r\n")
    assert sent.count(b"\r\n") < 30  # lines of the head, and of chunks
    server.answer()
    assert client.answer().status == 200
    assert stage.records[0].bytes_in == MANY


def test_a_download_of_tiny_chunks(stage):
    client = stage.ask(request())
    server = stage.accept()
    server.transport.deliver(IN_CHUNKS + TINY)
    assert not server.reading
    assert client.received().count(b"a") < 2 * FIRST_CHUNKS
    stage.loop.run()
    assert client.received().endswith(b"0\r\n\r\n")
    assert (stage.records[0].bytes_out, stage.counts().idle) == (MANY, 1)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_download_of_tiny_chunks_whose_upstream_is_gone(stage, how):
    """What had come is delivered before the loss is told."""
    client = stage.ask(request())
    server = stage.accept()
    server.transport.deliver(IN_CHUNKS + TINY)
    getattr(server, how)()
    assert client.received().endswith(b"0\r\n\r\n")
    assert [(one.status, one.reason) for one in stage.records] == [(200, "")]
    assert server.gone
    assert stage.snapshot().failures == 0
    stage.assert_at_rest()


def test_a_client_that_leaves_while_tiny_chunks_wait(stage):
    client = stage.ask(request())
    server = stage.accept()
    server.transport.deliver(IN_CHUNKS + TINY)
    client.reset()
    assert [record.reason for record in stage.records] == ["client-gone"]
    assert server.gone
    stage.assert_at_rest()


def test_an_attempt_that_is_given_up_while_informational_heads_wait(stage):
    client = stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 1000"))
    server = stage.accept()
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    server.transport.deliver(hint * 200)
    stage.loop.run()
    stage.pass_time(1.01)
    assert client.received().count(b"103 Early") == 200
    assert server.gone
    assert stage.records[0].reason == "request-timeout"
