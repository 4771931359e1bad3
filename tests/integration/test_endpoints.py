"""Several endpoints, dead ones among them, and connections that died in the pool."""

import time
from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.conftest import LoadProxy
from integration.ports import free_port, has_ipv6
from integration.running_proxy import eventually
from integration.settings import ONCE, Settings, route

StartChaos = Callable[..., ChaosUpstream]


def _settings(*urls: str, **keys: object) -> Settings:
    balancing = {"load_balancing": keys.pop("load_balancing", "least_request")}
    return {
        "upstreams": {"several": {"endpoints": list(urls), **balancing}},
        "routes": [route("s", "several", **keys)],
    }


def test_a_post_survives_an_endpoint_that_refuses(
    reload_proxy: LoadProxy, shared_chaos: ChaosUpstream
) -> None:
    """Nothing was sent, so every method may go to the other one."""
    dead = f"http://127.0.0.1:{free_port()}"
    proxy = reload_proxy(_settings(dead, shared_chaos.url, load_balancing="round_robin"))
    for _ in range(10):
        response = proxy.call("POST", "/s", {"Connection": "close"}, b"once")
        assert response.status == 200
        assert len(shared_chaos.seen(response.id)) == 1
    assert proxy.metric("proxy_retries_total", route="s", condition="connect-failure") >= 1


def test_when_all_refuse_the_attempts_are_spent(reload_proxy: LoadProxy) -> None:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    response = reload_proxy(_settings(*urls)).call("POST", "/s", body=b"x")
    assert (response.status, response.why) == (502, "connect-refused")
    assert len(response.problem["attempts"]) == 3


@pytest.mark.parametrize("balancing", ["least_request", "round_robin", "random"])
def test_another_attempt_goes_to_another_endpoint(
    reload_proxy: LoadProxy, start_chaos: StartChaos, balancing: str
) -> None:
    bad, good = start_chaos(script="503"), start_chaos(script="200")
    proxy = reload_proxy(_settings(bad.url, good.url, load_balancing=balancing))
    responses = [proxy.call("GET", "/s") for _ in range(20)]
    assert [one.status for one in responses] == [200] * 20
    assert all(len(bad.seen(one.id)) <= 1 for one in responses)
    line = proxy.logged(responses[0].id)
    assert good.authority in line["attempts"][-1]["endpoint"]


@pytest.mark.parametrize("balancing", ["least_request", "round_robin", "random"])
def test_all_endpoints_get_their_share(
    reload_proxy: LoadProxy, start_chaos: StartChaos, balancing: str
) -> None:
    endpoints = [start_chaos() for _ in range(3)]
    proxy = reload_proxy(_settings(*(one.url for one in endpoints), load_balancing=balancing))
    with proxy.client() as client:
        for _ in range(60):
            assert client.request("GET", "/s").status == 200
    shares = [len(one.seen_path("/s")) for one in endpoints]
    assert sum(shares) == 60
    if balancing == "round_robin":
        assert shares == [20, 20, 20]
    else:
        assert min(shares) >= 3


def test_a_name_with_several_addresses(reload_proxy: LoadProxy, start_chaos: StartChaos) -> None:
    """Here ``localhost``, on whichever of its addresses something answers."""
    chaos = start_chaos(host="127.0.0.1")
    proxy = reload_proxy(_settings(f"http://localhost:{chaos.port}"))
    assert [proxy.call("POST", "/s", body=b"x").status for _ in range(5)] == [200] * 5
    (upstream,) = [
        one
        for one in proxy.state("/upstreams")["upstreams"]
        if one.get("name", one.get("upstream")) == "several"
    ]
    assert any(chaos.authority in str(one) for one in upstream["endpoints"])


