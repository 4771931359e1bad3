"""Injected faults in whole exchanges: what other policies make of them, how they are marked."""

import pytest
from exchange.calls import Caller, accept
from exchange.wires import request

TEXT = """
service: stage
upstreams:
  shop: {endpoints: ["http://10.0.0.1:80"]}
policies:
  default:
    timeouts: {attempt: 2s, request: 10s}
    retry: {attempts: 1, backoff: {initial: 100ms, jitter: none}}
    circuit_breaker: {minimum_calls: 2, window: {size: 2}}
routes:
  - {name: shop, upstream: shop, faults: [FAULT]}
"""


@pytest.fixture
def suffer(make_stage):
    def made(fault, **changes):
        text = TEXT.replace("FAULT", fault)
        for key, value in changes.items():
            text = text.replace(f"{key}: 1", f"{key}: {value}")
        return make_stage(text)

    return made


def test_an_abort_is_an_answer_of_the_upstream_to_all_policies(suffer):
    stage = suffer("{share: 100%, abort: 503}")
    answer = stage.ask(request()).answer()
    assert (answer.status, answer.reason) == (503, "fault-injected")
    assert "proxy_internal_response" in answer.get("proxy-status")
    assert answer.get("content-type") == "application/problem+json"
    assert stage.connects == 0, "nothing goes upstream"
    assert stage.stats().faults == {"abort": 1}
    assert stage.stats().answers == {(503, "fault-injected"): 1}
    assert stage.snapshot().failures == 1
    stage.ask(request())
    assert stage.ask(request()).answer().reason == "circuit-open"
    assert stage.stats().faults == {"abort": 2}, "an attempt that was refused suffered none"


@pytest.mark.parametrize(
    ("fault", "when", "told"),
    [
        ("abort: 503", "503", "stage; received-status=503; fallback; fault=abort"),
        (
            "reset: true",
            "reset",
            'stage; error=connection_terminated; details="upstream-reset"; fallback; fault=reset',
        ),
    ],
)
def test_a_fallback_tells_the_fault_that_it_covers(make_stage, fault, when, told):
    fallback = f"fallback: {{when: [{when}], response: {{status: 200, body: spare}}}}"
    text = TEXT.replace("FAULT]", f"{{share: 100%, {fault}}}], {fallback}")
    answer = make_stage(text).ask(request()).answer()
    assert (answer.status, answer.body) == (200, b"spare")
    assert answer.get("proxy-status") == told


def test_an_abort_is_retried_and_each_attempt_draws_anew(suffer):
    stage = suffer("{share: 60%, abort: 503}", attempts=3)
    client = stage.ask(request())  # every draw is 0.5
    stage.chance = 0.9
    stage.pass_time(0.2)
    server = stage.accept()
    assert server.request().get("x-retry-attempt") == "1"
    server.answer()
    answer = client.answer()
    assert answer.status == 200
    assert "attempts=2" in answer.get("proxy-status")
    assert stage.records[-1].attempts[0][1:] == (503, 0.0)


def test_a_404_is_passed_on_with_its_status(suffer):
    answer = suffer("{share: 100%, abort: 404}").ask(request()).answer()
    assert (answer.status, answer.reason) == (404, "fault-injected")


def test_a_delay_and_then_the_upstream(suffer):
    stage = suffer("{share: 100%, delay: 500ms}")
    client = stage.ask(request())
    assert stage.connects == 0
    stage.pass_time(0.4)
    assert stage.connects == 0
    stage.pass_time(0.11)
    stage.accept().answer(200, b"late")
    answer = client.answer()
    assert (answer.status, answer.body) == (200, b"late")
    assert answer.get("proxy-status") == "stage; fault=delay"
    assert stage.stats().faults == {"delay": 1}


