"""Fixtures of the tests that run the real command over real sockets."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos.upstream import ChaosUpstream
from integration.browser import Visit, chromium
from integration.ports import free_port
from integration.running_proxy import RunningProxy
from integration.settings import Settings

StartProxy = Callable[..., RunningProxy]
LoadProxy = Callable[[Settings], RunningProxy]
StartChaos = Callable[..., ChaosUpstream]
Open = Callable[..., Visit]


@pytest.fixture(scope="session")
def shared_chaos() -> Iterator[ChaosUpstream]:
    """One chaos upstream for all tests that tell their requests apart by id or path."""
    upstream = ChaosUpstream(free_port()).start()
    yield upstream
    upstream.stop()


@pytest.fixture
def start_chaos() -> Iterator[StartChaos]:
    """Start chaos upstreams of the test's own: ``start_chaos(script="503", host=...)``."""
    started: list[ChaosUpstream] = []

    def start(**options: Any) -> ChaosUpstream:
        host = options.get("host", "127.0.0.1")
        started.append(ChaosUpstream(free_port(host), **options).start())
        return started[-1]

    yield start
    for upstream in started:
        upstream.stop()


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[StartProxy]:
    """Start proxies of the test's own: ``start_proxy({...settings...})``."""
    started: list[RunningProxy] = []

    def start(settings: Settings | None = None, **options: Any) -> RunningProxy:
        directory = tmp_path / f"proxy{len(started)}"
        directory.mkdir()
        started.append(RunningProxy(directory, settings or {}, **options))
        return started[-1]

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture(scope="session")
def reloaded_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    proxy = RunningProxy(tmp_path_factory.mktemp("reloaded"), {})
    yield proxy
    proxy.stop()


@pytest.fixture
def reload_proxy(reloaded_proxy: RunningProxy) -> Iterator[LoadProxy]:
    """As `start_proxy` for upstreams, routes and policies, by a reload of one process for all.

    The file without them is in effect in between, so that no gate and no pool is kept.
    """

    def load(settings: Settings) -> RunningProxy:
        reloaded_proxy.reconfigure({})
        reloaded_proxy.reconfigure(settings)
        return reloaded_proxy

    yield load
    reloaded_proxy.assert_sound()


@pytest.fixture(scope="module")
def module_proxy(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Settings], RunningProxy]]:
    """For a module's own ``proxy`` fixture: ``return module_proxy({...settings...})``."""
    started: list[RunningProxy] = []

    def start(settings: Settings) -> RunningProxy:
        started.append(RunningProxy(tmp_path_factory.mktemp("proxy"), settings))
        return started[-1]

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture
def refusing_port() -> int:
    """A port on which nobody listens."""
    return free_port()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit_page(browser: Any) -> Iterator[Open]:
    """Open status pages: ``visit_page(port, color_scheme="dark").open()``."""
    visits: list[Visit] = []

    def begin(port: int, **options: Any) -> Visit:
        visits.append(Visit(browser, port, **options))
        return visits[-1]

    yield begin
    for each in visits:
        each.close()
