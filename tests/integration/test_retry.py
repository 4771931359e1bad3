"""What is sent again, with which fields, and when: contract, section 3, retry."""

import itertools
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import Response
from integration.running_proxy import RunningProxy
from integration.settings import Settings, route


@pytest.fixture(scope="module")
def chaos(shared_chaos: ChaosUpstream) -> ChaosUpstream:
    return shared_chaos


@pytest.fixture(scope="module")
def proxy(module_proxy: Callable[[Settings], RunningProxy], chaos: ChaosUpstream) -> RunningProxy:
    hasty = {"attempt": "400ms", "request": "5s"}
    return module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [chaos.url]}},
            "routes": [
                route("shop"),
                route("hasty", timeouts=hasty),
                route("any-method", retry={"methods": "any"}),
                route("listed", retry={"methods": ["POST"]}),
                route("also-429", retry={"on": ["429", "500-501", "reset"]}),
                route("all-5xx", retry={"on": ["5xx"]}),
                route("deaf", retry={"retry_after": "0s"}),
                route("even", retry={"attempts": 2, "backoff": _even("300ms")}),
                route("growing", retry={"attempts": 4, "backoff": _even("100ms", max="150ms")}),
            ],
        }
    )


def _even(initial: str, **more: str) -> Settings:
    return {"initial": initial, "max": "1s", "multiplier": 2, "jitter": "none", **more}


def test_a_post_that_got_a_503_is_sent_once(proxy: RunningProxy, chaos: ChaosUpstream) -> None:
    response = proxy.call("POST", "/shop", body=b"order", chaos="503 header=X-From:upstream")
    assert (response.status, response.body) == (503, b"ok")
    assert response.header("x-from") == "upstream"
    assert response.header("proxy-status") is None
    assert len(chaos.seen(response.id)) == 1


@pytest.mark.parametrize("key", ["Idempotency-Key", "X-Idempotency-Key"])
def test_a_post_with_a_key_is_sent_again_the_same(
    proxy: RunningProxy, chaos: ChaosUpstream, key: str
) -> None:
    response = proxy.call(
        "POST", "/shop/pay", {key: "order-17"}, b"amount=3", chaos="503 | 502 | 201"
    )
    assert response.status == 201
    seen = chaos.seen(response.id)
    assert [one.header(key) for one in seen] == ["order-17"] * 3
    assert [one.header("x-request-id") for one in seen] == [response.id] * 3
    assert [one.header("x-retry-attempt") for one in seen] == [None, "1", "2"]
    assert [(one.method, one.target, bytes(one.body)) for one in seen] == [
        ("POST", "/shop/pay", b"amount=3")
    ] * 3
    assert response.header("proxy-status") == "orders; attempts=3"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "fault", ["reset-before-head", "reset-in-head", "malformed", "hang", "504"]
)
def test_idempotent_methods_are_repeated(
    proxy: RunningProxy, chaos: ChaosUpstream, method: str, fault: str
) -> None:
    body = b"stock" if method == "PUT" else None
    path = "/hasty" if fault == "hang" else "/shop"
    response = proxy.call(method, path, body=body, chaos=f"{fault} | 200")
    assert response.status == 200
    assert [bytes(one.body) for one in chaos.seen(response.id)] == [body or b""] * 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("reset-before-body", 502, "upstream-reset"),
        ("reset-before-head", 502, "upstream-reset"),
        ("reset-before-head rst", 502, "upstream-reset"),
        ("reset-in-head", 502, "upstream-reset"),
        ("malformed", 502, "upstream-malformed"),
        ("hang", 504, "attempt-timeout"),
        ("hang-in-head", 504, "attempt-timeout"),
    ],
)
def test_what_may_have_been_acted_on_is_not_repeated(
    proxy: RunningProxy, chaos: ChaosUpstream, method: str, fault: str, status: int, reason: str
) -> None:
    path = "/hasty" if fault.startswith("hang") else "/shop"
    response = proxy.call(method, path, body=b"x", chaos=f"{fault} | 200")
    assert (response.status, response.why) == (status, reason)
    assert len(response.problem["attempts"]) == 1
    assert len(chaos.seen(response.id)) == 1


def test_any_method_where_the_route_says_so(proxy: RunningProxy, chaos: ChaosUpstream) -> None:
    response = proxy.call("POST", "/any-method", body=b"x", chaos="reset-before-head | 200")
    assert response.status == 200
    assert len(chaos.seen(response.id)) == 2


def test_a_list_of_methods_is_all_there_is(proxy: RunningProxy, chaos: ChaosUpstream) -> None:
    post = proxy.call("POST", "/listed", body=b"x", chaos="503 | 200")
    get = proxy.call("GET", "/listed", chaos="503 | 200")
    assert (post.status, get.status) == (200, 503)


@pytest.mark.parametrize(
    ("path", "script", "status"),
    [
        ("/also-429", "429 | 200", 200),
        ("/also-429", "501 | 200", 200),
        ("/also-429", "502 | 200", 502),
        ("/also-429", "503 | 200", 503),
        ("/all-5xx", "500 | 200", 200),
        ("/all-5xx", "429 | 200", 429),
        ("/shop", "500 | 200", 500),
        ("/shop", "404 | 200", 404),
    ],
)
def test_only_the_conditions_in_on(
    proxy: RunningProxy, path: str, script: str, status: int
) -> None:
    assert proxy.call("GET", path, chaos=script).status == status


