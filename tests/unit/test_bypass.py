"""The bypass ends by itself, and tells when it changes."""

import asyncio

import pytest
from unit.waiting import eventually

from proxy.bypass import Bypass


class Watched:
    def __init__(self, lasts: float = 100.0) -> None:
        self.bypass = Bypass(lasts=lasts)
        self.seen: list[bool] = []
        self.bypass.changed = self.changed

    async def changed(self) -> None:
        self.seen.append(self.bypass.active)


async def test_on_and_off() -> None:
    watched = Watched()
    await watched.bypass.turn(True)
    assert 99 < watched.bypass.left <= 100
    await watched.bypass.turn(False)
    assert watched.bypass.left == 0
    await watched.bypass.turn(False)
    assert watched.seen == [True, False]


async def test_it_ends_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(lasts=0.02)
    await watched.bypass.turn(True)
    await eventually(lambda: watched.seen == [True, False])
    assert "bypass: ended" in caplog.text


async def test_an_end_that_cannot_be_applied_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    bypass = Bypass(lasts=0.01)
    await bypass.turn(True)

    async def broken() -> None:
        raise RuntimeError("a bug")

    bypass.changed = broken
    await eventually(lambda: "bug: the bypass could not be ended" in caplog.messages)


async def test_turning_returns_when_the_change_is_in_effect() -> None:
    bypass = Bypass()
    in_effect = asyncio.Event()

    async def changed() -> None:
        await in_effect.wait()

    bypass.changed = changed
    turning = asyncio.create_task(bypass.turn(True))
    await asyncio.sleep(0)
    assert bypass.active
    assert not turning.done()
    in_effect.set()
    await turning


async def test_turned_on_again_it_lasts_longer_and_changes_nothing() -> None:
    watched = Watched()
    await watched.bypass.turn(True)
    await asyncio.sleep(0.01)
    before = watched.bypass.left
    assert before < 100
    await watched.bypass.turn(True)
    assert watched.bypass.left > before
    assert watched.seen == [True]
    await watched.bypass.turn(False)
