"""A client's connection alone: which bytes become a head, which a body, and who hears of what."""

import asyncio
import itertools
import socket

import pytest

import proxy.wire.alarm
import proxy.wire.h1.closing
import proxy.wire.h1.downstream
import proxy.wire.h1.request_reader
import proxy.wire.turns
from proxy.config.model import LimitsConfig, Listener
from proxy.errors import BadRequest, BodyTooLarge, ConnectionsFull
from proxy.http.h1.chunked import FIRST_CHUNKS, MORE_CHUNKS
from proxy.http.h1.request import RequestParser
from proxy.http.making import make_response
from proxy.wire.h1.downstream import Downstream

pytestmark = pytest.mark.interpreted  # its gate and its handler are doubles

GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


class Loop:
    """Keeps the timers that are set, and what is to be called soon; time stands still."""

    def __init__(self):
        self.timers = []
        self.soon = []

    def call_later(self, delay, callback):
        handle = asyncio.TimerHandle(delay, callback, (), self)
        self.timers.append(handle)
        return handle

    def call_soon(self, callback):
        self.soon.append(callback)

    def turn(self):
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()

    def run(self):
        while self.soon:
            self.turn()

    def get_debug(self):
        return False

    def _timer_handle_cancelled(self, handle):
        self.timers.remove(handle)


class Transport:
    def __init__(self):
        self.written = b""
        self.calls = []
        self.buffered = 0
        self.half_closes = True
        self.socket = None

    def write(self, data):
        self.written += data

    def is_closing(self):
        return "close" in self.calls or "abort" in self.calls

    def get_extra_info(self, name):
        return ("10.0.0.9", 5) if name == "peername" else self.socket

    def get_write_buffer_size(self):
        return self.buffered

    def can_write_eof(self):
        return self.half_closes

    def __getattr__(self, name):
        return lambda: self.calls.append(name)


class Gate:
    """Begins what the test's `plan` says: "hold" keeps it under way, "answer" ends it at once."""

    listener = Listener.OUTBOUND

    def __init__(self):
        self.limits = LimitsConfig(connections=2, body_bytes=8)
        self.parser = RequestParser((), max_url=100, max_fields=10)
        self.connections = set()
        self.closing = False
        self.http1 = self.http2 = True
        self.plan = "hold"
        self.begun, self.refused, self.handlers = [], [], []

    def begin(self, downstream, head, piece):
        self.begun.append((head.method, head.path, piece, downstream.receiving))
        if self.plan == "hold":
            downstream.handler = Handler()
            self.handlers.append(downstream.handler)
        else:
            downstream.write_tunnel(b"answer")
            downstream.finish(100.0)

    def refuse(self, downstream, error):
        self.refused.append(type(error))
        downstream.write_tunnel(b"refusal")


def finish_for_good(client):
    head = make_response(204, [], None)
    client.write_head(head, [], b"", True, [], True)
    client.finish(100.0)


class Handler:
    def __init__(self):
        self.heard = []

    def __getattr__(self, name):
        return lambda *values: self.heard.append((name, *values))


@pytest.fixture
def loop(monkeypatch):
    loop = Loop()
    monkeypatch.setattr(proxy.wire.h1.downstream, "monotonic", lambda: 100.0)
    monkeypatch.setattr(proxy.wire.h1.request_reader, "monotonic", lambda: 100.0)
    monkeypatch.setattr(proxy.wire.h1.closing, "monotonic", lambda: 100.0)
    monkeypatch.setattr(proxy.wire.alarm, "monotonic", lambda: 100.0)
    clock = itertools.count()
    monkeypatch.setattr(proxy.wire.turns, "monotonic", lambda: next(clock))
    monkeypatch.setattr(proxy.wire.h1.downstream.asyncio, "get_running_loop", lambda: loop)
    return loop


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def transport():
    return Transport()


@pytest.fixture
def client(loop, gate, transport):
    client = Downstream(gate)
    client.connection_made(transport)
    return client


def test_a_new_connection_is_known_and_timed(client, gate, loop):
    assert gate.connections == {client}
    assert (client.client, client.idle, client.requests) == ("10.0.0.9", True, 0)
    assert client.alarm.due == 110.0


def test_a_head_in_pieces(client, gate):
    for byte in GET % 1:
        assert gate.begun == []
        client.data_received(bytes([byte]))
    assert gate.begun == [("GET", "/1", b"", False)]
    assert not client.idle


