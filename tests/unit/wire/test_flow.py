"""Flow control: the transport hears of changes alone."""

import pytest

from proxy.wire.flow import JOINED_BYTES
from proxy.wire.upstream import UpstreamConnection


class Transport:
    def __init__(self):
        self.calls = []
        self.closing = False

    def is_closing(self):
        return self.closing

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


def test_the_exchange_hears_after_the_fact(connection, transport):
    handler = Handler(connection)
    connection.begin(handler, "GET", b"x", b"", payload=False)
    connection.pause_writing()
    connection.resume_writing()
    assert handler.told == [(False, True), (True, False)]
    assert transport.calls == [b"x"]


def test_a_head_and_its_body_leave_together_and_nothing_long_is_copied(connection, transport):
    connection.write_both(b"head", b"")
    connection.write_both(b"head", b"body")
    long = b"x" * (JOINED_BYTES + 1)
    connection.write_both(b"head", long)
    assert transport.calls == [b"head", b"headbody", [b"head", long]]
    assert transport.calls[-1][1] is long
