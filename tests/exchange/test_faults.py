"""Injected faults in whole exchanges: what other policies make of them, how they are marked."""

import pytest
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
    assert client.answer().reason == "attempt-timeout"
    assert stage.snapshot().failures == 1


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
