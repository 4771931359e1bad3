"""What the page is told while it is open: the events of `/events`.

    history       all of `/history`, at the begin
    status        `/status` with the oldest requests in flight and the time, each second
    sample        the last sample of `/history`, when there is a new one
    transitions   the circuit breakers' changes, when there was another
    trouble       exchanges of `/recent`: all at the begin, then the new ones

The names of the events are those that the page listens to.
"""

import json
from collections.abc import Iterator

from proxy.admin import history, recent, views
from proxy.admin.controls import Controls
from proxy.admin.watchers import frame
from proxy.clock import Clock, WallClock
from proxy.telemetry.flight_recorder import Recorded
from proxy.telemetry.observed import Gateway
from proxy.telemetry.records import Records
from proxy.telemetry.timestamps import Timestamps

MAX_IN_FLIGHT = 20
"""Requests in flight that are listed; all are counted."""
MAX_TROUBLE = 50
"""Troubled exchanges that one frame tells of, the newest; of a flood nobody reads more."""


class Live:
    """Makes the frames. It remembers what the frame before had."""

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
        self._wall_clock = wall_clock
        self._taken = 0
        self._changes = 0
        self._troubles = 0

    def opening(self) -> bytes:
        """All of it, for one who begins to watch; takes nothing from the frames of the others."""
        told = [
            ("history", history.history(self._records)),
            ("trouble", self._trouble(self._records.recorder.recent())),
            ("status", self._status()),
        ]
        return b"retry: 2000\n\n" + b"".join(frame(name, json.dumps(data)) for name, data in told)

    def next(self) -> bytes:
        """What is new, for all."""
        return b"".join(frame(name, json.dumps(data)) for name, data in self._news())

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
        return {"recent": [recent.exchange(one, text) for one in found]}

    def _status(self) -> views.Document:
        now = self._clock()
        status = views.status(self._gateway, self._controls, self._records.recorder, now)
        flying = views.in_flight(self._gateway, now, MAX_IN_FLIGHT)
        return status | {"in_flight": flying, "now": round(self._wall_clock(), 3)}
