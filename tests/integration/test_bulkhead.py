"""The bulkhead: who holds a place, who waits in which order, who gives it back."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import RawClient, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, route


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    one = {"max_concurrent": 1}
    queue = {"max_concurrent": 1, "max_queue": 5, "queue_timeout": "10s"}
    hasty = {"max_concurrent": 1, "max_queue": 1, "queue_timeout": "1s"}
    shared = {"max_concurrent": 1, "scope": "upstream"}
    patient = {"max_concurrent": 1, "max_queue": 1, "queue_timeout": "10s"}
    return module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "policies": {"together": {"bulkhead": shared}},
            "routes": [
                route("one", bulkhead=one),
                route("body", bulkhead=one),
                route("leaver", bulkhead=one),
                route("retries", bulkhead=one),
                route("queue", bulkhead=queue),
                route("hasty", bulkhead=hasty),
                route("left-queue", bulkhead=patient),
                route("late", bulkhead=patient, timeouts={"request": "300ms"}, retry=ONCE),
                route("together-a", policy="together"),
                route("together-b", policy="together"),
            ],
        }
    )


@pytest.fixture
def occupy(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> Iterator[Callable[..., RawClient]]:
    """Send a request and return once the upstream has it: its place is taken."""
    with ExitStack() as stack:

        def send(path: str, script: str) -> RawClient:
            client = stack.enter_context(proxy.client())
            request_id = f"occupy-{path[1:]}-{time.monotonic_ns()}"
            client.send(request_bytes("GET", path, chaos=script, request_id=request_id))
            shared_chaos.wait_seen(request_id)
            return client

        yield send


def test_beyond_the_places_is_refused_at_once(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, occupy: Callable[..., RawClient]
) -> None:
    client = occupy("/one", "held")
    state = proxy.bulkhead("one")
    assert (state["in_use"], state["limit"], state["queued"], state["max_queue"]) == (1, 1, 0, 0)
    refused = proxy.call("GET", "/one")
    assert (refused.status, refused.why) == (503, "bulkhead-full")
    assert refused.header("retry-after") == "1"
    assert shared_chaos.seen(refused.id) == []
    shared_chaos.let_go("/one")
    assert client.read_response().status == 200
    assert proxy.call("GET", "/one").status == 200
    assert proxy.bulkhead("one")["in_use"] == 0
    assert proxy.metric("proxy_bulkhead_limit", name="one") == 1
    assert proxy.metric("proxy_bulkhead_in_use", name="one") == 0


def test_a_place_is_held_until_the_last_byte_of_the_body(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, occupy: Callable[..., RawClient]
) -> None:
    client = occupy("/body", "size=10 pieces=2 held-body")
    assert client.read_head().status == 200
    assert proxy.call("GET", "/body").why == "bulkhead-full"
    shared_chaos.let_go("/body")
    assert client.read_some(10) == b"0000000\n00"
    eventually(lambda: proxy.bulkhead("body")["in_use"] == 0)
    assert proxy.call("GET", "/body").status == 200


def test_a_place_is_held_over_all_attempts(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, occupy: Callable[..., RawClient]
) -> None:
    client = occupy("/retries", "503 | 200 held")
    shared_chaos.wait(lambda: len(shared_chaos.seen_path("/retries")) == 2)
    assert proxy.call("GET", "/retries").why == "bulkhead-full"
    shared_chaos.let_go("/retries")
    assert client.read_response().status == 200


def test_a_client_that_leaves_gives_its_place_back(
    proxy: RunningProxy, occupy: Callable[..., RawClient]
) -> None:
    client = occupy("/leaver", "hang")
    assert proxy.call("GET", "/leaver").why == "bulkhead-full"
    client.close()
    eventually(lambda: proxy.bulkhead("leaver")["in_use"] == 0)
    assert proxy.call("GET", "/leaver").status == 200


def test_first_come_first_served(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, occupy: Callable[..., RawClient]
) -> None:
    first = occupy("/queue", "held")
    with ExitStack() as stack:
        waiting = [stack.enter_context(proxy.client()) for _ in range(4)]
        for number, client in enumerate(waiting):
            client.send(request_bytes("GET", f"/queue/{number}"))
            _until_queued(proxy, number + 1)
        assert proxy.metric("proxy_bulkhead_queued", name="queue") == 4
        assert shared_chaos.seen_path("/queue/") == []
        shared_chaos.let_go("/queue")
        assert first.read_response().status == 200
        assert [client.read_response().status for client in waiting] == [200] * 4
    order = [one.target for one in shared_chaos.seen_path("/queue/")]
    assert order == [f"/queue/{number}" for number in range(4)]


def _until_queued(proxy: RunningProxy, count: int) -> None:
    eventually(lambda: proxy.bulkhead("queue")["queued"] == count)


def test_a_full_queue_and_a_wait_that_is_too_long(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, occupy: Callable[..., RawClient]
) -> None:
    first = occupy("/hasty", "held")
    with proxy.client() as second:
        started = time.monotonic()
        second.send(request_bytes("GET", "/hasty"))
        eventually(lambda: proxy.bulkhead("hasty")["queued"] == 1)
        third = proxy.call("GET", "/hasty")
        assert (third.status, third.why) == (503, "bulkhead-full")
        response = second.read_response()
        elapsed = time.monotonic() - started
    assert (response.status, response.why) == (503, "queue-timeout")
    assert response.header("retry-after") == "1"
    assert elapsed >= 1.0
    shared_chaos.let_go("/hasty")
    assert first.read_response().status == 200


def test_who_leaves_the_queue_gives_the_place_back(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, occupy: Callable[..., RawClient]
) -> None:
    first = occupy("/left-queue", "held")
    with proxy.client() as second:
        second.send(request_bytes("GET", "/left-queue", request_id="left-the-queue"))
        eventually(lambda: proxy.bulkhead("left-queue")["queued"] == 1)
    eventually(lambda: proxy.bulkhead("left-queue")["queued"] == 0)
    with proxy.client() as third:
        third.send(request_bytes("GET", "/left-queue"))
        eventually(lambda: proxy.bulkhead("left-queue")["queued"] == 1)
        shared_chaos.let_go("/left-queue")
        assert third.read_response().status == 200
    assert first.read_response().status == 200
    assert shared_chaos.seen("left-the-queue") == []


def test_queueing_runs_against_the_requests_time(
    proxy: RunningProxy, occupy: Callable[..., RawClient]
) -> None:
    occupy("/late", "size=4 pieces=2 held-body")
    response = proxy.call("GET", "/late")
    assert response.status in (503, 504)
    assert response.why in ("request-timeout", "queue-timeout")
    assert response.elapsed >= 0.3


def test_scope_upstream_counts_the_routes_together(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, occupy: Callable[..., RawClient]
) -> None:
    client = occupy("/together-a", "held")
    assert proxy.call("GET", "/together-b").why == "bulkhead-full"
    assert proxy.bulkhead("together:chaos")["in_use"] == 1
    shared_chaos.let_go("/together-a")
    assert client.read_response().status == 200
    assert proxy.call("GET", "/together-b").status == 200
