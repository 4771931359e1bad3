"""Hedges: another attempt while the first one takes long; one wins, the other leaves no trace."""

import pytest
from exchange.wires import request

from proxy.policies.budget import RETRY_BUDGET
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER

TEXT = """
service: stage
upstreams:
  shop:
    endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"]
policies:
  default:
    timeouts: {attempt: 2s, request: 10s}
    hedge: {delay: 100ms}
    retry: {backoff: {initial: 100ms, jitter: none}}
    circuit_breaker: {minimum_calls: 1, window: {size: 4}, scope: endpoint}
routes:
  - {name: shop, upstream: shop}
"""


@pytest.fixture
def shop(make_stage):
    return make_stage(TEXT)


def begin(stage, *parts, after=0.11, **kwargs):
    """A request whose first attempt has no answer in time: the client and both servers."""
    client = stage.ask(request(*parts, **kwargs))
    first = stage.accept()
    stage.pass_time(after)
    assert stage.connects == 1
    return client, first, stage.accept()


def calls(stage):
    breakers = stage.bindings.gates.of(CIRCUIT_BREAKER)
    return sorted(entry.gate.snapshot(stage.loop.now).calls for entry in breakers.values())


def retries(stage):
    return stage.bindings.gates.of(RETRY_BUDGET)["default:shop"].gate.snapshot(stage.loop.now)


@pytest.mark.parametrize("winner", [0, 1])
def test_the_first_answer_wins_and_the_other_attempt_leaves_no_trace(shop, winner):
    client, *servers = begin(shop)
    assert servers[0].endpoint is not servers[1].endpoint
    servers[winner].answer(200, b"hello")
    answer = client.answer()
    assert (answer.status, answer.body) == (200, b"hello")
    assert "attempts=2" in answer.get("proxy-status")
    assert servers[1 - winner].closed, "what is left of it would be another's answer"
    assert not servers[winner].closed
    assert calls(shop) == [0, 1]
    assert shop.stats().hedges == {("lost", "won")[winner]: 1}
    assert shop.stats().retries == {}
    assert (retries(shop).requests, retries(shop).retries) == (1, 1)
    labels = [one.endpoint.label for one in servers]
    assert [one[:2] for one in shop.records[-1].attempts] == [
        (labels[1 - winner], "hedge-lost"),
        (labels[winner], 200),
    ]


@pytest.mark.parametrize(
    ("answers", "kind"), [([503, 503], "failed"), ([503, 200], "successful")], ids=str
)
def test_a_hedge_is_not_a_retry_of_the_requests_result(make_stage, answers, kind):
    stage = make_stage(TEXT.replace("retry: {", "retry: {attempts: 2, "))
    client, *servers = begin(stage)
    for server, status in zip(servers, answers, strict=True):
        server.answer(status)
    assert client.answer().status == answers[-1]
    counted = {name: count for name, count in stage.stats().results_by_kind.items() if count}
    assert counted == {f"{kind}_without_retry": 1}


def test_a_hedge_is_not_marked_as_a_retry(shop):
    client, first, second = begin(shop)
    assert second.request().get("x-retry-attempt") is None
    first.answer(503)
    assert not client.received()
    second.answer(503)
    shop.pass_time(0.2)
    third = shop.accept()
    assert third.request().get("x-retry-attempt") == "2", "two attempts that a service has seen"
    third.answer()
    assert client.answer().status == 200
    assert shop.stats().hedges == {"failed": 1}


def test_the_hedge_of_a_retry_has_the_retrys_number(shop):
    client = shop.ask(request())
    shop.accept().answer(503)
    shop.pass_time(0.11)
    retry = shop.accept() if shop.connects else shop.servers[0]
    assert retry.request().get("x-retry-attempt") == "1"
    shop.pass_time(0.11)
    hedge = shop.accept()
    assert hedge.request().get("x-retry-attempt") == "1", "a service has seen one attempt"
    hedge.answer()
    assert client.answer().status == 200


def test_a_connect_that_may_be_repeated_is_not_hedged(shop):
    client = shop.ask(
        b"CONNECT db.test:443 HTTP/1.1\r\nHost: db.test:443\r\nIdempotency-Key: 7\r\n\r\n"
    )
    shop.resolve(["10.0.0.7"])
    shop.pass_time(0.5)
    assert shop.connects == 1
    shop.accept()
    assert client.received().startswith(b"HTTP/1.1 200 ")


def test_a_quick_answer_needs_none(shop):
    client = shop.ask(request())
    shop.accept().answer()
    assert client.answer().status == 200
    assert shop.connects == 0
    assert shop.stats().hedges == {}


def test_what_would_be_retried_does_not_win(shop):
    client, first, second = begin(shop)
    first.answer(503)
    assert not client.received()
    second.answer(200)
    assert client.answer().status == 200
    assert shop.stats().hedges == {"won": 1}


def test_what_would_not_be_retried_wins(shop):
    client, first, second = begin(shop)
    second.answer(404)
    assert client.answer().status == 404
    assert first.closed


