"""`/recent`: the document, its filters, and what it says about those under way."""

from itertools import count

import pytest
from unit.admin.asking import Admin, whole
from unit.telemetry.fakes import FakeAttempt, FakeExchange, FakeGateway

from proxy.admin.recent import BadQuery, recent
from proxy.config.model import Listener
from proxy.grpc_status import name_of
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_config import CircuitBreakerConfig
from proxy.policies.retry import Retry, Stop, StopReason
from proxy.telemetry.flight_recorder import CAPACITY, FlightRecorder

GRPC_NOT_FOUND, GRPC_INTERNAL, GRPC_UNAVAILABLE = 5, 13, 14
WALL = 1_700_000_000.0
NOW = 103.0


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def recorder(gateway: FakeGateway) -> FlightRecorder:
    return FlightRecorder(gateway.config, lambda: WALL)


def test_the_document(gateway: FakeGateway, recorder: FlightRecorder) -> None:
    breaker = CircuitBreaker("stock", CircuitBreakerConfig())
    attempts = [
        FakeAttempt(
            "10.0.0.1:80", 0, "attempt-timeout", 1.0, detail="Too long.", breaker=breaker,
            decision=Retry(0.02, "timeout"), started=100.0005,
        ),
        FakeAttempt(
            "10.0.0.2:80", 503, duration=0.5, wait=0.02, decision=Stop(StopReason.BUDGET),
            started=101.02,
        ),
    ]  # fmt: skip
    recorder.record(FakeExchange(status=503, duration=1.52, attempts=attempts))
    document = whole(recent(recorder, gateway, {}, NOW, WALL))
    assert document["in_flight"] == []
    assert document["recent"] == [
        {
            "number": 1,
            "time": "2023-11-14T22:13:18.480Z",
            "request_id": "r-1",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "inherited_from": "",
            "listener": "outbound",
            "client": "127.0.0.1:50000",
            "method": "GET",
            "host": "inventory",
            "path": "/api/stock",
            "route": "stock",
            "upstream": "inventory",
            "status": 503,
            "reason": "",
            "detail": "",
            "trouble": ["error", "retried"],
            "fallback": False,
            "observed": [],
            "duration_ms": 1520.0,
            "bytes_in": 3,
            "bytes_out": 5,
            "circuit_breaker": {"name": "stock", "state": "closed"},
            "attempts_made": 2,
            "attempts": [
                {
                    "endpoint": "10.0.0.1:80",
                    "upstream": "inventory",
                    "failure": "attempt-timeout",
                    "detail": "Too long.",
                    "started_ms": 0.5,
                    "duration_ms": 1000.0,
                    "wait_ms": 0.0,
                    "retry": {"allowed": True, "condition": "timeout", "wait_ms": 20.0},
                },
                {
                    "endpoint": "10.0.0.2:80",
                    "upstream": "inventory",
                    "status": 503,
                    "started_ms": 1020.0,
                    "duration_ms": 500.0,
                    "wait_ms": 20.0,
                    "retry": {"allowed": False, "why": "budget"},
                },
            ],
        }
    ]


def test_hedges_and_injected_faults(gateway: FakeGateway, recorder: FlightRecorder) -> None:
    attempts = [FakeAttempt(fault="delay+abort", status=503), FakeAttempt(hedge=True)]
    recorder.record(FakeExchange(status=503, attempts=attempts))
    (told,) = whole(recent(recorder, gateway, {}, NOW, WALL))["recent"]
    first, second = told["attempts"]
    assert (first["fault"], "hedge" in first) == ("delay+abort", False)
    assert ("fault" in second, second["hedge"]) == (False, True)


def test_endpoints_that_were_out(gateway: FakeGateway, recorder: FlightRecorder) -> None:
    attempts = [FakeAttempt(left_out=(("10.0.0.2:80", "unhealthy"),)), FakeAttempt(status=503)]
    recorder.record(FakeExchange(status=503, attempts=attempts))
    (told,) = whole(recent(recorder, gateway, {}, NOW, WALL))["recent"]
    first, second = told["attempts"]
    assert first["left_out"] == [{"endpoint": "10.0.0.2:80", "why": "unhealthy"}]
    assert "left_out" not in second


