"""A connection to an endpoint: which bytes are whose, and what a loss means at each moment."""

import asyncio
import itertools
import os
from types import SimpleNamespace

import pytest

import proxy.wire.h1.upstream
import proxy.wire.turns
from proxy.errors import UpstreamMalformed, UpstreamReset, UpstreamTruncated
from proxy.http.h1.chunked import FIRST_CHUNKS, MORE_CHUNKS
from proxy.http.h1.request import RequestParser
from proxy.http.h1.response import stray_fault
from proxy.wire.h1.response_reader import MAX_HEAD_BYTES
from proxy.wire.h1.upstream import UpstreamConnection
from proxy.wire.streams import StreamHandler

pytestmark = pytest.mark.interpreted  # its handler is a double


class Transport:
    def __init__(self):
        self.written = b""
        self.ended_by = ""
        self.reading = True
        self.half_closes = True
        self.descriptor = -1
        self.calls = []

    def can_write_eof(self):
        return self.half_closes

    def get_extra_info(self, name):
        return self

    def fileno(self):
        return self.descriptor

    def write_eof(self):
        self.calls.append("write_eof")

    def write(self, data):
        self.written += data

    def is_closing(self):
        return bool(self.ended_by)

    def close(self):
        self.ended_by = self.ended_by or "close"

    def abort(self):
        self.ended_by = "abort"

    def pause_reading(self):
        assert self.reading
        self.reading = False

    def resume_reading(self):
        assert not self.reading
        self.reading = True


class Handler(StreamHandler):
    """Everything it hears, in order."""

    def __init__(self):
        self.heard = []

    def on_informational(self, head):
        self.heard.append(("informational", head.status))

    def on_head(self, head, piece, ended, trailers):
        self.heard.append(("head", head.status, piece, ended))

    def on_piece(self, piece):
        self.heard.append(("piece", piece))

    def on_end(self, trailers):
        self.heard.append(("end", *trailers))

    def on_lost(self, error):
        self.heard.append(("lost", type(error)))

    def on_upstream_writable(self, writable):
        self.heard.append(("writable", writable))


@pytest.fixture
def closed():
    """Connections that were reported closed."""
    return []


@pytest.fixture
def transport():
    return Transport()


@pytest.fixture
def connection(closed, transport):
    connection = UpstreamConnection(closed.append)
    connection.connection_made(transport)
    return connection


@pytest.fixture
def begun(connection):
    """A GET on it: what its handler hears."""
    handler = Handler()
    ask(connection, handler)
    return handler.heard


