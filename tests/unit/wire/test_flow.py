"""Flow control: the transport hears of changes alone."""

import pytest

from proxy.wire.flow import JOINED_BYTES, Channel
from proxy.wire.h1.upstream import UpstreamConnection


class Transport:
    def __init__(self):
        self.calls = []
        self.closing = False

    def is_closing(self):
        return self.closing

    def can_write_eof(self):
        return True

    def write(self, data):
        self.calls.append(data)

    def writelines(self, pieces):
        self.calls.append(list(pieces))

    def pause_reading(self):
        self.calls.append("pause")

    def resume_reading(self):
        self.calls.append("resume")


class Handler:
    """Keeps what it is told, and whether writing was paused by then."""

    def __init__(self, connection):
        self.connection = connection
        self.told = []

    def on_upstream_writable(self, writable):
        self.told.append((writable, self.connection.write_paused))


@pytest.fixture
def transport():
    return Transport()


@pytest.fixture
def connection(transport):
    connection = UpstreamConnection(lambda closed: None)
    connection.connection_made(transport)
    return connection


def test_the_transport_hears_of_changes_alone(connection, transport):
    connection.resume_reading()
    connection.pause_reading()
    connection.pause_reading()
    connection.resume_reading()
    connection.resume_reading()
    assert transport.calls == ["pause", "resume"]


def test_a_closing_transport_hears_nothing(connection, transport):
    transport.closing = True
    connection.pause_reading()
    transport.closing = False
    connection.resume_reading()
    assert transport.calls == []


@pytest.mark.interpreted  # its handler is a double
def test_the_exchange_hears_after_the_fact(connection):
    handler = connection.handler = Handler(connection)
    connection.pause_writing()
    connection.resume_writing()
    assert handler.told == [(False, True), (True, False)]


def test_what_is_held_is_not_read_whoever_wants_it(transport):
    channel = Channel(transport)
    channel.hold()
    channel.resume_reading()
    assert transport.calls == ["pause"]
    channel.pause_reading()
    channel.release()
    assert transport.calls == ["pause"]
    channel.resume_reading()
    assert transport.calls == ["pause", "resume"]


def test_short_parts_leave_together_and_nothing_long_is_copied(transport):
    channel = Channel(transport)
    channel.write_parts([b"he", b"ad"], b"")
    channel.write_parts([b"head"], b"body")
    long = b"x" * (JOINED_BYTES + 1)
    channel.write_parts([b"he", b"ad"], long)
    channel.write_long(b"1", b"2", b"3")
    channel.write_long(b"1", long, b"3")
    assert transport.calls == [b"head", b"headbody", [b"head", long], b"123", [b"1", long, b"3"]]
    assert transport.calls[2][1] is long