@pytest.mark.parametrize("cut", range(len(POST) + 5))
def test_a_head_that_is_remembered_is_found_however_it_arrives(loop, gate, transport, cut):
    client = Downstream(gate)
    client.connection_made(transport)
    gate.plan = "answer"
    for _ in range(3):
        client.data_received(GET % 1)
    whole = GET % 1 + GET % 2
    for data in (whole[:cut], whole[cut:]):
        client.data_received(data)
    loop.run()
    assert [path for _, path, _, _ in gate.begun] == ["/1", "/1", "/1", "/1", "/2"]
    for parts in [(POST, b"hello")] * 3 + [((POST + b"hello")[:cut], (POST + b"hello")[cut:])]:
        gate.plan = "hold"
        gate.begun.clear()
        for data in parts:
            client.data_received(data)
        ((method, _, piece, receiving),) = gate.begun
        rest = [one[1] for one in gate.handlers[-1].heard if one[0] == "on_body"]
        assert (method, piece + b"".join(rest), client.receiving) == ("POST", b"hello", False)
        assert receiving == (len(piece) < 5)
        client.finish(100.0)


class AlternatingGate(Gate):
    """Ends every other request at once."""

    def begin(self, downstream, head, piece):
        self.plan = "answer" if len(self.begun) % 2 else "hold"
        super().begin(downstream, head, piece)


@pytest.mark.parametrize("kind", [Gate, AlternatingGate])
def test_no_more_is_read_while_enough_requests_wait(loop, transport, kind):
    """However many have been carried: else each of them would let in more than it was itself."""
    gate = kind()
    client = Downstream(gate)
    client.connection_made(transport)
    filler = GET % 7 * 5000  # well above what may wait
    client.data_received(GET % 0)
    client.data_received(filler)
    assert transport.calls == ["pause_reading"]
    for _ in range(3):
        client.finish(100.0)
        loop.run()
    assert transport.calls == ["pause_reading"]
    while transport.calls == ["pause_reading"]:
        client.finish(100.0)
        loop.run()
    assert transport.calls == ["pause_reading", "resume_reading"]
    assert len(gate.begun) > 1500


def test_the_rest_of_a_head_is_read_however_much_waits(client, gate, transport):
    client.data_received(GET % 0)
    client.data_received(GET % 1 * 200 + b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 62_000)
    assert transport.calls == ["pause_reading"]
    for _ in range(201):
        client.finish(100.0)
    assert transport.calls == ["pause_reading", "resume_reading"]
    client.data_received(b"\r\n\r\n")
    assert len(gate.begun) == 202
    assert gate.refused == []


def test_only_one_request_is_under_way(client, gate):
    client.data_received(b"".join(GET % n for n in range(3)))
    for n in range(3):
        assert [path for _, path, _, _ in gate.begun] == [f"/{m}" for m in range(n + 1)]
        client.finish(100.0)
    assert client.idle
    assert client.requests == 3
    assert client.alarm.due == 175.0


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body(client, gate, framing):
    head, pieces, end, trailers = {
        "length": (POST, [b"01", b"23"], b"4", []),
        "chunked": (
            CHUNKED,
            [b"2\r\n01\r\n", b"2\r\n23\r\n"],
            b"1\r\n4\r\n0\r\nA: 1\r\n\r\n",
            [(b"A", b"1")],
        ),
    }[framing]
    client.data_received(head + pieces[0])
    assert gate.begun == [("POST", "/", b"01", True)]
    client.data_received(pieces[1])
    client.data_received(end + GET % 1)
    (handler,) = gate.handlers
    assert handler.heard == [
        ("on_body", b"23"), ("on_body", b"4"), ("on_body_end", trailers),
    ]  # fmt: skip
    assert (client.receiving, client.request_bytes) == (False, 5)
    client.finish(100.0)
    assert gate.begun[1] == ("GET", "/1", b"", False)
    assert client.request_bytes == 0


def test_a_body_that_came_with_its_head(client, gate):
    client.data_received(POST + b"01234")
    assert gate.begun == [("POST", "/", b"01234", False)]


