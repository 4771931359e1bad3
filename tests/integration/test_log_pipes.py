"""An access log that nobody reads, or nobody can read any more: lines are lost, requests never."""

import os
import time
from collections.abc import Callable, Iterator

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy, eventually
from integration.settings import route

LONG = "x" * 8000
"""Of a path, so that a pipe and the proxy's own queue of 1 MiB are full after few lines."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its two ends, the reading one first; the test closes that one."""
    read, write = os.pipe()
    yield read, write
    os.close(write)


def dropped(proxy: RunningProxy) -> float:
    return proxy.metric("proxy_log_dropped_total")


def test_a_pipe_that_nobody_reads(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream, pipe: tuple[int, int]
) -> None:
    settings = {"upstreams": {"c": {"endpoints": [shared_chaos.url]}}, "routes": [route("l", "c")]}
    proxy = start_proxy(settings, stdout=pipe[1])
    with proxy.client() as client:
        for _ in range(200):
            assert client.request("GET", f"/l/{LONG}").status == 200
    # Not dropped is what the pipe holds, and what is queued or being written.
    assert 200 - (2**20 + 2**16) // 8000 <= dropped(proxy) <= 200 - 2**20 // 9000
    began = time.monotonic()
    proxy.signal()
    assert proxy.wait() == 0
    assert time.monotonic() - began < 6, "it does not wait for ever for its lines to be read"
    os.close(pipe[0])


def test_a_pipe_whose_reader_is_gone(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream, pipe: tuple[int, int]
) -> None:
    settings = {"upstreams": {"c": {"endpoints": [shared_chaos.url]}}, "routes": [route("l", "c")]}
    proxy = start_proxy(settings, stdout=pipe[1])
    os.close(pipe[0])
    with proxy.client() as client:
        for _ in range(5):
            assert client.request("GET", "/l").status == 200
    eventually(lambda: dropped(proxy) == 5)
    proxy.signal()
    assert proxy.wait() == 0
