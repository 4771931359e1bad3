"""The events of `/events` for open pages.

    history       all of `/history`, at the start
    status        `/status` with the oldest requests in flight, the kinds of gates and the time,
                  each second
    sample        the last sample of `/history`, if there is a new one
    transitions   the circuit breakers' changes, if there is a new one
    trouble       exchanges of `/recent`: all at the start, then new ones

The page listens to these event names.
"""

import time
from collections.abc import Iterable, Iterator

from proxy.admin import history, recent, views
from proxy.admin.controls import Controls
from proxy.admin.documents import Rows, pieces
from proxy.admin.slices import Slices
from proxy.clock import Clock, WallClock
from proxy.policies import catalogue
from proxy.telemetry.flight_recorder import Recorded
from proxy.telemetry.observed import Gateway
from proxy.telemetry.records import Records
from proxy.telemetry.timestamps import Timestamps

MAX_IN_FLIGHT = 20
"""Requests in flight in a frame; all are counted."""
MAX_TROUBLE = 50
"""Exchanges with trouble in a frame, the newest; more of a flood would not be read."""


class Live:
    """Makes the frames. It remembers the previous one."""

    def __init__(
        self,
        gateway: Gateway,
        controls: Controls,
        records: Records,
        clock: Clock,
        wall_clock: WallClock,
    ) -> None:
        self._gateway = gateway
        self._controls = controls
        self._records = records
        self._clock = clock
        self._slices = Slices(time.monotonic)
        self._wall_clock = wall_clock
        self._taken = 0
        self._changes = 0
        self._troubles = 0

    async def opening(self) -> bytes:
        """The first frame of a new watcher; does not affect the frames of others."""
        told = await self._slices.text("opening", lambda: _frames(self._all(), "retry: 2000\n\n"))
        return b"".join(told)

    async def next(self) -> bytes:
        """The next frame for all watchers: what is new."""
        return b"".join(await self._slices.text("next", lambda: _frames(self._news())))

    def _all(self) -> Iterator[tuple[str, views.Document]]:
        yield "history", history.history(self._records)
        yield "trouble", self._trouble(self._records.recorder.recent())
        yield "status", self._status()

    def _news(self) -> Iterator[tuple[str, views.Document]]:
        records = self._records
        if records.history.taken != self._taken:
            self._taken = records.history.taken
            yield "sample", history.samples(records.history, last=1)
        if records.breakers.seen != self._changes:
            self._changes = records.breakers.seen
            yield "transitions", history.transitions(records.breakers)
        recorder = records.recorder
        if recorder.seen != self._troubles:
            before, self._troubles = self._troubles, recorder.seen
            fresh = [one for one in recorder.recent() if one.number > before]
            yield "trouble", self._trouble(fresh[:MAX_TROUBLE])
        yield "status", self._status()

    def _trouble(self, found: list[Recorded]) -> views.Document:
        text = Timestamps().text
        return {"recent": Rows(recent.exchange(one, text) for one in found)}

    def _status(self) -> views.Document:
        now = self._clock()
        recorder = self._records.recorder
        status = views.status(self._gateway, self._controls, recorder, self._clock)
        flying = views.in_flight(self._gateway, self._controls, now, MAX_IN_FLIGHT)
        kinds = [{"member": kind.member, "title": kind.title} for kind in catalogue.kinds()]
        wall = round(self._wall_clock(), 3)
        return status | {"in_flight": flying, "gates": kinds, "now": wall}


def _frames(told: Iterable[tuple[str, views.Document]], before: str = "") -> Iterator[str]:
    """Events; a document is a single line."""
    yield before
    for name, document in told:
        yield f"event: {name}\ndata: "
        yield from pieces(document)
        yield "\n\n"
