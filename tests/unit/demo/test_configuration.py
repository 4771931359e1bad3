"""The example file means what its table says, and the demonstration's own file the same."""

from pathlib import Path

import pytest

from proxy.config import Loaded, load, load_text
from proxy.config.loading import Origin
from proxy.config.model import Config, Listener, PolicyConfig, RouteConfig, repeats_only_unseen
from proxy.demo.configuration import Ports, render, request_timeouts
from proxy.demo.scene import OVER_HTTP, Dependency, Tempo
from proxy.policies.backoff import JitterKind
from proxy.policies.circuit_breaker_config import BreakerMode, WindowConfig, WindowType
from proxy.policies.retry import RetryMethods

EXAMPLES = Path(__file__).parents[3] / "config" / "examples"
EXAMPLE = EXAMPLES / "order-service.yaml"
WITH_GRPC = (EXAMPLE, EXAMPLES / "order-service-grpc.yaml")
PORTS = Ports(outbound=7070, inbound=7071, admin=7072)
ENDPOINTS = {dependency: [8081 + n] for n, dependency in enumerate(Dependency)}


@pytest.fixture(scope="module")
def example() -> Loaded:
    return load(EXAMPLE, {"PAYMENT_URL": "http://127.0.0.1:9999"})


@pytest.fixture(scope="module")
def with_grpc() -> Loaded:
    return load(Origin(WITH_GRPC), {})


def _demo(duration: float) -> Loaded:
    return load_text(render(Tempo(duration), PORTS, ENDPOINTS), "demo.yaml", {})


def _route(config: Config, dependency: Dependency) -> RouteConfig:
    (route,) = [route for route in config.routes if route.name == dependency.value]
    return route


def test_none_gives_a_warning(example: Loaded, with_grpc: Loaded) -> None:
    assert example.warnings == with_grpc.warnings == ()
    for duration in (5.0, 8.0, 30.0, 77.7, 450.0):
        assert _demo(duration).warnings == ()


def test_endpoints_can_be_overridden(example: Loaded) -> None:
    endpoints = {
        name: [str(endpoint) for endpoint in upstream.endpoints]
        for name, upstream in example.config.upstreams.items()
        if name != "app"
    }
    assert endpoints == {
        "inventory": ["http://inventory:8080"],
        "payment": ["http://127.0.0.1:9999"],
        "shipping": ["http://shipping:8080"],
    }


@pytest.mark.parametrize(
    ("dependency", "path", "request_timeout", "attempts", "initial", "failure_rate"),
    [
        (Dependency.INVENTORY, "/api/inventory/deduct", 4.0, 3, 0.5, 0.6),
        (Dependency.PAYMENT, "/api/payments/process", 8.0, 3, 1.0, 0.5),
        (Dependency.SHIPPING, "/api/shipping/create", 3.0, 2, 0.5, 0.6),
    ],
)
def test_the_table(
    example: Loaded,
    dependency: Dependency,
    path: str,
    request_timeout: float,
    attempts: int,
    initial: float,
    failure_rate: float,
) -> None:
    route = _route(example.config, dependency)
    assert (route.match.path, route.match.methods) == (path, {"POST"})
    assert route.upstream == dependency.value
    policies = route.policies
    assert policies.timeouts.request == request_timeout
    retry = policies.retry
    assert (retry.attempts, retry.methods) == (attempts, RetryMethods())
    assert (retry.backoff.initial, retry.backoff.multiplier) == (initial, 2.0)
    assert (retry.backoff.jitter.kind, retry.backoff.jitter.ratio) == (JitterKind.RATIO, 0.2)
    breaker = policies.circuit_breaker
    assert breaker.mode is BreakerMode.ENFORCE
    assert breaker.window == WindowConfig(WindowType.COUNT, 10)
    assert (breaker.minimum_calls, breaker.failure_rate) == (5, failure_rate)
    assert breaker.slow_call.rate == 0.8
    assert (breaker.open_for.initial, breaker.half_open.calls) == (30.0, 3)


