"""Slow is not silent: `timeouts.idle` leaves a side alone that still reads what waits for it.

A transport tells that it can be written to again only when much of the kernel's buffer is free.
"""

import pytest
from exchange.http2 import Http2Client, data, settings, window
from exchange.wires import request, response

from proxy.exchange.marks import IDLE
from proxy.http.h2.frames import INITIAL_WINDOW_SIZE

CONFIG = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies: {default: {timeouts: {idle: 10s, mode: MODE}, circuit_breaker: {mode: off}}}
routes: [{name: shop, upstream: shop}]
"""
CONNECT = "CONNECT 10.0.0.7:443 HTTP/1.1\r\nHost: 10.0.0.7:443\r\n\r\n"
BODY = ("POST /x HTTP/1.1", "Content-Length: 100000")


@pytest.fixture
def stage(make_stage):
    return make_stage(CONFIG.replace("MODE", "enforce"))


def download(stage):
    """The side that reads slowly, with bytes that wait for it; and what cuts it if it stops."""
    client = stage.ask(request())
    stage.accept().send(response(200, b"x" * 2000, "Content-Length: 100000"))
    client.stop_reading()
    return client, "client-gone"


def whole_download(stage):
    client = stage.ask(request())
    client.stop_reading_soon()
    stage.accept().send(response(200, b"x" * 2000))
    return client, "client-gone"


def upload(stage):
    stage.ask(request(*BODY) + b"x" * 2000)
    server = stage.accept()
    server.stop_reading()
    return server, "attempt-timeout"


def upload_after_an_answer(stage):
    stage.ask(request(*BODY) + b"x" * 2000)
    server = stage.accept()
    server.send(response(200, b"x", "Content-Length: 2"))
    server.stop_reading()
    return server, "upstream-truncated"


def tunnel(stage):
    client = stage.ask(CONNECT.encode())
    return client, stage.accept()


def down_a_tunnel(stage):
    client, server = tunnel(stage)
    server.send(b"x" * 2000)
    client.stop_reading()
    return client, "client-gone"


def up_a_tunnel(stage):
    client, server = tunnel(stage)
    client.send(b"x" * 2000)
    server.stop_reading()
    return server, "upstream-truncated"


READERS = [
    download,
    whole_download,
    upload,
    upload_after_an_answer,
    down_a_tunnel,
    up_a_tunnel,
]


@pytest.mark.parametrize("begin", READERS, ids=lambda begin: begin.__name__)
def test_who_reads_a_little_goes_on_and_who_stops_is_cut(stage, begin):
    reader, reason = begin(stage)
    for unsent in (900, 899, 300, 20):
        stage.pass_time(9)
        reader.transport.unsent = unsent
    stage.pass_time(9.9)
    assert stage.records == []
    stage.pass_time(10.2)
    assert [record.reason for record in stage.records] == [reason]


@pytest.mark.parametrize("begin", READERS, ids=lambda begin: begin.__name__)
def test_only_who_stops_is_observed(make_stage, begin):
    stage = make_stage(CONFIG.replace("MODE", "observe"))
    reader, _ = begin(stage)
    for unsent in (900, 899, 300, 20):
        stage.pass_time(9)
        reader.transport.unsent = unsent
    (record,) = stage.gate().in_flight
    assert IDLE not in record.observed
    stage.pass_time(20.1)
    assert IDLE in record.observed


def test_a_tunnel_is_not_idle_while_a_client_reads_the_last_burst(stage):
    """It is less than what stops the upstream, so that nothing tells of it but the bytes."""
    client, server = tunnel(stage)
    server.send(b"x" * 2000)
    client.transport.full = True
    for unsent in (900, 600, 300):
        stage.pass_time(9.9)
        client.transport.unsent = unsent
    client.transport.full = False
    client.send(b"thanks")
    assert server.received() == b"thanks"
    stage.pass_time(10.1)
    assert [record.reason for record in stage.records] == [""]


@pytest.mark.parametrize("tunnelled", [False, True])
def test_a_window_that_opens_a_little_at_a_time(stage, tunnelled):
    client = Http2Client(stage.loop, stage.gate())
    stage.clients.append(client)
    client.send(settings((INITIAL_WINDOW_SIZE, 10)))
    body = b"0123456789" * 10
    if tunnelled:
        opened = [(":method", "CONNECT"), (":authority", "10.0.0.7:443")]
        client.send(client.headers(1, opened, ended=False))
        server = stage.accept()
        server.send(body)
    else:
        client.ask(1)
        server = stage.accept()
        server.answer(200, body)
    for _ in range(9):
        stage.pass_time(9)
        client.send(window(1, 10))
    assert client.body(1) == body
    if tunnelled:
        client.send(data(1, b"", ended=True))
        server.close()
    client.read()
    assert 1 in client.ended
    assert [record.reason for record in stage.records] == [""]