def test_a_long_delay_is_ended_by_the_attempts_deadline(suffer):
    stage = suffer("{share: 100%, delay: 5s}")
    client = stage.ask(request())
    stage.pass_time(2.01)
    answer = client.answer()
    assert answer.reason == "attempt-timeout"
    assert answer.get("proxy-status").endswith('details="attempt-timeout"; fault=delay')
    assert stage.snapshot().failures == 1


@pytest.mark.parametrize(("delay", "noted"), [("1s", []), ("3s", ["timeouts.attempt"])])
def test_a_delay_ends_where_timeouts_only_observe(make_stage, delay, noted):
    text = TEXT.replace("FAULT", f"{{share: 100%, delay: {delay}}}")
    stage = make_stage(text.replace("timeouts: {", "timeouts: {mode: observe, "))
    client = stage.ask(request())
    stage.pass_time(float(delay[:-1]) + 0.01)
    stage.accept().answer()
    assert client.answer().status == 200
    assert stage.records[-1].observed == noted


def test_a_delay_after_a_retry_tells_both(suffer):
    stage = suffer("{share: 60%, delay: 500ms}", attempts=2)
    stage.chance = 0.9
    client = stage.ask(request())
    stage.accept().reset()
    stage.chance = 0.1
    stage.pass_time(0.2)
    stage.pass_time(0.6)
    stage.accept().answer()
    assert client.answer().get("proxy-status") == "stage; attempts=2; fault=delay"


def test_a_client_that_leaves_during_a_delay(suffer):
    stage = suffer("{share: 100%, delay: 5s}")
    client = stage.ask(request())
    client.reset()
    stage.pass_time(6)
    assert stage.connects == 0
    assert stage.records[-1].reason == "client-gone"
    assert stage.snapshot().failures == 0


def test_a_reset(suffer):
    stage = suffer("{share: 100%, reset: true}")
    answer = stage.ask(request()).answer()
    assert (answer.status, answer.reason) == (502, "upstream-reset")
    assert b"A fault of this route" in answer.body
    assert b'"failure":"upstream-reset","fault":"reset"' in answer.body
    assert answer.get("proxy-status").endswith('details="upstream-reset"; fault=reset')
    assert stage.stats().faults == {"reset": 1}


def test_a_post_is_not_repeated_after_a_reset(suffer):
    stage = suffer("{share: 100%, reset: true}", attempts=3)
    answer = stage.ask(request("POST /x HTTP/1.1", body=b"abc")).answer()
    assert answer.reason == "upstream-reset"
    assert stage.stats().refused == {"not-repeatable": 1}


def test_a_body_goes_on_after_a_delay(suffer):
    stage = suffer("{share: 100%, delay: 500ms}")
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 4", body=b"ab"))
    stage.pass_time(0.3)
    client.send(b"cd")
    stage.pass_time(0.3)
    server = stage.accept()
    assert server.request().body == b"abcd"
    server.answer()
    assert client.answer().status == 200


def test_headers_ask_up_to_the_caps_and_never_go_on(suffer):
    stage = suffer("{headers: true, share: 100%, delay: 300ms}")
    client = stage.ask(request("GET /x HTTP/1.1", "X-Fault-Delay: 10s", "X-Other: 1"))
    stage.pass_time(0.31)
    server = stage.accept()
    sent = server.request()
    assert (sent.get("x-fault-delay"), sent.get("x-other")) == (None, "1")
    server.answer()
    assert client.answer().status == 200
    answer = stage.ask(request("GET /x HTTP/1.1", "X-Fault-Abort: 418")).answer()
    assert (answer.status, answer.reason) == (418, "fault-injected")
    for asked in ("X-Fault-Abort: 999", "X-Fault-Abort: x", "X-Fault-Delay: soon"):
        client = stage.ask(request("GET /x HTTP/1.1", asked))
        server.answer()
        assert client.answer().status == 200


