"""The admin address: shapes, who may ask, and metrics that count. Contract, section 8."""

import json
import socket
from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.ports import free_port
from integration.raw_client import RawClient, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, breaker, route
from prometheus_client.parser import text_string_to_metric_families


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    fallback = {"when": [500], "response": {"status": 200, "body": "f"}}
    proxy = module_proxy(
        {
            "upstreams": {"chaos": chaos, "app": chaos},
            "routes": [
                route("a", circuit_breaker=breaker(calls=10)),
                route("f", fallback=fallback),
                {**route("s"), "headers": {"request": {"set": {"authorization": "Bearer s3cr3t"}}}},
            ],
        }
    )
    proxy.call("GET", "/a", chaos="503 | 200")
    proxy.call("GET", "/f", chaos="500")
    proxy.call("GET", "/in", listener="inbound")
    return proxy


def test_health(proxy: RunningProxy) -> None:
    assert proxy.ask("GET", "/health/live")[0] == 200
    assert proxy.ask("GET", "/health/ready")[0] == 200


def test_circuit_breakers(proxy: RunningProxy) -> None:
    entry = proxy.breaker("a")
    assert entry.keys() >= {
        "name", "route", "upstream", "state", "mode", "failure_rate", "slow_call_rate", "calls",
        "failures", "slow_calls", "not_permitted", "next_probe_in_s",
    }  # fmt: skip
    assert (entry["route"], entry["upstream"], entry["mode"]) == ("a", "chaos", "enforce")
    assert (entry["state"], entry["calls"], entry["failures"]) == ("closed", 2, 1)
    assert (entry["failure_rate"], entry["slow_call_rate"]) == (-1, -1)


def test_bulkheads(proxy: RunningProxy) -> None:
    entry = proxy.bulkhead("a")
    assert entry == entry | {"in_use": 0, "limit": 256, "queued": 0, "max_queue": 0}


