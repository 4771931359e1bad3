"""`demo --faults`: the same faults for both, policies for one of them."""

import pytest

from proxy.config import load_text
from proxy.config.model import Config, RouteConfig
from proxy.demo.chaos import BARE, BARE_HEADER, is_bare, with_faults
from proxy.demo.configuration import Ports, as_text, document
from proxy.demo.scene import REPLICAS, Dependency, Scene, Trouble
from proxy.policies.circuit_breaker_config import BreakerMode
from proxy.policies.rate_limits import RATE_LIMITS

ENDPOINTS = {dependency: [8081 + n] for n, dependency in enumerate(Dependency)}
ENDPOINTS[Dependency.INVENTORY] += range(8091, 8090 + REPLICAS)


def _config(duration: float) -> Config:
    scene = Scene(duration, faults=True)
    tree = document(scene.tempo, Ports(7070, 7071, 7072), ENDPOINTS)
    loaded = load_text(as_text(with_faults(tree, scene.tempo)), "demo.yaml", {})
    assert loaded.warnings == ()
    return loaded.config


def _route(config: Config, name: str) -> RouteConfig:
    (route,) = [route for route in config.routes if route.name == name]
    return route


@pytest.mark.parametrize("dependency", Dependency)
@pytest.mark.parametrize("duration", [5.0, 30.0, 450.0])
def test_both_routes_of_a_dependency_have_the_same_faults(
    duration: float, dependency: Dependency
) -> None:
    config = _config(duration)
    route, bare = (_route(config, name) for name in (dependency.value, f"{dependency.value}-bare"))
    assert is_bare(bare.name)
    assert not is_bare(route.name)
    assert route.policies.faults == bare.policies.faults != ()
    assert config.routes.index(bare) < config.routes.index(route), "the header is asked first"
    assert [name for name, _ in bare.match.headers] == [BARE_HEADER]
    assert bare.match.path == route.match.path
    ours, theirs = (config.upstreams[str(one.upstream)] for one in (route, bare))
    assert ours.endpoints == theirs.endpoints
    assert theirs.outlier_detection is None, "nothing of what helps one helps the other"
    assert bare.policies.retry.attempts == 1
    assert bare.policies.circuit_breaker.mode is BreakerMode.OFF
    assert bare.policies.timeouts.request == route.policies.timeouts.request
    longest = max(fault.delay for fault in route.policies.faults)
    assert not longest or longest > route.policies.timeouts.request, "a delay is felt"


def test_inventory_ejects_for_less_than_its_replica_is_sick() -> None:
    for duration in (8.0, 30.0, 450.0):
        outliers = _config(duration).upstreams["inventory"].outlier_detection
        assert outliers is not None
        assert outliers.eject_for.max < 0.3 * duration


def test_pricing_is_hedged_and_shipping_limited() -> None:
    config = _config(30)
    pricing, shipping = (_route(config, name).policies for name in ("pricing", "shipping"))
    assert 0 < pricing.hedge.delay < pricing.timeouts.attempt
    (limit,) = shipping.settings(RATE_LIMITS)
    usual = 1 / Scene(30, faults=True).tempo.order_interval
    assert usual < 1 / limit.rate.seconds < 3 * usual
    assert shipping.fallback is not None
    assert "rate-limited" in shipping.fallback.reasons
    bare = [_route(config, f"{dependency.value}-{BARE}").policies for dependency in Dependency]
    assert not any(one.hedge.delay or one.settings(RATE_LIMITS) for one in bare)


@pytest.mark.parametrize("duration", [8.0, 30.0, 450.0])
def test_orders_rush_in_once(duration: float) -> None:
    scene = Scene(duration, faults=True)
    times = list(scene.order_times())
    interval = scene.tempo.order_interval
    assert times[0] == 0
    assert times[-1] < duration
    rush = [time for time in times if scene.rush(time)]
    assert len(rush) == pytest.approx(3 * 0.25 * duration / interval, abs=3)
    assert len(times) - len(rush) == pytest.approx(0.75 * duration / interval, abs=3)
    sick = [scene.trouble(Dependency.INVENTORY, 0.3 * duration, replica) for replica in range(3)]
    assert sick == [Trouble.NONE, Trouble.UNAVAILABLE, Trouble.NONE]
    assert scene.trouble(Dependency.INVENTORY, 0.5 * duration, 1) is Trouble.NONE


def test_without_faults_orders_come_evenly() -> None:
    scene = Scene(30)
    times = list(scene.order_times())
    assert len(times) == 360
    assert not any(scene.rush(time) for time in times)
