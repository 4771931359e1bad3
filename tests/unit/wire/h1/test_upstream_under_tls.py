"""Bodies on their way to an upstream that speaks TLS: written when what arrived has been read."""

import pytest
from exchange.hand_loop import turned_by_hand
from exchange.wires import Transport

from proxy.http.h1.request import RequestParser
from proxy.wire.h1.upstream import UpstreamConnection
from proxy.wire.streams import NO_TRAILERS, StreamHandler

pytestmark = pytest.mark.interpreted  # its handler is a double

LONG = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Secure(Transport):
    def can_write_eof(self):
        return False


class Handler(StreamHandler):
    def __init__(self):
        self.writable = []
        self.status = 0

    def on_head(self, head, piece, ended, trailers):
        self.status = head.status

    def on_upstream_writable(self, writable):
        self.writable.append(writable)


@pytest.fixture
def loop():
    with turned_by_hand() as loop:
        yield loop


@pytest.fixture
def connection(loop):
    return UpstreamConnection(lambda session: None)


@pytest.fixture
def transport(loop, connection):
    return Secure(loop, connection)


def begin(connection, head=LONG):
    handler = Handler()
    parsed = RequestParser(frozenset(), max_url=1000, max_fields=10).parse(head)
    connection.send_head(handler, parsed, [], b"", False, NO_TRAILERS)
    return handler


def body(transport):
    return bytes(transport.written).partition(b"\r\n\r\n")[2]


def test_pieces_go_out_together_in_the_next_turn(loop, connection, transport):
    begin(connection, CHUNKED)
    connection.write_body(b"one")
    connection.write_body(b"three")
    connection.end(NO_TRAILERS)
    assert body(transport) == b""
    loop.run()
    assert body(transport) == b"3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"


def test_an_answer_that_was_there_is_heard_before_they_are_written(loop, connection, transport):
    handler = begin(connection)
    connection.write_body(b"one")
    transport.deliver(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert handler.status == 413
    connection.abort()
    loop.run()
    assert body(transport) == b""


def test_no_more_than_64_kib_wait(loop, connection, transport):
    handler = begin(connection)
    connection.write_body(b"x" * 70_000)
    assert connection.write_paused
    loop.run()
    assert (len(body(transport)), connection.write_paused) == (70_000, False)
    assert handler.writable == [False, True]


def test_what_the_upstream_does_not_take_keeps_it_paused(loop, connection, transport):
    handler = begin(connection)
    connection.write_body(b"x" * 70_000)
    transport.fills = True
    loop.run()
    assert connection.write_paused
    transport.drain()
    assert not connection.write_paused
    assert handler.writable[-1] is True


def test_another_request_waits_for_the_end_of_the_body_before(loop, connection, transport):
    begin(connection, CHUNKED)
    connection.write_body(b"one")
    connection.end(NO_TRAILERS)
    transport.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    begin(connection, b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    written = bytes(transport.written)
    assert written.index(b"0\r\n\r\n") < written.index(b"GET /next")
    loop.run()
    assert bytes(transport.written) == written
