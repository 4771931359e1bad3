"""Deadlines of the request and of its attempts, to the millisecond."""

import pytest
from exchange.wires import request

CONFIG = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies:
  default:
    timeouts: {attempt: 2s, request: 5s, propagate: PROPAGATE}
    retry: {attempts: 9, backoff: {initial: 400ms, multiplier: 1, jitter: none}}
    circuit_breaker: {mode: off}
routes: [{name: shop, upstream: shop}]
"""


@pytest.fixture
def stage(make_stage):
    return make_stage(CONFIG.replace("PROPAGATE", "true"))


def left(server):
    return int(server.request().get("x-request-timeout-ms"))


def test_attempts_share_the_requests_time(stage):
    client = stage.ask(request())
    assert left(stage.accept()) == 5000
    stage.pass_time(2.41)
    assert 2580 <= left(stage.accept()) <= 2600
    stage.pass_time(2.4)
    assert 180 <= left(stage.accept()) <= 200
    stage.pass_time(0.17)
    assert client.received() == b""
    stage.pass_time(0.03)
    answer = client.answer()
    assert (answer.status, answer.reason) == (504, "request-timeout")
    assert [attempt[1] for attempt in stage.records[0].attempts] == [
        "attempt-timeout", "attempt-timeout", "request-timeout",
    ]  # fmt: skip


def test_no_wait_begins_that_cannot_end_in_time(stage):
    client = stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 2400"))
    stage.accept()
    stage.pass_time(2.01)
    assert client.answer().reason == "attempt-timeout"
    assert stage.stats().refused == {"deadline": 1}


def test_the_caller_can_only_shorten(stage):
    stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 60000"))
    assert left(stage.accept()) == 5000


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["X-Request-Timeout-Ms: 1500"], 1500),
        (["grpc-timeout: 1500m"], 1500),
        (["grpc-timeout: 2S", "X-Request-Timeout-Ms: 1500"], 1500),
        (["grpc-timeout: 1S", "X-Request-Timeout-Ms: 1500"], 1000),
        (["X-Request-Timeout-Ms: soon"], 5000),
        (["X-Request-Timeout-Ms: -1"], 5000),
        (["X-Request-Timeout-Ms: 1.5"], 5000),
        (["grpc-timeout: 1"], 5000),
        (["grpc-timeout: 123456789m"], 5000),
    ],
)
def test_what_the_caller_may_say(stage, fields, expected):
    stage.ask(request("GET /x HTTP/1.1", *fields))
    assert left(stage.accept()) == expected


def test_nothing_is_said_where_it_is_switched_off(make_stage):
    stage = make_stage(CONFIG.replace("PROPAGATE", "false"))
    stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 1000"))
    assert stage.accept().request().get("x-request-timeout-ms") is None


def test_an_answer_in_the_last_moment(stage):
    client = stage.ask(request())
    server = stage.accept()
    stage.pass_time(1.999)
    server.answer()
    assert client.answer().status == 200


def test_connecting_runs_against_the_attempt(stage):
    client = stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 2100"))
    stage.pass_time(2.01)
    answer = client.answer()
    assert (answer.status, answer.reason) == (504, "connect-timeout")
    stage.accept()
    assert stage.counts() == (0, 1, 0, 0, 0)


def test_the_alarm_is_silent_when_all_is_over(stage):
    client = stage.ask(request("GET /x HTTP/1.1", "Connection: close"))
    stage.accept().answer()
    client.close()
    stage.pass_time(10)
    assert stage.loop.timers == 0