def test_the_last_response_goes_to_the_client_as_it_came(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/shop", chaos="503 | 502 | 504 size=10 header=X-Last:yes | 200")
    assert (response.status, response.body) == (504, b"0000000\n00")
    assert response.header("x-last") == "yes"
    assert response.header("proxy-status") == "orders; attempts=3"


def test_the_last_failure_gets_the_proxys_answer(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/shop", chaos="503 | 503 | reset-before-head")
    assert (response.status, response.why) == (502, "upstream-reset")
    assert len(response.problem["attempts"]) == 3


def test_a_chunked_body_is_kept_too(proxy: RunningProxy, chaos: ChaosUpstream) -> None:
    chunks = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    response = proxy.call(
        "PUT", "/shop", {"Transfer-Encoding": "chunked"}, chunks, chaos="503 | 200 echo"
    )
    assert (response.status, response.body) == (200, b"hello world")
    assert [bytes(one.body) for one in chaos.seen(response.id)] == [b"hello world"] * 2


def test_no_bytes_of_a_failed_attempt_reach_the_client(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        for _ in range(3):
            response = client.request("GET", "/shop", chaos="503 size=5000 chunked | 200 size=9")
            assert (response.status, response.body) == (200, b"0000000\n0")


def test_the_wait_is_at_least_the_backoff(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/even", chaos="503 | 200")
    assert response.status == 200
    assert 0.3 <= response.elapsed < 3


def test_waits_grow_up_to_the_maximum(proxy: RunningProxy, chaos: ChaosUpstream) -> None:
    response = proxy.call("GET", "/growing", chaos="503")
    times = [one.at for one in chaos.seen(response.id)]
    waits = [attempt["wait_ms"] for attempt in proxy.logged(response.id)["attempts"]]
    assert waits == [0, 100, 150, 150]
    for (before, after), wait in zip(itertools.pairwise(times), waits[1:], strict=True):
        assert after - before >= wait / 1000 - 0.005


# --- Retry-After --------------------------------------------------------------------------------


def test_retry_after_in_seconds_is_waited_for(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/shop", chaos="503 header=Retry-After:1 | 200")
    assert response.status == 200
    assert 1.0 <= response.elapsed < 5


def test_retry_after_as_a_date_is_waited_for(proxy: RunningProxy) -> None:
    date = formatdate(time.time() + 2, usegmt=True).replace(" ", "_")
    response = proxy.call("GET", "/shop", chaos=f"503 header=Retry-After:{date} | 200")
    assert response.status == 200
    assert 0.9 <= response.elapsed < 5


def test_a_date_that_has_passed_does_not_delay(proxy: RunningProxy) -> None:
    date = "Mon,_01_Jan_2001_00:00:00_GMT"
    response = proxy.call("GET", "/shop", chaos=f"503 header=Retry-After:{date} | 200")
    assert response.status == 200
    assert response.elapsed < 5


@pytest.mark.parametrize("value", ["60", "Fri,_01_Jan_2100_00:00:00_GMT"])
def test_a_retry_after_that_is_too_long_gives_the_response_back_at_once(
    proxy: RunningProxy, chaos: ChaosUpstream, value: str
) -> None:
    response = proxy.call("GET", "/shop", chaos=f"503 header=Retry-After:{value} | 200")
    assert response.status == 503
    assert response.header("retry-after") == value.replace("_", " ")
    assert response.elapsed < 5
    assert len(chaos.seen(response.id)) == 1


@pytest.mark.parametrize(("path", "value"), [("/deaf", "60"), ("/shop", "soon"), ("/shop", "-1")])
def test_no_notice_is_taken_of_what_is_switched_off_or_nonsense(
    proxy: RunningProxy, path: str, value: str
) -> None:
    response = proxy.call("GET", path, chaos=f"503 header=Retry-After:{value} | 200")
    assert response.status == 200
    assert response.elapsed < 5


def test_retry_after_is_for_429_and_503_alone(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/shop", chaos="502 header=Retry-After:60 | 200")
    assert response.status == 200
    assert response.elapsed < 5


# --- what is told -------------------------------------------------------------------------------


def test_attempts_are_logged_and_counted(proxy: RunningProxy, chaos: ChaosUpstream) -> None:
    response = proxy.call("DELETE", "/shop", chaos="503 | reset-before-head | 200")
    line = proxy.logged(response.id)
    assert (line["status"], line["route"], line["upstream"]) == (200, "shop", "chaos")
    assert len(line["attempts"]) == 3
    assert [one.get("status") or 0 for one in line["attempts"]] == [503, 0, 200]
    assert all(chaos.authority in one["endpoint"] for one in line["attempts"])
    assert proxy.metric("proxy_retries_total", route="shop", condition="reset") >= 1
    assert proxy.metric("proxy_attempts_total", route="shop", upstream="chaos") >= 3


def test_what_goes_upstream_says_nothing_of_a_first_attempt(
    proxy: RunningProxy, chaos: ChaosUpstream
) -> None:
    """A caller's own X-Retry-Attempt is a statement about its own attempts."""
    response: Response = proxy.call("GET", "/shop", chaos="200")
    (seen,) = chaos.seen(response.id)
    assert seen.values("x-retry-attempt") == []
