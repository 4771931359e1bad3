"""A request's body between two connections: what is kept, what is sent, when the client waits."""

import tracemalloc

import pytest
from exchange.hand_loop import turned_by_hand

from proxy.config.model import LimitsConfig, Listener
from proxy.exchange.body import HELD_BYTES, RequestBody
from proxy.wire.h1.downstream import Downstream
from proxy.wire.h1.upstream import UpstreamConnection
from proxy.wire.streams import Gate


class Side:
    """Either connection, and what its transport was told. `end` is what the body is given."""

    def __init__(self, made):
        self.reading = True
        self.written = b""
        self.end = made
        self.end.connection_made(self)

    def can_write_eof(self):
        return True

    def is_closing(self):
        return False

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def write(self, data):
        self.written += data

    def get_write_buffer_size(self):
        return 0

    def get_extra_info(self, name):
        return None


def upstream():
    return Side(UpstreamConnection(lambda _: None))


@pytest.fixture
def client(monkeypatch):
    with turned_by_hand():
        gate = Gate(Listener.OUTBOUND)
        gate.limits = LimitsConfig()
        yield Side(Downstream(gate))


@pytest.fixture
def make(client):
    def make(piece=b"", complete=False, awaits_word=False, limit=10):
        client.end.receiving = not complete
        body = RequestBody(client.end, piece, awaits_word=awaits_word)
        body.set_limit(limit)
        return body

    return make


def test_what_came_before_the_connection_is_sent_first(make):
    body = make(b"01")
    body.on_piece(b"23")
    server = upstream()
    assert body.attach(server.end) == b"0123"
    body.on_piece(b"45")
    assert server.written == b"45"


def test_another_connection_gets_all_of_it(make):
    body = make(b"01")
    first = upstream().end
    body.attach(first)
    body.on_piece(b"23")
    body.detach(first)
    body.on_piece(b"45")
    assert body.attach(upstream().end) == b"012345"
    assert body.whole


def test_beyond_the_limit_it_is_no_longer_whole(make):
    body = make(b"0" * 10)
    first = upstream()
    body.attach(first.end)
    assert body.whole
    body.on_piece(b"1")
    assert (body.whole, first.written) == (False, b"1")


def test_a_first_piece_beyond_the_limit_is_sent_and_not_kept(make):
    body = make(b"0" * 11)
    assert body.whole
    assert body.attach(upstream().end) == b"0" * 11
    assert not body.whole


def test_nothing_is_kept_with_a_limit_of_nothing(make):
    body = make(b"", limit=0)
    body.attach(upstream().end)
    assert body.whole
    body.on_piece(b"0")
    assert not body.whole


def test_the_client_waits_while_nobody_takes_it(make, client):
    body = make(b"0" * HELD_BYTES)
    assert client.reading
    body.on_piece(b"1")
    assert not client.reading
    body.attach(upstream().end)
    assert client.reading


def test_a_larger_limit_is_a_larger_bound(make, client):
    body = make(b"0" * HELD_BYTES, limit=2 * HELD_BYTES)
    body.on_piece(b"1")
    assert client.reading


def test_the_client_waits_while_the_upstream_is_full(make, client):
    body = make()
    server = upstream()
    body.attach(server.end)
    server.end.write_paused = True
    body.on_piece(b"0")
    assert not client.reading
    server.end.write_paused = False
    body.on_writable(True)
    assert client.reading
    body.on_writable(False)
    assert not client.reading


@pytest.mark.parametrize(
    ("piece", "complete", "awaits_word", "flowing"),
    [
        (b"0", False, False, True),
        (b"", False, False, True),
        (b"0", True, False, False),
        (b"", False, True, False),
        (b"0", False, True, True),
    ],
)
def test_flowing(make, piece, complete, awaits_word, flowing):
    body = make(piece, complete, awaits_word)
    assert not body.flowing
    server = upstream().end
    body.attach(server)
    assert body.flowing is flowing
    body.detach(server)
    assert not body.flowing


def test_a_client_that_waited_for_a_word_may_begin(make):
    body = make(awaits_word=True)
    body.attach(upstream().end)
    body.on_piece(b"0")
    assert body.flowing
    body.on_end([])
    assert not body.flowing


def test_two_streams_get_all_of_it_and_the_client_waits_for_the_slower(make, client):
    body = make(b"01")
    first, second = upstream(), upstream()
    assert body.attach(first.end) == body.attach(second.end) == b"01"
    second.end.write_paused = True
    body.on_piece(b"23")
    assert (first.written, second.written) == (b"23", b"23")
    body.on_writable(True)
    assert not client.reading
    body.detach(second.end)
    body.on_writable(True)
    assert client.reading


def test_what_is_forfeited_is_not_kept(make):
    body = make(b"01")
    body.attach(upstream().end)
    body.forfeit()
    body.on_piece(b"2")
    assert (body.whole, body.attach(upstream().end)) == (False, b"")


def test_many_small_pieces_take_little_more_than_their_bytes(make):
    """A client can send each two bytes alone, and a bytes object takes 35 of its own."""
    body = make(limit=64 * 1024)
    tracemalloc.start()
    for n in range(20_000):
        body.on_piece(n.to_bytes(2))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000
    stream = upstream()
    assert body.attach(stream.end) == b"".join(n.to_bytes(2) for n in range(20_000))
