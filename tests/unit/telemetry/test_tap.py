"""The tap: nothing without a watcher, filters, and lines that a slow watcher loses."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from unit.telemetry.fakes import FakeExchange

from proxy.telemetry.tap import BACKLOG_BYTES, Tap, TapFilter, tap_filter


@pytest.fixture
def gateway():
    return SimpleNamespace(observers=[])


def settle(gateway, **given):
    for observer in tuple(gateway.observers):
        observer(FakeExchange(**given))


async def test_the_gateway_knows_it_only_while_somebody_watches(gateway):
    tap = Tap(gateway)
    assert (gateway.observers, list(tap.observers()), len(tap)) == ([], [], 0)
    first, second = tap.watch(TapFilter()), tap.watch(TapFilter())
    assert gateway.observers == list(tap.observers()) == [tap.record]
    tap.leave(first)
    tap.leave(first)
    assert gateway.observers == [tap.record]
    tap.leave(second)
    assert (gateway.observers, len(tap)) == ([], 0)


async def test_every_watcher_gets_its_own_requests(gateway):
    tap = Tap(gateway, lambda: 1_700_000_000.0)
    everything, stock = tap.watch(TapFilter()), tap.watch(tap_filter(route="stock"))
    settle(gateway, route="stock", path="/a")
    settle(gateway, route="pay", path="/b")
    lines, lost = await everything.take(1)
    assert [json.loads(line)["path"] for line in lines] == ["/a", "/b"]
    assert lost == 0
    lines, _ = await stock.take(1)
    (only,) = map(json.loads, lines)
    assert (only["route"], only["status"], only["time"]) == (
        "stock",
        200,
        "2023-11-14T22:13:19.987Z",
    )
    assert await stock.take(0.001) == ([], 0), "taken is taken"


async def test_a_take_waits_for_the_next_one(gateway):
    tap = Tap(gateway)
    watcher = tap.watch(TapFilter())
    taking = asyncio.ensure_future(watcher.take(5))
    await asyncio.sleep(0)
    settle(gateway)
    lines, _ = await taking
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("wants", "matches"),
    [
        ({}, True),
        ({"route": "stock"}, True),
        ({"route": "sto"}, False),
        ({"path": "/api/"}, True),
        ({"path": "/other"}, False),
        ({"status": "503"}, True),
        ({"status": "5xx"}, True),
        ({"status": "2xx,404"}, False),
        ({"status": "200, 500-503"}, True),
        ({"status": "500-502"}, False),
        ({"route": "stock", "status": "404"}, False),
    ],
)
def test_filters(wants, matches):
    exchange = FakeExchange(route="stock", path="/api/stock", status=503)
    assert tap_filter(**wants).matches(exchange) is matches


@pytest.mark.parametrize("status", ["abc", "5", "5xxx", "503-", "0xx", "50"])
def test_a_status_that_is_none(status):
    with pytest.raises(ValueError, match=r"is not a status; write 404, 500-503 or 5xx"):
        tap_filter(status=status)


async def test_a_watcher_that_does_not_read_loses_lines_and_hears_how_many(gateway):
    tap = Tap(gateway)
    slow, other = tap.watch(TapFilter()), tap.watch(tap_filter(path="/small"))
    for _ in range(400):
        settle(gateway, path="/" + "x" * 1000)
    settle(gateway, path="/small")
    lines, lost = await slow.take(1)
    kept = sum(map(len, lines))
    assert BACKLOG_BYTES - 4000 < kept <= BACKLOG_BYTES
    assert lost == tap.dropped
    assert len(lines) + lost in (400, 401)
    settle(gateway, path="/again")
    assert (await slow.take(1))[1] == 0, "told once"
    assert len((await other.take(1))[0]) == 1
