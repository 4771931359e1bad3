"""The policies of the order service over the real command, in less time than the example has."""

import time

import pytest
import yaml
from chaos.upstream import ChaosUpstream
from integration.conftest import LoadProxy
from integration.raw_client import Response
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, more_time

from proxy.demo.configuration import Ports, render, request_timeouts
from proxy.demo.scene import OVER_HTTP, Dependency, Tempo

TEMPO = Tempo(15)
"""Waits are a fifth of the example's, breakers stay open for a second."""


def _settings(chaos: ChaosUpstream, *, attempt: float, request: float) -> Settings:
    """The demonstration's file, which is the example's at another tempo, in front of `chaos`.

    Its timeouts are longer by these factors.
    """
    endpoints = {dependency: [chaos.port] for dependency in Dependency}
    file: Settings = yaml.safe_load(render(TEMPO, Ports(0, 0, 0), endpoints))
    file["policies"]["dependency"]["circuit_breaker"]["mode"] = "enforce"
    more_time(file["routes"], attempt=attempt, request=request)
    return {key: file[key] for key in ("upstreams", "policies", "routes")}


@pytest.fixture
def proxy(reload_proxy: LoadProxy, shared_chaos: ChaosUpstream) -> RunningProxy:
    return reload_proxy(_settings(shared_chaos, attempt=20, request=20))


def _call(
    proxy: RunningProxy, dependency: Dependency, chaos: str, key: str | None = "order-1"
) -> Response:
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["X-Idempotency-Key"] = key
    return proxy.call("POST", dependency.path, headers, b'{"order":1}', chaos=chaos)


@pytest.mark.parametrize("dependency", [Dependency.INVENTORY, Dependency.PAYMENT])
def test_a_503_is_asked_again_twice_with_the_same_key_and_body(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, dependency: Dependency
) -> None:
    response = _call(proxy, dependency, "503 | 503 | 200")
    assert (response.status, response.body) == (200, b"ok")
    seen = shared_chaos.seen(response.id)
    assert [one.header("x-idempotency-key") for one in seen] == ["order-1"] * 3
    assert [bytes(one.body) for one in seen] == [b'{"order":1}'] * 3
    initial = {Dependency.INVENTORY: 0.5, Dependency.PAYMENT: 1.0}[dependency] * TEMPO.waits
    assert response.elapsed >= 0.8 * (initial + 2 * initial)
    assert "attempts=3" in (response.header("proxy-status") or "")


def test_shipping_has_two_attempts(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = _call(proxy, Dependency.SHIPPING, "503 | 503 | 200")
    assert (response.status, response.why) == (503, None)
    assert len(shared_chaos.seen(response.id)) == 2


@pytest.mark.parametrize("dependency", OVER_HTTP)
def test_without_a_key_nothing_is_asked_again(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, dependency: Dependency
) -> None:
    response = _call(proxy, dependency, "503 | 200", key=None)
    assert response.status == 503
    assert len(shared_chaos.seen(response.id)) == 1


@pytest.mark.parametrize("dependency", [Dependency.INVENTORY, Dependency.PAYMENT])
def test_a_breaker_opens_at_five_failures_and_closes_after_three_good_probes(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, dependency: Dependency
) -> None:
    name = dependency.value
    for _ in range(4):
        _call(proxy, dependency, "503", key=None)
    assert proxy.breaker(name)["state"] == "closed"
    opened = time.monotonic()
    _call(proxy, dependency, "503", key=None)
    assert proxy.breaker(name)["state"] == "open"
    refused = _call(proxy, dependency, "200")
    assert (refused.status, refused.why, refused.header("retry-after")) == (
        503,
        "circuit-open",
        "1",
    )
    assert shared_chaos.seen(refused.id) == []
    eventually(lambda: _call(proxy, dependency, "200").status == 200)
    assert time.monotonic() - opened >= 30 * TEMPO.open_for
    assert proxy.breaker(name)["state"] == "half_open"
    for _ in range(2):
        assert _call(proxy, dependency, "200").status == 200
    assert proxy.breaker(name)["state"] == "closed"


@pytest.mark.parametrize(
    ("dependency", "opens"), [(Dependency.INVENTORY, False), (Dependency.PAYMENT, True)]
)
def test_half_of_the_calls_failing_opens_payment_alone(
    proxy: RunningProxy, dependency: Dependency, opens: bool
) -> None:
    for chaos in ("200", "503", "200", "503", "200", "503"):
        _call(proxy, dependency, chaos, key=None)
    assert (proxy.breaker(dependency.value)["state"] == "open") is opens


def test_shipping_too_slow_is_deferred_and_stays_so_while_its_breaker_is_open(
    reload_proxy: LoadProxy, shared_chaos: ChaosUpstream
) -> None:
    more = 4.0
    proxy = reload_proxy(_settings(shared_chaos, attempt=1, request=more))
    deferred = b'{"status":"DEFERRED","trackingNumber":null}'
    for _ in range(2):
        response = _call(proxy, Dependency.SHIPPING, "hang")
        assert (response.status, response.body) == (200, deferred)
        assert response.header("content-type") == "application/json"
        assert len(shared_chaos.seen(response.id)) == 2
        assert response.elapsed < more * request_timeouts(TEMPO)[Dependency.SHIPPING]
    _call(proxy, Dependency.SHIPPING, "hang")
    assert proxy.breaker("shipping")["state"] == "open"
    response = _call(proxy, Dependency.SHIPPING, "200")
    assert (response.status, response.body) == (200, deferred)
    assert shared_chaos.seen(response.id) == []


def test_the_service_may_keep_its_addresses_and_set_a_proxy(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    target = "http://payment:8080" + Dependency.PAYMENT.path
    headers = {"X-Idempotency-Key": "order-1"}
    response = proxy.call(
        "POST", target, headers, b"{}", host="payment:8080", chaos="reset-before-head | 200"
    )
    assert response.status == 200
    assert [one.target for one in shared_chaos.seen(response.id)] == [Dependency.PAYMENT.path] * 2
