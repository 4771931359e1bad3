"""A request's body between two connections: what is kept, what is sent, when the client waits."""

import pytest

from proxy.exchange.body import HELD_BYTES, RequestBody
from proxy.wire.flow import FlowControlled


class Side:
    """Either connection, and what its transport was told. `end` is what the body is given."""

    def __init__(self):
        self.reading = True
        self.written = b""
        self.end = FlowControlled()
        self.end.connection_made(self)

    def is_closing(self):
        return False

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def write(self, data):
        self.written += data


@pytest.fixture
def client():
    return Side()


@pytest.fixture
def make(client):
    def make(piece=b"", complete=False, awaits_word=False, limit=10):
        body = RequestBody(client.end, piece, complete=complete, awaits_word=awaits_word)
        body.set_limit(limit)
        return body

    return make


def test_what_came_before_the_connection_is_sent_first(make):
    body = make(b"01")
    body.on_piece(b"23")
    upstream = Side()
    assert body.attach(upstream.end) == b"0123"
    body.on_piece(b"45")
    assert upstream.written == b"45"


def test_another_connection_gets_all_of_it(make):
    body = make(b"01")
    body.attach(Side().end)
    body.on_piece(b"23")
    body.detach()
    body.on_piece(b"45")
    assert body.attach(Side().end) == b"012345"
    assert body.whole


def test_beyond_the_limit_it_is_no_longer_whole(make):
    body = make(b"0" * 10)
    first = Side()
    body.attach(first.end)
    assert body.whole
    body.on_piece(b"1")
    assert (body.whole, first.written) == (False, b"1")


def test_a_first_piece_beyond_the_limit_is_sent_and_not_kept(make):
    body = make(b"0" * 11)
    assert body.whole
    assert body.attach(Side().end) == b"0" * 11
    assert not body.whole


def test_nothing_is_kept_with_a_limit_of_nothing(make):
    body = make(b"", limit=0)
    body.attach(Side().end)
    assert body.whole
    body.on_piece(b"0")
    assert not body.whole


def test_the_client_waits_while_nobody_takes_it(make, client):
    body = make(b"0" * HELD_BYTES)
    assert client.reading
    body.on_piece(b"1")
    assert not client.reading
    body.attach(Side().end)
    assert client.reading


def test_a_larger_limit_is_a_larger_bound(make, client):
    body = make(b"0" * HELD_BYTES, limit=2 * HELD_BYTES)
    body.on_piece(b"1")
    assert client.reading


def test_the_client_waits_while_the_upstream_is_full(make, client):
    body = make()
    upstream = Side()
    body.attach(upstream.end)
    upstream.end.write_paused = True
    body.on_piece(b"0")
    assert not client.reading
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
    body.attach(Side().end)
    assert body.flowing is flowing
    body.detach()
    assert not body.flowing


def test_a_client_that_waited_for_a_word_may_begin(make):
    body = make(awaits_word=True)
    body.attach(Side().end)
    body.on_piece(b"0")
    assert body.flowing
    body.complete = True
    assert not body.flowing
