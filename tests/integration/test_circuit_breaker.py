"""The circuit breaker as callers and operators meet it: contract, section 3."""

import time
from collections.abc import Callable, Iterator

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, breaker, merged, route


@pytest.fixture(scope="module")
def other_chaos() -> Iterator[ChaosUpstream]:
    upstream = ChaosUpstream().start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy],
    shared_chaos: ChaosUpstream,
    other_chaos: ChaosUpstream,
) -> RunningProxy:
    slow = {"duration": "600ms", "rate": "50%"}
    probes = {"calls": 1, "max_wait": "1s"}
    # The second time it stays open for longer than the test lasts.
    once = {"open_for": {"initial": "400ms", "multiplier": 100, "max": "40s"}}
    rate_of_probes = {"calls": 4, "failure_rate": "75%"}
    return module_proxy(
        {
            "upstreams": {
                "chaos": {"endpoints": [shared_chaos.url]},
                "pair": {"endpoints": [shared_chaos.url, other_chaos.url]},
            },
            "policies": {
                "shared": {
                    "retry": ONCE,
                    "circuit_breaker": breaker(calls=2, open_for="30s", scope="upstream"),
                }
            },
            "routes": [
                route("opens", retry=ONCE, circuit_breaker=breaker(open_for="30s")),
                route("quick", retry=ONCE, circuit_breaker=breaker(calls=2, open_for="30s")),
                route("metered", retry=ONCE, circuit_breaker=breaker(calls=2, open_for="30s")),
                route("closes", retry=ONCE, circuit_breaker=breaker(probes=2)),
                route("reopens", retry=ONCE, circuit_breaker=merged(breaker(probes=2), once)),
                route("slow", retry=ONCE, circuit_breaker=breaker(slow_call=slow)),
                route("client-errors", retry=ONCE, circuit_breaker=breaker(open_for="30s")),
                route("gone", retry=ONCE, circuit_breaker=breaker()),
                route("gone-closed", retry=ONCE, circuit_breaker=breaker()),
                route(
                    "wedged",
                    retry=ONCE,
                    circuit_breaker=merged(breaker(half_open=probes), once),
                ),
                route("vote", retry=ONCE, circuit_breaker=breaker(half_open=rate_of_probes)),
                route("shared-a", policy="shared"),
                route("shared-b", policy="shared"),
                route("each", "pair", circuit_breaker=breaker(scope="endpoint", open_for="30s")),
                route("requests", circuit_breaker=breaker(counts="requests", open_for="30s")),
                route("attempts", circuit_breaker=breaker(calls=10, open_for="30s")),
                route("watches", retry=ONCE, circuit_breaker=breaker(mode="observe")),
                route("by-hand", retry=ONCE, circuit_breaker=breaker(open_for="30s")),
                route("only-503", retry=ONCE, circuit_breaker=breaker(failures=["503"])),
                route("timed", retry=ONCE, circuit_breaker=_timed()),
            ],
        }
    )


def _timed() -> Settings:
    return breaker(open_for="30s", window={"type": "time", "size": "2s"})


def _calls(proxy: RunningProxy, path: str, script: str, count: int = 1) -> list[int]:
    return [proxy.call("GET", path, chaos=script).status for _ in range(count)]


def _trip(proxy: RunningProxy, name: str, calls: int = 4) -> None:
    assert _calls(proxy, f"/{name}", "500", calls) == [500] * calls
    assert proxy.breaker(name)["state"] == "open"


def _half_open(proxy: RunningProxy, name: str, seconds: float = 0.4) -> None:
    """Trip it and wait until the next request will be a probe."""
    _trip(proxy, name)
    time.sleep(seconds + 0.02)


