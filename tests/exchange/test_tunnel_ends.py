"""How tunnels end: what is lost is never hidden behind an end, and nothing stays open for long."""

import socket

import pytest
from exchange.http2 import Http2Client, settings
from exchange.wires import CONNECT, SWITCHED, UPGRADE

from proxy.http.h2.frames import INITIAL_WINDOW_SIZE

CONFIG = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies: {default: {timeouts: {idle: 20s}}}
routes: [{name: shop, upstream: shop}]
"""
IDLE = 20.1


@pytest.fixture
def stage(make_stage):
    return make_stage(CONFIG)


@pytest.fixture(params=["CONNECT", "upgrade"])
def tunnel(stage, request):
    """The client and the server of an open tunnel."""
    client = stage.ask(CONNECT if request.param == "CONNECT" else UPGRADE)
    server = stage.accept()
    if request.param == "upgrade":
        server.send(SWITCHED)
    assert client.answer().status in (101, 200)
    server.received()
    return client, server


def was_reset(peer):
    """Whether closing it was made visible as a reset."""
    return peer.gone and any(
        option[1] == socket.SO_LINGER for option in peer.transport.socket.options
    )


def ended(peer):
    """Whether it got an end, and no reset."""
    return (peer.transport.eof_written or peer.gone) and not was_reset(peer)


def reasons(stage):
    return [record.reason for record in stage.records]


# --- the last bytes -----------------------------------------------------------------------------


@pytest.fixture(params=["then the client", "then the upstream"])
def owed(stage, tunnel, request):
    """Both halves have ended, and bytes wait for the upstream."""
    client, server = tunnel
    client.send(b"the last words")
    server.transport.full = True  # less than what would hold up the client
    for side in (server, client) if request.param == "then the client" else (client, server):
        side.close()
    return client, server


@pytest.mark.parametrize("looks", [1, 5])
def test_the_last_bytes_wait_for_a_slow_upstream(stage, owed, looks):
    _, server = owed
    for unsent in range(looks):
        stage.pass_time(19)
        server.transport.unsent = 900 - unsent
    assert not server.gone, "its last bytes were discarded"
    assert stage.gate().in_flight, "a drain would not wait for it"
    server.read_on()
    stage.pass_time(1)
    assert server.received() == b"the last words"
    assert ended(server)
    assert reasons(stage) == [""]


def test_last_bytes_that_are_not_taken_become_a_reset(stage, owed):
    client, server = owed
    stage.pass_time(IDLE)
    assert was_reset(server), "an end would make them look whole"
    assert ended(client)
    assert reasons(stage) == ["upstream-truncated"]


def test_the_drain_waits_for_the_last_bytes_and_then_cuts_them(stage, owed):
    client, server = owed
    (exchange,) = stage.gate().exchanges
    exchange.cut()
    stage.pass_time(1)
    assert was_reset(server)
    assert ended(client)
    assert reasons(stage) == ["drain-cut"]


def test_a_client_that_is_lost_after_its_end_leaves_its_last_bytes(stage, owed):
    client, server = owed
    client.reset()
    stage.pass_time(19)
    server.read_on()
    assert server.received() == b"the last words"
    stage.pass_time(1)
    assert ended(server)
    assert reasons(stage) == [""]


def test_a_clients_last_bytes_that_are_never_taken_become_a_reset(stage, tunnel):
    client, server = tunnel
    client.close()
    server.send(b"the last words")
    client.transport.full = True
    server.close()
    stage.pass_time(70)
    assert not client.gone
    stage.pass_time(10)  # limits.idle_timeout
    assert was_reset(client), "an end would make them look whole"


def test_nothing_stays_open_after_both_ends(stage, tunnel):
    client, server = tunnel
    client.send(b"a")
    client.close()
    server.send(b"b")
    server.close()
    assert client.received() == b"b"
    assert client.gone, "no byte can follow: there is nothing to wait for"
    assert server.gone
    assert ended(client)
    assert ended(server)


# --- timeouts.idle ------------------------------------------------------------------------------


def test_idle_ends_both_halves(stage, tunnel):
    client, server = tunnel
    stage.pass_time(IDLE)
    assert ended(client)
    assert ended(server)
    assert reasons(stage) == [""]


def test_idle_cuts_a_client_that_does_not_read(stage, tunnel):
    client, server = tunnel
    server.send(b"x")
    client.stop_reading()
    stage.pass_time(IDLE)
    assert was_reset(client)
    assert was_reset(server)
    assert reasons(stage) == ["client-gone"]


def test_idle_cuts_an_upstream_that_does_not_read(stage, tunnel):
    client, server = tunnel
    client.send(b"x")
    server.stop_reading()
    stage.pass_time(IDLE)
    stage.pass_time(1)
    assert was_reset(client)
    assert was_reset(server)
    assert reasons(stage) == ["upstream-truncated"]


def test_idle_is_not_the_end_that_a_client_waits_for(stage, tunnel):
    client, server = tunnel
    client.close()
    server.send(b"half of the ans")
    stage.pass_time(IDLE)
    assert was_reset(client)
    assert ended(server), "it got the client's own end"
    assert reasons(stage) == ["upstream-truncated"]


def test_idle_is_not_the_end_that_an_upstream_waits_for(stage, tunnel):
    client, server = tunnel
    server.close()
    client.send(b"half of the requ")
    stage.pass_time(IDLE)
    stage.pass_time(1)
    assert was_reset(server)
    assert ended(client), "it got the upstream's own end"
    assert reasons(stage) == [""]


# --- over HTTP/2 --------------------------------------------------------------------------------

OPEN = [(":method", "CONNECT"), (":authority", "10.0.0.7:443")]


@pytest.fixture
def stream(stage):
    """The client of a tunnel on stream 1, which may send it 10 bytes, and the server."""
    client = Http2Client(stage.loop, stage.gate())
    stage.clients.append(client)
    client.send(settings((INITIAL_WINDOW_SIZE, 10)))
    client.send(client.headers(1, OPEN, ended=False))
    server = stage.accept()
    client.read()
    assert client.head(1)[":status"] == "200"
    return client, server


def test_idle_ends_a_stream_in_order(stage, stream):
    client, server = stream
    stage.pass_time(IDLE)
    client.read()
    assert 1 in client.ended
    assert ended(server)
    stage.pass_time(0.3)
    client.read()
    assert client.error(1) == "NO_ERROR", "it is told to stop sending"
    assert reasons(stage) == [""]


def test_idle_cuts_a_stream_whose_window_stays_closed(stage, stream):
    client, server = stream
    server.send(b"0123456789 and more")
    stage.pass_time(IDLE)
    client.read()
    assert client.body(1) == b"0123456789"
    assert client.error(1) == "CANCEL"
    assert was_reset(server)
    assert reasons(stage) == ["client-gone"]
