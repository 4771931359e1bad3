"""Flow control: the transport hears of changes alone."""

import pytest

from proxy.wire.flow import FlowControlled


class Transport:
    def __init__(self):
        self.calls = []
        self.closing = False

    def is_closing(self):
        return self.closing

    def write(self, data):
        self.calls.append(data)

    def pause_reading(self):
        self.calls.append("pause")

    def resume_reading(self):
        self.calls.append("resume")


class Connection(FlowControlled):
    def __init__(self):
        super().__init__()
        self.told = []

    def on_writable(self, writable):
        self.told.append((writable, self.write_paused))


@pytest.fixture
def transport():
    return Transport()


@pytest.fixture
def connection(transport):
    connection = Connection()
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
    connection.pause_writing()
    connection.resume_writing()
    assert connection.told == [(False, True), (True, False)]
    connection.write(b"x")
    assert transport.calls == [b"x"]
