"""What the page is told: all at the begin, then what is new."""

import json
from typing import Any

import pytest
from unit.admin.asking import FakeControls
from unit.telemetry.fakes import FakeExchange, FakeGateway

from proxy.admin.live import MAX_IN_FLIGHT, MAX_TROUBLE, Live
from proxy.config.model import Listener
from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.telemetry.history import History
from proxy.telemetry.records import Records
from proxy.telemetry.tap import Tap
from proxy.telemetry.transitions import Transitions

NOW = 1000.0


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def records(gateway: FakeGateway) -> Records:
    return Records(FlightRecorder(gateway.config), History(gateway), Transitions(), Tap(gateway))


@pytest.fixture
def live(gateway: FakeGateway, records: Records) -> Live:
    return Live(gateway, FakeControls(started=NOW), records, lambda: NOW, lambda: 1e9)


def events(data: bytes) -> list[tuple[str, Any]]:
    """Names and documents."""
    found = []
    for block in data.decode().split("\n\n"):
        if block.startswith("event: "):
            name, _, document = block.removeprefix("event: ").partition("\ndata: ")
            assert "\n" not in document
            found.append((name, json.loads(document)))
    return found


def names(data: bytes) -> list[str]:
    return [name for name, _ in events(data)]


async def test_all_at_the_begin(live: Live, records: Records) -> None:
    for number in range(120):
        records.recorder.record(FakeExchange(status=503, request_id=str(number)))
    told = dict(events(await live.opening()))
    assert list(told) == ["history", "trouble", "status"]
    assert len(told["trouble"]["recent"]) == 120
    assert (told["status"]["service"], told["status"]["now"]) == ("orders", 1e9)
    assert told["history"]["times"] == []


async def test_then_only_what_is_new(live: Live, records: Records, gateway: FakeGateway) -> None:
    assert names(await live.next()) == ["status"]
    records.history.sample()
    records.recorder.record(FakeExchange(status=503, request_id="one"))
    breaker = gateway.bindings.add_breaker("stock")
    breaker.on_transition = records.breakers.record
    breaker.force_open(NOW)
    told = dict(events(await live.next()))
    assert list(told) == ["sample", "transitions", "trouble", "status"]
    assert [one["request_id"] for one in told["trouble"]["recent"]] == ["one"]
    assert told["transitions"]["circuit_breakers"][0]["name"] == "stock"
    assert names(await live.next()) == ["status"]


async def test_an_opening_takes_nothing_from_the_others(live: Live, records: Records) -> None:
    records.recorder.record(FakeExchange(status=503))
    await live.opening()
    assert "trouble" in names(await live.next())


async def test_of_a_flood_the_newest_are_told(live: Live, records: Records) -> None:
    for number in range(500):
        records.recorder.record(FakeExchange(status=503, request_id=str(number)))
    found = dict(events(await live.next()))["trouble"]["recent"]
    assert [one["request_id"] for one in found] == [
        str(n) for n in range(499, 499 - MAX_TROUBLE, -1)
    ]


async def test_of_those_in_flight_the_oldest_are_listed(live: Live, gateway: FakeGateway) -> None:
    for number in range(100):
        gateway.gates[Listener.OUTBOUND].in_flight.add(FakeExchange(started=NOW - number))
    flying = dict(events(await live.next()))["status"]["in_flight"]
    assert (flying["outbound"], len(flying["requests"])) == (100, MAX_IN_FLIGHT)
    assert flying["requests"][0]["age_s"] == 99.0


async def test_no_text_of_a_request_can_end_a_frame(live: Live, records: Records) -> None:
    records.recorder.record(FakeExchange(status=503, path="/a\n\nevent: status\ndata: 1\r\n\u2028"))
    assert names(await live.next()) == ["trouble", "status"]
