"""Which endpoint whole exchanges go to: hashes, ejection, probes, and what never counts."""

import pytest
from exchange.wires import request

from proxy.errors import ConnectRefused
from proxy.outcome import Verdict
from proxy.policies.circuit_breaker_answers import BreakerState
from proxy.policies.ejection import Why

TEXT = """
service: stage
upstreams:
  shop:
    endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"]
    outlier_detection: {consecutive_failures: 2}
policies:
  default:
    timeouts: {attempt: 2s, request: 10s, idle: 3s}
    retry: {attempts: 1, backoff: {initial: 100ms, jitter: none}}
    circuit_breaker: {mode: "off"}
routes:
  - {name: shop, upstream: shop}
"""
FIRST, SECOND, THIRD = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"
EJECTED_FOR = 27.0
"""Seconds: eject_for.initial, and every draw is 0.0."""


@pytest.fixture
def shop(make_stage):
    return make_stage(TEXT)


def begin(stage, *parts, **kwargs):
    """A request, and the server that got it."""
    client = stage.ask(request(*parts, **kwargs))
    return client, received_by(stage)


def received_by(stage):
    if stage.connects:
        stage.accept()
    for server in stage.servers:
        if not server.closed and server.received():
            return server
    raise AssertionError("no server got the request")


def serve(stage, status=200, *parts, **kwargs):
    """A whole exchange; the address that got it."""
    client, server = begin(stage, *parts, **kwargs)
    server.answer(status)
    assert client.answer().status == status
    return server.endpoint.label


def member(stage, index=0):
    return stage.gateway.upstreams["shop"].endpoints[index].member


def ejections(stage):
    return sum(stage.gateway.upstreams["shop"].choice.standings.counts.ejections.values())


def eject(stage, index=0):
    while not member(stage, index).ejected:
        serve(stage, 503)


# --- ejection -----------------------------------------------------------------------------------


def test_an_endpoint_that_fails_is_left_out_and_one_request_brings_it_back(shop):
    assert [serve(shop, 503), serve(shop, 503)] == [FIRST, FIRST]
    assert [serve(shop), serve(shop)] == [SECOND, SECOND]
    shop.pass_time(EJECTED_FOR - 1)
    assert serve(shop) == SECOND
    shop.pass_time(1.1)
    client, server = begin(shop)
    assert server.endpoint.label == FIRST
    assert serve(shop) == SECOND, "one request at a time decides"
    server.answer()
    assert client.answer().status == 200
    assert serve(shop) == FIRST
    assert ejections(shop) == 1


def test_a_probe_that_fails_ejects_for_longer(shop):
    eject(shop)
    shop.pass_time(EJECTED_FOR + 0.1)
    assert serve(shop, 500) == FIRST
    shop.pass_time(2 * EJECTED_FOR - 1)
    assert serve(shop) == SECOND
    shop.pass_time(1.1)
    assert serve(shop) == FIRST
    assert shop.gateway.upstreams["shop"].choice.standings.counts.ejections[Why.PROBE_FAILED] == 1


def test_a_repeated_attempt_is_no_probe(make_stage):
    stage = make_stage(TEXT.replace("attempts: 1", "attempts: 2"))
    for _ in range(2):
        client, server = begin(stage)
        server.answer(503)
        stage.pass_time(0.11)
        again = received_by(stage)
        assert again.endpoint.label != FIRST
        again.answer()
        assert client.answer().status == 200
    assert member(stage).ejected
    client, server = begin(stage)
    stage.pass_time(1.9)
    assert server.endpoint.label == SECOND
    server.answer(503)
    member(stage).until = stage.loop.now
    member(stage)._ejection.plan()
    stage.pass_time(0.11)
    last = received_by(stage)
    assert last.endpoint.label == THIRD
    last.answer()
    assert client.answer().status == 200


