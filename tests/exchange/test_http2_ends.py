"""The end of a stream over HTTP/2 is never lost, whatever came before it or with it."""

import gc

import pytest
from exchange.http2 import GET, POST, Http2Client, data, rst, settings, window
from exchange.http2_server import STREAMS
from exchange.stage import CONFIG
from exchange.wires import request
from hyperframe.frame import DataFrame

from proxy.wire.h2.request_stream import RequestStream
from proxy.wire.h2.streams import Stream

CALL = [*POST, ("content-type", "application/grpc"), ("te", "trailers")]
HTTP2 = CONFIG.replace("shop: {", "shop: {protocol: http2, ").replace(
    "retry: {", "retry: {methods: any, on: [grpc-unavailable], "
)


def test_a_message_and_the_status_that_come_together_after_the_head(make_stage):
    """The head was held back; the message commits it, and the end in the same read follows."""
    stage = make_stage(HTTP2)
    client = Http2Client(stage.loop, stage.gate())
    stage.clients.append(client)
    client.ask(1, CALL, b"\0\0\0\0\0")
    server = stage.accept_http2()
    one = server.latest
    server.head(one, 200, ("content-type", "application/grpc"))
    server.flush()
    server.data(one, b"\0\0\0\0\1x")
    server.h2.send_headers(one.id, [("grpc-status", "0")], end_stream=True)
    server.flush()
    client.read()
    assert client.body(1) == b"\0\0\0\0\1x"
    assert client.head(1) == {"grpc-status": "0"}
    assert 1 in client.ended
    assert len(stage.records) == 1


def test_an_upstream_that_ends_a_stream_before_its_head(make_stage):
    """An empty DATA frame with END_STREAM is no response."""
    stage = make_stage(HTTP2)
    client = stage.ask(request("POST /x HTTP/1.1", body=b"order"))
    server = stage.accept_http2()
    server.say(DataFrame(server.latest.id, b"", flags=["END_STREAM"]))
    assert client.answer().status == 502
    assert stage.records[-1].reason == "upstream-malformed"


def test_an_upstream_that_allows_no_streams(make_stage):
    """Nothing can be sent on the connection: it is closed."""
    stage = make_stage(HTTP2)
    client = stage.ask(request("POST /x HTTP/1.1", body=b"order"))
    server = stage.accept_http2({STREAMS: 0})
    assert server.closed == "close"
    assert client.answer().status == 502


def test_a_response_that_ends_while_few_of_its_bytes_wait(stage):
    """Its stream no longer counts once the client has got all of it."""
    client = Http2Client(stage.loop, stage.gate())
    stage.clients.append(client)
    client.ask(1)
    server = stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    server.send(b"%x\r\n%b\r\n" % (70_000, bytes(70_000)))
    client.send(window(0, 100_000) + window(1, 100))
    server.send(b"0\r\n\r\n")
    assert 1 not in client.ended
    client.send(window(1, 100_000))
    assert 1 in client.ended
    assert stage.gate().streams == 0


def test_streams_that_waited_for_the_connections_window_leave_nothing(stage):
    """A client that gives no more window, and resets each request once it is answered."""
    client = Http2Client(stage.loop, stage.gate())
    stage.clients.append(client)
    client.send(settings((4, 2**20)))
    client.ask(1)
    server = stage.accept()
    server.answer(200, bytes(100_000))
    before = count_streams()
    for number in range(3, 103, 2):
        client.ask(number)
        server.answer(200, b"body")
        client.send(rst(number))
    assert count_streams() - before < 5


@pytest.mark.parametrize("method", ["POST", "CONNECT"])
def test_tiny_frames_take_no_more_memory_than_their_bytes(stage, method):
    """A body for a request that cannot begin, and bytes for a tunnel that is not open."""
    client = Http2Client(stage.loop, stage.gate())
    stage.clients.append(client)
    if method == "POST":
        client.stop_reading()
        fields = POST
    else:
        fields = [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:]]
    client.send(client.headers(1, fields, ended=False))
    for _ in range(10):
        client.send(data(1, b"ab") * 1000)
    gc.collect()
    found = [one for one in gc.get_objects() if isinstance(one, RequestStream)]
    (one,) = [one for one in found if one.stream.id and not one.stream.closed]
    held = one.stream.pieces + one._early
    assert sum(map(len, held)) == 20_000
    assert len(held) < 1100


def count_streams():
    gc.collect()
    return sum(isinstance(one, Stream) for one in gc.get_objects())


def test_bytes_of_streams_that_were_given_up_end_nothing_else(make_stage):
    """Many callers leave at once, and the upstream has not heard of it yet."""
    stage = make_stage(HTTP2)
    stage.ask(request())
    server = stage.accept_http2()
    first = server.latest
    other = stage.ask(request())
    waits = server.latest
    stage.clients[0].reset()
    for _ in range(300):
        stage.ask(request()).reset()
    server.say(DataFrame(first.id, b"late"))
    server.answer(200, b"hello", one=waits)
    assert other.answer().body == b"hello"