@pytest.mark.parametrize("fault", ["", "{share: 1%, abort: 503}"])
def test_headers_that_are_not_allowed_are_dropped(suffer, fault):
    stage = suffer(fault)
    client = stage.ask(request("GET /x HTTP/1.1", "X-Fault-Delay: 1s", "X-Fault-Abort: 500"))
    server = stage.accept()
    assert [name for name in server.request().names if "fault" in name.lower()] == []
    server.answer()
    assert client.answer().status == 200
    assert stage.stats().faults == {}


def test_a_hedge_overtakes_a_delay(make_stage):
    text = TEXT.replace("FAULT", "{share: 60%, delay: 1s}").replace("attempts: 1", "attempts: 3")
    stage = make_stage(text.replace("faults:", "hedge: {delay: 100ms}, faults:"))
    client = stage.ask(request())
    stage.chance = 0.9
    stage.pass_time(0.11)
    stage.accept().answer(200, b"hedge")
    assert client.answer().body == b"hedge"


def test_a_hedge_draws_its_own(make_stage):
    text = TEXT.replace("FAULT", "{share: 60%, abort: 503}").replace("attempts: 1", "attempts: 3")
    stage = make_stage(text.replace("faults:", "hedge: {delay: 100ms}, faults:"))
    stage.chance = 0.9
    client = stage.ask(request())
    server = stage.accept()
    stage.chance = 0.5
    stage.pass_time(0.11)
    assert not stage.connects
    assert stage.stats().faults == {"abort": 1}
    server.answer(200, b"first")
    assert client.answer().body == b"first"


# --- throttle -------------------------------------------------------------------------------------

SLOW = "{share: 100%, throttle: 1000B}"


def begun(stage, *fields, size=500):
    """A throttled response of so many bytes: its client and its server."""
    client = stage.ask(request("GET /x HTTP/1.1", *fields))
    server = stage.accept()
    server.answer(200, size * b"x")
    return client, server


def test_a_throttled_body_comes_at_its_rate(suffer):
    stage = suffer(SLOW)
    client, _ = begun(stage)
    head = client.received()
    assert head.startswith(b"HTTP/1.1 200")
    assert head.endswith(b"\r\n\r\n"), "the head comes at once"
    assert b"fault=throttle" in head
    stage.pass_time(0.25)
    assert 190 <= len(client.received()) <= 250
    stage.pass_time(0.3)
    assert 250 <= len(client.received()) <= 310
    assert (stage.records[-1].bytes_out, stage.records[-1].reason) == (500, "")
    assert stage.stats().faults == {"throttle": 1}
    stage.pass_time(1)
    client.send(request())
    stage.servers[0].answer(200, b"")
    assert client.answer().status == 200, "the connections are kept"


def test_portions_have_a_distance(suffer):
    stage = suffer(SLOW)
    client, _ = begun(stage)
    client.received()
    stage.pass_time(0.045)
    assert not client.received()
    stage.pass_time(0.01)
    assert 45 <= len(client.received()) <= 55


def test_an_upstream_that_paused_gets_no_burst(suffer):
    stage = suffer(SLOW)
    client = stage.ask(request())
    server = stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + 50 * b"x")
    stage.pass_time(2)
    client.received()
    server.send(450 * b"x")
    stage.pass_time(0.1)
    assert 50 <= len(client.received()) <= 110


def test_chunks_and_trailers_follow(suffer):
    stage = suffer(SLOW)
    client = stage.ask(request("GET /x HTTP/1.1", "TE: trailers"))
    server = stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n")
    server.send(b"64\r\n" + 100 * b"a" + b"\r\n0\r\nX-Sum: 7\r\n\r\n")
    stage.pass_time(0.08)
    assert not client.received().endswith(b"\r\n\r\n0\r\n\r\n")
    stage.pass_time(0.1)
    assert client.received().endswith(b"0\r\nX-Sum: 7\r\n\r\n")


