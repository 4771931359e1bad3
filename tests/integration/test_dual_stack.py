"""Names with several addresses, of one family or of both: one that fails is passed over."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.name_server import NameServer, asking, can_serve_names, name_server
from integration.ports import free_port
from integration.running_proxy import RunningProxy
from integration.settings import ONCE, breaker, route

pytestmark = pytest.mark.skipif(
    not can_serve_names(), reason="port 53 and a mount namespace need more rights"
)


@pytest.fixture
def names() -> Iterator[NameServer]:
    with name_server() as server:
        yield server


StartNamed = Callable[[int], RunningProxy]


@pytest.fixture
def start_named(
    start_proxy: Callable[..., RunningProxy], names: NameServer, tmp_path: Path
) -> StartNamed:
    """A proxy whose route `r` goes once to `shop.test` at a port."""

    def start(port: int) -> RunningProxy:
        once = {"retry": ONCE, "circuit_breaker": breaker(calls=2)}
        return start_proxy(
            {
                "upstreams": {"shop": {"endpoints": [f"http://shop.test:{port}"]}},
                "routes": [route("r", upstream="shop", **once)],
            },
            prefix=asking(names, tmp_path),
        )

    return start


@pytest.mark.parametrize("alive", ["127.0.0.1", "::1"])
def test_a_family_that_refuses_costs_no_request(
    start_named: StartNamed,
    start_chaos: Callable[..., ChaosUpstream],
    names: NameServer,
    alive: str,
) -> None:
    upstream = start_chaos(host=alive)
    names.records["shop.test"] = ["127.0.0.1", "::1"]
    proxy = start_named(upstream.port)
    for _ in range(10):
        assert proxy.call("GET", "/r").status == 200
    assert proxy.breaker("r")["failures"] == 0


def test_an_address_of_the_same_family_too(
    start_named: StartNamed, start_chaos: Callable[..., ChaosUpstream], names: NameServer
) -> None:
    upstream = start_chaos()
    names.records["shop.test"] = ["127.0.7.1", "127.0.7.2", "127.0.0.1"]
    proxy = start_named(upstream.port)
    for _ in range(10):
        response = proxy.call("GET", "/r")
        assert response.status == 200
        (attempt,) = proxy.logged(response.id)["attempts"]
        assert attempt["endpoint"] == f"127.0.0.1:{upstream.port}"


def test_when_none_connects_it_is_one_failure(start_named: StartNamed, names: NameServer) -> None:
    names.records["shop.test"] = ["127.0.0.1", "127.0.7.1", "::1"]
    proxy = start_named(free_port())
    response = proxy.call("GET", "/r")
    assert (response.status, response.why) == (502, "connect-refused")
    assert len(proxy.logged(response.id)["attempts"]) == 1
    assert proxy.breaker("r")["calls"] == 1


def test_a_family_that_does_not_answer_costs_a_quarter_of_a_second(
    start_named: StartNamed, start_chaos: Callable[..., ChaosUpstream], names: NameServer
) -> None:
    upstream = start_chaos(host="::1")
    names.records["shop.test"] = ["127.0.7.9", "::1"]
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.7.9", upstream.port))
        full.listen(0)
        first.connect(full.getsockname())  # the queue is full: who comes next gets no answer
        proxy = start_named(upstream.port)
        answers = [proxy.call("GET", "/r") for _ in range(4)]
        assert [one.status for one in answers] == [200] * 4
        # Else each takes `timeouts.connect`, a second; the machine may hold up a few of them.
        assert min(one.elapsed for one in answers) < 0.95
