"""Another attempt: when it is made, what it says, and what came of the first one's connection."""

import pytest
from exchange.wires import request, response

from proxy.errors import ConnectFailed, ConnectTimeout

ROUTE = """
service: stage
upstreams: {{shop: {{endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]}}}}
policies:
  default:
    timeouts: {{attempt: 5s, request: 15s}}
    retry: {{backoff: {{initial: 100ms, jitter: none}}, {retry}}}
    {more}
routes: [{{name: shop, upstream: shop}}]
"""


@pytest.fixture
def two(make_stage):
    """A route to two endpoints; `retry` and `more` are YAML."""

    def make(retry="attempts: 3", more=""):
        return make_stage(ROUTE.format(retry=retry, more=more))

    return make


def attempt(stage, pause=0.11):
    """The server of the attempt that comes now."""
    stage.pass_time(pause)
    return stage.accept()


# --- what is tried again ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fail", "condition", "label"),
    [
        (lambda server: server.close(), "reset", "upstream-reset"),
        (lambda server: server.reset(), "reset", "upstream-reset"),
        (lambda server: server.send(b"HTTP/1.1 2"), "timeout", "attempt-timeout"),
        (lambda server: server.send(b"no http\r\n\r\n"), "reset", "upstream-malformed"),
        (lambda server: server.send(b"x" * 70_000), "reset", "upstream-malformed"),
        (lambda server: server.answer(502), "gateway-error", "5xx"),
        (lambda server: server.answer(503), "gateway-error", "5xx"),
    ],
)
def test_another_attempt_at_another_endpoint(two, fail, condition, label):
    stage = two()
    client = stage.ask(request("GET /x HTTP/1.1", "X-Request-Id: one", "Idempotency-Key: k"))
    first = stage.accept()
    before = first.request()
    fail(first)
    if condition == "timeout":
        stage.pass_time(5)
    assert client.received() == b""
    second = attempt(stage)
    assert second.endpoint is not first.endpoint
    after = second.request()
    assert before.get("x-retry-attempt") is None
    assert after.get("x-retry-attempt") == "1"
    for name in ("x-request-id", "idempotency-key"):
        assert after.get(name) == before.get(name)
    trace, again = before.get("traceparent").split("-"), after.get("traceparent").split("-")
    assert (trace[1], trace[3]) == (again[1], again[3])
    assert trace[2] != again[2]
    second.answer(200, b"hello")
    answer = client.answer()
    assert (answer.body, answer.get("proxy-status")) == (b"hello", "stage; attempts=2")
    assert stage.stats().retries == {condition: 1}
    assert stage.stats().attempts == {("shop", label): 1, ("shop", "2xx"): 1}
    (record,) = stage.records
    assert record.attempts[1] == (second.endpoint.label, 200, pytest.approx(0.1))


@pytest.mark.parametrize("error", [None, ConnectTimeout("late"), ConnectFailed("gone")])
def test_a_failed_connect_is_tried_again_for_every_method(two, error):
    stage = two()
    client = stage.ask(request("POST /x HTTP/1.1", body=b"12345"))
    stage.refuse(error)
    second = attempt(stage)
    asked = second.request()
    assert asked.body == b"12345"
    assert asked.get("x-retry-attempt") is None, "no service has seen it yet"
    second.answer()
    assert client.answer().status == 200
    assert stage.stats().retries == {"connect-failure": 1}


def test_the_waits_grow_and_the_last_response_is_the_clients(two):
    stage = two("attempts: 4")
    client = stage.ask(request())
    for n, wait in enumerate([0, 0.1, 0.2, 0.4]):
        if n:
            stage.pass_time(wait - 0.01)
            assert stage.connects == 0
            stage.pass_time(0.02)
        server = stage.accept() if stage.connects else stage.servers[-2]
        assert int(server.request().get("x-retry-attempt") or 0) == n
        server.send(response(503, b"%d" % n, "Connection: close"))
    answer = client.answer()
    assert (answer.status, answer.body) == (503, b"3")
    assert answer.get("proxy-status") == "stage; attempts=4"
    assert (stage.records[0].status, stage.records[0].reason) == (503, "")
    assert stage.stats().refused == {"attempts": 1}


def test_the_last_failure_is_the_answers(two):
    stage = two("attempts: 2")
    client = stage.ask(request())
    stage.refuse()
    stage.pass_time(0.11)
    stage.accept().close()
    answer = client.answer()
    assert (answer.status, answer.reason) == (502, "upstream-reset")
    assert b'"failure":"connect-refused"' in answer.body
    assert stage.stats().answers == {(502, "upstream-reset"): 1}


# --- what it came to ----------------------------------------------------------------------------


def results(stage):
    return {kind: count for kind, count in stage.stats().results_by_kind.items() if count}


