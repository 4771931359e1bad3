"""Rows whose time is written nowhere: how long each has been as it is, by watching.

Without `columns.claimed` no column tells since when a row is being delivered, and without
`columns.due` no column tells when a failed one is tried next. Then each proxy counts from when it
first saw the row in that *version*. The proxy that still has the row renews it, which makes another
version. Pure.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

MOST = 1000
"""Rows that are watched at a time, the oldest ones; others follow when those are finished."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A row as it is now. `delivering`: else it has failed."""

    id: str
    version: str
    delivering: bool
    attempts: int


class Sightings:
    """`reclaim`: seconds after which a row that is delivering is taken back. `wait_of`: those after
    which a failed one is tried again, from its attempts."""

    def __init__(self, reclaim: float, wait_of: Callable[[int], float]) -> None:
        self._reclaim = reclaim
        self._wait_of = wait_of
        self._rows: dict[str, tuple[str, float]] = {}

    def expect(self, row: str, version: str, due: float) -> None:
        """This row failed here: its next try is then."""
        if row in self._rows or len(self._rows) < 2 * MOST:
            self._rows[row] = (version, due)

    def see(self, sights: Iterable[Sight], now: float) -> None:
        """All rows to watch, at most `MOST`; those that are not here any more are forgotten."""
        watched: dict[str, tuple[str, float]] = {}
        for sight in sights:
            known = self._rows.get(sight.id)
            if known is None or known[0] != sight.version:
                wait = self._reclaim if sight.delivering else self._wait_of(sight.attempts)
                known = (sight.version, now + wait)
            watched[sight.id] = known
        self._rows = watched

    def ready(self, now: float) -> tuple[list[str], list[str]]:
        """Ids and versions of the rows whose time has come."""
        found = [(row, version) for row, (version, due) in self._rows.items() if due <= now]
        return [row for row, _ in found], [version for _, version in found]

    def next_due(self) -> float | None:
        """When the next one's time comes."""
        return min((due for _, due in self._rows.values()), default=None)