def test_a_timeout_a_reset_and_a_refused_connection_count(shop):
    client = shop.ask(request())
    shop.accept()
    shop.pass_time(2.1)
    assert client.answer().reason == "attempt-timeout"
    client = shop.ask(request())
    shop.accept().reset()
    assert client.answer().reason == "upstream-reset"
    assert member(shop).ejected
    for _ in range(2):
        client = shop.ask(request())
        shop.refuse()
        assert client.answer().reason == "connect-refused"
        for endpoint in shop.gateway.upstreams["shop"].endpoints:
            endpoint.pool.avoid_until = 0.0
    assert not member(shop, 1).ejected, "one of three is the most"
    assert ejections(shop) == 1
    shop.reload(TEXT.replace("failures: 2}", "failures: 2, max_ejected: 100%}"))
    client = shop.ask(request())
    shop.refuse()
    assert client.answer().reason == "connect-refused"
    assert member(shop, 1).ejected


def test_404_and_429_do_not_eject(shop):
    for status in (404, 429, 404, 429):
        assert serve(shop, status) == FIRST
    assert ejections(shop) == 0


def test_a_client_that_leaves_says_nothing_about_the_endpoint(shop):
    for _ in range(3):
        client, server = begin(shop)
        client.reset()
        assert server.closed
    assert serve(shop, 503) == FIRST
    assert ejections(shop) == 0


def test_a_body_that_stalls_says_nothing_about_the_endpoint(shop):
    for _ in range(3):
        head = request("POST /x HTTP/1.1", "Content-Length: 10")
        client = shop.ask(head)
        shop.accept()
        shop.pass_time(3.1)
        assert client.answer().status == 408
    assert ejections(shop) == 0


@pytest.mark.parametrize(
    ("seconds", "reason"), [("2s", "connect-timeout"), ("20s", "request-timeout")]
)
def test_a_wait_for_a_busy_connection_says_nothing_about_the_endpoint(make_stage, seconds, reason):
    text = TEXT.replace(', "http://10.0.0.3:80"', "").replace("attempt: 2s", f"attempt: {seconds}")
    stage = make_stage(text.replace("failures: 2}", "failures: 1}\n    connections: {max: 1}"))
    busy = [begin(stage) for _ in range(2)]
    for _, server in busy:
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
    waiting = stage.ask(request("GET / HTTP/1.1"))
    for _ in range(10):
        stage.pass_time(1.001)
        for _, server in busy:
            server.send(b"a")
    assert waiting.answer().reason == reason
    assert ejections(stage) == 0


def test_a_probe_whose_client_leaves_is_followed_by_another(shop):
    eject(shop)
    shop.pass_time(EJECTED_FOR + 0.1)
    client, server = begin(shop)
    assert server.endpoint.label == FIRST
    client.reset()
    assert serve(shop) == FIRST
    assert not member(shop).ejected


@pytest.mark.parametrize("fault", ["abort: 503", "reset: true", "delay: 3s"])
def test_injected_faults_say_nothing_about_the_endpoint(make_stage, fault):
    stage = make_stage(
        TEXT.replace("upstream: shop}", f"upstream: shop, faults: [{{share: 100%, {fault}}}]}}")
    )
    for _ in range(3):
        client = stage.ask(request())
        stage.pass_time(2.1)
        assert client.answer().status in (503, 502, 504)
    assert ejections(stage) == 0


def test_the_loser_of_a_hedge_says_nothing_about_its_endpoint(make_stage):
    stage = make_stage(
        TEXT.replace("attempts: 1,", "attempts: 2,").replace(
            "circuit_breaker", "hedge: {delay: 100ms}\n    circuit_breaker"
        )
    )
    for _ in range(3):
        client, slow = begin(stage)
        assert slow.endpoint.label == FIRST
        stage.pass_time(0.11)
        fast = received_by(stage)
        assert fast.endpoint.label != FIRST
        fast.answer()
        assert client.answer().status == 200
        assert slow.closed
    assert ejections(stage) == 0