@pytest.mark.parametrize(
    ("sent", "error"),
    [(b"zz\r\n", BadRequest), (b"9\r\n012345678\r\n", BodyTooLarge)],
)
def test_a_body_that_is_wrong_is_told_once(client, gate, sent, error):
    client.data_received(CHUNKED)
    client.data_received(sent)
    (handler,) = gate.handlers
    assert [(name, type(value)) for name, value in handler.heard] == [("on_body_error", error)]
    client.finish(100.0)
    client.data_received(sent)
    assert len(handler.heard) == 1


def test_the_rest_of_a_body_ends_the_connection(client, transport):
    client.data_received(POST + b"01")
    client.finish(100.0)
    assert transport.calls == ["write_eof"]
    client.data_received(b"234" + GET % 1)
    assert client.requests == 1


LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def test_after_a_clients_last_request_the_connection_is_closed_at_once(client, transport):
    client.data_received(LAST)
    client.finish(100.0)
    assert transport.calls == ["close"]


def test_a_client_that_sends_more_than_it_announced_still_gets_its_answer(client, transport):
    client.data_received(LAST + b"\r\n")
    client.finish(100.0)
    assert transport.calls == ["write_eof"]


def test_the_last_answer_waits_for_a_slow_client_but_not_for_ever(client, transport):
    client.data_received(LAST)
    transport.buffered = 10
    client.finish(100.0)
    assert transport.calls == ["close"]
    client.alarm._on_due()
    assert transport.calls == ["close"]
    client._linger_until = 0.0
    client.alarm._on_due()
    assert transport.calls == ["close", "abort"]


def test_lingering_waits_for_a_slow_client(client, gate, transport):
    client.data_received(b"BAD\r\n\r\n")
    assert (gate.refused, transport.written) == ([BadRequest], b"refusal")
    transport.buffered = 10
    client.alarm._on_due()
    assert "abort" not in transport.calls
    transport.buffered = 0
    client.alarm._on_due()
    assert transport.calls == ["write_eof", "abort"]


def test_one_connection_too_many(client, gate, loop):
    second, third = Downstream(gate), Downstream(gate)
    second.connection_made(Transport())
    third.connection_made(Transport())
    assert gate.refused == [ConnectionsFull]
    third.connection_lost(None)
    assert gate.connections == {client, second}


def test_a_loss_is_told_to_the_exchange_and_to_nobody_twice(client, gate):
    client.data_received(GET % 1)
    client.connection_lost(None)
    client.finish(100.0)
    client.break_off(hard=True)
    assert gate.handlers[0].heard == [("on_client_gone",)]
    assert gate.connections == set()
    assert client.alarm.due == float("inf")


def test_who_may_write_and_the_alarm_are_the_exchanges(client, gate):
    client.pause_writing()
    client.resume_writing()
    client.data_received(GET % 1)
    client.pause_writing()
    client.resume_writing()
    client.alarm._on_due()
    assert gate.handlers[0].heard == [
        ("on_client_writable", False), ("on_client_writable", True), ("on_alarm",),
    ]  # fmt: skip


def test_idle_is_between_two_requests(client, transport):
    client.data_received(b"G")
    client.close_idle()
    assert transport.calls == []
    client.data_received((GET % 1)[1:])
    client.close_idle()
    assert transport.calls == []
    client.finish(100.0)
    client.close_idle()
    assert transport.calls == ["close"]


# --- work is bounded: here a portion takes a whole turn of the queue ---------------------------


@pytest.fixture
def flooded(client, gate):
    """Of thirty requests that end at once, the first has been begun."""
    gate.plan = "answer"
    client.data_received(b"".join(GET % n for n in range(30)))
    return client


def test_requests_that_end_at_once_are_begun_one_in_a_turn(flooded, gate, loop, transport):
    for begun in range(1, 30):
        assert len(gate.begun) == begun
        assert transport.calls == ["pause_reading"]
        loop.turn()
    assert loop.soon == []
    assert [path for _, path, _, _ in gate.begun] == [f"/{n}" for n in range(30)]
    assert transport.written == b"answer" * 30
    assert transport.calls == ["pause_reading", "resume_reading"]
    assert flooded.idle


def test_one_request_in_a_read_is_nothing_to_wait_for(client, gate, loop, transport):
    gate.plan = "answer"
    for n in range(3):
        client.data_received(GET % n)
    assert len(gate.begun) == 3
    assert (loop.soon, transport.calls) == ([], [])


def test_an_exchange_that_takes_its_time_takes_its_place_in_the_flood(flooded, gate, loop):
    gate.plan = "hold"
    loop.run()
    assert len(gate.begun) == 2
    gate.plan = "answer"
    flooded.finish(100.0)
    assert len(gate.begun) == 3
    loop.run()
    assert len(gate.begun) == 30


