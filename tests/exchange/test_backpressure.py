"""Who may send when the other side is slow, and who is cut when it stays so."""

import pytest
from exchange.wires import request, response

IDLE = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
limits: {idle_timeout: 75s}
policies:
  default:
    timeouts: {attempt: 5s, request: 15s, idle: 10s}
routes: [{name: shop, upstream: shop}]
"""


@pytest.fixture
def idle(make_stage):
    return make_stage(IDLE)


def test_a_slow_upstream_stops_the_client(stage):
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 100") + b"0")
    server = stage.accept()
    server.stop_reading()
    assert not client.reading
    server.read_on()
    assert client.reading
    server.stop_reading_soon()
    client.send(b"1")
    assert not client.reading
    server.read_on()
    client.send(b"2" * 98)
    assert server.request().body == b"01" + b"2" * 98
    server.answer()
    assert client.answer().status == 200


def test_a_slow_client_stops_the_upstream(stage):
    client = stage.ask(request())
    server = stage.accept()
    client.stop_reading_soon()
    server.send(response(200, b"1", "Content-Length: 3"))
    assert not server.reading
    client.read_on()
    assert server.reading
    client.stop_reading_soon()
    server.send(b"2")
    assert not server.reading
    client.read_on()
    server.send(b"3")
    assert client.answer().body == b"123"
    assert stage.counts().idle == 1


def test_a_connection_goes_back_reading(stage):
    """The whole response came in one piece that filled the client's side."""
    client = stage.ask(request())
    server = stage.accept()
    client.stop_reading_soon()
    server.answer(200, b"one")
    assert stage.counts().idle == 1
    assert server.reading
    other = stage.ask(request())
    server.received()
    server.answer(200, b"two")
    assert other.answer().body == b"two"
    client.read_on()
    assert client.answer().body == b"one"


def test_a_client_is_read_again_when_its_exchange_is_over(stage):
    """Its last piece filled the upstream's side, and the upstream answered without reading it."""
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 2") + b"0")
    server = stage.accept()
    server.stop_reading_soon()
    client.send(b"1")
    assert not client.reading
    server.answer(400)
    assert client.answer().status == 400
    assert client.reading
    client.send(request())
    assert stage.gate().in_flight


def test_and_when_it_is_answered_by_the_proxy(stage):
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 2") + b"0")
    server = stage.accept()
    server.stop_reading_soon()
    client.send(b"1")
    server.reset()
    assert client.answer().reason == "upstream-reset"
    assert client.reading
    assert not client.closed


def test_another_attempt_reads_on(stage):
    client = stage.ask(request("PUT /x HTTP/1.1", "Content-Length: 3") + b"0")
    server = stage.accept()
    server.stop_reading_soon()
    client.send(b"1")
    server.reset()
    stage.pass_time(0.11)
    second = stage.accept()
    assert client.reading
    client.send(b"2")
    assert second.request().body == b"012"
    second.answer()
    assert client.answer().status == 200


# --- clients that stop for good -----------------------------------------------------------------


@pytest.mark.parametrize("ended", [False, True])
def test_a_client_that_takes_nothing_any_more(idle, ended):
    client = idle.ask(request())
    server = idle.accept()
    client.stop_reading_soon()
    server.send(response(200, b"12345" if ended else b"1", "Content-Length: 5"))
    idle.pass_time(9.9)
    assert idle.records == []
    idle.pass_time(0.2)
    assert [record.reason for record in idle.records] == ["client-gone"]
    assert idle.snapshot().failures == 0
    idle.assert_at_rest()
    assert client.gone
    assert not idle.gate().connections


def test_a_client_that_takes_nothing_of_a_truncated_response(idle):
    client = idle.ask(request())
    server = idle.accept()
    client.stop_reading_soon()
    server.send(response(200, b"1", "Content-Length: 5"))
    server.reset()
    assert [record.reason for record in idle.records] == ["upstream-truncated"]
    assert not client.gone
    idle.pass_time(77)
    assert client.gone
    assert not idle.gate().connections


# --- idle ---------------------------------------------------------------------------------------


def test_an_upstream_that_stops_in_the_middle(idle):
    client = idle.ask(request())
    server = idle.accept()
    server.send(response(200, b"1", "Content-Length: 5"))
    idle.pass_time(9.9)
    server.send(b"2")
    idle.pass_time(9.9)
    assert not client.closed
    idle.pass_time(0.2)
    assert client.closed == "close"
    assert server.closed == "abort"
    assert [record.reason for record in idle.records] == ["upstream-truncated"]


def test_bytes_of_either_direction_count(idle):
    client = idle.ask(request("POST /x HTTP/1.1", "Content-Length: 100") + b"0")
    server = idle.accept()
    server.send(response(200, b"1", "Content-Length: 100"))
    for _ in range(5):
        idle.pass_time(9)
        client.send(b"0")
        idle.pass_time(9)
        server.send(b"1")
    assert idle.records == []
    idle.pass_time(10.1)
    assert [record.reason for record in idle.records] == ["upstream-truncated"]
    assert client.closed
