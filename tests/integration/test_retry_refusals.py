"""Why something is not sent again: each reason by its name, and the budget under load."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy
from integration.settings import Settings, breaker, route

NO_BUDGET = {"ratio": "0%", "min_per_second": 0, "window": "10s"}
PATIENT = {"connect": "10s", "attempt": "15s", "request": "30s"}
SMALL_BUDGET = {"ratio": "10%", "min_per_second": 1, "window": "10s"}


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    slow_backoff = {"initial": "6s", "max": "6s", "jitter": "none"}
    return module_proxy(
        {
            "upstreams": {"chaos": chaos, "crowd": chaos},
            "policies": {
                "strict": {"retry": {"budget": NO_BUDGET}},
                "small": {
                    "retry": {"budget": SMALL_BUDGET},
                    "bulkhead": {"max_concurrent": 1000},
                    "timeouts": PATIENT,
                },
            },
            "routes": [
                route("condition"),
                route("attempts"),
                route("not-repeatable"),
                route("body", retry={"body_limit": "1KiB"}),
                route("circuit-open", circuit_breaker=breaker(calls=1)),
                route("retry-after"),
                route("deadline", timeouts={"request": "5s"}, retry={"backoff": slow_backoff}),
                route("budget", policy="strict"),
                route("crowd", upstream="crowd", policy="small"),
            ],
        }
    )


@pytest.mark.parametrize(
    ("why", "method", "script", "body", "attempts"),
    [
        ("condition", "GET", "500", None, 1),
        ("attempts", "GET", "503", None, 3),
        ("not-repeatable", "POST", "503", b"x", 1),
        ("body", "PUT", "503", b"x" * 1025, 1),
        ("circuit-open", "GET", "503", None, 1),
        ("retry-after", "GET", "503 header=Retry-After:60", None, 1),
        ("deadline", "GET", "503", None, 1),
        ("budget", "GET", "503", None, 1),
    ],
)
def test_every_refusal_is_counted_by_its_reason(
    proxy: RunningProxy,
    shared_chaos: ChaosUpstream,
    why: str,
    method: str,
    script: str,
    body: bytes | None,
    attempts: int,
) -> None:
    response = proxy.call(method, f"/{why}", body=body, chaos=script)
    assert response.status == int(script[:3])
    assert response.why is None, "an answer of the upstream goes back as it came"
    assert response.elapsed < 4, "what will not be tried again is answered at once"
    assert len(shared_chaos.seen(response.id)) == attempts
    assert proxy.metric("proxy_retries_refused_total", route=why) == 1
    assert proxy.metric("proxy_retries_refused_total", route=why, why=why) == 1


def test_a_body_at_the_limit_is_repeated(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call("PUT", "/body", body=b"x" * 1024, chaos="503 | 200")
    assert response.status == 200
    assert len(shared_chaos.seen(response.id)) == 2


def test_a_body_over_the_limit_goes_through_whole(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    response = proxy.call("PUT", "/body", body=b"y" * 300_000, chaos="200")
    assert response.status == 200
    assert shared_chaos.seen(response.id)[0].length == 300_000


@pytest.mark.parametrize("name", ["Idempotency-Key", "X-Idempotency-Key"])
def test_an_empty_key_tells_no_repeat_from_a_request(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, name: str
) -> None:
    response = proxy.call("POST", "/attempts", {name: ""}, b"x", chaos="503 | 200")
    assert response.status == 503
    assert len(shared_chaos.seen(response.id)) == 1
    assert proxy.logged(response.id)["retry_refused"] == "not-repeatable"


def test_a_success_is_no_refusal(proxy: RunningProxy) -> None:
    before = proxy.metric("proxy_retries_refused_total")
    assert proxy.call("GET", "/condition", chaos="200").status == 200
    assert proxy.metric("proxy_retries_refused_total") == before


def test_300_simultaneous_failures_stay_inside_the_budget(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    """Charged when a retry enters its wait: a thousand that fail at once do not all pass."""
    with ExitStack() as stack:
        clients = [stack.enter_context(proxy.client()) for _ in range(300)]
        for client in clients:
            client.send(request_bytes("GET", "/crowd/burst", chaos="503 held | 503"))
        shared_chaos.wait(lambda: len(shared_chaos.seen_path("/crowd/burst")) == 300, timeout=10)
        shared_chaos.let_go("/crowd/burst")
        statuses = [client.read_response().status for client in clients]
    assert statuses == [503] * 300
    retries = len(shared_chaos.seen_path("/crowd/burst")) - 300
    assert 10 <= retries <= 10 + 30
    assert proxy.metric("proxy_retries_total", route="crowd") == retries
    assert proxy.metric("proxy_retries_refused_total", route="crowd", why="budget") > 0
