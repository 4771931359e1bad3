"""Reloading the file: all or nothing, and nothing in flight notices. Contract, section 7."""

import signal
import threading
import time
from collections.abc import Callable

import pytest
import yaml
from chaos.upstream import ChaosUpstream
from integration.ports import free_port
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, breaker, route


@pytest.fixture
def proxy(start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream) -> RunningProxy:
    return start_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [route("r", retry=ONCE, circuit_breaker=breaker(calls=2, open_for="30s"))],
        }
    )


def _reloads(proxy: RunningProxy, result: str) -> float:
    return proxy.metric("proxy_config_reloads_total", result=result)


def _add_route(proxy: RunningProxy, name: str) -> None:
    proxy.config["routes"].append(route(name))
    proxy.write()


def _routes(proxy: RunningProxy) -> list[str]:
    return [str(entry["name"]) for entry in proxy.state("/config")["routes"]]


def _served(proxy: RunningProxy, name: str) -> bool:
    response = proxy.call("GET", f"/{name}", {"Host": "127.0.0.1:1"})
    return bool(proxy.logged(response.id)["route"] == name)


@pytest.mark.parametrize("how", ["POST", "SIGHUP", "watched"])
def test_a_new_route_is_served(proxy: RunningProxy, how: str) -> None:
    assert not _served(proxy, "fresh")
    _add_route(proxy, "fresh")
    if how == "POST":
        assert proxy.ask("POST", "/reload")[0] == 200
    elif how == "SIGHUP":
        proxy.signal(signal.SIGHUP)
    eventually(lambda: _served(proxy, "fresh"), timeout=8)


def test_a_file_with_a_problem_changes_nothing(proxy: RunningProxy) -> None:
    proxy.config["routes"].append({"name": "broken", "upstream": "nowhere"})
    proxy.write()
    assert proxy.ask("POST", "/reload")[0] >= 400
    eventually(lambda: _reloads(proxy, "rejected") >= 1)
    assert proxy.call("GET", "/r").status == 200
    eventually(lambda: "nowhere" in proxy.errors)
    assert "rejected" in str(proxy.state("/status")["config"])
    proxy.config["routes"].pop()
    _add_route(proxy, "mended")
    assert proxy.ask("POST", "/reload")[0] == 200
    assert _served(proxy, "mended")


def test_state_whose_settings_did_not_change_is_kept(proxy: RunningProxy) -> None:
    for _ in range(2):
        proxy.call("GET", "/r", chaos="500")
    assert proxy.breaker("r")["state"] == "open"
    _add_route(proxy, "another")
    assert proxy.ask("POST", "/reload")[0] == 200
    assert proxy.breaker("r")["state"] == "open"
    assert proxy.call("GET", "/r").why == "circuit-open"


def test_state_whose_settings_changed_begins_anew(proxy: RunningProxy) -> None:
    for _ in range(2):
        proxy.call("GET", "/r", chaos="500")
    proxy.config["routes"][0]["circuit_breaker"] = breaker(calls=3, open_for="30s")
    proxy.write()
    assert proxy.ask("POST", "/reload")[0] == 200
    assert proxy.call("GET", "/r").status == 200