def test_shipping_alone_has_a_fallback(example: Loaded) -> None:
    routes = {d: _route(example.config, d) for d in OVER_HTTP}
    assert routes[Dependency.INVENTORY].policies.fallback is None
    assert routes[Dependency.PAYMENT].policies.fallback is None
    fallback = routes[Dependency.SHIPPING].policies.fallback
    assert fallback is not None
    assert fallback.response is not None
    assert {"attempt-timeout", "request-timeout"} <= fallback.reasons
    assert fallback.response.status == 200
    assert fallback.response.body == b'{"status":"DEFERRED","trackingNumber":null}'
    assert ("content-type", "application/json") in fallback.response.headers


def test_pricing_is_a_fourth_dependency_by_grpc(example: Loaded, with_grpc: Loaded) -> None:
    assert [route.name for route in example.config.routes] == [
        *(dependency.value for dependency in OVER_HTTP),
        "orders",
    ]
    config = with_grpc.config
    pricing = _route(config, Dependency.PRICING)
    assert pricing.match.grpc is not None
    service, method = pricing.match.grpc.service, pricing.match.grpc.method
    assert f"/{service}/{method}" == Dependency.PRICING.path
    assert [str(one) for one in config.upstreams["pricing"].endpoints] == ["http://pricing:50051"]
    retry = pricing.policies.retry
    assert retry.methods.any
    assert 14 in retry.on.grpc
    for dependency in OVER_HTTP:
        assert _route(config, dependency) == _route(example.config, dependency)


@pytest.mark.parametrize("grpc", [False, True])
def test_an_order_that_comes_in_has_time_for_its_calls_and_is_not_repeated(
    example: Loaded, with_grpc: Loaded, grpc: bool
) -> None:
    config = (with_grpc if grpc else example).config
    (inbound,) = [r for r in config.routes if r.listener is Listener.INBOUND]
    calls = [r.policies.timeouts.request for r in config.routes if r is not inbound]
    assert len(calls) == 3 + grpc
    timeouts = inbound.policies.timeouts
    assert min(timeouts.attempt, timeouts.request) > sum(calls)
    assert repeats_only_unseen(inbound.policies.retry)
    assert inbound.upstream == "app"


def _longest(policies: PolicyConfig) -> float:
    """Seconds that all attempts and the waits between them can take."""
    backoff = policies.retry.backoff
    waits = [
        min(backoff.max, backoff.initial * backoff.multiplier**n) * (1 + backoff.jitter.ratio)
        for n in range(policies.retry.attempts - 1)
    ]
    return policies.retry.attempts * policies.timeouts.attempt + sum(waits)


@pytest.mark.parametrize("dependency", Dependency)
def test_all_attempts_fit_into_the_request(with_grpc: Loaded, dependency: Dependency) -> None:
    policies = _route(with_grpc.config, dependency).policies
    assert _longest(policies) <= policies.timeouts.request
    assert policies.circuit_breaker.slow_call.duration < policies.timeouts.attempt


@pytest.mark.parametrize("dependency", Dependency)
def test_at_full_tempo_the_demo_has_the_policies_of_the_example(
    with_grpc: Loaded, dependency: Dependency
) -> None:
    mine, theirs = (_route(config, dependency) for config in (_demo(450).config, with_grpc.config))
    assert mine.policies == theirs.policies
    assert (mine.match, mine.upstream) == (theirs.match, theirs.upstream)


def test_a_short_run_has_the_same_policies_in_less_time() -> None:
    payment = _route(_demo(30).config, Dependency.PAYMENT).policies
    assert payment.timeouts.request == pytest.approx(1.6)
    assert payment.retry.backoff.initial == pytest.approx(0.2)
    assert payment.circuit_breaker.open_for.initial == pytest.approx(2.0)
    assert payment.retry.attempts == 3
    assert request_timeouts(Tempo(30))[Dependency.PAYMENT] == pytest.approx(1.6)


def test_the_demo_listens_on_loopback_alone() -> None:
    config = _demo(30).config
    listeners = config.listeners
    addresses = [*listeners.outbound.addresses, *listeners.inbound.addresses, config.admin.address]
    assert [str(address) for address in addresses] == [
        "127.0.0.1:7070",
        "127.0.0.1:7071",
        "127.0.0.1:7072",
    ]