@pytest.mark.parametrize(
    ("status", "trouble"),
    [(GRPC_UNAVAILABLE, ["error"]), (GRPC_NOT_FOUND, []), (GRPC_INTERNAL, ["error"])],
)
def test_a_grpc_call(
    gateway: FakeGateway, recorder: FlightRecorder, status: int, trouble: list[str]
) -> None:
    """An ordinary status is no trouble: this one is kept because it was slow to come."""
    attempts = [FakeAttempt(grpc=status, decision=Stop(StopReason.CONDITION))]
    recorder.record(FakeExchange(grpc=status, attempts=attempts, observed=["idle"]))
    (told,) = whole(recent(recorder, gateway, {}, NOW, WALL))["recent"]
    assert (told["status"], told["grpc_status"]) == (200, name_of(status))
    assert told["trouble"] == [*trouble, "observed"]
    (attempt,) = told["attempts"]
    assert (attempt["status"], attempt["grpc_status"]) == (200, name_of(status))


def test_other_requests_have_no_grpc_status(gateway: FakeGateway, recorder: FlightRecorder) -> None:
    recorder.record(FakeExchange(status=503, attempts=[FakeAttempt(status=503)]))
    (told,) = whole(recent(recorder, gateway, {}, NOW, WALL))["recent"]
    assert "grpc_status" not in told
    assert "grpc_status" not in told["attempts"][0]


def test_filters(gateway: FakeGateway, recorder: FlightRecorder) -> None:
    for number in range(10):
        route = "even" if number % 2 == 0 else "odd"
        recorder.record(FakeExchange(status=500, route=route, request_id=f"r-{number}"))
    gateway.gates[Listener.OUTBOUND].in_flight.add(FakeExchange(route="odd", request_id="r-3"))

    def found(**query: str) -> tuple[list[str], list[str]]:
        document = whole(recent(recorder, gateway, query, NOW, WALL))
        kept, flying = document["recent"], document["in_flight"]
        return [one["request_id"] for one in kept], [one["request_id"] for one in flying]

    assert found(request_id="r-3") == (["r-3"], ["r-3"])
    assert found(route="even", limit="2") == (["r-8", "r-6"], [])
    assert found(route="none") == ([], [])
    assert found(limit="0") == ([], [])
    assert len(found(limit="999999999")[0]) == 10


@pytest.mark.parametrize(
    "query", [{"limit": "-1"}, {"limit": "x"}, {"limit": ""}, {"limit": "9" * 5000}, {"rout": "a"}]
)
def test_a_filter_that_makes_no_sense(
    gateway: FakeGateway, recorder: FlightRecorder, query: dict[str, str]
) -> None:
    with pytest.raises(BadQuery):
        whole(recent(recorder, gateway, query, NOW, WALL))


def test_under_way(gateway: FakeGateway, recorder: FlightRecorder) -> None:
    gateway.gates[Listener.INBOUND].in_flight.add(
        FakeExchange(
            Listener.INBOUND,
            status=0,
            duration=0.0,
            started=100.5,
            attempts=[FakeAttempt(status=0, duration=0.0, started=101.0)],
        )
    )
    (one,) = whole(recent(recorder, gateway, {}, NOW, WALL))["in_flight"]
    assert (one["status"], one["trouble"], one["duration_ms"]) == (0, [], 2500.0)
    (attempt,) = one["attempts"]
    assert not {"status", "failure"} & attempt.keys()
    assert (attempt["started_ms"], attempt["duration_ms"]) == (500.0, 2000.0)
    assert attempt["retry"] is None


def test_of_many_under_way_the_oldest_are_shown(
    gateway: FakeGateway, recorder: FlightRecorder
) -> None:
    ids = count()
    for _ in range(CAPACITY + 5):
        number = next(ids)
        gateway.gates[Listener.OUTBOUND].in_flight.add(
            FakeExchange(started=100.0 + number / 1000, request_id=str(number))
        )
    flying = whole(recent(recorder, gateway, {}, NOW, WALL))["in_flight"]
    assert [one["request_id"] for one in flying] == [str(number) for number in range(CAPACITY)]


async def test_over_http(admin: Admin) -> None:
    admin.recorder.record(FakeExchange(status=503, request_id="mine"))
    answer = await admin.ask("GET", "/recent?request_id=mine&limit=3")
    assert (answer.status, [one["status"] for one in answer.json["recent"]]) == (200, [503])
    refused = await admin.ask("GET", "/recent?limit=all")
    assert refused.status == 400
    assert refused.headers["Content-Type"].startswith("application/problem+json")
