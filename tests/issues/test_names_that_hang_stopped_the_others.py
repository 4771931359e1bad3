"""Two names whose servers never answered stopped every other look-up, `localhost` too.

They also opened the breakers of healthy upstreams, and kept the process alive for 38 s after its
SIGTERM. 40 new names that took 300 ms each lost half of their requests.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from integration.name_server import NameServer, asking, can_serve_names, name_server
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, route

pytestmark = pytest.mark.skipif(
    not can_serve_names(), reason="port 53 and a mount namespace need more rights"
)


@pytest.fixture
def names() -> Iterator[NameServer]:
    with name_server() as server:
        yield server


@pytest.fixture
def proxy(
    start_plain: Callable[..., RunningProxy],
    start_chaos: Callable[[], object],
    names: NameServer,
    tmp_path: Path,
) -> RunningProxy:
    prefix = asking(names, tmp_path, "options timeout:5 attempts:3", hosts="127.0.0.1 at.home")
    return start_plain(
        {
            "drain": {"delay": "0s", "timeout": "2s"},
            "policies": {"default": {"timeouts": {"connect": "4s"}}},
        },
        prefix=prefix,
    )


@pytest.fixture
def port(start_chaos: Callable[..., object]) -> int:
    return start_chaos().port


def ask(proxy: RunningProxy, host: str, port: int) -> tuple[int, str, float]:
    began = time.monotonic()
    response = proxy.call("GET", f"http://{host}:{port}/")
    return response.status, response.why, time.monotonic() - began


def test_64_that_hang_delay_no_other(proxy: RunningProxy, names: NameServer, port: int) -> None:
    names.records["quick.test"] = ["127.0.0.1"]
    with ThreadPoolExecutor(64) as pool:
        hanging = [pool.submit(ask, proxy, f"hang{number}.test", port) for number in range(64)]
        eventually(lambda: len(names.asked) == 64)
        for host in ("localhost", "quick.test", "at.home"):
            status, why, took = ask(proxy, host, port)
            assert (status, why) == (200, None)
            assert took < 4, host  # behind one that hangs: 5 s
        proxy.signal()
        began = time.monotonic()
        assert proxy.wait() in (0, 3)
        assert time.monotonic() - began < 4
        for one in hanging:
            one.cancel()


def test_40_new_names_are_all_looked_up_at_once(
    proxy: RunningProxy, names: NameServer, port: int
) -> None:
    hosts = [f"held{number}.test" for number in range(40)]
    names.records |= {host: ["127.0.0.1"] for host in hosts}
    with ThreadPoolExecutor(40) as pool:
        asking = [pool.submit(ask, proxy, host, port) for host in hosts]
        eventually(lambda: len(names.asked) == 40)
        names.let_go()
    assert {one.result()[:2] for one in asking} == {(200, None)}


def test_the_system_decides_how_a_name_is_looked_up(
    start_plain: Callable[..., RunningProxy], names: NameServer, tmp_path: Path, port: int
) -> None:
    """Search domains, ndots, and an answer that is too long for a datagram."""
    names.records["inventory.shop.svc.cluster.test"] = ["127.0.0.1"]
    names.records["many.test"] = ["127.0.0.1"] + [f"127.0.1.{number}" for number in range(100)]
    lines = ("search shop.svc.cluster.test svc.cluster.test", "options ndots:5")
    proxy = start_plain({}, prefix=asking(names, tmp_path, *lines))
    assert ask(proxy, "inventory", port)[:2] == (200, None)
    proxy.call("GET", f"http://many.test:{port}/")
    upstreams = {one["name"]: one for one in proxy.state("/upstreams")["upstreams"]}
    assert len(upstreams[f"many.test:{port}"]["endpoints"]) == 101


def test_a_name_that_hangs_costs_its_own_time_and_breaker_alone(
    start_proxy: Callable[..., RunningProxy], names: NameServer, tmp_path: Path, port: int
) -> None:
    proxy = start_proxy(
        {
            "upstreams": {
                "hanging": {"endpoints": [f"http://hang.test:{port}"]},
                "healthy": {"endpoints": [f"http://localhost:{port}"]},
            },
            "routes": [
                route(name, upstream=name, retry=ONCE, timeouts={"connect": "300ms"})
                for name in ("hanging", "healthy")
            ],
        },
        prefix=asking(names, tmp_path),
    )

    def names_the_server() -> bool:
        response = proxy.call("GET", "/hanging")
        assert (response.status, response.why) == (504, "connect-timeout")
        return "hang.test took longer than 0.3s" in response.problem["detail"]

    eventually(names_the_server)  # not at once where the process had no CPU time
    assert proxy.call("GET", "/healthy").status == 200
