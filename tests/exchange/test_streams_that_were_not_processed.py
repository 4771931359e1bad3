"""What a request does whose stream an HTTP/2 upstream refused, or whose connection was dead."""

import pytest
from exchange.many import Session
from exchange.wires import request

from proxy.errors import SessionLost, StreamRefused, UpstreamReset

pytestmark = pytest.mark.interpreted

CONFIG = """
service: stage
upstreams: {{shop: {{endpoints: ["http://10.0.0.1:80"]}}}}
policies:
  default:
    timeouts: {{attempt: 5s, request: 15s}}
    retry: {{backoff: {{initial: 100ms, jitter: none}}, {retry}}}
routes: [{{name: shop, upstream: shop}}]
"""

POST = request("POST /x HTTP/1.1", "X-Request-Id: one", body=b"order")


@pytest.fixture
def many(make_stage):
    def make(retry="attempts: 4"):
        return make_stage(CONFIG.format(retry=retry))

    return make


def refused():
    return StreamRefused("The upstream refused the stream.")


def lost():
    return SessionLost("The connection was found dead before the request was sent.")


def attempts(stage):
    (record,) = stage.records
    return [(failure, wait) for _, failure, wait in record.attempts]


def test_a_refused_stream_is_repeated_at_once_for_every_method(many):
    stage = many()
    client = stage.ask(POST)
    session = stage.accept_session(Session())
    session.latest.fail(refused())
    assert len(session.streams) == 2  # without a wait
    session.latest.answer(200)
    assert client.answer().status == 200
    assert attempts(stage) == [("upstream-reset", 0.0), (200, 0.0)]
    assert session.latest.sent == [b"order"]
    stats = stage.stats()
    assert (stats.retries["refused-stream"], session.broken) == (1, 1)


def test_only_the_first_is_repeated_at_once(many):
    stage = many()
    client = stage.ask(POST)
    session = stage.accept_session(Session())
    session.latest.fail(refused())
    session.latest.fail(refused())
    assert len(session.streams) == 2
    stage.pass_time(0.21)  # the backoff after the second attempt
    assert len(session.streams) == 3
    session.latest.answer(200)
    assert client.answer().status == 200
    assert attempts(stage) == [("upstream-reset", 0.0), ("upstream-reset", 0.0), (200, 0.2)]


def test_it_counts_against_attempts_and_budget(many):
    for retry in ("attempts: 1", "budget: {ratio: 0, min_per_second: 0}"):
        stage = many(retry)
        client = stage.ask(POST)
        session = stage.accept_session(Session())
        session.latest.fail(refused())
        assert client.answer().reason == "upstream-reset"
        assert len(session.streams) == 1


def test_it_is_repeated_only_where_the_policy_says_so(many):
    stage = many("on: [reset]")
    client = stage.ask(request("GET /x HTTP/1.1"))
    session = stage.accept_session(Session())
    session.latest.fail(refused())
    assert client.answer().reason == "upstream-reset"
    assert stage.records[0].retry_refused == "condition"


def test_a_reset_is_not_repeated_for_a_post(many):
    stage = many()
    client = stage.ask(POST)
    session = stage.accept_session(Session())
    session.latest.fail(UpstreamReset("The upstream reset the stream (INTERNAL_ERROR)."))
    assert client.answer().reason == "upstream-reset"
    assert stage.records[0].retry_refused == "not-repeatable"


def test_a_dead_session_costs_no_attempt(many):
    stage = many("attempts: 1")
    client = stage.ask(POST)
    session = stage.accept_session(Session())
    session.going_away = True
    session.latest.fail(lost())
    assert stage.connects == 1
    other = stage.accept_session(Session())
    other.latest.answer(200)
    assert client.answer().status == 200
    assert attempts(stage) == [(200, 0.0)]
    assert other.latest.sent == [b"order"]


def test_a_second_dead_session_is_a_connect_failure(many):
    stage = many("attempts: 1")
    client = stage.ask(POST)
    session = stage.accept_session(Session())
    session.latest.fail(lost())
    session.latest.fail(lost())
    assert client.answer().reason == "connect-failed"
    assert attempts(stage) == [("connect-failed", 0.0)]


def test_a_body_that_is_not_whole_is_not_sent_again(many):
    stage = many("body_limit: 4B")
    client = stage.ask(POST)
    session = stage.accept_session(Session())
    session.latest.fail(lost())
    assert client.answer().reason == "connect-failed"
    assert stage.records[0].retry_refused == "body"


def test_the_clock_of_the_attempt_goes_on(many):
    stage = many("attempts: 1")
    client = stage.ask(request("GET /x HTTP/1.1"))
    session = stage.accept_session(Session())
    stage.pass_time(3)
    session.latest.fail(lost())
    stage.pass_time(1.9)
    assert client.received() == b""
    stage.pass_time(0.2)
    assert client.answer().reason == "attempt-timeout"


def test_a_client_that_left_meanwhile_leaves_nothing(many):
    stage = many()
    client = stage.ask(POST)
    session = stage.accept_session(Session())
    session.going_away = True
    session.latest.fail(lost())
    client.reset()
    assert stage.records[0].reason == "client-gone"
    stage.accept_session(Session())
