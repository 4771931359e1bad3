"""`limits.body_rate`: clients that are too slow while the proxy waits for them, and no others."""

import pytest
from exchange.wires import request, response

from proxy.config.model import Listener
from proxy.exchange.gate import ListenerGate

CONFIG = """
service: stage
limits: {LIMITS}
upstreams:
  app: {endpoints: ["http://10.0.0.1:80"]}
policies:
  inbound:
    timeouts: {idle: 60s, TIMEOUTS}
    bulkhead: {max_concurrent: PLACES, QUEUE}
    circuit_breaker: {mode: enforce, minimum_calls: 1}
routes:
  - {name: in, listener: inbound, upstream: app}
  - {name: out, upstream: app}
"""


@pytest.fixture
def make(make_stage):
    def make(limits="body_rate: 100B", timeouts="", places=100, queue="max_queue: 0"):
        text = CONFIG.replace("LIMITS", limits).replace("TIMEOUTS", timeouts)
        return make_stage(text.replace("PLACES", str(places)).replace("QUEUE", queue))

    return make


def post(length=100_000, body=b"0", *fields):
    return request("POST /x HTTP/1.1", f"Content-Length: {length}", *fields) + body


def upload(stage, *fields, listener=Listener.INBOUND):
    client = stage.ask(post(100_000, b"0", *fields), listener=listener)
    return client, stage.accept() if stage.connects else stage.servers[-1]


def trickle(stage, client, seconds, piece=b"x", each=1.0):
    """A piece every `each` seconds, until it is answered."""
    for _ in range(int(seconds / each)):
        stage.pass_time(each)
        if client.transport.written or client.gone:
            return
        client.send(piece)


def test_an_upload_slower_than_the_rate_ends_after_five_seconds(make):
    stage = make()
    client, server = upload(stage)
    trickle(stage, client, 4.5, each=0.5)
    assert not client.received()
    trickle(stage, client, 1, each=0.5)
    answer = client.answer()
    assert (answer.status, answer.reason) == (408, "body-timeout")
    assert "limits.body_rate" in answer.body.decode()
    assert server.closed
    snapshot = stage.snapshot("in")
    assert (snapshot.calls, snapshot.state.value) == (0, "closed")


def test_one_that_is_fast_enough_goes_on(make):
    stage = make()
    client, _ = upload(stage)
    trickle(stage, client, 30, piece=b"x" * 150)
    assert not client.received()


def test_it_is_the_average_that_counts(make):
    stage = make()
    client, _ = upload(stage)
    client.send(b"x" * 2000)
    stage.pass_time(19.5)
    assert not client.received()
    stage.pass_time(1)
    assert client.answer().status == 408


def test_time_in_which_the_upstream_takes_nothing_is_left_out(make):
    stage = make()
    client, server = upload(stage)
    stage.pass_time(3)
    server.stop_reading()
    stage.pass_time(50)
    server.read_on()
    stage.pass_time(1.5)
    assert not client.received()
    stage.pass_time(1)
    assert client.answer().status == 408


def test_a_slow_service_is_not_its_clients_fault(make):
    stage = make()
    client = stage.ask(request("POST /x HTTP/1.1", body=b"all of it"), listener=Listener.INBOUND)
    server = stage.accept()
    stage.pass_time(50)
    server.answer()
    assert client.answer().status == 200


def test_a_client_that_waits_for_its_100_is_not_slow(make):
    stage = make()
    head = request("POST /x HTTP/1.1", "Content-Length: 9", "Expect: 100-continue")
    client = stage.ask(head, listener=Listener.INBOUND)
    server = stage.accept()
    stage.pass_time(20)
    server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert b"100" in client.received()
    stage.pass_time(4.9)
    assert not client.received()
    stage.pass_time(0.2)
    assert client.answer().status == 408


def test_a_response_that_is_not_taken_is_cut(make):
    stage = make()
    client = stage.ask(request(), listener=Listener.INBOUND)
    server = stage.accept()
    server.send(response(200, b"x" * 50, "Content-Length: 1000"))
    assert client.answer().status == 200
    stage.pass_time(50)  # nothing waits for the client
    assert not client.closed
    client.stop_reading()
    stage.pass_time(4.9)
    assert not client.closed
    stage.pass_time(0.2)
    assert client.closed == "abort"
    assert stage.records[0].reason == "client-gone"
    assert "limits.body_rate" in stage.records[0].detail


def test_what_the_kernel_takes_at_first_is_not_what_the_client_takes(make):
    stage = make()
    client = stage.ask(request(), listener=Listener.INBOUND)
    server = stage.accept()
    server.send(response(200, b"x" * 50, "Content-Length: 1000"))
    client.transport.unsent = 100_000
    client.stop_reading()
    client.transport.unsent = 50_000
    stage.pass_time(5.2)
    assert client.closed == "abort"


def test_one_that_is_taken_slowly_but_well_enough_goes_on(make):
    stage = make()
    client = stage.ask(request(), listener=Listener.INBOUND)
    server = stage.accept()
    server.send(response(200, b"x" * 50, "Content-Length: 1000"))
    client.transport.unsent = 100_000
    client.stop_reading()
    for _ in range(30):
        client.transport.unsent -= 130
        stage.pass_time(1)
    assert not client.closed