def test_of_a_lost_client_nothing_more_is_begun(flooded, gate, loop):
    loop.turn()
    flooded.connection_lost(None)
    loop.run()
    assert len(gate.begun) == 2


def test_of_a_client_that_was_cut_nothing_more_is_begun(flooded, gate, loop, transport):
    flooded.cut()
    loop.run()
    assert len(gate.begun) == 1
    assert transport.calls == ["pause_reading", "close"]


def test_a_last_answer_ends_the_flood(flooded, gate, loop, transport):
    """As a drain has it."""
    gate.plan = "hold"
    loop.turn()
    finish_for_good(flooded)
    loop.run()
    assert len(gate.begun) == 2
    assert transport.calls == ["pause_reading", "resume_reading", "write_eof"]


def test_the_clients_end_waits_behind_its_requests(flooded, gate, loop, transport):
    assert flooded.eof_received() is True
    loop.run()
    assert (len(gate.begun), gate.refused) == (30, [])
    assert transport.calls[-1] == "close"


def test_a_head_that_is_cut_off_is_told_behind_the_requests(client, gate, loop):
    gate.plan = "answer"
    client.data_received(GET % 0 + GET % 1 + b"GET /2 HT")
    client.eof_received()
    loop.run()
    assert (len(gate.begun), gate.refused) == (2, [BadRequest])


def test_a_request_that_waits_for_its_turn_is_not_late(flooded, gate, loop):
    flooded.alarm._on_due()
    assert gate.refused == []
    assert flooded.alarm.due == 175.0
    loop.run()
    assert len(gate.begun) == 30


def test_while_a_client_takes_no_answers_none_of_its_requests_is_begun(
    flooded, gate, loop, transport
):
    flooded.pause_writing()
    loop.run()
    assert len(gate.begun) == 1
    assert transport.calls == ["pause_reading"]
    flooded.resume_writing()
    loop.run()
    assert len(gate.begun) == 30
    assert transport.calls == ["pause_reading", "resume_reading"]


def test_a_client_that_takes_no_answers_is_not_read_from_and_ends(client, gate, transport):
    client.data_received(GET % 0)
    client.pause_writing()
    client.finish(100.0)
    assert transport.calls == ["pause_reading"]
    assert client.alarm.due == 175.0
    client.alarm._on_due()
    assert transport.calls == ["pause_reading", "abort"]


def test_it_is_read_from_again_when_it_takes_them(client, gate, transport):
    client.data_received(GET % 0)
    client.pause_writing()
    client.finish(100.0)
    client.resume_writing()
    assert transport.calls == ["pause_reading", "resume_reading"]


def test_the_end_of_one_that_takes_no_answers_waits(flooded, gate, loop, transport):
    flooded.pause_writing()
    loop.run()
    assert flooded.eof_received() is True
    assert gate.refused == []
    flooded.resume_writing()
    loop.run()
    assert (len(gate.begun), gate.refused) == (30, [])
    assert transport.calls[-1] == "close"


def test_an_idle_client_that_leaves_an_answer_unread_ends(client, gate, transport):
    """Closing in good order would wait for it for ever."""
    client.data_received(GET % 0)
    client.finish(100.0)
    transport.buffered = 10
    client.alarm._on_due()
    assert transport.calls == ["close"]
    assert client.alarm.due == 101.0
    client.alarm._on_due()
    assert transport.calls == ["close", "abort"]


def test_an_idle_client_that_a_drain_ends_has_time_for_its_answer(client, gate, transport):
    client.data_received(GET % 0)
    client.finish(100.0)
    transport.buffered = 10
    client.close_idle()
    for _ in range(3):
        client.alarm._on_due()
        assert transport.calls == ["close"]
    transport.buffered = 0
    client.alarm._on_due()
    assert transport.calls == ["close", "abort"]


@pytest.fixture
def gate_of_long_bodies(gate):
    gate.limits = LimitsConfig()
    return gate


TINY = FIRST_CHUNKS + 2 * MORE_CHUNKS + 7


