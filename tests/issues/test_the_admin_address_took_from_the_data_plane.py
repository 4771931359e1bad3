"""Silent admin connections took the data plane's descriptors, clients of `/metrics` its time."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy, eventually
from integration.settings import route

StartProxy = Callable[..., RunningProxy]


@contextlib.contextmanager
def silent(port: int, number: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as opened:
        yield [
            opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(number)
        ]


def test_silent_connections_leave_it_its_descriptors(
    start_proxy: StartProxy, shared_chaos: ChaosUpstream
) -> None:
    settings = {"upstreams": {"c": {"endpoints": [shared_chaos.url]}}, "routes": [route("a", "c")]}
    proxy = start_proxy(settings, file_limits=(256, 256))
    files = proxy.open_files
    with silent(proxy.admin, 300):
        eventually(lambda: proxy.open_files <= files + 64)
        assert proxy.call("GET", "/a").status == 200
        assert proxy.ask("GET", "/health/ready")[0] == 200


def test_polling_when_inbound_is_drained_holds_up_no_drain(start_proxy: StartProxy) -> None:
    proxy = start_proxy({"drain": {"delay": "0s", "timeout": "20s"}})

    def poll() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                proxy.ask("GET", "/health/inbound-drained")

    poller = threading.Thread(target=poll, daemon=True)
    poller.start()
    began = time.monotonic()
    proxy.signal()
    assert proxy.wait(15) == 0
    assert time.monotonic() - began < 6


@pytest.mark.alone
@pytest.mark.long
def test_clients_of_metrics_leave_it_its_time(
    start_proxy: StartProxy, shared_chaos: ChaosUpstream
) -> None:
    """At 100 upstreams one rendering took 25 ms, and 8 clients left 5 requests a second."""
    names = [f"r{number}" for number in range(100)]
    settings: dict[str, Any] = {
        "upstreams": {name: {"endpoints": [shared_chaos.url]} for name in names},
        "routes": [route(name, name) for name in names],
        "access_log": {"requests": "none"},
    }
    proxy = start_proxy(settings)
    with proxy.client() as client:
        for name in names:
            assert client.request("GET", f"/{name}").status == 200

        def requests_in(seconds: float) -> int:
            done, end = 0, time.monotonic() + seconds
            while time.monotonic() < end:
                client.request("GET", f"/{names[done % 100]}")
                done += 1
            return done

        quiet = requests_in(1.5)
        ended = threading.Event()

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", proxy.admin, timeout=10)
            while not ended.is_set():
                connection.request("GET", "/metrics")
                connection.getresponse().read()
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for one in threads:
            one.start()
        try:
            beside = requests_in(1.5)
        finally:
            ended.set()
            for one in threads:
                one.join()
    assert beside > quiet / 2, (beside, quiet)
