"""Draining: nothing in flight is lost before the timeout. Contract, section 6."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import BrokenOff, request_bytes
from integration.running_proxy import RunningProxy, accepts, eventually
from integration.settings import merged, route

Start = Callable[..., RunningProxy]


@pytest.fixture
def start(start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream) -> Start:
    """A proxy in front of the chaos upstream on both sides, with these drain settings."""

    def run(delay: str = "0s", timeout: str = "8s", **settings: Any) -> RunningProxy:
        chaos = {"endpoints": [shared_chaos.url]}
        base = {
            "upstreams": {"chaos": chaos, "app": chaos},
            "routes": [route("d")],
            "drain": {"delay": delay, "timeout": timeout},
        }
        return start_proxy(merged(base, settings))

    return run


def _drain(proxy: RunningProxy, how: str) -> None:
    if how == "POST":
        assert proxy.ask("POST", "/drain")[0] in (200, 202)
    elif how == "command":
        command = [sys.executable, "-m", "proxy", "drain", "--admin", _admin(proxy)]
        subprocess.run(command, check=True, timeout=10, capture_output=True)
    else:
        proxy.signal(getattr(signal, how))


def _admin(proxy: RunningProxy) -> str:
    return f"http://127.0.0.1:{proxy.admin}"


def _ready(proxy: RunningProxy) -> int:
    return proxy.ask("GET", "/health/ready")[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_with_nothing_to_do_it_ends_soon_and_well(start: Start, number: int) -> None:
    proxy = start()
    assert proxy.call("GET", "/d").status == 200
    started = time.monotonic()
    proxy.signal(number)
    assert proxy.wait() == 0
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "POST"])
def test_readiness_ends_at_once_and_new_requests_are_served_during_the_delay(
    start: Start, how: str
) -> None:
    proxy = start(delay="1500ms")
    with proxy.client("inbound") as kept:
        before = kept.request("GET", "/x")
        assert before.header("connection") in (None, "keep-alive")
        _drain(proxy, how)
        eventually(lambda: _ready(proxy) == 503)
        assert accepts(proxy.inbound), "the delay goes on"
        assert "draining" in proxy.ask("GET", "/health/ready")[1]
        assert proxy.ask("GET", "/health/live")[0] == 200
        assert proxy.state("/status")["draining"] is True
        response = kept.request("GET", "/x")
        assert (response.status, response.header("connection")) == (200, "close")
        assert kept.closed()
        fresh = proxy.call("GET", "/x", listener="inbound")
        assert (fresh.status, fresh.header("connection")) == (200, "close")
    eventually(lambda: not accepts(proxy.inbound))
    if how != "POST":
        assert proxy.wait() == 0


def test_the_delay_is_kept_to(start: Start) -> None:
    proxy = start(delay="600ms")
    started = time.monotonic()
    proxy.signal()
    eventually(lambda: not accepts(proxy.inbound), timeout=3)
    assert 0.55 <= time.monotonic() - started < 3
    assert proxy.wait() == 0


def test_a_slow_download_survives(start: Start) -> None:
    proxy = start()
    with proxy.client("inbound") as client:
        client.send(request_bytes("GET", "/d", chaos="size=90 pieces=9 interval=0.2"))
        assert client.read_head().status == 200
        proxy.signal()
        assert len(client.read_some(90)) == 90
        assert client.closed()
    assert proxy.wait() == 0


def test_a_slow_upload_survives(start: Start, shared_chaos: ChaosUpstream) -> None:
    proxy = start()
    with proxy.client("inbound") as client:
        head = request_bytes("POST", "/d", {"Content-Length": "50"}, chaos="echo")
        client.send(head + b"01234")
        eventually(lambda: proxy.in_flight() == 1)
        proxy.signal()
        for _ in range(9):
            time.sleep(0.1)
            client.send(b"01234")
        response = client.read_response("POST")
    assert (response.status, response.body) == (200, b"01234" * 10)
    assert response.header("connection") == "close"
    assert proxy.wait() == 0


def test_a_retry_that_waits_survives(start: Start, shared_chaos: ChaosUpstream) -> None:
    proxy = start(policies={"inbound": {"retry": {"on": ["gateway-error"]}}})
    with proxy.client("inbound") as client:
        script = "503 header=Retry-After:1 | 200"
        client.send(request_bytes("GET", "/d", chaos=script, request_id="drained-retry"))
        shared_chaos.wait_seen("drained-retry")
        proxy.signal()
        assert client.read_response().status == 200
    assert proxy.wait() == 0


def test_a_keep_alive_client_loses_nothing(start: Start) -> None:
    """One that sends all the time: every request it sent has an answer, the last says close."""
    proxy = start(delay="400ms")
    answered = 0
    with proxy.client("inbound") as client:
        for number in range(1000):
            if number == 5:
                proxy.signal()
            response = client.request("GET", "/d", chaos="delay=0.02")
            assert response.status == 200
            answered += 1
            if response.header("connection") == "close":
                break
        assert client.closed()
    assert 5 < answered < 1000
    assert proxy.wait() == 0


def test_under_load_not_one_request_is_lost(start: Start) -> None:
    """Callers on kept and on fresh connections, until the cluster has stopped sending them."""
    proxy = start(delay="1500ms")
    stop = threading.Event()
    statuses: list[int] = []

    def call(*, keep: bool) -> None:
        while not stop.is_set():
            with proxy.client("inbound") as client:
                while not stop.is_set():
                    response = client.request("POST", "/d", body=b"x", chaos="delay=0.01")
                    statuses.append(response.status)
                    if not keep or response.header("connection") == "close":
                        break

    callers = [threading.Thread(target=call, kwargs={"keep": n % 2 == 0}) for n in range(6)]
    for caller in callers:
        caller.start()
    eventually(lambda: len(statuses) > 25)
    before = len(statuses)
    proxy.signal()
    time.sleep(0.5)
    stop.set()
    for caller in callers:
        caller.join(5)
    assert len(statuses) > before + 6
    assert set(statuses) == {200}
    assert proxy.wait() == 0


def test_an_idle_connection_has_a_second_of_grace(start: Start) -> None:
    proxy = start(delay="2s")
    with proxy.client("inbound") as idle, proxy.client("inbound") as late:
        idle.request("GET", "/d")
        late.request("GET", "/d")
        started = time.monotonic()
        proxy.signal()
        time.sleep(0.3)
        response = late.request("GET", "/d")
        assert (response.status, response.header("connection")) == (200, "close")
        assert idle.closed()
        assert time.monotonic() - started >= 0.8
        assert accepts(proxy.inbound), "the delay goes on"
    assert proxy.wait() == 0


def test_outbound_works_on_while_inbound_finishes(
    start: Start, shared_chaos: ChaosUpstream
) -> None:
    """The service needs its dependencies to answer what it still has."""
    proxy = start()
    with proxy.client("inbound") as caller, proxy.client("outbound") as service:
        service.request("GET", "/d")
        caller.send(request_bytes("GET", "/d", chaos="held", request_id="in-drain"))
        shared_chaos.wait_seen("in-drain")
        proxy.signal()
        eventually(lambda: not accepts(proxy.inbound))
        for _ in range(5):
            response = service.request("GET", "/d")
            assert (response.status, response.header("connection")) == (200, None)
            time.sleep(0.1)
        assert proxy.call("GET", "/d").status == 200, "on a new connection as well"
        shared_chaos.let_go("/d")
        assert caller.read_response().status == 200
    assert proxy.wait() == 0


def test_an_idle_outbound_connection_means_that_the_service_lives(start: Start) -> None:
    proxy = start(timeout="2500ms")
    with proxy.client("outbound") as service:
        service.request("GET", "/d")
        started = time.monotonic()
        proxy.signal()
        time.sleep(1.6)
        assert proxy.process.poll() is None
        assert service.request("GET", "/d").status == 200
        assert proxy.wait() == 0, "idle connections are not a cut"
        assert 2.3 <= time.monotonic() - started < 6


def test_when_the_service_has_gone_it_ends_before_the_timeout(start: Start) -> None:
    proxy = start(timeout="8s")
    with proxy.client("outbound") as service:
        service.request("GET", "/d")
        proxy.signal()
        time.sleep(0.3)
    started = time.monotonic()
    assert proxy.wait() == 0
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("listener", ["inbound", "outbound"])
def test_what_is_cut_before_its_response_is_answered_and_told(
    start: Start, shared_chaos: ChaosUpstream, listener: str
) -> None:
    proxy = start(timeout="700ms")
    with proxy.client(listener) as client:
        request_id = f"cut-{listener}"
        client.send(request_bytes("GET", "/d", chaos="hang", request_id=request_id))
        shared_chaos.wait_seen(request_id)
        started = time.monotonic()
        proxy.signal()
        response = client.read_response()
        assert (response.status, response.why) == (503, "draining")
        assert response.header("connection") == "close"
        assert client.closed()
    assert proxy.wait() == 3
    assert 0.6 <= time.monotonic() - started < 5
    _assert_told(proxy, request_id)


@pytest.mark.parametrize("framing", ["", "chunked"])
def test_what_is_cut_in_its_response_does_not_look_whole(
    start: Start, shared_chaos: ChaosUpstream, framing: str
) -> None:
    proxy = start(timeout="700ms")
    request_id = f"cut-body-{framing}"
    with proxy.client("inbound") as client:
        script = f"size=100 stall=50 {framing}"
        client.send(request_bytes("GET", "/d", chaos=script, request_id=request_id))
        shared_chaos.wait_seen(request_id)
        proxy.signal()
        with pytest.raises((BrokenOff, ConnectionError)):
            client.read_response()
    assert proxy.wait() == 3
    _assert_told(proxy, request_id)


def _assert_told(proxy: RunningProxy, request_id: str) -> None:
    line = proxy.logged(request_id)
    assert line["reason"] in ("draining", "drain-cut")
    events = [json.loads(one) for one in proxy.errors.splitlines() if one.startswith("{")]
    (event,) = [one for one in events if one.get("request_id") == request_id]
    assert (event["level"], event["route"]) == ("warning", line["route"])


def test_health_live_stays_200_to_the_end(start: Start, shared_chaos: ChaosUpstream) -> None:
    proxy = start(timeout="1600ms")
    with proxy.client("inbound") as client:
        client.send(request_bytes("GET", "/d", chaos="hang", request_id="live-drain"))
        shared_chaos.wait_seen("live-drain")
        proxy.signal()
        answers = []
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            answers.append(proxy.ask("GET", "/health/live")[0])
            time.sleep(0.05)
        assert set(answers) == {200}
        assert proxy.wait() == 3


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(
    start: Start, shared_chaos: ChaosUpstream, second: int
) -> None:
    proxy = start(delay="5s", timeout="20s")
    with proxy.client("inbound") as client:
        request_id = f"second-{second}"
        client.send(request_bytes("GET", "/d", chaos="hang", request_id=request_id))
        shared_chaos.wait_seen(request_id)
        proxy.signal()
        eventually(lambda: _ready(proxy) == 503)
        started = time.monotonic()
        proxy.signal(second)
        assert proxy.wait() == 3
        assert time.monotonic() - started < 4


@pytest.mark.parametrize("how", ["POST", "command"])
def test_after_drain_the_process_stays_until_sigterm(start: Start, how: str) -> None:
    """A native sidecar gets its SIGTERM last; until then the service needs its way out."""
    proxy = start()
    _drain(proxy, how)
    eventually(lambda: not accepts(proxy.inbound), timeout=4)
    time.sleep(1.3)
    assert proxy.process.poll() is None
    assert proxy.call("GET", "/d").status == 200
    assert (_ready(proxy), proxy.ask("GET", "/health/live")[0]) == (503, 200)
    started = time.monotonic()
    proxy.signal()
    assert proxy.wait() == 0
    assert time.monotonic() - started < 3, "the same drain, not a second one"


def test_the_drain_command_waits_for_what_is_in_flight(
    start: Start, shared_chaos: ChaosUpstream
) -> None:
    proxy = start()
    with proxy.client("inbound") as client:
        client.send(request_bytes("GET", "/d", chaos="delay=1.5", request_id="command-waits"))
        shared_chaos.wait_seen("command-waits")
        _drain(proxy, "command")
        assert proxy.in_flight() == 0
        assert client.read_response().status == 200
    proxy.signal()
    assert proxy.wait() == 0


def test_the_drain_command_without_a_proxy(refusing_port: int) -> None:
    command = [sys.executable, "-m", "proxy", "drain", "--admin"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{refusing_port}"], timeout=10, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(refusing_port) in done.stderr


def test_a_tunnel_survives_until_it_closes(start: Start, shared_chaos: ChaosUpstream) -> None:
    proxy = start(egress={"connect_ports": [shared_chaos.port]})
    authority = shared_chaos.authority
    with proxy.client() as client:
        client.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        assert client.read_head().status == 200
        proxy.signal()
        time.sleep(0.5)
        assert client.request("GET", "/in-tunnel").status == 200
    assert proxy.wait() == 0
