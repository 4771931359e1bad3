"""What a circuit breaker hears of every way in which an exchange can end: once, and the truth."""

import pytest
from exchange.wires import request, response

from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import CircuitPermit

pytestmark = pytest.mark.interpreted  # listens in on the breaker

CONFIG = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]}}
policies:
  default:
    timeouts: {attempt: 5s, request: REQUEST, idle: 10s}
    retry: {attempts: ATTEMPTS, backoff: {initial: 100ms, jitter: none}}
    circuit_breaker: {minimum_calls: 50, counts: COUNTS, SCOPE slow_call: {duration: 2s}}
routes: [{name: shop, upstream: shop}]
"""


@pytest.fixture
def settled(monkeypatch):
    """Verdicts in the order in which they came; as many as there were permits, in the end."""
    heard, permits = [], []
    admit, settle = CircuitBreaker.admit, CircuitBreaker.settle

    def admitting(breaker, now, ask):
        answer = admit(breaker, now, ask)
        if isinstance(answer, CircuitPermit):
            permits.append(answer)
        return answer

    def settling(breaker, permit, verdict, duration, now):
        heard.append(verdict.value)
        assert len(heard) <= len(permits), "settled more often than admitted"
        settle(breaker, permit, verdict, duration, now)

    monkeypatch.setattr(CircuitBreaker, "admit", admitting)
    monkeypatch.setattr(CircuitBreaker, "settle", settling)
    yield heard
    if heard:
        assert len(heard) == len(permits)


@pytest.fixture(params=["attempts", "requests"])
def counts(request):
    return request.param


@pytest.fixture
def make(make_stage, settled):
    def make(counts="attempts", attempts=1, request="15s", scope=""):
        text = CONFIG.replace("COUNTS", counts).replace("ATTEMPTS", str(attempts))
        return make_stage(text.replace("REQUEST", request).replace("SCOPE", scope))

    return make


def post(length=5, body=b"0"):
    return request("POST /x HTTP/1.1", f"Content-Length: {length}") + body


ENDINGS = {
    "success": (lambda s, c: s.accept().answer(), "success"),
    "not found": (lambda s, c: s.accept().answer(404), "success"),
    "5xx": (lambda s, c: s.accept().answer(500), "failure"),
    "refused": (lambda s, c: s.refuse(), "failure"),
    "closed": (lambda s, c: s.accept().close(), "failure"),
    "reset": (lambda s, c: s.accept().reset(), "failure"),
    "malformed": (lambda s, c: s.accept().send(b"what?\r\n\r\n"), "failure"),
    "attempt timeout": (lambda s, c: (s.accept(), s.pass_time(5.01)), "failure"),
    "connect timeout": (lambda s, c: s.pass_time(5.01), "failure"),
    "client gone, connecting": (lambda s, c: c.reset(), "ignored"),
    "client gone, waiting": (lambda s, c: (s.accept(), c.reset()), "ignored"),
    "drain cut": (lambda s, c: [e.cut() for e in tuple(s.gate().exchanges)], "ignored"),
    "truncated behind its head": (
        lambda s, c: (lambda v: (v.send(response(200, b"", "Content-Length: 5")), v.reset()))(
            s.accept()
        ),
        "success",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_is_heard_once(make, settled, counts, ending):
    stage = make(counts)
    end, verdict = ENDINGS[ending]
    client = stage.ask(request())
    end(stage, client)
    assert len(stage.records) == 1
    assert settled == [verdict]
    snapshot = stage.snapshot()
    assert snapshot.calls == (verdict != "ignored")
    assert snapshot.failures == (verdict == "failure")
    while stage.connects:
        stage.accept()
    stage.assert_at_rest()
    assert settled == [verdict]


UPLOADS = {
    "malformed body": (lambda s, c: c.send(b"zz\r\n"), "ignored"),
    "client stalls": (lambda s, c: s.pass_time(10.01), "ignored"),
    "client gone": (lambda s, c: c.reset(), "ignored"),
    "early answer": (lambda s, c: s.servers[0].answer(401), "success"),
    "refused by its head": (lambda s, c: s.servers[0].answer(500), "failure"),
    "given up": (lambda s, c: (s.pass_time(1), s.servers[0].answer(500)), "ignored"),
    "upstream resets": (lambda s, c: s.servers[0].reset(), "ignored"),  # the client owed the rest
}


@pytest.mark.parametrize("ending", UPLOADS)
def test_every_ending_of_an_upload_is_heard_once(make, settled, counts, ending):
    stage = make(counts)
    end, verdict = UPLOADS[ending]
    client = stage.ask(request("POST /x HTTP/1.1", "Transfer-Encoding: chunked") + b"1\r\n0\r\n")
    stage.accept()
    end(stage, client)
    assert len(stage.records) == 1
    assert settled == [verdict]


def test_the_policys_request_timeout_is_the_upstreams_failure(make, settled, counts):
    stage = make(counts, request="3s")
    client = stage.ask(request())
    stage.accept()
    stage.pass_time(3.01)
    assert client.answer().reason == "request-timeout"
    assert settled == ["failure"]


def test_the_callers_is_not(make, settled, counts):
    stage = make(counts)
    client = stage.ask(request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 3000"))
    stage.accept()
    stage.pass_time(3.01)
    assert client.answer().reason == "request-timeout"
    assert settled == ["ignored"]


def test_grpc_callers_too(make, settled, counts):
    stage = make(counts)
    client = stage.ask(request("POST /x HTTP/1.1", "grpc-timeout: 3S"))
    seen = stage.accept().request()
    assert (seen.get("grpc-timeout"), seen.get("x-request-timeout-ms")) == ("3000000u", "3000")
    stage.pass_time(3.01)
    assert client.answer().reason == "request-timeout"
    assert settled == ["ignored"]


def test_attempts_are_heard_one_by_one(make, settled):
    stage = make(attempts=3)
    client = stage.ask(request())
    stage.accept().answer(503)
    stage.pass_time(0.11)
    stage.accept().close()
    stage.pass_time(0.21)
    server = stage.accept() if stage.connects else stage.servers[0]
    server.answer()
    assert client.answer().status == 200
    assert settled == ["failure", "failure", "success"]


def test_a_request_is_heard_as_one(make, settled):
    stage = make("requests", attempts=3)
    client = stage.ask(request())
    stage.accept().answer(503)
    stage.pass_time(0.11)
    assert settled == []
    stage.accept().answer()
    assert client.answer().status == 200
    assert settled == ["success"]


def test_each_endpoint_has_its_own(make, settled):
    stage = make(attempts=3, scope="scope: endpoint,")
    client = stage.ask(request())
    stage.accept().answer(503)
    stage.pass_time(0.11)
    stage.accept().answer()
    assert client.answer().status == 200
    assert stage.snapshot("shop:10.0.0.1:80").failures == 1
    assert (stage.snapshot("shop:10.0.0.2:80").calls, settled) == (1, ["failure", "success"])


def test_an_endpoint_whose_breaker_is_open_is_passed_over(make, settled):
    stage = make(scope="scope: endpoint,")
    first = stage.ask(request())
    stage.accept().answer()
    assert first.answer().status == 200
    stage.breaker("shop:10.0.0.1:80").force_open(stage.loop.now)
    second = stage.ask(request())
    server = stage.accept()
    assert server.endpoint.ip == "10.0.0.2"
    server.answer()
    assert second.answer().status == 200
    stage.breaker("shop:10.0.0.2:80").force_open(stage.loop.now)
    assert stage.ask(request()).answer().reason == "circuit-open"
    assert settled == ["success", "success"]


@pytest.mark.parametrize(
    ("seconds", "slow"), [(2.0, 0), (2.1, 1)], ids=["as long as allowed", "longer"]
)
def test_slow_is_up_to_the_responses_head(make, counts, seconds, slow):
    stage = make(counts)
    stage.ask(request())
    server = stage.accept()
    stage.pass_time(seconds)
    server.send(response(200, b"", "Content-Length: 5"))
    stage.pass_time(5)
    server.send(b"12345")
    assert stage.snapshot().slow_calls == slow


def test_the_time_of_an_upload_is_not_the_upstreams(make, counts):
    stage = make(counts)
    client = stage.ask(post(10))
    server = stage.accept()
    for _ in range(9):
        stage.pass_time(1)
        client.send(b"0")
    stage.pass_time(1)
    server.answer()
    assert client.answer().status == 200
    assert stage.snapshot().slow_calls == 0


def test_a_refusal_is_not_heard(make, settled, counts):
    stage = make(counts)
    stage.ask(request()).reset()
    stage.breaker().force_open(stage.loop.now)
    before = list(settled)
    client = stage.ask(request())
    answer = client.answer()
    assert (answer.status, answer.reason) == (503, "circuit-open")
    assert b'"attempts":[]' in answer.body
    assert settled == before == ["ignored"]
    assert stage.stats().attempts == {("shop", "client-gone"): 1}
    stage.accept()