def test_a_name_whose_first_address_refuses_counts_it_although_the_client_sees_nothing(make_stage):
    stage = make_stage(
        TEXT.replace(
            '["http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"]', '["http://shop"]'
        )
    )
    for number in range(2):
        client = stage.ask(request())
        if not number:
            stage.resolve(["10.0.0.1", "10.0.0.2"])
        stage.refuse(ConnectRefused("10.0.0.1:80 refused."))
        server = received_by(stage)
        assert server.endpoint.label == SECOND
        server.answer()
        assert client.answer().status == 200
        server.close()
        stage.pass_time(2.1)
    assert member(stage).ejected
    assert ejections(stage) == 1
    assert not member(stage, 1).ejected


def test_the_record_names_the_endpoints_that_were_out(shop):
    eject(shop)
    assert not any(record.left_out[0] for record in shop.records)
    assert serve(shop) in (SECOND, THIRD)
    out = ((FIRST, "ejected: consecutive-failures"),)
    assert shop.records[-1].left_out == [out]
    shop.pass_time(EJECTED_FOR)
    assert serve(shop) == FIRST
    assert shop.records[-1].left_out == [out], "it decides about its own return"
    serve(shop)
    assert shop.records[-1].left_out == [()]


def test_one_of_two_is_ejected_and_then_the_other_has_all(make_stage):
    stage = make_stage(TEXT.replace(', "http://10.0.0.3:80"', ""))
    eject(stage)
    for _ in range(5):
        assert serve(stage, 503) == SECOND
    assert not member(stage, 1).ejected


def test_observing_changes_no_choice(make_stage):
    stage = make_stage(
        TEXT.replace("{consecutive_failures: 2}", "{consecutive_failures: 2, mode: observe}")
    )
    for _ in range(4):
        assert serve(stage, 503) == FIRST
    assert member(stage).ejected
    assert ejections(stage) == 1


# --- none left ----------------------------------------------------------------------------------


def all_unhealthy(stage):
    for index in range(3):
        member(stage, index).mark(unhealthy=True)


def test_with_none_left_all_are_used(shop):
    all_unhealthy(shop)
    assert serve(shop) == FIRST


def test_with_none_left_requests_are_refused_where_the_file_says_so(make_stage):
    stage = make_stage(TEXT.replace("failures: 2}", "failures: 2, on_none: refuse}"))
    all_unhealthy(stage)
    answer = stage.ask(request()).answer()
    assert (answer.status, answer.reason) == (503, "no-healthy-endpoint")
    assert answer.get("retry-after") == "1"
    assert "destination_unavailable" in answer.get("proxy-status")
    assert stage.connects == 0
    assert stage.records[-1].attempts == []
    assert ejections(stage) == 0
    member(stage, 1).mark(unhealthy=False)
    assert serve(stage) == SECOND


def test_a_refusal_is_no_failure_for_the_breaker(make_stage):
    text = TEXT.replace('mode: "off"', "minimum_calls: 1").replace(
        "failures: 2}", "failures: 2, on_none: refuse}"
    )
    stage = make_stage(text)
    all_unhealthy(stage)
    for _ in range(3):
        assert stage.ask(request()).answer().reason == "no-healthy-endpoint"
    assert stage.snapshot().calls == 0
    member(stage, 0).mark(unhealthy=False)
    assert serve(stage) == FIRST


def test_an_ejected_endpoint_is_no_reason_to_retry_where_the_others_breakers_are_open(make_stage):
    breaker = "{scope: endpoint, minimum_calls: 1, window: {type: count, size: 4}}"
    text = TEXT.replace('{mode: "off"}', breaker).replace("failures: 2", "failures: 1")
    stage = make_stage(
        text.replace(', "http://10.0.0.3:80"', "").replace("attempts: 1", "attempts: 2")
    )
    _, out = stage.gateway.upstreams["shop"].endpoints
    out.enter(stage.loop.now).leave(Verdict.FAILURE, stage.loop.now)
    assert out.member.ejected
    client, server = begin(stage)
    server.answer(503, body=b"down for repair")
    stage.pass_time(0.11)
    answer = client.answer()
    assert (answer.status, answer.body) == (503, b"down for repair"), "as the upstream said it"
    assert stage.records[-1].retry_refused == "circuit-open"


