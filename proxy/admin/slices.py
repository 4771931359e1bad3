"""Texts of any size, made in slices between which the data plane continues.

    request ──▶ a text that is begun afterwards, shared by all who ask for it until then

One text is made at a time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from proxy.admin.pace import Pace
from proxy.clock import Clock

SLICE = 0.002
"""Seconds of the loop per slice, plus the last piece."""
PAUSE = 0.006
"""Seconds between two slices: a text takes at most a quarter of the time."""

Pieces: TypeAlias = Callable[[], Iterator[str]]


class Slices:
    """Makes texts out of pieces; a piece takes much less than a slice."""

    def __init__(
        self, clock: Clock, pace: Pace | None = None, *, takes_turns: bool = False
    ) -> None:
        """`pace` is charged for the loop's time. `takes_turns`: a text waits for its turn there."""
        self._clock = clock
        self._pace = pace
        self._turns = pace if takes_turns else None
        self._one_at_a_time = asyncio.Lock()
        self._next: dict[Hashable, _Text] = {}
        self._kept: dict[int, _Text] = {}

    async def text(self, key: Hashable, pieces: Pieces) -> list[bytes]:
        """The text of `pieces()`, which is called after this call, in slices. Equal keys share it.

        It is not joined: to copy a large text takes long.
        """
        text = self._next.get(key)
        if text is None:
            text = self._next[key] = _Text()
            text.begin(self._make(key, text, pieces))
        try:
            async with text.used() as slices:
                return slices
        finally:
            if not text.users:
                self._closed(key, text)

    @asynccontextmanager
    async def kept(self, about: object, pieces: Pieces) -> AsyncIterator[list[bytes]]:
        """The text of `pieces()`, which stays true as long as `about` is the same object.

        It is made once and kept until its last reader leaves this context, so that slow readers
        of a large text hold it only once.
        """
        text = self._kept.get(id(about))
        if text is None:
            text = self._kept[id(about)] = _Text(about)
            text.begin(self.text(text, pieces))
        try:
            async with text.used() as slices:
                yield slices
        finally:
            if not text.users:
                del self._kept[id(about)]

    async def _make(self, key: Hashable, text: "_Text", pieces: Pieces) -> list[bytes]:
        try:
            async with self._one_at_a_time:
                if self._turns is not None:
                    await self._turns.turn()
                self._closed(key, text)
                return await self._slices_of(pieces())
        finally:
            self._closed(key, text)

    def _closed(self, key: Hashable, text: "_Text") -> None:
        """What is asked for from here on is another text."""
        if self._next.get(key) is text:
            del self._next[key]

    async def _slices_of(self, pieces: Iterator[str]) -> list[bytes]:
        clock = self._clock
        slices: list[bytes] = []
        few: list[str] = []
        begun = clock()
        for piece in pieces:
            few.append(piece)
            now = clock()
            if now - begun >= SLICE:
                slices.append("".join(few).encode())
                few.clear()
                self._spent(now - begun)
                await asyncio.sleep(PAUSE)
                begun = clock()
        slices.append("".join(few).encode())
        self._spent(clock() - begun)
        return slices

    def _spent(self, seconds: float) -> None:
        if self._pace is not None:
            self._pace.spent(seconds)


class _Text:
    """One text, and how many use it. Without them it is not made.

    `about`: what it is about, if it is kept: no other object has its id meanwhile.
    """

    __slots__ = ("_task", "about", "users")

    def __init__(self, about: object = None) -> None:
        self.about = about
        self.users = 0
        self._task: asyncio.Task[list[bytes]]

    def begin(self, making: Coroutine[Any, Any, list[bytes]]) -> None:
        self._task = asyncio.get_running_loop().create_task(making)
        self._task.add_done_callback(_retrieved)

    @asynccontextmanager
    async def used(self) -> AsyncIterator[list[bytes]]:
        """The text, for one of its users."""
        self.users += 1
        try:
            yield await asyncio.shield(self._task)
        finally:
            self.users -= 1
            if not self.users:
                self._task.cancel()


def _retrieved(task: asyncio.Task[list[bytes]]) -> None:
    """Consume a failure: those who asked may have left."""
    if not task.cancelled():
        task.exception()