def test_in_flight(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    with proxy.client() as client:
        client.send(request_bytes("GET", "/a/x?secret=1", chaos="held", request_id="flying"))
        shared_chaos.wait_seen("flying")
        state = proxy.state("/in-flight")
        assert (state["inbound"], state["outbound"]) == (0, 1)
        (entry,) = state["requests"]
        assert entry == entry | {
            "request_id": "flying",
            "listener": "outbound",
            "method": "GET",
            "route": "a",
            "attempt": 1,
        }
        assert 0 <= entry["age_s"] < 5
        assert proxy.metric("proxy_in_flight", listener="outbound") == 1
        shared_chaos.let_go("/a/x")
        client.read_response()
    eventually(lambda: proxy.in_flight() == 0)


def test_status_has_it_all(proxy: RunningProxy) -> None:
    status = proxy.state("/status")
    assert status["service"] == "orders"
    assert status["draining"] is False
    assert status["uptime_s"] > 0
    assert status["version"]
    assert str(proxy.file) in json.dumps(status["config"])
    assert {"circuit_breakers", "bulkheads"} <= status.keys()
    assert {"in_flight", "in-flight", "requests"} & status.keys()


@pytest.mark.parametrize("path", ["/retries", "/upstreams", "/routes", "/config"])
def test_the_other_documents_are_json(proxy: RunningProxy, path: str) -> None:
    assert "chaos" in json.dumps(proxy.state(path))


def test_the_root_lists_the_endpoints(proxy: RunningProxy) -> None:
    status, body = proxy.ask("GET", "/")
    assert status == 200
    assert "/circuit-breakers" in body


def test_the_configuration_does_not_give_away_secrets(proxy: RunningProxy) -> None:
    assert "s3cr3t" not in proxy.ask("GET", "/config")[1]


def test_unknown_paths_and_methods(proxy: RunningProxy) -> None:
    assert proxy.ask("GET", "/nothing")[0] == 404
    assert proxy.ask("GET", "/drain")[0] == 405
    assert proxy.ask("POST", "/circuit-breakers/unknown/reset")[0] == 404
    assert proxy.ask("POST", "/circuit-breakers/a/explode")[0] in (400, 404, 405)


# --- who may ask --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/drain", "/reload", "/circuit-breakers/a/force-open"])
@pytest.mark.parametrize("origin", ["http://evil.test", "https://localhost.evil.test", "null"])
def test_a_foreign_origin_changes_nothing(proxy: RunningProxy, path: str, origin: str) -> None:
    assert proxy.ask("POST", path, {"Origin": origin})[0] == 403
    assert proxy.ask("GET", "/health/ready")[0] == 200
    assert proxy.breaker("a")["state"] == "closed"


def test_its_own_origin_may(proxy: RunningProxy) -> None:
    origin = {"Origin": f"http://127.0.0.1:{proxy.admin}"}
    assert proxy.call("GET", "/a").status == 200
    assert proxy.ask("POST", "/circuit-breakers/a/reset", origin)[0] == 200


@pytest.mark.parametrize("path", ["/status", "/", "/config", "/circuit-breakers"])
@pytest.mark.parametrize("host", ["evil.test", "evil.test:80", "localhost.evil.test"])
def test_a_foreign_host_reads_nothing(proxy: RunningProxy, path: str, host: str) -> None:
    """A name that a web page made point at 127.0.0.1 (DNS rebinding)."""
    assert proxy.ask("GET", path, {"Host": host})[0] == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:9", "127.0.0.1:1", "[::1]:80"])
def test_localhost_and_addresses_are_no_foreign_host(proxy: RunningProxy, host: str) -> None:
    assert proxy.ask("GET", "/status", {"Host": host})[0] == 200


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_health_and_metrics_are_for_any_name(proxy: RunningProxy, path: str) -> None:
    assert proxy.ask("GET", path, {"Host": "orders.shop.svc:7072"})[0] == 200


def _own_address() -> str | None:
    """An address of this machine that is not of the loopback, None where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


def _from_outside(proxy: RunningProxy, method: str, path: str) -> int:
    """The status that another machine gets; an address that is not loopback plays its part."""
    address = _own_address()
    with socket.create_connection((address, proxy.admin), 5) as remote:
        remote.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        return int(remote.recv(200).split()[1])


HEALTH = ["GET /health/live", "GET /health/ready"]
READING = ["GET /status", "GET /config", "GET /", "GET /routes"]
CHANGING = ["POST /drain", "POST /reload", "POST /circuit-breakers/a/reset"]


@pytest.mark.skipif(_own_address() is None, reason="this machine has no address but the loopback")
@pytest.mark.parametrize(
    ("remote", "allowed", "refused"),
    [
        (None, [*HEALTH, "GET /metrics"], READING + CHANGING),
        (["health"], HEALTH, ["GET /metrics", *READING, *CHANGING]),
        (["read"], [*HEALTH, "GET /metrics", *READING], CHANGING),
        ([], [], [*HEALTH, "GET /metrics", *READING, *CHANGING]),
    ],
)
def test_other_machines(
    start_proxy: Callable[..., RunningProxy],
    remote: list[str] | None,
    allowed: list[str],
    refused: list[str],
) -> None:
    admin: Settings = {"address": f"0.0.0.0:{free_port()}"}
    if remote is not None:
        admin["remote"] = remote
    proxy = start_proxy({"admin": admin, "routes": []})
    for asked in allowed:
        assert _from_outside(proxy, *asked.split()) == 200, asked
    for asked in refused:
        assert _from_outside(proxy, *asked.split()) == 403, asked
    assert proxy.ask("GET", "/status")[0] == 200


def test_names_where_the_caller_names_the_authority(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    policies = {"default": {"circuit_breaker": breaker(calls=4)}}
    proxy = start_proxy({"policies": policies})
    assert proxy.call("GET", f"{shared_chaos.url}/named").status == 200
    name = f"default-outbound:{shared_chaos.authority}"
    assert proxy.breaker(name)["calls"] == 1
    assert proxy.bulkhead(name)["in_use"] == 0
    assert proxy.metric("proxy_requests_total", route="default-outbound", code="200") == 1


# --- metrics ------------------------------------------------------------------------------------

COUNTED = {
    "proxy_requests_total": {"listener": "outbound", "route": "a", "code": "200"},
    "proxy_request_duration_seconds_count": {"listener": "outbound", "route": "a"},
    "proxy_attempts_total": {"route": "a", "upstream": "chaos"},
    "proxy_retries_total": {"route": "a", "condition": "gateway-error"},
    "proxy_fallbacks_total": {"route": "f"},
    "proxy_circuit_breaker_state": {"name": "a", "state": "closed"},
    "proxy_bulkhead_limit": {"name": "a"},
    "proxy_build_info": {},
    "process_resident_memory_bytes": {},
    "process_open_fds": {},
}


@pytest.mark.parametrize("name", COUNTED)
def test_metrics_count(proxy: RunningProxy, name: str) -> None:
    assert proxy.metric(name, **COUNTED[name]) >= 1


@pytest.mark.parametrize(
    "name",
    [
        "proxy_retries_refused", "proxy_circuit_breaker_transitions", "proxy_bulkhead_in_use",
        "proxy_bulkhead_queued", "proxy_in_flight", "proxy_connections", "proxy_streams",
        "proxy_upstream_connections", "proxy_drain_cut", "proxy_config_reloads",
    ],
)  # fmt: skip
def test_metrics_are_there_with_a_type_and_a_help(proxy: RunningProxy, name: str) -> None:
    families = {one.name: one for one in text_string_to_metric_families(_metrics(proxy))}
    assert families[name].type in ("counter", "gauge")
    assert families[name].documentation


def _metrics(proxy: RunningProxy) -> str:
    status, text = proxy.ask("GET", "/metrics")
    assert status == 200
    return text


def test_a_request_is_counted_once(proxy: RunningProxy) -> None:
    labels = {"listener": "outbound", "route": "a", "code": "404"}
    before = proxy.metric("proxy_requests_total", **labels)
    for _ in range(7):
        proxy.call("GET", "/a", chaos="404")
    assert proxy.metric("proxy_requests_total", **labels) == before + 7


def test_connections_are_counted(proxy: RunningProxy) -> None:
    before = proxy.metric("proxy_connections", listener="outbound")
    with proxy.client(), proxy.client():
        eventually(lambda: proxy.metric("proxy_connections", listener="outbound") == before + 2)
    eventually(lambda: proxy.metric("proxy_connections", listener="outbound") == before)


def test_authorities_are_bounded(
    module_proxy: Callable[[Settings], RunningProxy], start_chaos: Callable[..., ChaosUpstream]
) -> None:
    """The first hundred count under their names, the rest as ``other``."""
    chaos = start_chaos()
    proxy = module_proxy({})
    with RawClient(proxy.outbound) as client:
        for number in range(120):
            host = f"127.0.{number // 250}.{number % 250 + 1}:{chaos.port}"
            client.request("GET", f"http://{host}/", {"Connection": "keep-alive"})
    families = text_string_to_metric_families(_metrics(proxy))
    upstreams = {
        sample.labels["upstream"]
        for family in families
        for sample in family.samples
        if sample.name == "proxy_attempts_total"
    }
    assert "other" in upstreams
    assert 100 <= len(upstreams) <= 102