@pytest.mark.parametrize("apart", [False, True])
def test_tiny_chunks_go_on_a_portion_in_a_turn(gate_of_long_bodies, client, loop, transport, apart):
    body = b"1\r\na\r\n" * TINY + b"0\r\nT: v\r\n\r\n"
    if apart:
        client.data_received(CHUNKED)
        client.data_received(body + GET % 2)
    else:
        client.data_received(CHUNKED + body + GET % 2)
    (handler,) = gate_of_long_bodies.handlers
    begun_with = gate_of_long_bodies.begun[0][2]
    pieces = [("on_body", b"a" * FIRST_CHUNKS)] if apart else []
    assert begun_with == (b"" if apart else b"a" * FIRST_CHUNKS)
    for portion in (MORE_CHUNKS, MORE_CHUNKS, 7):
        assert handler.heard == pieces
        assert transport.calls == ["pause_reading"]
        loop.turn()
        pieces = [*pieces, ("on_body", b"a" * portion)]
    assert handler.heard == [*pieces, ("on_body_end", [(b"T", b"v")])]
    assert transport.calls == ["pause_reading", "resume_reading"]
    assert loop.soon == []
    client.finish(100.0)
    assert [path for _, path, _, _ in gate_of_long_bodies.begun] == ["/", "/2"]


@pytest.mark.parametrize("how", ["lost", "broken off", "answered"])
def test_an_upload_of_tiny_chunks_ends_early(gate_of_long_bodies, client, loop, how):
    client.data_received(CHUNKED)
    client.data_received(b"1\r\na\r\n" * TINY)
    (handler,) = gate_of_long_bodies.handlers
    if how == "lost":
        client.connection_lost(None)
        assert handler.heard[1:] == [("on_client_gone",)]
    elif how == "broken off":
        client.break_off(hard=False)
    else:
        finish_for_good(client)
    before = list(handler.heard)
    loop.run()
    assert handler.heard == before
    assert len(gate_of_long_bodies.begun) == 1


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        (b"\r\n" * 50_000, False),
        (b"\r\n" * 50_000 + b"\r", True),
        (b"\r\n" * 50_000 + b"\n", True),
        (b"\r\r\n", True),
        (b"\n", True),
    ],
)
def test_empty_lines_before_a_request(client, gate, loop, lines, refused):
    client.data_received(lines + GET % 1)
    assert (len(gate.begun), len(gate.refused)) == ((0, 1) if refused else (1, 0))


# --- under TLS, which cannot end one direction alone ------------------------------------------


@pytest.fixture
def over_tls(transport):
    transport.half_closes = False
    return transport


def test_tls_closes_at_once_behind_a_last_response(client, over_tls):
    """The end of the connection may be the response's own."""
    client.data_received(GET % 1)
    finish_for_good(client)
    assert over_tls.calls == ["close"]


def test_tls_closes_when_a_slow_client_has_taken_it(client, over_tls):
    client.data_received(GET % 1)
    over_tls.buffered = 10
    finish_for_good(client)
    assert over_tls.calls == []
    over_tls.buffered = 0
    client.alarm._on_due()
    assert over_tls.calls == ["close"]


def test_tls_is_not_aborted_while_a_slow_client_reads(client, over_tls):
    """What is encrypted waits where the transport does not show it."""
    client.data_received(GET % 1)
    finish_for_good(client)
    over_tls.socket, peer = socket.socketpair()
    with over_tls.socket, peer:
        over_tls.socket.send(b"encrypted")
        client.alarm._on_due()
        assert over_tls.calls == ["close"]
        peer.recv(100)
        client.alarm._on_due()
        assert over_tls.calls == ["close", "abort"]


def test_tls_reads_a_client_that_still_sends_before_it_closes(client, over_tls):
    client.data_received(POST + b"01")
    finish_for_good(client)
    client.data_received(b"234")
    assert over_tls.calls == []
    client.alarm._on_due()
    assert over_tls.calls == ["close"]


def test_tls_does_not_wait_for_a_client_that_sleeps(client, over_tls):
    client.close_idle()
    assert over_tls.calls == ["close"]
    client.alarm._on_due()
    assert over_tls.calls == ["close", "abort"]


def test_the_end_of_half_a_tunnel_is_the_end_of_tls(client, gate, over_tls):
    client.data_received(GET % 1)
    client.open_tunnel(make_response(200, [], None), [], b"")
    assert client.eof_received() is False
    assert [name for name, *_ in gate.handlers[0].heard] == ["on_client_end"]
    client.end_tunnel()
    assert over_tls.calls == ["close"]