def ask(connection, handler, method="GET"):
    parser = RequestParser((), max_url=100, max_fields=10)
    head = parser.parse(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    connection.send_head(handler, head, [], b"", True, [])


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def test_a_response_in_one_piece(connection, transport, begun):
    assert not connection.usable
    assert transport.written == b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    connection.data_received(OK + b"hello")
    assert begun == [("head", 200, b"hello", True)]
    assert connection.usable
    assert (connection.exchanges, connection.payload_bytes) == (1, 5)


def test_a_response_in_many(connection, begun):
    for byte in OK + b"hello":
        connection.data_received(bytes([byte]))
    pieces = [("piece", bytes([byte])) for byte in b"hello"]
    assert begun == [("head", 200, b"", False), *pieces, ("end",)]
    assert connection.usable


@pytest.mark.parametrize("cut", range(1, len(OK) + 5))
def test_a_head_that_is_remembered_is_found_however_it_arrives(connection, cut):
    heard = []
    other = OK.replace(b"200", b"201")
    for head in (OK, OK, OK, other, OK, other, other, other):
        for data in [(head + b"hello",), ((head + b"hello")[:cut], (head + b"hello")[cut:])]:
            handler = Handler()
            ask(connection, handler)
            for part in data:
                connection.data_received(part)
            assert connection.usable
            assert connection.payload_bytes == 5
            (kind, status, piece, _), *rest = handler.heard
            body = piece + b"".join(one[1] for one in rest if one[0] == "piece")
            heard.append((kind, status, body) == ("head", int(head[9:12]), b"hello"))
    assert heard == [True] * 16


def test_one_after_the_other(connection, begun):
    connection.data_received(OK + b"hello")
    second = Handler()
    ask(connection, second, "HEAD")
    assert connection.payload_bytes == 0
    connection.data_received(OK)
    assert second.heard == [("head", 200, b"", True)]
    assert begun == [("head", 200, b"hello", True)]
    assert (connection.usable, connection.exchanges) == (True, 2)


def test_informational_heads_come_first(connection, begun):
    connection.data_received(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 2")
    connection.data_received(b"04 None\r\n\r\n")
    assert begun == [("informational", 100), ("informational", 103), ("head", 204, b"", True)]


def test_chunks_come_as_data_and_trailers(connection, begun):
    connection.data_received(CHUNKED + b"5\r\nhello\r\n1")
    connection.data_received(b"\r\n!\r\n0\r\nA: 1\r\n\r\n")
    assert begun == [("head", 200, b"hello", False), ("piece", b"!"), ("end", (b"A", b"1"))]
    assert connection.payload_bytes == 6


def test_a_connection_that_says_it_will_close_is_not_used_again(connection, begun):
    connection.data_received(b"HTTP/1.1 204 None\r\nConnection: close\r\n\r\n")
    assert begun == [("head", 204, b"", True)]
    assert not connection.usable


@pytest.mark.parametrize("data", [OK + b"hello+", OK + b"hello" + OK, CHUNKED + b"0\r\n\r\n\r\n"])
def test_bytes_behind_the_end_make_it_useless(connection, transport, begun, data):
    connection.data_received(data)
    assert len(begun) == 1
    assert (connection.usable, transport.ended_by) == (False, "close")


def test_bytes_that_nobody_asked_for_make_it_useless(connection, transport, begun):
    connection.data_received(OK + b"hello")
    connection.data_received(b"H")
    assert (connection.usable, transport.ended_by) == (False, "close")


@pytest.mark.parametrize(
    ("banner", "looks_like"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server"),
        (b"220 mail ESMTP\r\n", "an SMTP or FTP server"),
        (b"+OK ready\r\n", "a Redis or POP3 server"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "a response without a request"),
    ],
)
def test_a_server_that_speaks_first_is_malformed_at_the_first_request(
    connection, transport, monkeypatch, banner, looks_like
):
    soon = []
    loop = SimpleNamespace(call_soon=soon.append)
    monkeypatch.setattr(proxy.wire.h1.upstream.asyncio, "get_running_loop", lambda: loop)
    connection.data_received(banner)
    assert connection.usable
    handler = Handler()
    ask(connection, handler)
    assert (transport.written, handler.heard) == (b"", [])
    soon[0]()
    assert handler.heard == [("lost", UpstreamMalformed)]
    assert transport.ended_by == "abort"
    assert looks_like in stray_fault(banner)


def test_a_server_that_speaks_first_may_do_so_in_a_tunnel(connection):
    connection.data_received(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler = Handler()
    connection.begin_tunnel(handler)
    assert handler.heard == [("piece", b"SSH-2.0-OpenSSH_9.2\r\n")]


def test_a_server_that_says_much_first_waits_for_the_tunnel(connection, transport):
    connection.data_received(bytes(MAX_HEAD_BYTES + 1))
    assert (connection.usable, transport.ended_by, transport.reading) == (True, "", False)
    handler = Handler()
    connection.begin_tunnel(handler)
    assert handler.heard == [("piece", bytes(MAX_HEAD_BYTES + 1))]
    assert transport.reading


@pytest.mark.parametrize("data", [b"SSH-2", b"220 mail", b"\x15\x03\x03", b"HTTP/1.1 200 OK\nA: b"])
def test_what_cannot_be_http_is_not_waited_for(connection, begun, data):
    connection.data_received(data)
    assert begun == [("lost", UpstreamMalformed)]


def test_an_answer_that_had_arrived_is_read_when_a_write_fails(connection, transport, begun):
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    os.write(writes, OK + b"hello")
    transport.descriptor = reads
    connection.connection_lost(BrokenPipeError())
    os.close(reads)
    os.close(writes)
    assert begun == [("head", 200, b"hello", True)]


# --- losses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    ("sent", "last"),
    [
        (b"", ("lost", UpstreamReset)),
        (b"HTTP/1.1 20", ("lost", UpstreamReset)),
        (b"HTTP/1.1 100 Continue\r\n\r\n", ("lost", UpstreamReset)),
        (OK, ("lost", UpstreamTruncated)),
        (OK + b"hell", ("lost", UpstreamTruncated)),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", ("lost", UpstreamTruncated)),
        (TO_CLOSE + b"hello", None),
    ],
)
def test_what_a_loss_means(connection, begun, closed, sent, last, reset):
    if sent:
        connection.data_received(sent)
    if reset:
        connection.connection_lost(ConnectionResetError())
    else:
        connection.eof_received()
        connection.connection_lost(None)
    expected = last or (("lost", UpstreamTruncated) if reset else ("end",))
    assert begun[-1] == expected
    assert [kind for kind, *_ in begun].count(expected[0]) == 1
    assert closed == [connection.session]
    assert not connection.usable


def test_a_loss_while_idle_is_told_to_nobody_but_the_pool(connection, begun, closed):
    connection.data_received(OK + b"hello")
    connection.eof_received()
    assert not connection.usable
    connection.connection_lost(None)
    assert len(begun) == 1
    assert closed == [connection.session]


@pytest.mark.parametrize(
    "data",
    [
        b"what?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n" + b"x" * 70_000,
        CHUNKED + b"zz\r\n",
    ],
)
def test_malformed(connection, transport, begun, data):
    connection.data_received(data)
    assert begun == [("lost", UpstreamMalformed)]
    assert (connection.usable, transport.ended_by) == (False, "abort")


def test_chunks_that_turn_out_malformed(connection, transport, begun):
    connection.data_received(CHUNKED)
    connection.data_received(b"zz\r\n")
    assert begun == [("head", 200, b"", False), ("lost", UpstreamTruncated)]
    assert transport.ended_by == "abort"


# --- losing interest ----------------------------------------------------------------------------


def test_detached_it_tells_nothing_more(connection, begun):
    connection.data_received(OK)
    connection.detach()
    connection.data_received(b"hello")
    connection.pause_writing()
    connection.connection_lost(None)
    assert begun == [("head", 200, b"", False)]


def test_aborted_it_tells_nothing_more(connection, transport, begun, closed):
    connection.abort()
    connection.connection_lost(None)
    assert (begun, transport.ended_by, closed) == ([], "abort", [connection.session])


# --- flow control -------------------------------------------------------------------------------


def test_who_may_write(connection, begun):
    connection.pause_writing()
    assert connection.write_paused
    connection.resume_writing()
    assert not connection.write_paused
    assert begun == [("writable", False), ("writable", True)]


def test_reading_is_paused_once_and_resumed_once(connection, transport):
    for _ in range(2):
        connection.pause_reading()
    assert not transport.reading
    for _ in range(2):
        connection.resume_reading()
    assert transport.reading
    transport.close()
    connection.pause_reading()
    assert transport.reading


# --- tunnels ------------------------------------------------------------------------------------


@pytest.fixture
def tunnel(connection):
    """A tunnel on it: what its handler hears."""
    handler = Handler()
    connection.begin_tunnel(handler)
    return handler.heard


def test_a_tunnel_ends_in_halves(connection, transport, tunnel):
    connection.end_tunnel()
    assert (transport.calls, transport.ended_by, tunnel) == (["write_eof"], "", [])
    assert connection.eof_received() is True
    assert tunnel == [("end",)]


def test_the_end_of_our_half_is_the_end_of_tls(connection, transport, tunnel, closed):
    transport.half_closes = False
    connection.end_tunnel()
    assert (transport.ended_by, tunnel) == ("close", [("end",)])
    connection.connection_lost(None)
    assert (tunnel, closed) == ([("end",)], [connection.session])


def test_the_end_of_its_half_is_the_end_of_tls(connection, transport, tunnel):
    transport.half_closes = False
    assert connection.eof_received() is False
    connection.connection_lost(None)
    assert tunnel == [("end",)], "and no loss"


# --- work is bounded: here a portion takes a whole turn of the queue ---------------------------


class Loop:
    def __init__(self):
        self.soon = []

    def call_soon(self, callback):
        self.soon.append(callback)

    def turn(self):
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()

    def run(self):
        while self.soon:
            self.turn()


@pytest.fixture
def loop(monkeypatch):
    loop = Loop()
    clock = itertools.count()
    monkeypatch.setattr(proxy.wire.turns, "monotonic", lambda: next(clock))
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


TINY = FIRST_CHUNKS + 2 * MORE_CHUNKS + 7
PORTIONS = [("piece", b"a" * size) for size in (MORE_CHUNKS, MORE_CHUNKS, 7)]
END = b"0\r\n\r\n"


@pytest.fixture
def tiny(connection, begun, loop):
    """What the handler heard behind the head of a response of tiny chunks."""
    connection.data_received(CHUNKED + b"1\r\na\r\n" * TINY + END)
    assert begun == [("head", 200, b"a" * FIRST_CHUNKS, False)]
    begun.clear()
    return begun


def test_tiny_chunks_go_on_a_portion_in_a_turn(connection, transport, tiny, loop):
    for turn in range(3):
        assert tiny == PORTIONS[:turn]
        assert not transport.reading
        loop.turn()
    assert tiny == [*PORTIONS, ("end",)]
    assert transport.reading
    assert loop.soon == []
    assert connection.usable


def test_an_end_of_the_connection_waits_behind_the_chunks(connection, transport, tiny, loop):
    """TLS tells of it although reading is paused."""
    assert connection.eof_received() is True
    assert not connection.usable
    loop.run()
    assert tiny == [*PORTIONS, ("end",)]
    assert transport.ended_by == "close"


@pytest.mark.parametrize("ended", [False, True])
def test_a_loss_waits_behind_the_chunks(connection, transport, tiny, loop, closed, ended):
    if ended:
        connection.eof_received()
    transport.ended_by = "peer"
    connection.connection_lost(ConnectionResetError())
    assert (tiny, closed) == ([], [])
    loop.run()
    assert tiny == [*PORTIONS, ("end",)]
    assert closed == [connection.session]
    assert not connection.usable


def test_a_loss_in_the_middle_is_told_behind_what_came(connection, transport, begun, loop, closed):
    connection.data_received(CHUNKED + b"1\r\na\r\n" * TINY)
    begun.clear()
    transport.ended_by = "peer"
    connection.connection_lost(None)
    loop.run()
    assert begun == [*PORTIONS, ("lost", UpstreamTruncated)]
    assert closed == [connection.session]


def test_aborted_it_tells_nothing_of_what_waits(connection, transport, tiny, loop, closed):
    connection.abort()
    connection.connection_lost(None)
    loop.run()
    assert tiny == []
    assert closed == [connection.session]


HINT = b"HTTP/1.1 103 Early Hints\r\n\r\n"


def test_informational_heads_are_passed_on_a_few_in_a_turn(connection, transport, begun, loop):
    connection.data_received(HINT * 20 + OK + b"12345")
    for turn in range(1, 3):
        assert begun == [("informational", 103)] * 8 * turn
        assert not transport.reading
        loop.turn()
    assert begun == [*[("informational", 103)] * 20, ("head", 200, b"12345", True)]
    assert transport.reading
    assert connection.usable


def test_a_few_and_the_response_are_nothing_to_wait_for(connection, begun, loop):
    connection.data_received(HINT * 7 + OK + b"12345")
    assert begun[-1] == ("head", 200, b"12345", True)
    assert loop.soon == []


def test_informational_heads_have_an_end(connection, transport, begun, loop):
    """However they are spread: they wait in memory for a client that does not read."""
    for _ in range(MAX_HEAD_BYTES // len(HINT)):
        connection.data_received(HINT)
    assert begun[-1] == ("informational", 103)
    connection.data_received(HINT)
    assert begun[-1] == ("lost", UpstreamMalformed)
    assert transport.ended_by == "abort"


def test_each_response_has_informational_heads_of_its_own(connection, begun, loop):
    for _ in range(3):
        handler = Handler()
        ask(connection, handler)
        for _ in range(MAX_HEAD_BYTES // len(HINT) // 2):
            connection.data_received(HINT)
        connection.data_received(OK + b"12345")
        assert handler.heard[-1] == ("head", 200, b"12345", True)


def test_a_loss_waits_behind_informational_heads(connection, transport, begun, loop, closed):
    connection.data_received(HINT * 20 + OK + b"12345")
    transport.ended_by = "peer"
    connection.connection_lost(None)
    loop.run()
    assert begun[-1] == ("head", 200, b"12345", True)
    assert closed == [connection.session]
