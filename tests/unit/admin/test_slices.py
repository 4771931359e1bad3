"""Texts are made in slices, one at a time, and shared by those who ask together."""

import asyncio
from collections.abc import Iterator

import pytest

from proxy.admin.pace import Pace
from proxy.admin.slices import SLICE, Slices


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Source:
    """`size` pieces; each takes `takes` of a slice."""

    def __init__(self, clock: Clock, size: int = 100, takes: float = 0.5) -> None:
        self._clock = clock
        self._size = size
        self._takes = takes
        self.begun = 0
        self.under_way = 0
        self.most = 0

    def __call__(self) -> Iterator[str]:
        self.begun += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        for number in range(self._size):
            self._clock.now += SLICE * self._takes
            yield f"{number},"
        self.under_way -= 1


async def test_it_is_the_whole_text_in_slices() -> None:
    clock = Clock()
    text = await Slices(clock).text("a", Source(clock))
    assert b"".join(text) == "".join(f"{n}," for n in range(100)).encode()
    assert len(text) > 40


async def test_a_short_one_is_one_slice() -> None:
    clock = Clock()
    assert len(await Slices(clock).text("a", Source(clock, size=3, takes=0.1))) == 1


async def test_those_who_ask_together_share_it() -> None:
    clock, source = Clock(), Source(Clock())
    slices = Slices(clock)
    first, second = await asyncio.gather(*(slices.text("a", source) for _ in range(2)))
    assert first is second
    assert source.begun == 1
    await slices.text("a", source)
    assert source.begun == 2


async def test_one_is_made_at_a_time() -> None:
    clock = Clock()
    source = Source(clock)
    slices = Slices(clock)
    await asyncio.gather(*(slices.text(key, source) for key in "abc"))
    assert (source.begun, source.most) == (3, 1)


async def test_the_loop_goes_on_between_slices_and_the_pace_is_charged() -> None:
    clock = Clock()
    pace = Pace(0.25, clock, burst=0.0)
    before, turns = clock.now, 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    await Slices(clock, pace).text("a", Source(clock, size=20))
    task.cancel()
    assert turns >= 10, "at least one turn between two slices"
    spent = clock.now - before
    assert pace.wait_needed() > 2 * spent, "a quarter of the time, all of it charged"


async def test_a_failure_reaches_those_who_asked_and_nobody_else() -> None:
    def broken() -> Iterator[str]:
        raise KeyError("a bug")
        yield ""

    clock = Clock()
    slices = Slices(clock)
    asked = [asyncio.create_task(slices.text("a", broken)) for _ in range(2)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found] == [KeyError, KeyError]
    assert await slices.text("a", Source(clock, size=1)) == [b"0,"]


async def test_what_nobody_waits_for_is_not_made() -> None:
    clock = Clock()
    slices, source = Slices(clock), Source(clock)
    first = asyncio.create_task(slices.text("a", source))
    waiting = [asyncio.create_task(slices.text(f"b{n}", source)) for n in range(50)]
    await asyncio.sleep(0)
    for one in waiting:
        one.cancel()
    await asyncio.sleep(0)
    assert slices._next == {}
    again = asyncio.create_task(slices.text("b1", source))
    await first
    await again
    assert source.begun == 2


async def test_one_that_leaves_takes_it_from_nobody() -> None:
    clock = Clock()
    slices, source = Slices(clock), Source(clock)
    first = asyncio.create_task(slices.text("a", source))
    second = asyncio.create_task(slices.text("a", source))
    await asyncio.sleep(0)
    first.cancel()
    assert b"".join(await second).startswith(b"0,1,")


async def test_a_text_that_stays_true_is_made_once_for_all_who_read_it() -> None:
    clock = Clock()
    slices, source, about, other = Slices(clock), Source(clock), [1], [1]
    async with slices.kept(about, source) as first:
        async with slices.kept(about, source) as second:
            assert second is first
        async with slices.kept(other, source) as third:
            assert third is not first
        async with slices.kept(about, source) as fourth:
            assert fourth is first
    assert source.begun == 2
    assert slices._kept == {}
    async with slices.kept(about, source):
        assert source.begun == 3


async def test_a_kept_text_that_all_readers_have_left_is_not_made_on() -> None:
    clock = Clock()
    slices, source = Slices(clock), Source(clock)

    async def read() -> None:
        async with slices.kept(clock, source):
            pytest.fail("nothing is read")

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await asyncio.sleep(0)
    for one in readers:
        one.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    await asyncio.sleep(0)
    assert slices._kept == {} == slices._next
    assert source.under_way <= 1


async def test_a_failure_of_a_kept_text_reaches_its_readers() -> None:
    def broken() -> Iterator[str]:
        raise KeyError("a bug")
        yield ""

    slices = Slices(Clock())
    with pytest.raises(KeyError):
        async with slices.kept(slices, broken):
            pytest.fail("nothing is read")
    assert slices._kept == {}