def test_a_lost_connection_leaves_the_race_to_the_other(shop):
    client, first, second = begin(shop)
    second.reset()
    assert not client.received()
    first.answer()
    assert client.answer().status == 200
    assert shop.stats().hedges == {"lost": 1}


def test_if_all_fail_the_retry_policy_decides_once(shop):
    client, first, second = begin(shop)
    shop.pass_time(1.9)  # the first attempt's deadline
    assert first.closed
    shop.pass_time(0.11)
    assert second.closed
    shop.pass_time(0.2)
    shop.accept().answer()
    assert client.answer().status == 200
    assert shop.stats().retries == {"timeout": 1}
    assert len(shop.records[-1].attempts) == 3


def test_hedges_count_in_the_attempts(make_stage):
    stage = make_stage(TEXT.replace("retry: {", "retry: {attempts: 2, "))
    client, first, second = begin(stage)
    first.answer(503)
    second.answer(503)
    assert client.answer().status == 503
    assert stage.stats().refused == {"attempts": 1}


@pytest.mark.parametrize("retry", ["attempts: 1", "mode: observe"])
def test_without_retries_there_is_none(make_stage, retry):
    stage = make_stage(TEXT.replace("retry: {", f"retry: {{{retry}, "))
    client = stage.ask(request())
    first = stage.accept()
    stage.pass_time(1.0)
    assert stage.connects == 0
    first.answer()
    assert client.answer().status == 200


@pytest.mark.parametrize(
    ("line", "fields", "hedged"),
    [
        ("POST /x HTTP/1.1", [], False),
        ("POST /x HTTP/1.1", ["Idempotency-Key: 7"], True),
        ("POST /x HTTP/1.1", ["X-Idempotency-Key: 7"], True),
        ("POST /x HTTP/1.1", ["Idempotency-Key:"], False),
        ("PUT /x HTTP/1.1", [], True),
        ("GET /x HTTP/1.1", ["Connection: Upgrade", "Upgrade: websocket"], False),
    ],
)
def test_only_what_may_be_repeated(shop, line, fields, hedged):
    client = shop.ask(request(line, *fields, body=b"hello" if line[0] == "P" else b""))
    first = shop.accept()
    shop.pass_time(0.2)
    assert shop.connects == hedged
    first.answer()
    assert client.answer().status == 200


def test_a_body_that_still_flows_is_waited_for(shop):
    client = shop.ask(request("PUT /x HTTP/1.1", "Content-Length: 4", body=b"ab"))
    first = shop.accept()
    shop.pass_time(0.5)
    assert shop.connects == 0
    client.send(b"cd")
    shop.pass_time(0.05)
    assert shop.connects == 0
    shop.pass_time(0.2)
    second = shop.accept()
    assert second.request().body == b"abcd"
    second.answer()
    assert client.answer().status == 200
    assert first.closed


def test_a_long_body_is_not_kept_for_a_hedge(make_stage):
    stage = make_stage(TEXT.replace("retry: {", "retry: {body_limit: 3B, "))
    client = stage.ask(request("PUT /x HTTP/1.1", body=b"abcd"))
    first = stage.accept()
    stage.pass_time(0.5)
    assert stage.connects == 0
    first.answer()
    assert client.answer().status == 200


def test_the_budget_limits_them(make_stage):
    none = "retry: {budget: {ratio: 0%, min_per_second: 0}, "
    stage = make_stage(TEXT.replace("retry: {", none))
    client = stage.ask(request())
    first = stage.accept()
    stage.pass_time(0.5)
    assert stage.connects == 0
    assert stage.stats().hedges == {"no-budget": 1}
    first.answer()
    assert client.answer().status == 200


def test_an_open_breaker_allows_none(make_stage):
    stage = make_stage(TEXT.replace(", scope: endpoint", ""))
    client = stage.ask(request())
    first = stage.accept()
    stage.breaker().force_open(stage.loop.now)
    stage.pass_time(0.5)
    assert stage.connects == 0
    first.answer()
    assert client.answer().status == 200
    assert retries(stage).retries == 0, "and none is charged"


def test_a_client_that_leaves_cancels_both(shop):
    client, first, second = begin(shop)
    client.reset()
    shop.loop.run()
    assert first.closed
    assert second.closed
    assert calls(shop) == [0, 0]


def test_the_requests_deadline_ends_both(make_stage):
    stage = make_stage(TEXT.replace("request: 10s", "request: 500ms"))
    client, first, second = begin(stage)
    stage.pass_time(0.5)
    assert client.answer().reason == "request-timeout"
    assert first.closed
    assert second.closed


def test_more_than_one(make_stage):
    stage = make_stage(TEXT.replace("delay: 100ms", "delay: 100ms, max: 2"))
    client, first, second = begin(stage)
    stage.pass_time(0.11)
    third = stage.accept()
    assert len({one.endpoint for one in (first, second, third)}) == 3
    second.answer()
    assert client.answer().status == 200
    assert first.closed
    assert third.closed
    assert [one[1] for one in stage.records[-1].attempts] == ["hedge-lost", "hedge-lost", 200]