@pytest.mark.parametrize(
    ("retry", "statuses", "kind"),
    [
        ("attempts: 3", [200], "successful_without_retry"),
        ("attempts: 3", [404], "successful_without_retry"),
        ("attempts: 3", [503, 200], "successful_with_retry"),
        ("attempts: 3", [503, 503, 200], "successful_with_retry"),
        ("attempts: 2", [503, 503], "failed_with_retry"),
        ("attempts: 2", [503, 500], "failed_with_retry"),
        ("attempts: 1", [503], "failed_without_retry"),
        ("on: [reset]", [503], "failed_without_retry"),
    ],
)
def test_a_request_has_one_result(two, retry, statuses, kind):
    stage = two(retry)
    client = stage.ask(request())
    for number, status in enumerate(statuses):
        if number:
            stage.pass_time(0.21)
        server = stage.accept() if stage.connects else stage.servers[-2]
        server.answer(status)
    assert client.answer().status == statuses[-1]
    assert results(stage) == {kind: 1}


def test_a_refusal_by_the_breaker_is_a_failed_result(two):
    stage = two(
        "attempts: 3",
        "circuit_breaker: {window: {type: count, size: 1}, minimum_calls: 1}",
    )
    client = stage.ask(request())
    stage.accept().answer(500)
    assert client.answer().status == 500
    assert results(stage) == {"failed_without_retry": 1}
    assert stage.ask(request()).answer().reason == "circuit-open"
    assert results(stage) == {"failed_without_retry": 2}


def test_a_client_that_leaves_is_no_result(two):
    stage = two()
    client = stage.ask(request())
    stage.accept().request()
    client.close()
    assert results(stage) == {}


# --- what is not, and why -----------------------------------------------------------------------


def test_an_outcome_that_is_not_listed(two):
    stage = two("on: [reset]")
    client = stage.ask(request())
    stage.accept().answer(503)
    assert client.answer().status == 503
    assert stage.stats().refused == {"condition": 1}


def test_a_listed_status_below_500(two):
    stage = two("on: [429]")
    client = stage.ask(request())
    stage.accept().answer(429)
    attempt(stage).answer()
    assert client.answer().status == 200


def test_a_method_that_is_not_repeatable(two):
    stage = two()
    client = stage.ask(request("POST /x HTTP/1.1", body=b"1"))
    stage.accept().answer(503)
    assert client.answer().status == 503
    assert stage.stats().refused == {"not-repeatable": 1}


@pytest.mark.parametrize("name", ["Idempotency-Key", "X-Idempotency-Key"])
def test_a_key_makes_it_repeatable(two, name):
    stage = two()
    client = stage.ask(request("POST /x HTTP/1.1", f"{name}: k", body=b"1"))
    stage.accept().answer(503)
    assert attempt(stage).request().body == b"1"
    stage.servers[-1].answer()
    assert client.answer().status == 200


def test_the_order_of_the_questions(two):
    """A POST whose attempts are spent was refused for want of attempts, not for its method."""
    stage = two("attempts: 1")
    client = stage.ask(request("POST /x HTTP/1.1", body=b"1"))
    stage.accept().answer(503)
    assert client.answer().get("proxy-status") is None
    assert stage.stats().refused == {"attempts": 1}


def test_no_time_for_the_wait(two):
    stage = two()
    client = stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 90"))
    stage.accept().answer(503)
    assert client.answer().status == 503
    assert stage.stats().refused == {"deadline": 1}


def test_no_budget(two):
    stage = two("budget: {ratio: 0%, min_per_second: 0.1, window: 10s}")
    for expected in (200, 503):
        client = stage.ask(request())
        server = stage.accept() if stage.connects else stage.servers[0]
        server.received()
        server.send(response(503, b"", "Connection: close"))
        if expected == 200:
            attempt(stage).send(response(200, b"", "Connection: close"))
        assert client.answer().status == expected
    assert stage.stats().refused["budget"] == 1


def test_an_open_breaker(two):
    stage = two(more="circuit_breaker: {minimum_calls: 1, window: {size: 1}}")
    client = stage.ask(request())
    stage.accept().answer(503, b"late")
    assert client.answer().body == b"late"
    assert stage.stats().refused == {"circuit-open": 1}
    refused = stage.ask(request()).answer()
    assert (refused.reason, refused.get("retry-after")) == ("circuit-open", "30")


def test_a_bad_answer_says_what_kept_it_from_another_try(two):
    stage = two(more="circuit_breaker: {minimum_calls: 2, window: {size: 2}}")
    client = stage.ask(request())
    stage.accept().send(response(503, b"", "Connection: close"))
    second = attempt(stage)
    second.answer(503)
    where = f'next-hop="{second.endpoint.label}"; retry-refused=circuit-open'
    assert client.answer().get("proxy-status") == f"stage; attempts=2; {where}"


