"""`mode: observe`: nothing is cut, retried or refused, and what would have been is noted once."""

import pytest
from exchange.wires import request, response

CONFIG = """
service: stage
upstreams: {{shop: {{endpoints: ["http://10.0.0.1:80"], connections: {{max: {most}}}}}}}
policies:
  default:
    timeouts: {{{timeouts}}}
    retry: {{{retry}}}
    bulkhead: {{{bulkhead}}}
    circuit_breaker: {{mode: "off"}}
routes: [{{name: shop, upstream: shop}}]
"""

SHORT = "mode: observe, connect: 100ms, attempt: 1s, request: 3s, idle: 2s, max_duration: 6s"


@pytest.fixture
def observing(make_stage):
    def make(timeouts=SHORT, retry="attempts: 1", bulkhead="max_concurrent: 9", most=9):
        text = CONFIG.format(timeouts=timeouts, retry=retry, bulkhead=bulkhead, most=most)
        return make_stage(text)

    return make


def noted(stage):
    return stage.records[-1].observed


# --- timeouts -------------------------------------------------------------------------------------


def test_a_response_after_every_deadline_still_arrives(observing):
    stage = observing()
    client = stage.ask(request())
    server = stage.accept()
    stage.pass_time(5)
    assert stage.stats().observed == {"timeouts.attempt": 1, "timeouts.request": 1}
    server.answer(200, b"late")
    assert client.answer().body == b"late"
    assert noted(stage) == ["timeouts.attempt", "timeouts.request"]
    assert (stage.records[0].status, stage.records[0].reason) == (200, "")


def test_one_in_time_notes_nothing(observing):
    stage = observing()
    client = stage.ask(request())
    stage.accept().answer(200, b"soon")
    assert client.answer().status == 200
    assert noted(stage) == []
    assert stage.stats().observed == {}


def test_a_connect_that_takes_its_time(observing):
    stage = observing()
    client = stage.ask(request())
    stage.pass_time(0.5)
    stage.accept().answer()
    assert client.answer().status == 200
    assert noted(stage) == ["timeouts.connect"]


def test_a_wait_for_room_is_no_slow_connect(observing):
    stage = observing(most=1)
    stage.ask(request("GET /1 HTTP/1.1"))
    second = stage.ask(request("GET /2 HTTP/1.1"))
    server = stage.accept()
    stage.pass_time(0.5)
    server.request()
    server.answer()
    server.answer()
    assert second.answer().status == 200
    assert noted(stage) == []


def test_silence_in_a_body_cuts_nothing(observing):
    stage = observing()
    client = stage.ask(request())
    server = stage.accept()
    server.send(response(200, b"12", "Content-Length: 4"))
    stage.pass_time(5)
    server.send(b"3")
    stage.pass_time(2)
    server.send(b"4")
    assert client.answer().body == b"1234"
    assert noted(stage) == ["timeouts.idle", "timeouts.max_duration"]
    assert stage.stats().observed == {"timeouts.idle": 1, "timeouts.max_duration": 1}


def test_a_body_that_the_client_stops_sending(observing):
    stage = observing()
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 4"), b"12")
    server = stage.accept()
    stage.pass_time(5)
    client.send(b"34")
    server.answer()
    assert client.answer().status == 200
    assert noted(stage) == ["timeouts.idle"]


def test_time_in_which_the_clients_body_flows_does_not_count(observing):
    stage = observing()
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 4"), b"1")
    server = stage.accept()
    for piece in (b"2", b"3", b"4"):
        stage.pass_time(1.5)
        client.send(piece)
    stage.pass_time(0.9)
    server.answer()
    assert client.answer().status == 200
    assert noted(stage) == []


def test_only_a_callers_deadline_is_sent_upstream(observing):
    stage = observing()
    stage.ask(request())
    assert stage.accept().request().get("x-request-timeout-ms") is None
    client = stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 9000"))
    stage.pass_time(1)
    server = stage.accept()
    assert server.request().get("x-request-timeout-ms") == "8000"
    stage.pass_time(9)
    server.answer()
    assert client.answer().status == 200


