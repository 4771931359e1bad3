"""Flow control: no stream makes another one wait, and memory follows the windows."""

import pytest
from exchange.http2 import (
    DATA,
    GET,
    PADDED,
    POST,
    Http2Client,
    data,
    frame,
    rst,
    settings,
    window,
)
from exchange.wires import response

from proxy.wire.h2.request_stream import EARLY_SECONDS

KIB = 1024
MIB = 1024 * KIB
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n"


@pytest.fixture
def client(stage):
    made = Http2Client(stage.loop, stage.gate())
    stage.clients.append(made)
    return made


def test_a_response_beyond_the_window(stage, client):
    client.ask(1)
    server = stage.accept()
    server.send(response(200, bytes(100_000)))
    client.read()
    assert len(client.body(1)) == 65535
    assert 1 not in client.ended
    client.send(window(1, 10))
    assert len(client.body(1)) == 65535, "the connection's window"
    client.send(window(0, 100))
    assert len(client.body(1)) == 65545
    client.send(window(1, MIB) + window(0, MIB))
    assert len(client.body(1)) == 100_000
    assert 1 in client.ended
    assert stage.records[-1].status == 200


def test_the_upstream_waits_for_the_client(stage, client):
    client.ask(1)
    server = stage.accept()
    server.send(LARGE, bytes(100_000))
    assert not server.reading
    client.send(window(0, MIB) + window(1, MIB))
    assert server.reading


def test_a_slow_stream_does_not_stop_the_others(stage, client):
    """Ninety-nine go on beside one that is not read."""
    client.send(window(0, 2**30))
    client.ask(1)
    slow = stage.accept()
    slow.send(LARGE, bytes(200_000))
    client.read()
    assert len(client.body(1)) == 65535
    assert not slow.reading
    for number in range(3, 200, 2):
        client.ask(number)
        if stage.connects:
            stage.accept()
        stage.servers[-1].answer(200, bytes(30_000))
        client.read()
        assert len(client.body(number)) == 30_000
    assert client.reading
    client.send(rst(1))
    assert slow.closed == "abort"


def test_waiting_streams_take_turns(stage, client):
    client.send(settings((4, 2**30)))
    numbers = (1, 3, 5)
    for number in numbers:
        client.ask(number)
    for server in [stage.accept() for _ in numbers]:
        server.answer(200, bytes(200_000))
    client.read()
    before = {number: len(client.body(number)) for number in numbers}
    client.send(window(0, 9 * 16384))
    more = [len(client.body(number)) - before[number] for number in numbers]
    assert sum(more) == 9 * 16384
    assert max(more) - min(more) <= 16384
    client.send(window(0, 2**30))
    assert all(number in client.ended for number in numbers)


def test_settings_change_the_windows_of_open_streams(stage, client):
    client.send(window(0, MIB))
    client.ask(1)
    server = stage.accept()
    server.send(response(200, bytes(100_000)))
    client.send(settings((4, 65535 + 1000)))
    assert len(client.body(1)) == 66535
    client.send(settings((4, 0)))
    client.send(window(1, 66535 + 5))
    assert len(client.body(1)) == 66540
    client.send(window(1, MIB))
    assert 1 in client.ended


def test_an_end_without_bytes_needs_no_window(stage, client):
    client.send(settings((4, 0)))
    client.ask(1)
    stage.accept().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n")
    client.read()
    assert client.frames[-1] == ("HEADERS", 1, {"a": "b"})
    assert 1 in client.ended


def test_trailers_come_after_what_waits(stage, client):
    client.send(settings((4, 3)))
    client.ask(1)
    chunks = b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"
    stage.accept().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    client.read()
    assert (client.body(1), client.ended) == (b"hel", set())
    client.send(window(1, 2))
    assert client.body(1) == b"hello"
    assert client.frames[-1] == ("HEADERS", 1, {"a": "b"})


def test_the_proxys_own_answer_waits_for_its_window(stage, client):
    """Its exchange has settled, and the stream still counts."""
    client.send(settings((4, 10)))
    client.ask(1, [*GET, ("x-request-timeout-ms", "0")])
    assert stage.records[-1].reason == "request-timeout"
    assert stage.gate().streams == 1
    assert len(client.body(1)) == 10
    client.send(window(1, MIB))
    assert 1 in client.ended
    assert stage.gate().streams == 0
    client.ask(3, [*GET, ("x-request-timeout-ms", "0")])
    stage.pass_time(75.1)
    client.read()
    assert client.error(3) == "CANCEL"
    assert stage.gate().streams == 0


def test_a_response_that_is_not_read_is_cut(stage, client):
    """timeouts.idle: a slow reader holds nothing for ever."""
    client.ask(1)
    server = stage.accept()
    server.send(LARGE, bytes(100_000))
    stage.pass_time(60.1)
    client.read()
    assert client.error(1) == "CANCEL"
    assert server.closed == "abort"
    assert stage.records[-1].reason == "client-gone"


def test_a_full_transport_holds_the_streams(stage, client):
    client.send(settings((4, 2**30)), window(0, 2**30))
    client.ask(1)
    server = stage.accept()
    client.stop_reading()
    server.send(LARGE, bytes(100_000))
    assert not server.reading
    client.read_on()
    client.read()
    assert len(client.body(1)) == 100_000
    assert server.reading


# --- uploads --------------------------------------------------------------------------------------


def test_credit_comes_back_as_the_body_leaves(stage, client):
    client.send(client.headers(1, POST, ended=False))
    stage.accept()
    for _ in range(40):
        client.send(data(1, bytes(16384)))
    assert client.error(1) is None
    assert 40 * 16384 - 64 * KIB <= client.windows[1] <= 40 * 16384
    assert client.windows[0] >= MIB - 65535 + 256 * KIB


def test_credit_waits_while_the_upstream_does_not_read(stage, client):
    client.send(client.headers(1, POST, ended=False))
    server = stage.accept()
    server.stop_reading_soon()
    client.send(data(1, bytes(16384)))
    for _ in range(15):
        client.send(data(1, bytes(16384)))
    assert 1 not in client.windows
    assert client.reading, "its neighbours go on"
    client.ask(3)
    stage.accept().answer(200, b"yes")
    client.read()
    assert client.body(3) == b"yes"
    server.read_on()
    client.read()
    assert client.windows[1] == 16 * 16384


def test_padding_counts_and_comes_back(stage, client):
    client.send(client.headers(1, POST, ended=False))
    stage.accept()
    for _ in range(1000):
        client.send(frame(DATA, PADDED, 1, b"\xff" + b"x" + bytes(255)))
    assert client.error(1) is None
    assert client.windows[1] >= 1000 * 257 - 64 * KIB


def test_a_body_above_the_limit(make_stage):
    stage = make_stage(
        "limits: {body_bytes: 10B}\nupstreams: {shop: {endpoints: ['http://10.0.0.1']}}\n"
        "routes: [{name: shop, upstream: shop}]"
    )
    client = Http2Client(stage.loop, stage.gate())
    stage.clients.append(client)
    client.send(client.headers(1, POST, ended=False) + data(1, b"12345"))
    stage.accept()
    client.send(data(1, b"678901"))
    assert client.head(1)[":status"] == "413"
    assert client.error(1) is None
    stage.pass_time(EARLY_SECONDS)
    client.read()
    assert client.error(1) == "NO_ERROR"
    client.send(client.headers(3, [*POST, ("content-length", "11")], ended=False))
    assert client.head(3)[":status"] == "413"
    assert not client.goaways
