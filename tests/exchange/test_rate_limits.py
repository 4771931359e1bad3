"""Rate limits in whole exchanges: answers, waiting for a turn, what never hears of a refusal."""

import pytest
from exchange.wires import request

from proxy.config.model import Listener
from proxy.policies.budget import RETRY_BUDGET
from proxy.policies.rate_limits import RATE_LIMITS

TEXT = """
service: stage
listeners: {inbound: {forwarded: {trust: [10.0.0.0/8]}}}
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}, app: {endpoints: ["http://10.0.0.9:80"]}}
policies:
  default:
    circuit_breaker: {minimum_calls: 1, window: {size: 4}}
routes:
  - {name: shop, match: {prefix: /x}, upstream: shop, rate_limits: [{rate: 10/s, burst: 2}]}
  - name: line
    match: {prefix: /line}
    upstream: shop
    rate_limits: [{rate: 10/s, burst: 1}]
    bulkhead: {max_concurrent: 1, max_queue: 2, queue_timeout: 400ms}
    timeouts: {request: 5s}
  - {name: in, listener: inbound, upstream: app, rate_limits: [{key: client, rate: 1/s, burst: 1}],
     bulkhead: {max_queue: 5, queue_timeout: 5s}}
  - {name: any, match: {prefix: /any}, rate_limits: [{rate: 1/m, burst: 2}]}
"""


@pytest.fixture
def shop(make_stage):
    return make_stage(TEXT)


def ask(stage, path="/x", *fields, listener=Listener.OUTBOUND):
    return stage.ask(request(f"GET {path} HTTP/1.1", *fields), listener=listener)


def call(stage, path="/x", *fields, listener=Listener.OUTBOUND):
    """One call that its upstream answers."""
    client = ask(stage, path, *fields, listener=listener)
    serve(stage)
    return client.answer()


def serve(stage):
    if stage.connects:
        stage.accept()
    next(one for one in reversed(stage.servers) if not one.closed).answer()


def gate(stage, name="shop"):
    return stage.bindings.gates.of(RATE_LIMITS)[name].gate


def test_the_answer_to_one_too_many(shop):
    assert [call(shop).status for _ in range(2)] == [200, 200]
    answer = shop.ask(request()).answer()
    assert (answer.status, answer.reason) == (429, "rate-limited")
    assert answer.get("retry-after") == "1"
    assert answer.get("ratelimit-policy") == '"route";q=2;w=1'
    assert answer.get("ratelimit") == '"route";r=0;t=1'
    assert "http_request_denied" in answer.get("proxy-status")
    assert b"admits 10/s" in answer.body
    shop.pass_time(0.1)
    answer = call(shop)
    assert answer.status == 200
    assert answer.get("ratelimit") is None


def test_a_refusal_reaches_neither_breaker_nor_budget_nor_bulkhead(shop):
    call(shop), call(shop)
    calls = shop.snapshot().calls
    budget = shop.bindings.gates.of(RETRY_BUDGET)["default:shop"].gate
    requests = budget.snapshot(shop.loop.now).requests
    for _ in range(20):
        assert shop.ask(request()).answer().status == 429
    assert shop.snapshot().calls == calls
    assert budget.snapshot(shop.loop.now).requests == requests
    assert shop.bulkhead().in_use == 0
    assert shop.stats().answers[429, "rate-limited"] == 20


def test_a_request_waits_for_its_turn_in_a_place_of_the_bulkhead(shop):
    assert call(shop, "/line").status == 200
    first, second = ask(shop, "/line"), ask(shop, "/line")
    assert gate(shop, "line").waiting == 2
    assert shop.bulkhead("line").queued == 2
    third = ask(shop, "/line")
    assert third.answer().reason == "rate-limited", "all places are taken"
    shop.pass_time(0.11)
    serve(shop)
    assert first.answer().status == 200
    assert not second.received()
    shop.pass_time(0.1)
    serve(shop)
    assert second.answer().status == 200
    assert shop.bulkhead("line").queued == 0
    assert shop.records[-1].queued == pytest.approx(0.2, abs=0.02)