def test_opens_at_the_rate_and_not_before(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    _calls(proxy, "/opens", "200", 2)
    _calls(proxy, "/opens", "503", 1)
    before = proxy.breaker("opens")
    assert (before["state"], before["failure_rate"], before["calls"]) == ("closed", -1, 3)
    _calls(proxy, "/opens", "503", 1)
    after = proxy.breaker("opens")
    assert (after["state"], after["failure_rate"], after["failures"]) == ("open", 50, 2)
    assert 28 < after["next_probe_in_s"] <= 30
    response = proxy.call("GET", "/opens", chaos="200")
    assert (response.status, response.why) == (503, "circuit-open")
    assert int(response.header("retry-after") or 0) in (29, 30)
    assert len(response.problem["attempts"]) == 0
    assert shared_chaos.seen(response.id) == []
    assert proxy.breaker("opens")["not_permitted"] == 1


def test_a_refusal_takes_less_than_5_ms(proxy: RunningProxy) -> None:
    """The best of many: what the machine does meanwhile is not the proxy's time."""
    _trip(proxy, "quick", calls=2)
    with proxy.client() as client:
        times = [client.request("POST", "/quick", body=b"x").elapsed for _ in range(40)]
    assert min(times) < 0.005


def test_metrics_follow_the_state(proxy: RunningProxy) -> None:
    _trip(proxy, "metered", calls=2)
    states = ("closed", "open", "half_open", "forced_open", "disabled")
    values = [
        proxy.metric("proxy_circuit_breaker_state", name="metered", state=one) for one in states
    ]
    assert values == [0, 1, 0, 0, 0]
    transitions = {"name": "metered", "to": "open"}
    assert proxy.metric("proxy_circuit_breaker_transitions_total", **transitions) == 1


def test_probes_close_it(proxy: RunningProxy) -> None:
    _half_open(proxy, "closes")
    assert _calls(proxy, "/closes", "200", 1) == [200]
    assert proxy.breaker("closes")["state"] == "half_open"
    assert _calls(proxy, "/closes", "200", 1) == [200]
    closed = proxy.breaker("closes")
    assert (closed["state"], closed["calls"]) == ("closed", 0)


def test_more_than_the_probes_are_refused_and_a_failed_one_opens_again(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    _half_open(proxy, "reopens")
    with proxy.client() as first, proxy.client() as second:
        first.send(request_bytes("GET", "/reopens", chaos="200 held"))
        second.send(request_bytes("GET", "/reopens", chaos="500 held"))
        eventually(lambda: proxy.in_flight() == 2)
        refused = proxy.call("GET", "/reopens", chaos="200")
        assert (refused.status, refused.why) == (503, "circuit-open")
        assert int(refused.header("retry-after") or 0) >= 1
        shared_chaos.wait(lambda: len(shared_chaos.seen_path("/reopens")) == 6)
        shared_chaos.let_go("/reopens")
        assert (first.read_response().status, second.read_response().status) == (200, 500)
    assert proxy.breaker("reopens")["state"] == "open"


def test_slow_calls_open_it(proxy: RunningProxy) -> None:
    _calls(proxy, "/slow", "200", 2)
    _calls(proxy, "/slow", "200 delay=0.65", 2)
    state = proxy.breaker("slow")
    assert (state["state"], state["slow_calls"], state["slow_call_rate"]) == ("open", 2, 50)
    assert (state["failures"], state["failure_rate"]) == (0, 0)


def test_a_slow_body_is_not_a_slow_call(proxy: RunningProxy) -> None:
    """To the response's head: what the body takes does not count."""
    proxy.ask("POST", "/circuit-breakers/slow/reset")
    _calls(proxy, "/slow", "size=10 pieces=2 interval=0.65", 1)
    assert proxy.breaker("slow")["slow_calls"] == 0


@pytest.mark.parametrize("status", [400, 404, 429])
def test_4xx_are_successes(proxy: RunningProxy, status: int) -> None:
    assert _calls(proxy, "/client-errors", str(status), 5) == [status] * 5
    state = proxy.breaker("client-errors")
    assert (state["state"], state["failures"]) == ("closed", 0)


def test_only_the_listed_failures_count(proxy: RunningProxy) -> None:
    _calls(proxy, "/only-503", "500", 4)
    assert proxy.breaker("only-503")["state"] == "closed"
    _calls(proxy, "/only-503", "503", 2)
    assert proxy.breaker("only-503")["state"] == "open"


def test_a_time_window_opens_too(proxy: RunningProxy) -> None:
    _trip(proxy, "timed")
    assert proxy.call("GET", "/timed", chaos="200").why == "circuit-open"


def test_a_client_that_leaves_a_probe_says_nothing(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    """Neither closes nor opens: the permit is back and the next request is the probe."""
    _half_open(proxy, "gone")
    with proxy.client() as client:
        client.send(request_bytes("GET", "/gone", chaos="hang", request_id="gone-probe"))
        shared_chaos.wait_seen("gone-probe")
        assert proxy.call("GET", "/gone", chaos="200").why == "circuit-open"
    eventually(lambda: proxy.in_flight() == 0)
    assert proxy.breaker("gone")["state"] == "half_open"
    assert _calls(proxy, "/gone", "200", 1) == [200]
    assert proxy.breaker("gone")["state"] == "closed"


def test_a_client_that_leaves_is_not_recorded(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    for number in range(5):
        with proxy.client() as client:
            one = f"leaver-{number}"
            client.send(request_bytes("GET", "/gone-closed", chaos="hang", request_id=one))
            shared_chaos.wait_seen(one)
    eventually(lambda: proxy.in_flight() == 0)
    state = proxy.breaker("gone-closed")
    assert (state["state"], state["calls"]) == ("closed", 0)


def test_half_open_never_wedges(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    """A probe that does not come back is given up after `max_wait` and counts as failed."""
    _half_open(proxy, "wedged")
    with proxy.client() as client:
        client.send(request_bytes("GET", "/wedged", chaos="held", request_id="wedge"))
        shared_chaos.wait_seen("wedge")
        assert proxy.breaker("wedged")["state"] == "half_open"
        eventually(lambda: proxy.breaker("wedged")["state"] == "open")
        assert proxy.call("GET", "/wedged", chaos="200").why == "circuit-open"
        shared_chaos.let_go("/wedged")
        assert client.read_response().status == 200, "the probe itself is not cut"
    # what the late probe says belongs to an older generation
    assert proxy.breaker("wedged")["state"] == "open"


def test_with_a_rate_the_probes_vote(proxy: RunningProxy) -> None:
    _half_open(proxy, "vote")
    assert _calls(proxy, "/vote", "500", 2) == [500, 500]
    assert proxy.breaker("vote")["state"] == "half_open"
    assert _calls(proxy, "/vote", "200", 2) == [200, 200]
    assert proxy.breaker("vote")["state"] == "closed"


def test_scope_upstream_is_shared_by_the_routes(proxy: RunningProxy) -> None:
    assert _calls(proxy, "/shared-a", "503", 1) == [503]
    assert _calls(proxy, "/shared-b", "503", 1) == [503]
    assert proxy.breaker("shared:chaos")["state"] == "open"
    assert proxy.call("GET", "/shared-a", chaos="200").why == "circuit-open"
    assert proxy.call("GET", "/shared-b", chaos="200").why == "circuit-open"


def test_scope_endpoint_leaves_the_good_one_in_service(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, other_chaos: ChaosUpstream
) -> None:
    shared_chaos.rules["/each"] = "503"
    other_chaos.rules["/each"] = "200"
    statuses = [proxy.call("GET", "/each").status for _ in range(30)]
    assert statuses == [200] * 30, "every failure was tried again at the other endpoint"
    bad = len(shared_chaos.seen_path("/each"))
    assert 4 <= bad <= 10, "an endpoint whose breaker is open is not asked any more"
    states = {
        entry["name"]: entry["state"]
        for entry in proxy.state("/circuit-breakers")["circuit_breakers"]
        if entry["route"] == "each"
    }
    assert sorted(states.values()) == ["closed", "open"]
    (name,) = [name for name, state in states.items() if state == "open"]
    assert name.startswith("each:")
    assert name.endswith(shared_chaos.authority)


def test_counts_requests_hears_of_the_whole_exchange(proxy: RunningProxy) -> None:
    assert _calls(proxy, "/requests", "503 | 503 | 200", 3) == [200] * 3
    state = proxy.breaker("requests")
    assert (state["state"], state["calls"], state["failures"]) == ("closed", 3, 0)


def test_counts_attempts_hears_of_each(proxy: RunningProxy) -> None:
    assert _calls(proxy, "/attempts", "503 | 503 | 200", 1) == [200]
    state = proxy.breaker("attempts")
    assert (state["calls"], state["failures"]) == (3, 2)


def test_observe_lets_everything_pass(proxy: RunningProxy) -> None:
    assert _calls(proxy, "/watches", "503", 10) == [503] * 10
    assert _calls(proxy, "/watches", "200", 1) == [200]
    state = proxy.breaker("watches")
    assert (state["state"], state["mode"]) == ("closed", "observe")
    assert (state["failures"], state["failure_rate"]) == (3, 75), (
        "what would have opened it is told"
    )


def test_by_hand(proxy: RunningProxy) -> None:
    _calls(proxy, "/by-hand", "200", 1)
    assert proxy.ask("POST", "/circuit-breakers/by-hand/force-open")[0] == 200
    assert proxy.breaker("by-hand")["state"] == "forced_open"
    refused = proxy.call("GET", "/by-hand", chaos="200")
    assert (refused.status, refused.why) == (503, "circuit-open")
    assert refused.header("retry-after") is None, "nobody knows when the operator ends it"
    assert "operator's order" in refused.problem["detail"]

    assert proxy.ask("POST", "/circuit-breakers/by-hand/disable")[0] == 200
    assert proxy.breaker("by-hand")["state"] == "disabled"
    assert _calls(proxy, "/by-hand", "500", 6) == [500] * 6

    assert proxy.ask("POST", "/circuit-breakers/by-hand/reset")[0] == 200
    state = proxy.breaker("by-hand")
    assert (state["state"], state["calls"], state["failures"]) == ("closed", 0, 0)
    _trip(proxy, "by-hand")
    assert proxy.ask("POST", "/circuit-breakers/by-hand/reset")[0] == 200
    assert _calls(proxy, "/by-hand", "200", 1) == [200]
