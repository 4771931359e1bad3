"""The documents of the admin API, field by field."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from unit.admin.asking import FakeControls, whole
from unit.telemetry.fakes import FakeAttempt, FakeExchange, FakeGateway, FakeUpstream

from proxy import __version__
from proxy.admin import views
from proxy.clock import Clock
from proxy.config.match import MatchConfig, ValueMatch
from proxy.config.model import Config, ConnectionsConfig, HealthCheckConfig, Listener, RouteConfig
from proxy.outcome import Verdict
from proxy.policies.budget import RETRY_BUDGET
from proxy.policies.bulkhead import BULKHEAD
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER
from proxy.policies.circuit_breaker_answers import CircuitPermit
from proxy.policies.circuit_breaker_config import CircuitBreakerConfig
from proxy.policies.ejection import Ejection
from proxy.policies.ejection_config import EjectForConfig, OutlierConfig
from proxy.policies.ewma import PeakEwma
from proxy.policies.gate import Ask
from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.upstream.address import Address
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.pool import Pool
from proxy.upstream.upstream import ConnectionCounts

NOW = 1000.0


def at(now: float = NOW) -> Clock:
    return lambda: now


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


def test_a_breaker_below_its_minimum(gateway: FakeGateway) -> None:
    gateway.bindings.add_breaker("stock")
    assert whole(views.gates(gateway, CIRCUIT_BREAKER, at())) == {
        "circuit_breakers": [
            {
                "name": "stock",
                "route": "stock",
                "upstream": "inventory",
                "state": "closed",
                "mode": "enforce",
                "failure_rate": -1,
                "slow_call_rate": -1,
                "calls": 0,
                "failures": 0,
                "slow_calls": 0,
                "not_permitted": 0,
                "next_probe_in_s": None,
            }
        ]
    }


def test_a_breaker_that_is_open(gateway: FakeGateway) -> None:
    breaker = gateway.bindings.add_breaker("stock", CircuitBreakerConfig(minimum_calls=3))
    for verdict in (Verdict.SUCCESS, Verdict.FAILURE, Verdict.FAILURE):
        permit = breaker.admit(NOW, Ask())
        assert isinstance(permit, CircuitPermit)
        breaker.settle(permit, verdict, 0.1, NOW)
    breaker.admit(NOW + 1, Ask())
    (entry,) = whole(views.gates(gateway, CIRCUIT_BREAKER, at(NOW + 1.5)))["circuit_breakers"]
    assert entry == entry | {
        "state": "open",
        "failure_rate": 66.67,
        "slow_call_rate": 0.0,
        "calls": 3,
        "failures": 2,
        "not_permitted": 1,
        "next_probe_in_s": 28.5,
    }


def test_bulkheads(gateway: FakeGateway) -> None:
    bulkhead = gateway.bindings.add_bulkhead("stock", limit=1, queue=4)
    bulkhead.admit(NOW, Ask())
    bulkhead.admit(NOW, Ask())
    shown = {"name": "stock", "in_use": 1, "limit": 1, "queued": 1, "max_queue": 4}
    found = whole(views.gates(gateway, BULKHEAD, at()))
    assert found == {"bulkheads": [shown | {"mode": "enforce"}]}


def test_retries(gateway: FakeGateway) -> None:
    budget = gateway.bindings.add_budget("default:inventory")
    for _ in range(10):
        budget.record_request(NOW)
    assert budget.try_spend(NOW)
    assert whole(views.gates(gateway, RETRY_BUDGET, at())) == {
        "retries": [
            {
                "name": "default:inventory",
                "requests": 10,
                "retries": 1,
                "allowed": 32,
                "remaining": 31,
            }
        ]
    }


def test_in_flight(gateway: FakeGateway) -> None:
    young = FakeExchange(started=NOW - 0.25, request_id="young", attempts=[])
    old = FakeExchange(
        Listener.INBOUND,
        started=NOW - 9.5,
        request_id="old",
        attempts=[FakeAttempt(), FakeAttempt()],
    )
    gateway.gates[Listener.OUTBOUND].in_flight.add(young)
    gateway.gates[Listener.INBOUND].in_flight.add(old)
    assert whole(views.in_flight(gateway, FakeControls(), NOW)) == {
        "inbound": 1,
        "outbound": 1,
        "tries": 0,
        "requests": [
            {
                "request_id": "old",
                "listener": "inbound",
                "method": "GET",
                "route": "stock",
                "age_s": 9.5,
                "attempt": 2,
                "upstream": "inventory",
                "endpoint": "10.0.0.1:8080",
            },
            {
                "request_id": "young",
                "listener": "outbound",
                "method": "GET",
                "route": "stock",
                "age_s": 0.25,
                "attempt": 0,
                "upstream": "inventory",
                "endpoint": "",
            },
        ],
    }


def test_in_flight_counts_all_and_lists_the_oldest(gateway: FakeGateway) -> None:
    exchanges = [FakeExchange(started=float(number)) for number in range(1200)]
    gateway.gates[Listener.OUTBOUND].in_flight.update(exchanges)
    document = whole(views.in_flight(gateway, FakeControls(), 2000.0))
    assert document["outbound"] == 1200
    assert [request["age_s"] for request in document["requests"]] == [
        2000.0 - number for number in range(views.MAX_IN_FLIGHT)
    ]


def test_tries_are_in_flight_too(gateway: FakeGateway) -> None:
    entry = FakeExchange(started=NOW - 2, outbox_id="e1", delivers=True, route="later")
    step = FakeExchange(started=NOW - 3, saga="t1", delivers=True, route="order:pay")
    controls = FakeControls()
    controls.deliveries = SimpleNamespace(tries=[SimpleNamespace(record=entry, number=4, step="")])
    controls.sagas = SimpleNamespace(
        tries=[SimpleNamespace(record=step, number=1, step="pay/undo")]
    )
    gateway.gates[Listener.OUTBOUND].in_flight.add(FakeExchange(started=NOW - 1))
    document = whole(views.in_flight(gateway, controls, NOW))
    assert (document["outbound"], document["tries"]) == (1, 2)
    undo, later, asked = document["requests"]
    assert undo == undo | {"route": "order:pay", "saga": "t1", "step": "pay/undo", "try": 1}
    assert later == later | {"route": "later", "outbox_id": "e1", "try": 4, "age_s": 2.0}
    assert "step" not in later
    assert not {"saga", "outbox_id", "try"} & asked.keys()


class NoConnector:
    """Opens nothing."""


def test_upstreams(gateway: FakeGateway) -> None:
    address = Address("http", "inventory.test", 8080, "10.0.0.1")
    endpoint = Endpoint(address, Pool(address, ConnectionsConfig(), NoConnector(), NoConnector()))
    endpoint.pool.lent = 3
    endpoint.pool.avoid_until = NOW + 1
    gateway.upstreams = [FakeUpstream("inventory", ConnectionCounts(1, 2, 3, 4, 5), endpoint)]
    expected = {
        "address": "10.0.0.1:8080",
        "scheme": "http",
        "host": "inventory.test",
        "active": 3,
        "avoided": True,
        "weight": 1.0,
        "latency_ms": None,
        "health": None,
        "last_check": None,
        "ejected": False,
        "connections": {"open": 0, "idle": 0, "connecting": 0, "waiting": 0, "streams": 3},
    }
    assert whole(views.upstreams(gateway, at())) == {
        "upstreams": [
            {
                "name": "inventory",
                "load_balancing": "least_request",
                "connections": {
                    "active": 1,
                    "idle": 2,
                    "connecting": 3,
                    "waiting": 4,
                    "streams": 5,
                },
                "endpoints": [expected],
            }
        ]
    }
    (upstream,) = whole(views.upstreams(gateway, at(NOW + 5)))["upstreams"]
    assert upstream["endpoints"] == [expected | {"avoided": False}]


def test_the_health_and_the_ejection_of_an_endpoint(gateway: FakeGateway) -> None:
    address = Address("http", "inventory.test", 8080, "10.0.0.1")
    endpoint = Endpoint(address, Pool(address, ConnectionsConfig(), NoConnector(), NoConnector()))
    upstream = FakeUpstream("inventory", ConnectionCounts(0, 0, 0, 0), endpoint)
    upstream.config = replace(upstream.config, health_check=HealthCheckConfig("/health"))
    gateway.upstreams = [upstream]
    config = OutlierConfig(eject_for=EjectForConfig(initial=30.0), consecutive_failures=1)
    ejection = Ejection(config, lambda: 0.5, lambda: None)
    latency = PeakEwma()
    latency.note(0.25, NOW)
    endpoint.watch(latency, ejection.join())
    ejection.join()

    def shown() -> Any:
        return whole(views.upstreams(gateway, at(NOW)))["upstreams"][0]["endpoints"][0]

    assert (shown()["health"], shown()["latency_ms"], shown()["ejected"]) == ("unknown", 250, False)
    assert endpoint.member is not None
    endpoint.enter(NOW).leave(Verdict.FAILURE, NOW)
    endpoint.member.mark(unhealthy=True)
    assert (
        shown()
        | {
            "health": "unhealthy",
            "ejected": True,
            "ejected_for_s": 30.0,
            "ejected_why": "consecutive-failures",
            "ejections_in_a_row": 1,
            "observed": False,
        }
        == shown()
    )
    endpoint.member.mark(unhealthy=False)
    assert shown()["health"] == "healthy"


def test_routes(gateway: FakeGateway) -> None:
    match = MatchConfig(
        hosts=("inventory",),
        prefix="/api",
        methods=frozenset({"PUT", "GET"}),
        headers=(("x-key", ValueMatch(exact="s3cr3t")),),
    )
    gateway.config = Config("orders", routes=(RouteConfig("stock", match=match, upstream="inv"),))
    stats = gateway.bindings.add_stats(Listener.OUTBOUND, "stock")
    stats.count_answer(200, "", 0.1)
    stats.count_answer(502, "", 0.2)
    stats.count_answer(503, "circuit-open", 0.3)
    stats.count_retry("reset")
    stats.fallbacks = 4
    stats.hedges = {"won": 2, "lost": 3, "failed": 1, "no-budget": 9}
    stats.mirrors = {"2xx": 2, "slow": 1, "full": 7}
    stats.faults = {"abort": 2, "delay": 3}
    stats.observed = {"timeouts.attempt": 2}
    stock, outbound, inbound = whole(views.routes(gateway))["routes"]
    assert stock == {
        "name": "stock",
        "listener": "outbound",
        "match": {
            "hosts": ["inventory"],
            "prefix": "/api",
            "methods": ["GET", "PUT"],
            "headers": ["x-key"],
        },
        "upstream": "inv",
        "policy": "default",
        "requests": 3,
        "errors": 2,
        "proxy_answers": 1,
        "retries": 1,
        "hedges": 6,
        "faults": 5,
        "mirrored": 3,
        "fallbacks": 4,
        "idempotency": {},
        "claims": 0,
        "observed": {"timeouts.attempt": 2},
        "mean_duration_ms": 200.0,
        "durations": stock["durations"],
    }
    assert stock["durations"]["le_ms"][:2] + stock["durations"]["le_ms"][-1:] == [1.0, 2.5, 60000]
    counts = dict(zip(stock["durations"]["le_ms"], stock["durations"]["counts"], strict=False))
    assert (counts[100.0], counts[250.0], counts[500.0]) == (1, 1, 1)
    assert len(stock["durations"]["counts"]) == len(stock["durations"]["le_ms"]) + 1
    assert (outbound["name"], outbound["upstream"]) == ("default-outbound", None)
    assert (inbound["name"], inbound["upstream"]) == ("default-inbound", "app")
    assert (inbound["match"], inbound["requests"], inbound["mean_duration_ms"]) == ({}, 0, None)


async def test_status_is_all_of_them(gateway: FakeGateway) -> None:
    gateway.bindings.add_breaker("stock")
    controls = FakeControls(started=NOW - 60, draining=True, last_reload={"result": "rejected"})
    status = whole(views.status(gateway, controls, FlightRecorder(gateway.config), at()))
    assert list(status) == [
        "service", "version", "uptime_s", "ready", "draining", "bypass", "log_level", "config",
        "store",
        "in_flight", "recent", "rate_limits", "bulkheads", "circuit_breakers", "retries",
        "upstreams", "routes",
    ]  # fmt: skip
    assert status == status | {
        "service": "orders",
        "version": __version__,
        "uptime_s": 60.0,
        "ready": False,
        "draining": True,
        "bypass": {"on": False, "ends_in_s": 0.0},
        "log_level": "info",
        "config": {
            "file": "config/proxy.yaml",
            "loaded_at": "2023-11-14T22:13:20.250Z",
            "last_reload": {"result": "rejected"},
        },
        "in_flight": {"inbound": 0, "outbound": 0, "tries": 0, "requests": []},
        "recent": {"held": 0, "seen": 0},
    }
    assert status["circuit_breakers"][0]["name"] == "stock"