def test_a_turn_that_comes_too_late_is_not_waited_for(shop):
    assert call(shop, "/line").status == 200
    assert ask(shop, "/line", "X-Request-Timeout-Ms: 50").answer().reason == "rate-limited"
    assert shop.bulkhead("line").queued == 0


def test_a_client_that_leaves_gives_place_and_turn_back(shop):
    assert call(shop, "/line").status == 200
    waiting = ask(shop, "/line")
    assert gate(shop, "line").waiting == 1
    waiting.reset()
    shop.loop.run()
    assert gate(shop, "line").waiting == 0
    assert shop.bulkhead("line").queued == 0
    shop.pass_time(0.1)
    assert call(shop, "/line").status == 200


def test_those_behind_a_client_that_leaves_move_up(shop):
    assert call(shop, "/line").status == 200
    leaving, staying = ask(shop, "/line"), ask(shop, "/line")
    leaving.reset()
    shop.loop.run()
    shop.pass_time(0.11)
    serve(shop)
    assert staying.answer().status == 200
    assert gate(shop, "line").waiting == 0


def test_a_reload_lets_those_that_wait_go_on(shop):
    assert call(shop, "/line").status == 200
    waiting = ask(shop, "/line")
    shop.reload(TEXT.replace("rate: 10/s, burst: 1}]", "rate: 10/s, burst: 1, mode: observe}]"))
    shop.loop.run()
    serve(shop)
    assert waiting.answer().status == 200


def test_a_turn_leads_into_the_queue_of_a_full_bulkhead(shop):
    busy = ask(shop, "/line")
    server = shop.accept()
    waiting = ask(shop, "/line")
    shop.pass_time(0.11)
    assert gate(shop, "line").waiting == 0
    assert shop.bulkhead("line").queued == 1
    server.answer()
    assert busy.answer().status == 200
    serve(shop)
    assert waiting.answer().status == 200


def test_inbound_nobody_waits_and_a_client_is_whom_trusted_proxies_name(shop):
    def inbound(*fields):
        return call(shop, "/x", *fields, listener=Listener.INBOUND).status

    assert inbound("X-Forwarded-For: 192.0.2.1, 10.3.3.3") == 200
    assert inbound("X-Forwarded-For: 192.0.2.2") == 200
    refused = ask(shop, "/x", "X-Forwarded-For: 192.0.2.1", listener=Listener.INBOUND)
    assert refused.answer().reason == "rate-limited"


def test_a_route_without_an_upstream_has_one_limit_for_all_authorities(shop):
    def anywhere(host):
        client = shop.ask(request(f"GET http://{host}/any HTTP/1.1"))
        while shop.connects:
            shop.accept().answer()
        return client.answer().status

    assert [anywhere(f"10.1.1.{n}") for n in (1, 2, 3)] == [200, 200, 429]
    assert list(shop.bindings.gates.of(RATE_LIMITS)) == ["any"]


def test_connect_takes_part(shop):
    shop.reload(TEXT.replace("match: {prefix: /any}, ", ""))
    for status in (None, None, 429):
        client = shop.ask(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n")
        if status:
            assert client.answer().status == status
        else:
            assert not client.received()
            client.reset()
            shop.loop.run()


def test_state_and_counters_go_on_over_a_reload(shop):
    call(shop), call(shop)
    shop.reload(TEXT.replace("service: stage", "service: other"))
    assert shop.ask(request()).answer().status == 429
    shop.reload(TEXT.replace("burst: 2}", "burst: 4}"))
    assert [call(shop).status for _ in range(4)] == [200] * 4
    assert gate(shop).snapshot(shop.loop.now).allowed == {"route": 6}


def test_a_fallback_may_cover_it(make_stage):
    fallback = "fallback: {when: [rate-limited], response: {status: 200, body: later}}"
    stage = make_stage(TEXT.replace("burst: 2}]", f"burst: 2}}], {fallback}"))
    call(stage), call(stage)
    answer = stage.ask(request()).answer()
    assert (answer.status, answer.body) == (200, b"later")


def test_a_limit_that_only_observes_says_what_it_would_have_done(make_stage):
    stage = make_stage(TEXT.replace("burst: 2}]", "burst: 2, mode: observe}]"))
    assert [call(stage).status for _ in range(4)] == [200] * 4
    assert stage.stats().observed == {"rate_limits.limited": 2}