def test_the_queue_keeps_its_own_limit(observing):
    stage = observing(bulkhead="max_concurrent: 1, max_queue: 1, queue_timeout: 4s")
    stage.ask(request())
    stage.accept()
    waiting = stage.ask(request())
    stage.pass_time(3.5)
    assert waiting.received() == b""
    stage.pass_time(0.6)
    assert waiting.answer().reason == "queue-timeout"
    assert noted(stage) == ["timeouts.request"]


def test_a_slow_client_of_the_routes_own_rate_is_only_noted(observing):
    stage = observing("mode: observe, body_rate: 100B, idle: 1h, request: 1h, attempt: 1h")
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 3"), b"1")
    server = stage.accept()
    stage.pass_time(20)
    client.send(b"23")
    server.answer()
    assert client.answer().status == 200
    assert noted(stage) == ["timeouts.body_rate"]


# --- retry ----------------------------------------------------------------------------------------


def test_no_second_attempt_is_sent(observing):
    stage = observing("attempt: 1s", "mode: observe, attempts: 3")
    client = stage.ask(request())
    server = stage.accept()
    server.answer(503)
    assert client.answer().status == 503
    assert len(stage.records[0].attempts) == 1
    assert stage.connects == 0
    assert stage.records[0].retry_refused == "observe"
    assert noted(stage) == ["retry.gateway-error"]
    assert stage.stats().observed == {"retry.gateway-error": 1}
    assert stage.stats().retries == {}


def test_what_would_not_be_retried_is_not_noted(observing):
    stage = observing("attempt: 1s", "mode: observe, attempts: 3")
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 0"))
    stage.accept().answer(503)
    assert client.answer().status == 503
    assert stage.records[0].retry_refused == "not-repeatable"
    assert noted(stage) == []


def test_the_budget_is_charged_as_if_it_acted(observing):
    budget = "budget: {ratio: 0%, min_per_second: 0.1, window: 10s}"
    stage = observing("attempt: 1s", f"mode: observe, attempts: 3, {budget}")
    for _ in range(2):
        client = stage.ask(request())
        server = stage.servers[0] if stage.servers else stage.accept()
        server.answer(503)
        assert client.answer().status == 503
    assert [one.retry_refused for one in stage.records] == ["observe", "budget"]


# --- bulkhead -------------------------------------------------------------------------------------


def test_everything_enters_the_bulkhead(observing):
    stage = observing(
        "attempt: 1s",
        bulkhead="mode: observe, max_concurrent: 1, max_queue: 1, queue_timeout: 1s",
    )
    clients = [stage.ask(request(f"GET /{n} HTTP/1.1")) for n in range(3)]
    servers = [stage.accept() for _ in range(3)]
    bulkhead = stage.bulkhead()
    assert (bulkhead.in_use, bulkhead.queued) == (3, 0)
    for server, client in zip(servers, clients, strict=True):
        server.answer()
        assert client.answer().status == 200
    assert [one.observed for one in stage.records] == [
        [], ["bulkhead.queued"], ["bulkhead.refused"],
    ]  # fmt: skip
    assert stage.stats().observed == {"bulkhead.queued": 1, "bulkhead.refused": 1}


def test_a_reload_to_observe_lets_the_queue_in(observing):
    before = "max_concurrent: 1, max_queue: 2, queue_timeout: 9s"
    stage = observing("attempt: 5s", bulkhead=before)
    clients = [stage.ask(request(f"GET /{n} HTTP/1.1")) for n in range(2)]
    assert stage.bulkhead().queued == 1
    stage.reload(
        CONFIG.format(
            timeouts="attempt: 5s",
            retry="attempts: 1",
            bulkhead=f"mode: observe, {before}",
            most=9,
        )
    )
    assert stage.bulkhead().queued == 0
    stage.loop.run()
    servers = [stage.accept() for _ in clients]
    for client, server in zip(clients, servers, strict=True):
        server.answer()
        assert client.answer().status == 200