def test_what_is_in_flight_and_what_is_connected_goes_on(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    with proxy.client() as client, proxy.client() as idle:
        idle.request("GET", "/r")
        client.send(request_bytes("GET", "/r", chaos="size=40 pieces=4 interval=0.1"))
        assert client.read_head().status == 200
        proxy.config["routes"] = [route("else")]
        proxy.write()
        assert proxy.ask("POST", "/reload")[0] == 200
        assert len(client.read_some(40)) == 40
        assert idle.request("GET", "/else").status == 200
        assert client.request("GET", "/else").status == 200


def test_a_changed_listener_address_is_refused(proxy: RunningProxy) -> None:
    proxy.config["listeners"]["outbound"]["address"] = f"127.0.0.1:{free_port()}"
    proxy.write()
    status, body = proxy.ask("POST", "/reload")
    assert status >= 400
    assert "listener" in body
    assert proxy.call("GET", "/r").status == 200


def test_a_hundred_reloads_under_load_lose_nothing(proxy: RunningProxy) -> None:
    """Every other one adds a route or takes it away; connections and their requests go on."""
    stop = threading.Event()
    statuses: list[int] = []
    broken: list[Exception] = []

    def load() -> None:
        try:
            with proxy.client() as client:
                while not stop.is_set():
                    statuses.append(client.request("GET", "/r", body=b"x" * 100).status)
                    time.sleep(0.002)
        except (OSError, AssertionError) as error:
            broken.append(error)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(100):
        if number % 2:
            proxy.config["routes"].pop()
            proxy.write()
        else:
            _add_route(proxy, f"n{number}")
        assert proxy.ask("POST", "/reload")[0] == 200
    stop.set()
    for thread in threads:
        thread.join(5)
    assert not broken
    assert len(statuses) > 100
    assert set(statuses) == {200}
    assert _reloads(proxy, "applied") >= 100, "what the watch found comes on top"
    assert _reloads(proxy, "rejected") == 0


def test_a_swapped_config_map_is_in_effect_within_two_seconds(proxy: RunningProxy) -> None:
    """As the kubelet does it: the file is a link into ``..data``, and that link is replaced."""
    volume = proxy.file.parent

    def publish(version: str) -> None:
        (volume / version).mkdir()
        (volume / version / "proxy.yaml").write_text(yaml.safe_dump(proxy.config))
        (volume / "..data_tmp").symlink_to(version)
        (volume / "..data_tmp").replace(volume / "..data")

    publish("..2026_11_25_1")
    (volume / "link").symlink_to("..data/proxy.yaml")
    (volume / "link").replace(proxy.file)
    eventually(lambda: _reloads(proxy, "applied") == 1, timeout=8)
    taken = []
    for name in ("second", "third"):
        proxy.config["routes"].append(route(name))
        began = time.monotonic()
        publish(f"..2026_11_25_{name}")
        eventually(lambda name=name: _routes(proxy)[-1] == name, timeout=8)
        taken.append(time.monotonic() - began)
        assert _served(proxy, name)
    assert min(taken) < 2, taken


def test_a_signal_with_a_bad_file_ends_nothing(proxy: RunningProxy) -> None:
    proxy.file.write_text("service: [")
    proxy.signal(signal.SIGHUP)
    eventually(lambda: _reloads(proxy, "rejected") >= 1)
    last = proxy.state("/status")["config"]["last_reload"]
    assert last["result"] == "rejected"
    assert str(proxy.file) in last["problems"][0]
    assert proxy.call("GET", "/r").status == 200
    assert proxy.process.poll() is None


def test_a_changed_admin_address_is_refused_with_all_the_rest(proxy: RunningProxy) -> None:
    proxy.config["admin"]["address"] = f"127.0.0.1:{free_port()}"
    _add_route(proxy, "fresh")
    status, body = proxy.ask("POST", "/reload")
    assert status == 409
    assert "admin.address" in body
    assert "restart" in body
    assert not _served(proxy, "fresh")


def test_what_is_no_route_takes_effect_too(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        assert client.request("GET", "/r").status == 200
        proxy.config["egress"] = {"allow": ["nowhere.test"]}
        proxy.config["limits"] = {"url_bytes": "100B"}
        proxy.config["service"] = "renamed"
        proxy.write()
        assert proxy.ask("POST", "/reload")[0] == 200
        assert client.request("GET", "http://127.0.0.1:9/elsewhere").status == 403
        assert client.request("GET", f"/r/{'x' * 200}").status == 414
    assert proxy.state("/status")["service"] == "renamed"
    shown = proxy.state("/config")
    assert shown["limits"]["url_bytes"] == "100B"
    assert shown["sources"]["limits.url_bytes"].startswith(f"{proxy.file}:")
    assert shown["sources"]["limits.headers"] == "built-in default"


def test_counters_never_fall(proxy: RunningProxy) -> None:
    for _ in range(3):
        proxy.call("GET", "/r", chaos="500")
    names = ("proxy_requests_total", "proxy_attempts_total")
    before = [proxy.metric(name, route="r") for name in names]
    opened = proxy.metric("proxy_circuit_breaker_transitions_total", name="r", to="open")
    assert opened == 1
    proxy.config["routes"][0]["circuit_breaker"] = breaker(calls=3, open_for="30s")
    proxy.write()
    assert proxy.ask("POST", "/reload")[0] == 200
    assert [proxy.metric(name, route="r") for name in names] == before
    assert proxy.metric("proxy_circuit_breaker_transitions_total", name="r", to="open") == opened
