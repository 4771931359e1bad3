"""No file descriptor left: accepting pauses, what is open goes on; then so does accepting."""

import resource
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.pki import Pki
from integration.raw_client import RawClient, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, merged, route

MORE = 40
"""Descriptors that the proxy may open from when its limit is set."""
CLIENTS = 60

StartProxy = Callable[..., RunningProxy]


@pytest.fixture
def settings(shared_chaos: ChaosUpstream) -> Settings:
    chaos = {"endpoints": [shared_chaos.url], "connections": {"max_requests": 1}}
    return {"upstreams": {"chaos": chaos, "app": chaos}, "routes": [route("r")]}


def _lower(proxy: RunningProxy) -> None:
    limit = proxy.open_files + MORE
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (limit, limit))


def test_accepting_pauses_and_goes_on(settings: Settings, start_proxy: StartProxy) -> None:
    proxy = start_proxy(settings)
    with ExitStack() as stack:
        kept = stack.enter_context(proxy.client())
        assert kept.request("GET", "/r").status == 200
        _lower(proxy)
        clients = [stack.enter_context(proxy.client()) for _ in range(CLIENTS)]
        eventually(lambda: "accepting pauses" in proxy.errors)
        before = proxy.cpu_seconds
        time.sleep(0.5)
        assert proxy.cpu_seconds - before < 0.1, "it looks now and then, and does not spin"
        # Each of them needs a connection of its own to the upstream.
        assert [kept.request("GET", "/r").status for _ in range(3)] == [200] * 3
        assert proxy.ask("GET", "/health/live")[0] == 200
        late = clients[-1]
        late.send(request_bytes("GET", "/r"))
        assert late.stays_open(0.1), "it waits to be accepted, and is not closed"
        for client in clients[:-1]:
            client.close()
        assert late.read_response().status == 200
    assert proxy.call("GET", "/r").status == 200


def test_handshakes_take_descriptors_too(
    settings: Settings, start_proxy: StartProxy, tmp_path: Path
) -> None:
    """Of clients that connect and say nothing; they are no connections yet that limits count."""
    (tmp_path / "pki").mkdir()
    pki = Pki(tmp_path / "pki")
    cert, key = pki.files("127.0.0.1")
    tls = {"listeners": {"inbound": {"tls": {"cert": cert, "key": key}}}}
    proxy = start_proxy(merged(settings, tls | {"limits": {"header_timeout": "1s"}}))
    with ExitStack() as stack:
        kept = stack.enter_context(RawClient(proxy.inbound, tls=pki.client()))
        assert kept.request("GET", "/").status == 200
        _lower(proxy)
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(("127.0.0.1", proxy.inbound)))
        eventually(lambda: "accepting pauses" in proxy.errors)
        assert kept.request("GET", "/").status == 200
        # They are given up one by one, and then it is this one's turn.
        with RawClient(proxy.inbound, tls=pki.client()) as late:
            assert late.request("GET", "/").status == 200


def test_the_soft_limit_is_raised_and_a_low_hard_one_told(
    settings: Settings, start_proxy: StartProxy
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    few = merged(settings, {"limits": {"connections": 100}})
    roomy = start_proxy(few, file_limits=(300, hard))
    assert _soft_limit(roomy) == hard
    assert "ulimit" not in roomy.errors
    many = merged(settings, {"limits": {"connections": 1000}})
    tight = start_proxy(many, file_limits=(300, 512))
    assert _soft_limit(tight) == 512
    assert "only 512 files can be open (ulimit -n)" in tight.errors
    assert "limits.connections 1000" in tight.errors


def _soft_limit(proxy: RunningProxy) -> int:
    return resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)[0]