def test_an_event_stream_may_be_silent(make):
    stage = make()
    client = stage.ask(request(), listener=Listener.INBOUND)
    server = stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for _ in range(10):
        stage.pass_time(20)
        server.send(b"data: 1\n\n")
    assert not client.closed


def test_grpc_has_a_pace_of_its_own(make):
    stage = make()
    client, _ = upload(stage, "Content-Type: application/grpc+proto")
    trickle(stage, client, 20)
    assert not client.received()


def test_an_upgrade_that_is_refused_has_a_pace_of_its_own_too(make):
    stage = make()
    asked = request("GET /chat HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket")
    client = stage.ask(asked, listener=Listener.INBOUND)
    stage.accept().send(response(200, b"x" * 50, "Content-Length: 1000"))
    client.stop_reading()
    stage.pass_time(20)
    assert not client.closed


def test_the_outbound_listener_measures_nobody(make):
    stage = make()
    client, _ = upload(stage, listener=Listener.OUTBOUND)
    trickle(stage, client, 20)
    assert not client.received()


@pytest.mark.parametrize(
    ("limits", "timeouts", "cut"),
    [
        ("body_rate: 0", "", False),
        ("body_rate: 100B", "body_rate: 0", False),
        ("body_rate: 0", "body_rate: 100B", True),
        ("body_rate: 100B", "body_rate: listener", True),
    ],
)
def test_a_route_says_it_for_itself(make, limits, timeouts, cut):
    stage = make(limits, timeouts)
    client, _ = upload(stage)
    trickle(stage, client, 8)
    assert bool(client.received()) is cut


def test_a_process_that_stood_still_measures_again(make):
    stage = make()
    client, _ = upload(stage)
    stage.pass_time(1)
    stage.loop.stand_still(20)
    trickle(stage, client, 4.5, each=0.5)
    assert not client.received()
    trickle(stage, client, 1, each=0.5)
    assert client.answer().status == 408


# --- where there is no place ----------------------------------------------------------------------


def test_the_one_furthest_behind_gives_its_place(make):
    stage = make(places=2)
    first, _ = upload(stage)
    stage.pass_time(1)
    second, _ = upload(stage)
    stage.pass_time(1)
    client = stage.ask(request(), listener=Listener.INBOUND)
    assert first.answer().status == 408
    assert not second.received()
    stage.accept().answer()
    assert client.answer().status == 200
    assert stage.snapshot("in").calls == 1


def test_one_whose_bytes_are_on_their_way_keeps_its_place(make):
    stage = make(places=1)
    slow, _ = upload(stage)
    stage.pass_time(0.09)
    client = stage.ask(request(), listener=Listener.INBOUND)
    assert client.answer().reason == "bulkhead-full"
    assert not slow.received()


def test_a_fast_one_keeps_its_place(make):
    stage = make(places=1)
    fast, _ = upload(stage)
    fast.send(b"x" * 500)
    stage.pass_time(4)
    client = stage.ask(request(), listener=Listener.INBOUND)
    assert client.answer().reason == "bulkhead-full"
    assert not fast.received()


def test_a_request_in_the_queue_gets_the_place_at_once(make):
    stage = make(places=1, queue="max_queue: 5, queue_timeout: 1s")
    slow, _ = upload(stage)
    stage.pass_time(1)
    client = stage.ask(request(), listener=Listener.INBOUND)
    assert slow.answer().status == 408
    stage.accept().answer()
    assert client.answer().status == 200


def test_a_reader_that_takes_nothing_gives_its_place_too(make):
    stage = make(places=1)
    slow = stage.ask(request(), listener=Listener.INBOUND)
    stage.accept().send(response(200, b"x" * 50, "Content-Length: 1000"))
    slow.stop_reading()
    stage.pass_time(1.2)
    client = stage.ask(request(), listener=Listener.INBOUND)
    assert slow.closed == "abort"
    stage.accept().answer()
    assert client.answer().status == 200


def test_many_requests_at_once_end_the_slowest_in_order(make):
    stage = make(places=4)
    slow = []
    for _ in range(4):
        slow.append(upload(stage)[0])
        stage.pass_time(1)
    clients = [stage.ask(request(), listener=Listener.INBOUND) for _ in range(3)]
    assert [client.answer().status for client in slow[:3]] == [408] * 3
    assert not slow[3].received()
    for server in [stage.accept() for _ in clients]:
        server.answer()
    assert [client.answer().status for client in clients] == [200] * 3


@pytest.mark.interpreted
def test_they_share_a_search(make, monkeypatch):
    """It looks at every exchange: once for each request, slow clients made others wait."""
    searches = []
    search = ListenerGate._find_slow

    def counted(gate, now):
        searches.append(now)
        search(gate, now)

    monkeypatch.setattr(ListenerGate, "_find_slow", counted)
    stage = make(places=20)
    for _ in range(20):
        upload(stage)
    stage.pass_time(1)
    for _ in range(10):
        stage.ask(request(), listener=Listener.INBOUND)
    assert len(searches) == 1
    stage.pass_time(0.06)
    assert not stage.gateway.gates[Listener.INBOUND]._slow, "ended exchanges do not stay"
