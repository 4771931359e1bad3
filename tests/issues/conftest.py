"""Faults that users met: one file a fault, named after what the user saw.

A file keeps what was seen from coming back. It says in its docstring what happened, asks the real
command over real sockets, and expects what the contract promises. What a fault of a kind needs to
be shown lies in `issues.bed` (proxies with the built-in policies, upstreams of exact bytes) and in
tests/integration (`RunningProxy`, `RawClient`, the chaos upstream).

Floods, stalls and memory under load need minutes and a quiet machine: they are programs in
tests/bench with a bound of their own (docs/benchmarks.md).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.conftest import (
    module_proxy,
    refusing_port,
    reload_proxy,
    reloaded_proxy,
    shared_chaos,
    start_chaos,
    start_proxy,
)
from integration.running_proxy import RunningProxy
from integration.settings import Settings
from issues.bed import PlainProxy, RawUpstream, Serve

__all__ = [
    "module_proxy",
    "refusing_port",
    "reload_proxy",
    "reloaded_proxy",
    "shared_chaos",
    "start_chaos",
    "start_proxy",
]


@pytest.fixture
def start_plain(tmp_path: Path) -> Iterator[Callable[..., RunningProxy]]:
    """Start proxies with the built-in policies: ``start_plain({...settings...})``."""
    started: list[RunningProxy] = []

    def start(settings: Settings | None = None, **options: Any) -> RunningProxy:
        directory = tmp_path / f"plain{len(started)}"
        directory.mkdir()
        started.append(PlainProxy(directory, settings or {}, **options))
        return started[-1]

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture
def start_raw() -> Iterator[Callable[[Serve], RawUpstream]]:
    """Start upstreams of exact bytes: ``start_raw(serve)``, see `RawUpstream`."""
    started: list[RawUpstream] = []

    def start(serve: Serve) -> RawUpstream:
        started.append(RawUpstream(serve))
        return started[-1]

    yield start
    for upstream in started:
        upstream.stop()
