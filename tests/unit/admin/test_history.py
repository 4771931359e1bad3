"""The document of `/history`."""

import pytest
from unit.admin.asking import Admin, whole
from unit.telemetry.fakes import FakeGateway

from proxy.admin.history import history, samples
from proxy.config.model import Listener
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_config import CircuitBreakerConfig
from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.telemetry.history import History
from proxy.telemetry.records import Records
from proxy.telemetry.tap import Tap
from proxy.telemetry.transitions import Transitions


@pytest.fixture
def records() -> Records:
    gateway = FakeGateway()
    moments = iter([100.0, 105.0, 110.0])
    taken = History(gateway, lambda: next(moments), lambda: 1_700_000_000.5)
    taken.sample()
    stats = gateway.bindings.add_stats(Listener.OUTBOUND, "stock")
    for _ in range(10):
        stats.count_answer(500, "", 0.004)
    taken.sample()
    breakers = Transitions(lambda: 50.0, lambda: 1_700_000_000.0)
    breaker = CircuitBreaker("stock", CircuitBreakerConfig())
    breaker.on_transition = breakers.record
    breaker.force_open(50.0)
    return Records(FlightRecorder(gateway.config), taken, breakers, Tap(gateway))


def test_the_document(records: Records) -> None:
    assert whole(history(records)) == {
        "interval_s": 5.0,
        "times": [1_700_000_000.5, 1_700_000_000.5],
        "routes": [
            {
                "name": "stock",
                "listener": "outbound",
                "rate": [None, 2.0],
                "errors": [None, 2.0],
                "p50_ms": [None, 3.75],
                "p99_ms": [None, 4.975],
            }
        ],
        "circuit_breakers": [
            {
                "name": "stock",
                "changes": 1,
                "transitions": [
                    {
                        "time": "2023-11-14T22:13:20.000Z",
                        "from": "closed",
                        "to": "forced_open",
                        "failure_rate": -1.0,
                        "slow_call_rate": -1.0,
                        "calls": 0,
                    }
                ],
            }
        ],
    }


def test_the_last_sample_alone(records: Records) -> None:
    document = whole(samples(records.history, last=1))
    assert len(document["times"]) == 1
    assert document["routes"][0]["rate"] == [2.0]


async def test_over_http(admin: Admin) -> None:
    answer = await admin.ask("GET", "/history")
    assert (answer.status, answer.json["times"], answer.json["circuit_breakers"]) == (200, [], [])