def test_the_upstream_is_not_read_faster_than_a_bounded_part(suffer):
    stage = suffer("{share: 100%, throttle: 100KiB}")
    client = stage.ask(request())
    server = stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 262144\r\n\r\n")
    server.send(65536 * b"x", 100 * b"x")
    assert not server.reading
    got = len(client.received())
    for _ in range(40):
        stage.pass_time(0.1)
        got += len(client.received())
        if server.reading:
            break
    assert server.reading
    assert got < 65536
    client.reset()
    assert server.closed


def test_a_client_that_does_not_read_is_not_sent_more(suffer):
    stage = suffer("{share: 100%, throttle: 1000B}")
    client, _ = begun(stage, size=1000)
    stage.pass_time(0.1)
    client.stop_reading()
    client.received()
    stage.pass_time(2)
    assert not client.received()
    client.read_on()
    stage.pass_time(0.1)
    assert len(client.received()) <= 110, "no burst for the time that was lost"
    stage.pass_time(2)
    assert stage.records[-1].bytes_out == 1000


def test_a_body_that_breaks_off_does_so_after_what_came(suffer):
    stage = suffer(SLOW)
    client = stage.ask(request())
    server = stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + 200 * b"x")
    server.close()
    assert not client.closed
    stage.pass_time(0.3)
    assert client.closed
    assert client.received().endswith(200 * b"x")
    assert stage.records[-1].reason == "upstream-truncated"


def test_a_client_that_leaves_takes_its_throttle_along(suffer):
    stage = suffer(SLOW)
    client, server = begun(stage)
    stage.pass_time(0.1)
    client.reset()
    assert server.closed
    stage.pass_time(1)
    assert stage.records[-1].reason == "client-gone"


def test_without_a_body_there_is_nothing_to_throttle(suffer):
    stage = suffer(SLOW)
    client = stage.ask(request("HEAD /x HTTP/1.1"))
    stage.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert client.answer().status == 200


def test_informational_heads_pass_at_once(suffer):
    stage = suffer(SLOW)
    client = stage.ask(request())
    server = stage.accept()
    server.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    assert client.received().startswith(b"HTTP/1.1 103")
    server.answer(200, 50 * b"x")
    stage.pass_time(0.1)
    assert client.received().endswith(50 * b"x")


def test_an_upload_is_held_back_as_without_it(suffer):
    stage = suffer(SLOW)
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 9", body=b"abc"))
    server = stage.accept()
    server.stop_reading()
    assert not client.transport.reading
    server.read_on()
    assert client.transport.reading
    client.send(b"defghi")
    assert server.request().body == b"abcdefghi"
    server.answer()
    assert client.answer().status == 200


def test_a_drain_cuts_it(suffer):
    stage = suffer(SLOW)
    client, server = begun(stage)
    (exchange,) = stage.gate().exchanges
    exchange.cut()
    stage.pass_time(0.01)
    assert client.closed
    assert server.closed
    assert stage.records[-1].reason == "drain-cut"


def test_a_throttle_that_is_asked_for_has_a_cap(suffer):
    stage = suffer("{headers: true, share: 100%, throttle: 1000B}")
    for asked, within in (("x-fault-throttle: 10B", 0.5), ("x-fault-throttle: 5000B", 0.1)):
        client, server = begun(stage, asked)
        assert server.request().get("x-fault-throttle") is None
        client.received()
        stage.pass_time(within - 0.06)
        assert len(client.received()) < 500
        stage.pass_time(0.12)
        client.received()
        assert stage.records[-1].bytes_out == 500
        server.close()
    client, _ = begun(stage, "x-fault-throttle: fast")
    assert client.answer().body == 500 * b"x"


@pytest.mark.interpreted
def test_a_grpc_stream_is_throttled(suffer):
    stage = suffer(SLOW)
    caller = Caller(stage)
    (call,) = accept(stage)
    call.answer(("content-type", "application/grpc"), data=100 * b"m")
    call.end_with(0)
    stage.pass_time(0.05)
    assert len(caller.data) <= 55
    assert caller.code is None
    stage.pass_time(0.1)
    assert (caller.data, caller.code) == (100 * b"m", 0)