def test_addresses_of_the_loopback(reload_proxy: LoadProxy, start_chaos: StartChaos) -> None:
    first, second = start_chaos(host="127.0.0.2"), start_chaos(host="127.0.0.3")
    first.pause()
    proxy = reload_proxy(_settings(first.url, second.url))
    assert [proxy.call("POST", "/s", body=b"x").status for _ in range(10)] == [200] * 10
    first.resume()
    second.pause()
    assert [proxy.call("POST", "/s", body=b"x").status for _ in range(10)] == [200] * 10


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6_as_endpoint_and_as_authority(
    reload_proxy: LoadProxy, start_chaos: StartChaos
) -> None:
    chaos = start_chaos(host="::1")
    proxy = reload_proxy(_settings(chaos.url))
    assert proxy.call("GET", "/s").status == 200
    response = proxy.call("GET", f"{chaos.url}/named")
    assert response.status == 200
    assert chaos.seen(response.id)[0].header("host") == f"[::1]:{chaos.port}"


def test_an_upstream_that_restarts(reload_proxy: LoadProxy, start_chaos: StartChaos) -> None:
    chaos = start_chaos()
    proxy = reload_proxy(_settings(chaos.url, retry=ONCE))
    assert proxy.call("GET", "/s").status == 200
    chaos.pause()
    down = proxy.call("POST", "/s", body=b"x")
    assert (down.status, down.why) == (502, "connect-refused")
    chaos.resume()
    assert proxy.call("POST", "/s", body=b"x").status == 200


def test_a_connection_that_died_idle_does_not_fail_a_post(
    reload_proxy: LoadProxy, start_chaos: StartChaos
) -> None:
    chaos = start_chaos()
    proxy = reload_proxy(_settings(chaos.url))
    for _ in range(10):
        assert proxy.call("GET", "/s").status == 200
        chaos.close_idle()
        time.sleep(0.02)
        response = proxy.call("POST", "/s", body=b"x")
        assert response.status == 200
        assert len(chaos.seen(response.id)) == 1


def test_nor_does_one_that_dies_at_that_very_moment(
    reload_proxy: LoadProxy, start_chaos: StartChaos
) -> None:
    chaos = start_chaos()
    proxy = reload_proxy(_settings(chaos.url))
    with proxy.client() as client:
        for _ in range(30):
            assert client.request("GET", "/s").status == 200
            chaos.close_idle()
            assert client.request("GET", "/s").status == 200


def test_idle_connections_are_given_up_before_the_server_does(
    reload_proxy: LoadProxy, start_chaos: StartChaos
) -> None:
    chaos = start_chaos()
    settings = _settings(chaos.url)
    settings["upstreams"]["several"]["connections"] = {"idle_timeout": "800ms"}
    proxy = reload_proxy(settings)
    assert proxy.call("GET", "/s").status == 200
    assert len(chaos.open) == 1
    eventually(lambda: not chaos.open)


def test_max_requests_of_a_connection(reload_proxy: LoadProxy, start_chaos: StartChaos) -> None:
    chaos = start_chaos()
    settings = _settings(chaos.url)
    settings["upstreams"]["several"]["connections"] = {"max_requests": 2}
    proxy = reload_proxy(settings)
    with proxy.client() as client:
        for _ in range(6):
            assert client.request("GET", "/s").status == 200
    assert chaos.connections_opened == 3


def test_max_connections_make_exchanges_wait(
    reload_proxy: LoadProxy, start_chaos: StartChaos
) -> None:
    chaos = start_chaos()
    settings = _settings(chaos.url, timeouts={"attempt": "3s"})
    settings["upstreams"]["several"]["connections"] = {"max": 2}
    proxy = reload_proxy(settings)
    clients = [proxy.client() for _ in range(6)]
    for client in clients:
        client.send(b"GET /s HTTP/1.1\r\nHost: a\r\nX-Chaos: delay=0.1\r\n\r\n")
    assert [client.read_response().status for client in clients] == [200] * 6
    for client in clients:
        client.close()
    assert chaos.connections_opened == 2


@pytest.mark.parametrize("greeting", ["close", "rst"])
def test_an_upstream_that_hangs_up_at_once(
    reload_proxy: LoadProxy, start_chaos: StartChaos, greeting: str
) -> None:
    chaos = start_chaos()
    chaos.greeting = greeting
    response = reload_proxy(_settings(chaos.url)).call("GET", "/s")
    assert response.status == 502
    assert response.why in ("upstream-reset", "connect-failed")
    assert len(response.problem["attempts"]) == 3
