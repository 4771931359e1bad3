"""The 15 minutes of every route: what a sample says, how long it is kept, and what it costs."""

import asyncio
from math import isnan

import pytest
from unit.telemetry.fakes import FakeGateway
from unit.waiting import eventually

from proxy.config.model import Listener
from proxy.telemetry.history import SAMPLES, History

KEY = ("outbound", "stock")


class Ticking:
    """A history whose clocks stand until `tick` moves them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.gateway = FakeGateway()
        self.history = History(self.gateway, lambda: self.now, lambda: self.now + 1e9)

    def tick(self, seconds: float = 5.0) -> None:
        self.now += seconds
        self.history.sample()


def test_a_sample_is_what_the_counters_grew_by() -> None:
    ticking = Ticking()
    stats = ticking.gateway.bindings.add_stats(Listener.OUTBOUND, "stock")
    for _ in range(98):
        stats.count_answer(200, "", 0.008)
    stats.count_answer(503, "", 0.2)
    stats.count_answer(504, "attempt-timeout", 4.0)
    ticking.tick()
    stats.count_answer(404, "", 0.008)
    ticking.tick(2.0)
    first, second = dict(ticking.history.routes())[KEY]
    assert (first.rate, first.errors) == (20.0, pytest.approx(0.4))
    assert 0.005 < first.p50 <= 0.01
    assert 0.1 < first.p99 <= 0.25
    assert (second.rate, second.errors) == (0.5, 0.0)
    assert ticking.history.times() == [1e9 + 105.0, 1e9 + 107.0]


def test_without_a_request_there_is_no_percentile() -> None:
    ticking = Ticking()
    ticking.gateway.bindings.add_stats(Listener.OUTBOUND, "stock")
    ticking.tick()
    (sample,) = dict(ticking.history.routes())[KEY]
    assert (sample.rate, sample.errors) == (0.0, 0.0)
    assert isnan(sample.p50)
    assert isnan(sample.p99)


def test_before_its_first_request_a_route_has_nothing() -> None:
    ticking = Ticking()
    ticking.tick()
    ticking.gateway.bindings.add_stats(Listener.OUTBOUND, "stock").count_answer(200, "", 0.01)
    ticking.tick()
    before, after = dict(ticking.history.routes())[KEY]
    assert isnan(before.rate)
    assert after.rate == pytest.approx(0.2)


def test_the_last_fifteen_minutes_are_kept_and_no_more() -> None:
    ticking = Ticking()
    stats = ticking.gateway.bindings.add_stats(Listener.INBOUND, "in")
    for number in range(SAMPLES + 7):
        for _ in range(number):
            stats.count_answer(200, "", 0.01)
        ticking.tick()
    samples = dict(ticking.history.routes())["inbound", "in"]
    rates = [round(sample.rate * 5) for sample in samples]
    assert rates == list(range(7, SAMPLES + 7))
    assert ticking.history.times(2) == [1e9 + ticking.now - 5, 1e9 + ticking.now]
    (last,) = dict(ticking.history.routes(1))["inbound", "in"]
    assert round(last.rate * 5) == SAMPLES + 6


def test_listeners_are_apart() -> None:
    ticking = Ticking()
    for listener in Listener:
        ticking.gateway.bindings.add_stats(listener, "both")
    ticking.tick()
    assert set(dict(ticking.history.routes())) == {("outbound", "both"), ("inbound", "both")}


async def test_it_takes_them_by_itself_until_it_is_stopped() -> None:
    history = History(FakeGateway(), interval=0.01)
    history.start()
    await eventually(lambda: history.taken >= 3)
    history.stop()
    taken = history.taken
    await asyncio.sleep(0.03)
    assert history.taken == taken
    history.stop()