def test_two_https_names_at_one_address_have_a_breaker_each(make_stage):
    """The address decides nothing there: what answers depends on the name (SNI)."""
    text = TEXT.replace('{mode: "off"}', "{scope: endpoint, minimum_calls: 1}").replace(
        '["http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"]',
        '["https://a.shop", "https://b.shop"]',
    )
    stage = make_stage(text.replace("consecutive_failures: 2", "consecutive_failures: 9"))
    client = stage.ask(request())
    for _ in ("a.shop", "b.shop"):
        stage.resolve(("10.0.0.1",))
    received_by(stage).answer(200)
    assert client.answer().status == 200
    failed, other = "10.0.0.1:443 (a.shop)", "10.0.0.1:443 (b.shop)"
    serve(stage, 503)
    assert stage.snapshot(f"shop:{failed}").state is BreakerState.OPEN
    serve(stage)
    serve(stage)
    assert stage.snapshot(f"shop:{other}").state is BreakerState.CLOSED
    assert [record.attempts[0][0] for record in stage.records[1:]] == [failed, other, other]


def test_a_fallback_may_cover_it(make_stage):
    text = TEXT.replace("failures: 2}", "failures: 2, on_none: refuse}").replace(
        "upstream: shop}",
        "upstream: shop, fallback: {when: [no-healthy-endpoint], response: {status: 200}}}",
    )
    stage = make_stage(text)
    all_unhealthy(stage)
    assert stage.ask(request()).answer().status == 200


# --- reload -------------------------------------------------------------------------------------


def test_a_reload_keeps_connections_and_state_where_the_settings_are(shop):
    eject(shop)
    servers = len(shop.servers)
    shop.reload(TEXT.replace("service: stage", "service: stage2"))
    assert serve(shop) == SECOND
    shop.reload(TEXT.replace("failures: 2}", "failures: 2, mode: observe}"))
    assert serve(shop) == FIRST, "as under the bypass"
    shop.reload(TEXT)
    assert serve(shop) == SECOND
    shop.reload(TEXT.replace("failures: 2}", "failures: 3}"))
    assert serve(shop) == FIRST, "other settings begin again"
    assert ejections(shop) == 1, "a counter never falls"
    shop.reload(TEXT.replace("    outlier_detection: {consecutive_failures: 2}\n", ""))
    assert serve(shop) == FIRST
    assert member(shop) is None
    assert len(shop.servers) == servers + 1
    shop.reload(TEXT)
    eject(shop)
    assert ejections(shop) == 2


@pytest.mark.parametrize(
    "change",
    [
        "connections: {max: 7}",
        "protocol: http1",
        "dns_refresh: 9s",
        "connections: {max_streams: 9}",
    ],
)
def test_a_reload_of_what_connections_depend_on_keeps_the_state_too(shop, change):
    eject(shop)
    shop.pass_time(20.0)
    shop.reload(TEXT.replace("    outlier_detection:", f"    {change}\n    outlier_detection:"))
    assert member(shop).ejected
    assert serve(shop) == SECOND
    shop.pass_time(EJECTED_FOR - 19.9)
    assert serve(shop) == FIRST
    assert not member(shop).ejected


def test_a_reload_of_connections_keeps_latencies_and_addresses(make_stage):
    named = TWO_BY_EWMA.replace('["http://10.0.0.1:80", "http://10.0.0.2:80"]', '["http://shop"]')
    stage = make_stage(named)
    client = stage.ask(request())
    stage.resolve(["10.0.0.1", "10.0.0.2"])
    server = received_by(stage)
    stage.pass_time(0.5)
    server.answer()
    assert client.answer().status == 200
    stage.reload(
        named.replace("    outlier_detection:", "    dns_refresh: 9s\n    outlier_detection:")
    )
    before, after = server.endpoint.ip, stage.gateway.upstreams["shop"].endpoints
    assert [one.ip for one in after if one.latency.known] == [before]
    begin(stage)


def test_an_exchange_that_began_before_a_reload_ends_under_the_state_that_it_began_with(shop):
    client, server = begin(shop)
    shop.reload(TEXT.replace("failures: 2}", "failures: 1}"))
    server.answer(503)
    assert client.answer().status == 503
    assert not member(shop).ejected
    assert serve(shop, 503) == FIRST
    assert member(shop).ejected