def test_max_is_for_the_request_not_for_each_attempt(make_stage):
    stage = make_stage(TEXT.replace("retry: {", "retry: {attempts: 5, "))
    client, first, second = begin(stage)
    first.answer(503)
    second.answer(503)
    stage.pass_time(0.4)  # the wait before the retry
    third = stage.accept()
    stage.pass_time(0.5)
    assert stage.connects == 0, "the request has had its hedge"
    third.answer()
    assert client.answer().status == 200
    assert stage.stats().hedges == {"failed": 1}


def test_a_hedge_that_still_connects_leaves_its_place(shop):
    client = shop.ask(request())
    first = shop.accept()
    shop.pass_time(0.11)
    first.answer()
    assert client.answer().status == 200
    assert shop.stats().hedges == {"lost": 1}
    shop.accept()  # the connect goes on, for another request
    counts = shop.counts()
    assert (counts.active, counts.idle) == (0, 2)


def test_one_endpoint_alone_is_asked_twice(make_stage):
    """Behind the address of a Service there may be another pod."""
    others = ', "http://10.0.0.2:80", "http://10.0.0.3:80"'
    stage = make_stage(TEXT.replace(others, "").replace("scope: endpoint", "scope: route"))
    client, _, second = begin(stage)
    second.answer()
    assert client.answer().status == 200


def test_the_delay_can_be_learned(make_stage):
    stage = make_stage(TEXT.replace("delay: 100ms", "delay: p95"))

    def call(seconds):
        client = stage.ask(request())
        if stage.connects:
            stage.accept()
        server = next(one for one in reversed(stage.servers) if not one.closed)
        stage.pass_time(seconds)
        assert stage.connects == 0
        server.answer()
        assert client.answer().status == 200

    for _ in range(30):
        call(0.05)
    client = stage.ask(request())
    stage.pass_time(0.045)
    assert stage.connects == 0
    stage.pass_time(0.02)
    assert stage.connects or stage.counts().active == 2
    client.reset()
    stage.loop.run()


P95 = TEXT.replace("delay: 100ms", "delay: p95")


def learn(stage):
    """Thirty answers after 50 ms."""
    for _ in range(30):
        client = stage.ask(request())
        if stage.connects:
            stage.accept()
        server = next(one for one in reversed(stage.servers) if not one.closed)
        stage.pass_time(0.05)
        server.answer()
        assert client.answer().status == 200


def hedges_soon(stage):
    """Whether a request that has no answer after 65 ms is hedged."""
    client = stage.ask(request())
    stage.pass_time(0.065)
    hedged = stage.connects + stage.counts().active
    client.reset()
    stage.loop.run()
    return hedged == 2


def quick(stage):
    """A connection is open: the answer takes 5 ms."""
    client = stage.ask(request())
    server = stage.accept() if stage.connects else stage.servers[-1]
    stage.pass_time(0.005)
    server.answer()
    assert client.answer().status == 200


def slow_retry(stage):
    client = stage.ask(request())
    stage.servers[-1].answer(503)
    stage.pass_time(0.011)
    stage.pass_time(0.1)
    stage.servers[-1].answer()
    assert client.answer().status == 200


def slow_failure(stage):
    client = stage.ask(request("POST /x HTTP/1.1"))
    stage.pass_time(0.1)
    stage.servers[-1].reset()
    assert client.answer().status == 502
    quick(stage)


def slow_loser(stage):
    client = stage.ask(request())
    stage.pass_time(0.1)
    server = stage.accept() if stage.connects else stage.servers[-1]  # no hedge: it has learned
    server.answer()
    assert client.answer().status == 200


@pytest.mark.parametrize(
    ("kind", "soon"), [(slow_retry, True), (slow_failure, True), (slow_loser, False)]
)
def test_the_delay_is_learned_from_first_attempts_with_an_answer_or_a_hedge(make_stage, kind, soon):
    """Quick answers, then others after 100 ms: whether a hedge still begins after 65 ms."""
    stage = make_stage(
        P95.replace(
            "retry: {backoff: {initial: 100ms", "retry: {attempts: 2, backoff: {initial: 10ms"
        )
        .replace(', "http://10.0.0.2:80", "http://10.0.0.3:80"', "")
        .replace("minimum_calls: 1", "mode: off, minimum_calls: 1")
    )
    for _ in range(30):
        quick(stage)
    for _ in range(40):
        kind(stage)
    assert hedges_soon(stage) == soon


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        (P95.replace("attempt: 2s", "attempt: 3s"), True),
        (P95.replace("delay: p95", "delay: p95, max: 2"), False),
        (P95.replace("{name: shop, upstream: shop}", "{name: shop, upstream: app}"), False),
    ],
)
def test_a_reload_keeps_what_was_learned_where_the_settings_are(make_stage, other, kept):
    stage = make_stage(P95)
    learn(stage)
    stage.reload(other)
    assert hedges_soon(stage) == kept


def test_of_a_split_too(make_stage):
    split = P95.replace("upstream: shop}", "upstream: {shop: 1, app: 0}}")
    stage = make_stage(split)
    learn(stage)
    stage.reload(split.replace("attempt: 2s", "attempt: 3s"))
    assert hedges_soon(stage)
