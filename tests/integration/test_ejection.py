"""Ejection and health checks over real sockets, as the simulation says they are."""

import http.client
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from chaos.upstream import ChaosUpstream
from integration.pki import Pki
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, route

StartProxy = Callable[..., RunningProxy]
StartChaos = Callable[..., ChaosUpstream]


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def settings(*urls: str, **upstream: Any) -> Settings:
    return {
        "upstreams": {"several": {"endpoints": list(urls), **upstream}},
        "routes": [route("s", "several", retry=ONCE, circuit_breaker={"mode": "off"})],
    }


def state(proxy: RunningProxy, at: ChaosUpstream) -> dict[str, Any]:
    """What the admin API shows of an endpoint."""
    upstreams = proxy.state("/upstreams")["upstreams"]
    (found,) = [
        one
        for upstream in upstreams
        if upstream["name"] == "several"
        for one in upstream["endpoints"]
        if one["address"] == at.authority
    ]
    return dict(found)


def statuses(proxy: RunningProxy, count: int) -> list[int]:
    return [proxy.call("GET", "/s").status for _ in range(count)]


def turn_bypass(proxy: RunningProxy, word: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.admin, timeout=5)
    try:
        connection.request("POST", "/bypass", body=word)
        assert connection.getresponse().status == 200
    finally:
        connection.close()


def test_one_failing_endpoint_of_two_costs_five_requests_and_comes_back(
    start_proxy: StartProxy, start_chaos: StartChaos
) -> None:
    bad, good = start_chaos(script="503"), start_chaos(script="200")
    detection = {"eject_for": {"initial": "2s", "max": "2s"}}
    proxy = start_proxy(settings(bad.url, good.url, outlier_detection=detection))
    seen = statuses(proxy, 40)
    assert seen.count(503) <= 5 + 2
    why = "consecutive-failures"
    assert proxy.metric("proxy_ejections_total", upstream="several", why=why) == 1
    bad.rules["/"] = "200"

    def is_back() -> bool:
        proxy.call("GET", "/s")
        return not state(proxy, bad)["ejected"]

    eventually(is_back)
    assert statuses(proxy, 20) == [200] * 20
    label = bad.authority
    assert proxy.metric("proxy_endpoint_ejected", upstream="several", endpoint=label) == 0
    assert any("is ejected" in line for line in proxy.errors.splitlines())


def test_the_bypass_uses_an_ejected_endpoint_and_keeps_its_connections(
    start_proxy: StartProxy, start_chaos: StartChaos
) -> None:
    bad, good = start_chaos(script="503"), start_chaos(script="200")
    proxy = start_proxy(
        settings(bad.url, good.url, outlier_detection={}, load_balancing="round_robin")
    )
    assert statuses(proxy, 20).count(503) == 5
    before = state(proxy, good)["connections"]["open"]
    turn_bypass(proxy, "on")
    assert statuses(proxy, 10).count(503) == 5
    assert state(proxy, good)["connections"]["open"] == before
    turn_bypass(proxy, "off")
    assert statuses(proxy, 10) == [200] * 10
    assert state(proxy, bad)["ejections_in_a_row"] == 1


def test_a_health_check_finds_what_no_request_has_met(
    start_proxy: StartProxy, start_chaos: StartChaos
) -> None:
    sick, well = start_chaos(script="200"), start_chaos(script="200")
    check = {"path": "/health", "interval": "500ms", "timeout": "500ms", "unhealthy": 2}
    proxy = start_proxy(settings(sick.url, well.url, health_check=check))
    eventually(lambda: state(proxy, sick)["health"] == "healthy")
    sick.rules["/health"] = "503"
    eventually(lambda: state(proxy, sick)["health"] == "unhealthy")
    eventually(lambda: state(proxy, sick)["last_check"] == "503")  # or one that came too late
    answers = [proxy.call("GET", "/s") for _ in range(10)]
    assert all(well.seen(answer.id) for answer in answers)
    assert proxy.metric("proxy_health_checks_total", upstream="several", result="failed") >= 2
    assert proxy.metric("proxy_requests_total", route="s", code="200") == 10
    sick.rules["/health"] = "200"
    eventually(lambda: state(proxy, sick)["health"] == "healthy")


def test_health_checks_show_the_client_certificate(
    start_proxy: StartProxy, start_chaos: StartChaos, pki: Pki
) -> None:
    chaos = start_chaos(tls=pki.server(mutual=True), script="200")
    cert, key = pki.files("orders.shop")
    check = {"path": "/health", "interval": "500ms", "timeout": "500ms", "unhealthy": 1}
    trusted = {"ca": pki.ca, "cert": cert, "key": key}
    proxy = start_proxy(settings(chaos.url, health_check=check, tls=trusted))
    eventually(lambda: state(proxy, chaos)["health"] == "healthy")
    without = start_proxy(settings(chaos.url, health_check=check, tls={"ca": pki.ca}))
    eventually(lambda: state(without, chaos)["health"] == "unhealthy")


def test_checks_do_not_hold_up_a_drain(start_proxy: StartProxy, start_chaos: StartChaos) -> None:
    silent = start_chaos(script="hang")
    check = {"path": "/health", "interval": "10s", "timeout": "10s"}
    proxy = start_proxy(settings(silent.url, health_check=check))
    eventually(lambda: silent.seen_path("/health"))
    proxy.signal()
    assert proxy.wait(5.0) == 0


class HealthService:
    """grpc.health.v1, without generated code."""

    def __init__(self) -> None:
        self.status = 1
        self.asked: list[bytes] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        handler = grpc.unary_unary_rpc_method_handler(self._check)
        service = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})
        self._server.add_generic_rpc_handlers((service,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _check(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.asked.append(request)
        return b"\x08" + bytes([self.status])

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def health_service() -> Iterator[HealthService]:
    service = HealthService()
    yield service
    service.stop()


def test_grpc_health_checks_of_a_real_service(
    start_proxy: StartProxy, health_service: HealthService
) -> None:
    check = {"grpc": "shop.v1.Stock", "interval": "500ms", "timeout": "500ms", "unhealthy": 2}
    proxy = start_proxy(settings(f"http://{health_service.authority}", health_check=check))

    def health() -> tuple[str, str]:
        found = state(proxy, health_service)
        return found["health"], found["last_check"]

    eventually(lambda: health() == ("healthy", "SERVING"))
    assert health_service.asked[0] == b"\x0a\x0dshop.v1.Stock"
    health_service.status = 2
    eventually(lambda: health() == ("unhealthy", "NOT_SERVING"))
    health_service.status = 1
    eventually(lambda: health() == ("healthy", "SERVING"))
