"""The bypass ends by itself, and tells when it changes."""

import asyncio

import pytest
from unit.waiting import eventually

from proxy.bypass import Bypass


class Watched:
    def __init__(self, lasts: float = 100.0) -> None:
        self.bypass = Bypass(lasts=lasts)
        self.seen: list[bool] = []
        self.bypass.changed = lambda: self.seen.append(self.bypass.active)


async def test_on_and_off() -> None:
    watched = Watched()
    watched.bypass.turn(True)
    assert 99 < watched.bypass.left <= 100
    watched.bypass.turn(False)
    assert watched.bypass.left == 0
    watched.bypass.turn(False)
    assert watched.seen == [True, False]


async def test_it_ends_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(lasts=0.02)
    watched.bypass.turn(True)
    await eventually(lambda: watched.seen == [True, False])
    assert "bypass: ended" in caplog.text


async def test_turned_on_again_it_lasts_longer_and_changes_nothing() -> None:
    watched = Watched(lasts=0.1)
    watched.bypass.turn(True)
    await asyncio.sleep(0.06)
    watched.bypass.turn(True)
    await asyncio.sleep(0.06)
    assert watched.bypass.active
    assert watched.seen == [True]
    watched.bypass.turn(False)
