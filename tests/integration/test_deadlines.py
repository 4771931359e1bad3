"""Deadlines: which clock runs when, what it cuts, and what of it goes on with each attempt."""

import socket
import time
from collections.abc import Callable, Iterator

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import BrokenOff, request_bytes
from integration.running_proxy import RunningProxy
from integration.settings import ONCE, Settings, route

SOON = 3.0
"""Seconds: far more than the deadline that is meant, far less than any other one."""


@pytest.fixture(scope="module")
def black_hole() -> Iterator[int]:
    """A port that never completes a TCP handshake: its backlog is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream, black_hole: int
) -> RunningProxy:
    return module_proxy(
        {
            "upstreams": {
                "chaos": {"endpoints": [shared_chaos.url]},
                "hole": {"endpoints": [f"http://127.0.0.1:{black_hole}"]},
            },
            "routes": [
                route("attempt", timeouts={"attempt": "200ms"}, retry=ONCE),
                route("in-time", timeouts={"attempt": "3s"}, retry=ONCE),
                route("again", timeouts={"attempt": "600ms"}),
                route("request", timeouts={"attempt": "5s", "request": "300ms"}),
                route("several", timeouts={"attempt": "500ms", "request": "1200ms"}),
                route("upload", timeouts={"attempt": "300ms", "request": "400ms"}, retry=ONCE),
                route("uploaded", timeouts={"attempt": "300ms", "request": "5s"}, retry=ONCE),
                route("idle", timeouts={"idle": "300ms"}, retry=ONCE),
                route("longest", timeouts={"max_duration": "500ms"}),
                route("caller"),
                route("silent", timeouts={"propagate": False}),
                route("connect", "hole", timeouts={"connect": "200ms"}, retry=ONCE),
            ],
        }
    )


def test_an_attempt_that_takes_too_long(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call("GET", "/attempt", chaos="hang")
    assert (response.status, response.why) == (504, "attempt-timeout")
    assert 0.2 <= response.elapsed < SOON
    (seen,) = shared_chaos.seen(response.id)
    assert seen.lost.wait(5), "the connection of a cancelled attempt is closed"


def test_an_attempt_in_time_is_not_cut(proxy: RunningProxy) -> None:
    assert proxy.call("GET", "/in-time", chaos="delay=0.05").status == 200


def test_a_timeout_is_tried_again(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/again", chaos="hang | hang-in-head | 200")
    assert response.status == 200
    assert 1.2 <= response.elapsed < 2 * SOON


def test_the_request_timeout_ends_everything(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/request", chaos="hang")
    assert (response.status, response.why) == (504, "request-timeout")
    assert 0.3 <= response.elapsed < SOON


def test_attempts_share_the_requests_time(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call("GET", "/several", chaos="hang")
    assert response.status == 504
    assert response.elapsed < SOON
    assert 2 <= len(shared_chaos.seen(response.id)) <= 3


def test_connecting_has_its_own_timeout(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/connect")
    assert (response.status, response.why) == (504, "connect-timeout")
    assert 0.2 <= response.elapsed < SOON


# --- X-Request-Timeout-Ms -----------------------------------------------------------------------


def test_the_caller_shortens_the_time(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/caller", {"X-Request-Timeout-Ms": "250"}, chaos="hang")
    assert (response.status, response.why) == (504, "request-timeout")
    assert 0.25 <= response.elapsed < SOON


def test_a_caller_without_any_time_left_is_answered_at_once(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    """No attempt starts that cannot end in time."""
    response = proxy.call("GET", "/caller", {"X-Request-Timeout-Ms": "0"}, chaos="200")
    assert (response.status, response.why) == (504, "request-timeout")
    assert shared_chaos.seen(response.id) == []


def test_the_caller_cannot_lengthen_it(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/request", {"X-Request-Timeout-Ms": "60000"}, chaos="hang")
    assert response.status == 504
    assert response.elapsed < SOON


def test_the_time_left_goes_out_with_each_attempt(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    response = proxy.call(
        "GET", "/caller", {"X-Request-Timeout-Ms": "12000"}, chaos="503 delay=0.3 | 200"
    )
    assert response.status == 200
    first, second = (
        int(one.header("x-request-timeout-ms") or 0) for one in shared_chaos.seen(response.id)
    )
    assert 8000 < first <= 12000
    assert first - 4000 < second <= first - 300


def test_without_the_callers_field_the_routes_time_goes_out(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    response = proxy.call("GET", "/uploaded", chaos="200")
    (seen,) = shared_chaos.seen(response.id)
    assert 0 < int(seen.header("x-request-timeout-ms") or 0) <= 5000


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e3", "12 12"])
def test_a_senseless_value_is_ignored(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, value: str
) -> None:
    response = proxy.call("GET", "/caller", {"X-Request-Timeout-Ms": value}, chaos="200")
    assert response.status == 200
    (seen,) = shared_chaos.seen(response.id)
    assert 10000 < int(seen.header("x-request-timeout-ms") or 0) <= 15000


def test_nothing_is_sent_where_it_is_switched_off(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    response = proxy.call("GET", "/silent", chaos="200")
    assert shared_chaos.seen(response.id)[0].header("x-request-timeout-ms") is None


def test_grpc_timeout_is_kept_true_where_it_came(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    response = proxy.call("POST", "/uploaded", {"grpc-timeout": "10S"}, b"", chaos="200")
    (seen,) = shared_chaos.seen(response.id)
    value = seen.header("grpc-timeout") or ""
    units = {"S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
    assert 0 < int(value[:-1]) * units[value[-1]] <= 5


# --- bodies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_long_upload_is_not_cut(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, framing: str
) -> None:
    """The client sends for twice as long as `request` and three times as long as `attempt`."""
    chunked = framing == "chunked"
    headers = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": "80"}
    with proxy.client() as client:
        client.send(request_bytes("POST", "/upload", headers, chaos="200", request_id=framing))
        for _ in range(8):
            time.sleep(0.12)
            client.send(b"a\r\n0123456789\r\n" if chunked else b"0123456789")
        client.send(b"0\r\n\r\n" if chunked else b"")
        assert client.read_response("POST").status == 200
    (seen,) = shared_chaos.seen(framing)
    assert seen.length == 80


def test_after_the_upload_the_attempts_clock_runs(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        client.send(request_bytes("POST", "/uploaded", {"Content-Length": "20"}, chaos="hang"))
        for _ in range(4):
            time.sleep(0.1)
            started = time.monotonic()
            client.send(b"01234")
        response = client.read_response("POST")
        elapsed = time.monotonic() - started
    assert (response.status, response.why) == (504, "attempt-timeout")
    assert 0.3 <= elapsed < SOON, "it runs from the last byte"


def test_a_stalled_upload_is_cut_by_idle(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    with proxy.client() as client:
        started = time.monotonic()
        client.send(
            request_bytes("POST", "/idle", {"Content-Length": "20"}, request_id="stalled") + b"01"
        )
        response = client.read_response("POST")
        elapsed = time.monotonic() - started
        assert client.closed()
    assert (response.status, response.why) == (408, "body-timeout")
    assert 0.3 <= elapsed < SOON
    (seen,) = shared_chaos.seen("stalled")
    assert seen.lost.wait(5)
    assert not seen.complete.is_set()


@pytest.mark.parametrize("framing", ["", "chunked"])
def test_a_stalled_download_is_cut_by_idle(proxy: RunningProxy, framing: str) -> None:
    started = time.monotonic()
    with pytest.raises((BrokenOff, ConnectionError)):
        proxy.call(
            "GET", "/idle", chaos=f"size=1000 stall=100 {framing}", request_id="st" + framing
        )
    assert 0.3 <= time.monotonic() - started < SOON
    assert proxy.logged("st" + framing)["reason"] == "upstream-truncated"


def test_a_dripping_download_outlives_every_deadline_but_idle(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/request", chaos="size=80 pieces=8 interval=0.1")
    assert (len(response.body), response.complete) == (80, True)
    assert response.elapsed > 0.7


def test_max_duration_cuts_even_that(proxy: RunningProxy) -> None:
    started = time.monotonic()
    with pytest.raises((BrokenOff, ConnectionError)):
        proxy.call("GET", "/longest", chaos="size=100 pieces=20 interval=0.1")
    assert 0.5 <= time.monotonic() - started < 1.8
