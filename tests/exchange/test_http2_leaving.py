"""How an HTTP/2 connection ends in order: idle, too old, drained, told to by its client."""

import pytest
from exchange.http2 import ACK, GET, GOAWAY, PING, Http2Client, frame, number

from proxy.config.model import Listener

LAST = 2**31 - 1


@pytest.fixture
def client(stage):
    made = Http2Client(stage.loop, stage.gate())
    stage.clients.append(made)
    return made


def pong(client):
    payload = next(what for kind, _, what in client.frames if kind == "PING")
    client.send(frame(PING, ACK, 0, payload))


def test_idle(stage, client):
    client.ask(1)
    stage.accept().answer()
    stage.pass_time(74)
    assert not client.closed
    stage.pass_time(1.1)
    client.read()
    assert client.goaways == [(1, "NO_ERROR")]
    stage.pass_time(1.1)
    assert client.gone


def test_idle_from_the_start(stage, client):
    stage.pass_time(75.1)
    client.read()
    assert client.goaways == [(0, "NO_ERROR")]


def test_a_stream_keeps_it_open(stage, client):
    client.ask(1)
    server = stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(4):
        stage.pass_time(50)
        server.send(b"1\r\nx\r\n")
    server.send(b"0\r\n\r\n")
    client.read()
    assert not client.goaways
    assert 1 in client.ended


def test_two_goaways(stage, client):
    client.ask(1)
    server = stage.accept()
    for connection in tuple(stage.gate().connections):
        connection.leave()
    stage.loop.run()
    client.read()
    assert client.goaways == [(LAST, "NO_ERROR")]
    client.ask(3)  # it was in transit
    late = stage.accept()
    pong(client)
    assert client.goaways[1:] == [(3, "NO_ERROR")]
    client.ask(5)
    assert client.error(5) == "REFUSED_STREAM"
    assert stage.connects == 0
    server.answer()
    late.answer()
    client.read()
    assert client.ended >= {1, 3}
    stage.pass_time(1.1)
    assert client.gone
    assert client.goaways[1:] == [(3, "NO_ERROR")] * 2  # never a higher one (RFC 9113 section 6.8)


@pytest.mark.parametrize("end", ["error", "cut"])
def test_goaway_names_no_stream_that_was_refused(stage, client, end):
    client.ask(1)
    (connection,) = stage.gate().connections
    connection.leave()
    stage.loop.run()
    client.read()
    pong(client)
    client.ask(3)
    assert client.error(3) == "REFUSED_STREAM"
    if end == "error":
        client.send(frame(PING, 0, 1, bytes(8)))
    else:
        connection.cut()
    stage.loop.run()
    client.read()
    first, second, *later = [last for last, _ in client.goaways]
    assert (first, second, set(later)) == (LAST, 1, {1})


def test_the_second_goaway_does_not_wait_for_a_pong(stage, client):
    client.ask(1)
    server = stage.accept()
    for connection in tuple(stage.gate().connections):
        connection.leave()
    stage.pass_time(1.1)
    client.read()
    assert client.goaways == [(LAST, "NO_ERROR"), (1, "NO_ERROR")]
    server.answer()
    client.read()
    assert 1 in client.ended


def test_an_idle_one_is_closed(stage, client):
    for connection in tuple(stage.gate().connections):
        connection.close_idle()
    stage.loop.run()
    client.read()
    assert client.goaways == [(0, "NO_ERROR")]
    client.close()
    assert client.gone


def test_cut(stage, client):
    client.ask(1)
    server = stage.accept()
    for connection in tuple(stage.gate().connections):
        connection.cut()
    stage.loop.run()
    client.read()
    assert client.goaways == [(1, "NO_ERROR")]
    assert client.gone
    assert server.closed == "abort"


def test_the_client_leaves(stage, client):
    client.ask(1)
    server = stage.accept()
    client.send(frame(GOAWAY, 0, 0, number(0) + number(0)))
    server.answer(200, b"still")
    client.read()
    assert client.body(1) == b"still"
    stage.pass_time(1.1)
    assert client.gone


PART = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
CHAT = [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:]]


@pytest.mark.parametrize("listener", list(Listener))
def test_a_response_that_the_drain_cuts(stage, listener):
    """It is no fault of its upstream, on the outbound listener neither, which stays open."""
    gate = stage.gate(listener)
    client = Http2Client(stage.loop, gate)
    stage.clients.append(client)
    client.ask(1)
    stage.accept().send(PART)
    gate.closing = listener is Listener.INBOUND
    for exchange in tuple(gate.exchanges):
        exchange.cut()
    stage.loop.run()
    client.read()
    assert (client.error(1), client.ended) == ("CANCEL", set())


def test_a_tunnel_that_the_drain_cuts(stage, client):
    client.send(client.headers(1, CHAT, ended=False))
    stage.accept().send(
        b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    client.read()
    assert client.head(1)[":status"] == "200"
    for exchange in tuple(stage.gate().exchanges):
        exchange.cut()
    stage.loop.run()
    client.read()
    assert client.error(1) == "CANCEL"


def test_a_response_that_its_upstream_breaks_off_during_the_drain(stage, client):
    client.ask(1)
    server = stage.accept()
    server.send(PART)
    stage.gate().closing = True
    server.reset()
    stage.loop.run()
    client.read()
    assert (client.error(1), client.ended) == ("INTERNAL_ERROR", set())


AGED = """
limits: {connection_age: 100s}
upstreams: {shop: {endpoints: ["http://10.0.0.1"]}}
routes: [{name: shop, upstream: shop}]
"""


def test_age(make_stage):
    """Ten per cent earlier or later, so that not all clients come again at once."""
    stage = make_stage(AGED)
    client = Http2Client(stage.loop, stage.gate())
    stage.clients.append(client)
    for count in range(3):
        client.ask(2 * count + 1)
        (stage.accept() if stage.connects else stage.servers[-1]).answer()
        stage.pass_time(29.9)
    client.read()
    assert not client.goaways
    client.ask(7)
    server = stage.accept() if stage.connects else stage.servers[-1]
    stage.pass_time(21.4)
    client.read()
    assert client.goaways[0] == (LAST, "NO_ERROR")
    server.answer()
    client.read()
    assert 7 in client.ended
    assert client.goaways[1] == (7, "NO_ERROR")


def test_age_of_http1(make_stage):
    stage = make_stage(AGED)
    client = stage.ask(b"GET /x HTTP/1.1\r\nHost: shop\r\n\r\n")
    stage.accept().answer()
    assert client.answer().get("connection") is None
    stage.pass_time(60)
    client.send(b"GET /x HTTP/1.1\r\nHost: shop\r\n\r\n")
    (stage.accept() if stage.connects else stage.servers[-1]).answer()
    assert client.answer().get("connection") is None
    stage.pass_time(51)
    client.send(b"GET /x HTTP/1.1\r\nHost: shop\r\n\r\n")
    (stage.accept() if stage.connects else stage.servers[-1]).answer()
    assert client.answer().get("connection") == "close"
    stage.pass_time(1.1)
    assert client.gone


def test_nothing_is_left_of_it(stage, client):
    client.ask(1)
    stage.accept().answer()
    client.reset()
    assert not stage.gate(Listener.OUTBOUND).connections
    assert stage.gate().streams == 0
    stage.pass_time(30)
    assert stage.loop.timers == 0
