"""Renderings are fresh for this machine, shared with others, made one at a time and in slices."""

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.admin.metrics_page import FRESH, MetricsPage
from proxy.admin.pace import Pace
from proxy.admin.slices import SLICE
from proxy.telemetry.exposition import OPENMETRICS, TEXT


class Clock:
    """Time that passes with each look at it: so rendering takes its time."""

    now = 100.0
    step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def joined(slices: list[bytes]) -> bytes:
    return b"".join(slices)


class Counted(Collector):
    renderings = 0

    def collect(self) -> Iterator[Metric]:
        self.renderings += 1
        family = GaugeMetricFamily("renderings", "So many.", labels=["n"])
        for number in range(500):
            family.add_metric([str(number)], self.renderings)
        yield family


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collector() -> Counted:
    return Counted()


@pytest.fixture
def page(clock: Clock, collector: Counted) -> MetricsPage:
    registry = CollectorRegistry()
    registry.register(collector)
    collector.renderings = 0  # a registry collects once, to know the names
    return MetricsPage(registry, clock, Pace(1.0, clock, burst=10))


async def test_for_this_machine_each_is_new(page: MetricsPage, collector: Counted) -> None:
    first, second = await page.get(TEXT, fresh=True), await page.get(TEXT, fresh=True)
    assert b'{n="1"} 1.0' in joined(first)
    assert b'{n="1"} 2.0' in joined(second)


async def test_for_others_once_a_second(
    page: MetricsPage, collector: Counted, clock: Clock
) -> None:
    first = await page.get(TEXT, fresh=False)
    clock.now += FRESH - 0.1
    assert await page.get(TEXT, fresh=False) is first
    clock.now += 0.2
    assert await page.get(TEXT, fresh=False) is not first
    assert collector.renderings == 2


async def test_who_asks_together_shares_one(page: MetricsPage, collector: Counted) -> None:
    documents = await asyncio.gather(*(page.get(TEXT, fresh=True) for _ in range(8)))
    assert len(set(map(id, documents))) == 1
    assert collector.renderings == 1


async def test_who_asks_while_one_is_made_gets_the_next(
    page: MetricsPage, collector: Counted, clock: Clock
) -> None:
    clock.step = SLICE
    first = asyncio.create_task(page.get(TEXT, fresh=True))
    while collector.renderings == 0:
        await asyncio.sleep(0)
    second = asyncio.create_task(page.get(TEXT, fresh=True))
    assert b'{n="1"} 1.0' in joined(await first)
    assert b'{n="1"} 2.0' in joined(await second)


async def test_the_loop_goes_on_between_slices(page: MetricsPage, clock: Clock) -> None:
    clock.step = SLICE
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    await page.get(TEXT, fresh=True)
    task.cancel()
    assert turns > 500 / 64, "at least one turn between two slices"


async def test_the_forms_do_not_mix(page: MetricsPage) -> None:
    text, openmetrics = await asyncio.gather(
        page.get(TEXT, fresh=False), page.get(OPENMETRICS, fresh=False)
    )
    assert openmetrics[-1].endswith(b"# EOF\n")
    assert not text[-1].endswith(b"# EOF\n")


async def test_one_that_gives_up_takes_it_from_nobody(page: MetricsPage, clock: Clock) -> None:
    clock.step = SLICE
    first = asyncio.create_task(page.get(TEXT, fresh=True))
    second = asyncio.create_task(page.get(TEXT, fresh=True))
    await asyncio.sleep(0)
    first.cancel()
    assert b'{n="1"} 1.0' in joined(await second)