# --- balancing ----------------------------------------------------------------------------------

HASHED = TEXT.replace(
    "    outlier_detection:",
    "    load_balancing: consistent_hash\n    hash: {header: user-id}\n    outlier_detection:",
)


def user(number):
    return ("GET /x HTTP/1.1", f"User-Id: u{number}")


def test_the_same_user_goes_to_the_same_endpoint(make_stage):
    stage = make_stage(HASHED)
    first = [serve(stage, 200, *user(number)) for number in range(12)]
    assert set(first) == {FIRST, SECOND, THIRD}
    assert [serve(stage, 200, *user(number)) for number in range(12)] == first


def test_without_its_endpoint_a_user_moves_and_the_probe_is_one_of_its_own_users(make_stage):
    stage = make_stage(HASHED)
    owners = {number: serve(stage, 200, *user(number)) for number in range(12)}
    gone = next(number for number, owner in owners.items() if owner == FIRST)
    for _ in range(2):
        assert serve(stage, 503, *user(gone)) == FIRST
    after = {number: serve(stage, 200, *user(number)) for number in range(12)}
    assert all(after[one] == owners[one] for one in owners if owners[one] != FIRST)
    assert FIRST not in after.values()
    stage.pass_time(EJECTED_FOR + 0.1)
    stays = next(number for number, owner in owners.items() if owner == SECOND)
    assert serve(stage, 200, *user(stays)) == SECOND
    assert serve(stage, 200, *user(gone)) == FIRST
    assert {number: serve(stage, 200, *user(number)) for number in range(12)} == owners


def test_a_repeated_attempt_is_no_probe_with_a_hash_either(make_stage):
    stage = make_stage(HASHED.replace("attempts: 1", "attempts: 2"))
    endpoints = stage.gateway.upstreams["shop"].endpoints
    hashing = stage.gateway.upstreams["shop"].choice._balancer
    seconds = {
        number: hashing.choose(
            [one for one in endpoints if one.label != FIRST], 0.0, b"u%d" % number
        ).label
        for number in range(40)
        if hashing.choose(endpoints, 0.0, b"u%d" % number).label == FIRST
    }
    (number,) = [number for number, label in seconds.items() if label == SECOND][:1]
    fail = endpoints[1]
    for _ in range(2):
        fail.enter(stage.loop.now).leave(Verdict.FAILURE, stage.loop.now)
    assert fail.member.ejected
    stage.pass_time(EJECTED_FOR + 1)
    client, server = begin(stage, *user(number))
    assert server.endpoint.label == FIRST
    server.answer(503)
    stage.pass_time(0.11)
    again = received_by(stage)
    assert again.endpoint.label == THIRD
    again.answer()
    assert client.answer().status == 200


EWMA = TEXT.replace("    outlier_detection:", "    load_balancing: ewma\n    outlier_detection:")


def test_ewma_leaves_a_slow_endpoint_and_one_that_says_429(make_stage):
    stage = make_stage(EWMA.replace(', "http://10.0.0.3:80"', ""))
    client, server = begin(stage)
    stage.pass_time(0.5)
    server.answer()
    assert (client.answer().status, server.endpoint.label) == (200, FIRST)
    assert serve(stage) == SECOND, "it is not known yet"
    assert [serve(stage) for _ in range(3)] == [SECOND] * 3
    assert serve(stage, 429) == SECOND
    assert [serve(stage) for _ in range(3)] == [FIRST] * 3


TWO_BY_EWMA = EWMA.replace(', "http://10.0.0.3:80"', "")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("end", ["client leaves", "its own deadline"])
def test_ewma_leaves_an_endpoint_that_hangs_until_callers_give_up(make_stage, known, end):
    stage = make_stage(TWO_BY_EWMA)
    for seconds in (0.001, 0.01) if known else ():
        client, server = begin(stage)
        stage.pass_time(seconds)
        server.answer()
        assert client.answer().status == 200
    deadline = ["GET /x HTTP/1.1", "X-Request-Timeout-Ms: 300"] if end != "client leaves" else []
    owners = []
    for _ in range(8):
        client, server = begin(stage, *deadline)
        owners.append(server.endpoint.label)
        stage.pass_time(0.01)
        if server.endpoint.label == SECOND:
            server.answer()
            assert client.answer().status == 200
        else:
            stage.pass_time(0.3)
            client.reset() if end == "client leaves" else client.answer()
    assert owners.count(FIRST) == 1, owners


