"""A share of the time: saved up, spent, and waited for."""

import asyncio

import pytest
from unit.waiting import eventually

from proxy.admin.pace import Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def waits(pace: Pace) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(pace.turn())


async def soon(task: "asyncio.Task[None]") -> bool:
    await asyncio.sleep(0.01)
    return task.done()


async def test_what_is_saved_up_is_there_at_once(clock: Clock) -> None:
    pace = Pace(0.1, clock, burst=0.5)
    await pace.turn()
    pace.spent(0.4)
    assert await soon(waits(pace))


async def test_work_waits_until_it_is_paid_for(clock: Clock) -> None:
    pace = Pace(0.1, clock, burst=0.001)
    pace.spent(0.002)
    task = waits(pace)
    assert not await soon(task)
    clock.now += 0.02
    await eventually(task.done)


async def test_first_come_first_served(clock: Clock) -> None:
    pace = Pace(0.5, clock, burst=0.001)
    pace.spent(0.002)
    first, second = waits(pace), waits(pace)
    await asyncio.sleep(0)
    clock.now += 1
    while not first.done():
        await asyncio.sleep(0)
    pace.spent(1)
    assert not await soon(second)
    clock.now += 3
    await eventually(second.done)


async def test_no_more_is_saved_than_the_burst(clock: Clock) -> None:
    pace = Pace(0.1, clock, burst=0.1)
    clock.now += 1000
    pace.spent(0.101)
    task = waits(pace)
    assert not await soon(task)
    task.cancel()


async def test_nobody_waits_longer_than_the_longest(clock: Clock) -> None:
    pace = Pace(0.1, clock, longest=0.02)
    pace.spent(1000)
    async with asyncio.timeout(1):
        await pace.turn()


async def test_who_gives_up_holds_up_nobody(clock: Clock) -> None:
    pace = Pace(0.5, clock, burst=0.001)
    pace.spent(0.002)
    first, second = waits(pace), waits(pace)
    await asyncio.sleep(0)
    first.cancel()
    clock.now += 1
    await eventually(second.done)
    assert not second.cancelled()