def test_a_breaker_that_opens_during_the_wait(two):
    stage = two(more="circuit_breaker: {minimum_calls: 2, window: {size: 2}}")
    client = stage.ask(request())
    stage.accept().answer(503)
    other = stage.ask(request("POST /x HTTP/1.1", body=b"1"))
    server = stage.accept() if stage.connects else stage.servers[0]
    server.answer(503)
    assert other.answer().status == 503
    stage.pass_time(0.11)
    answer = client.answer()
    assert answer.reason == "circuit-open"
    assert stage.records[-1].attempts[0][1] == 503
    assert len(stage.records[-1].attempts) == 1


# --- Retry-After --------------------------------------------------------------------------------


def test_retry_after_is_waited_for(two):
    stage = two()
    client = stage.ask(request())
    stage.accept().answer(503, b"", "Retry-After: 3")
    stage.pass_time(2.9)
    assert stage.connects == 0
    stage.pass_time(0.2)
    stage.accept().answer()
    assert client.answer().status == 200


def test_a_retry_after_that_is_too_long_is_given_back(two):
    stage = two()
    client = stage.ask(request())
    stage.accept().answer(503, b"", "Retry-After: 6")
    assert client.answer().get("retry-after") == "6"
    assert stage.stats().refused == {"retry-after": 1}


# --- the connection of a failed attempt ---------------------------------------------------------


def test_a_discarded_response_that_came_whole_leaves_its_connection(stage):
    client = stage.ask(request())
    server = stage.accept()
    server.received()
    server.answer(503, b"sorry")
    stage.pass_time(0.11)
    assert stage.connects == 0
    assert server.request().get("x-retry-attempt") == "1"
    server.answer(200, b"hello")
    assert client.answer().body == b"hello"


def test_a_discarded_response_that_did_not_takes_it_along(stage):
    client = stage.ask(request())
    server = stage.accept()
    server.send(response(503, b"sor", "Content-Length: 5"))
    assert server.closed == "abort"
    attempt(stage).answer()
    assert client.answer().status == 200


def test_a_connection_that_waits_for_the_rest_of_a_body_is_not_used_again(stage):
    """Else the next request would be read as the rest of this one's body."""
    client = stage.ask(request("PUT /x HTTP/1.1", "Content-Length: 10") + b"12345")
    first = stage.accept()
    first.received()
    first.answer(503)
    assert first.closed == "abort"
    second = attempt(stage)
    assert first.received() == b""
    assert second.request().body == b"12345"
    client.send(b"67890")
    assert second.received() == b"67890"
    second.answer()
    assert client.answer().status == 200


# --- the client meanwhile -----------------------------------------------------------------------


def test_a_client_that_leaves_during_the_wait(stage):
    client = stage.ask(request())
    stage.accept().answer(503)
    client.reset()
    stage.pass_time(10)
    assert stage.connects == 0
    assert [record.reason for record in stage.records] == ["client-gone"]


def test_informational_responses_do_not_rule_it_out(stage):
    client = stage.ask(request())
    stage.accept().send(b"HTTP/1.1 103 Early Hints\r\n\r\n", response(503))
    assert client.received() == b"HTTP/1.1 103 Early Hints\r\n\r\n"
    stage.pass_time(0.11)
    stage.servers[0].answer()
    assert client.answer().status == 200


def test_nothing_of_a_response_that_has_begun_is_tried_again(stage):
    client = stage.ask(request())
    server = stage.accept()
    server.send(response(200, b"12", "Content-Length: 5"))
    server.close()
    assert client.closed
    stage.pass_time(10)
    assert stage.connects == 0


def test_no_attempt_begins_that_max_duration_would_cut(make_stage):
    stage = make_stage(
        ROUTE.format(retry="attempts: 3", more="").replace("15s", "15s, max_duration: 1s")
    )
    client = stage.ask(request())
    stage.accept()
    stage.pass_time(1.01)
    assert client.answer().reason == "request-timeout"
    assert stage.stats().retries == {}


def test_a_caller_that_gives_no_time_gets_none(two):
    stage = two()
    answer = stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 0")).answer()
    assert answer.reason == "request-timeout"
    assert stage.connects == 0
    assert stage.snapshot().failures == 0


def test_a_callers_time_that_ends_while_connecting_says_nothing_of_the_upstream(two):
    stage = two(more="circuit_breaker: {minimum_calls: 1, window: {size: 1}}")
    client = stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 50"))
    stage.pass_time(0.06)
    assert client.answer().reason == "request-timeout"
    assert stage.snapshot().calls == 0