def test_what_did_not_reach_an_endpoint_is_no_sample_for_ewma(make_stage):
    text = TWO_BY_EWMA.replace(
        "    outlier_detection:", "    connections: {max: 1}\n    outlier_detection:"
    )
    stage = make_stage(text)
    first, second = stage.gateway.upstreams["shop"].endpoints
    begin(stage), begin(stage)
    waiting = stage.ask(request())
    stage.pass_time(1.0)
    waiting.reset()
    assert not first.latency.known
    assert not second.latency.known


def test_a_loser_that_a_fault_delayed_is_no_sample_for_ewma(make_stage):
    fault = "hedge: {delay: 100ms}\n    faults: [{share: 50%, delay: 1s}]\n    "
    text = TWO_BY_EWMA.replace("circuit_breaker:", fault + "circuit_breaker:")
    stage = make_stage(text.replace("attempts: 1,", "attempts: 2,"))
    stage.chance = 0.0
    client = stage.ask(request())
    stage.chance = 0.9
    stage.pass_time(0.11)
    server = received_by(stage)
    server.answer()
    assert client.answer().status == 200
    for endpoint in stage.gateway.upstreams["shop"].endpoints:
        assert endpoint.latency.known is (endpoint.label == server.endpoint.label)


def test_ewma_forgets_the_failures_of_an_endpoint_that_is_back(make_stage):
    stage = make_stage(TWO_BY_EWMA)
    both = [serve_in(stage, 0.001) for _ in range(2)]
    assert both == [FIRST, SECOND]
    first, second = stage.gateway.upstreams["shop"].endpoints
    for _ in range(2):
        seat = first.enter(stage.loop.now)
        seat.note(Verdict.FAILURE, 0.001, stage.loop.now, False)
        seat.leave(Verdict.FAILURE, stage.loop.now)
    assert serve_in(stage, 0.001) == SECOND
    stage.pass_time(EJECTED_FOR + 1)
    second.latency.note(0.001, stage.loop.now)
    assert serve_in(stage, 0.001) == FIRST, "the probe"
    assert not first.member.ejected
    assert not first.latency.known
    assert serve_in(stage, 0.0005) == FIRST, "one request, to learn how fast it is now"
    assert first.latency.estimate(stage.loop.now) == pytest.approx(0.0005)


def serve_in(stage, seconds):
    """A whole exchange that takes so long; the address that got it."""
    client, server = begin(stage)
    stage.pass_time(seconds)
    server.answer()
    assert client.answer().status == 200
    return server.endpoint.label


def test_nothing_is_left_behind(make_stage):
    stage = make_stage(EWMA)
    begin(stage)[0].reset()
    serve(stage)
    serve(stage, 503)
    stage.assert_at_rest()


def test_the_copy_of_a_mirror_says_nothing_about_its_endpoint(make_stage):
    text = TEXT.replace(
        "policies:",
        '  copy:\n    endpoints: ["http://10.0.1.1:80", "http://10.0.1.2:80"]\n'
        "    load_balancing: ewma\n    outlier_detection: {consecutive_failures: 1}\npolicies:",
        1,
    ).replace("upstream: shop}", "upstream: shop, mirror: {upstream: copy}}")
    stage = make_stage(text)
    client = stage.ask(request())
    for server in (stage.accept(), stage.accept()):
        server.answer(503 if server.endpoint.ip.startswith("10.0.1.") else 200)
    assert client.answer().status == 200
    for endpoint in stage.gateway.upstreams["copy"].endpoints:
        assert not endpoint.member.ejected
        assert not endpoint.latency.known
