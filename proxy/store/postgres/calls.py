"""The calls of a batch: the arguments of `v1_run` (functions.sql).

An operation becomes one or more *calls*: rows of columns that all kinds share. The numbers of kinds
and the use of the columns are those of functions.sql; `asking` has them for each operation.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

STATEMENT: Final = (
    "SELECT op, ok, t1, t2, t3, t4, b1, b2, b3, b4, i1, i2, i3, i4, i5, f1, f2, f3, f4, f5"
    " FROM {schema}.v1_run($1::text[], $2::text[], $3::float8, $4::int[], $5::bool[],"
    " $6::int[], $7::int[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bytea[],"
    " $13::bytea[], $14::bytea[], $15::bytea[], $16::float8[], $17::float8[], $18::int8[],"
    " $19::int8[], $20::int8[])"
)


class Call(NamedTuple):
    """One call: `kind` says what the columns mean."""

    kind: int
    a: str | None = None
    b: str | None = None
    c: str | None = None
    d: str | None = None
    x: bytes | None = None
    y: bytes | None = None
    z: bytes | None = None
    w: bytes | None = None
    n: float | None = None
    m: float | None = None
    f: int | None = None
    i: int | None = None
    j: int | None = None


class Calls:
    """The calls of a batch. `names` are locked, and the lanes of `entries`."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.entries: set[str] = set()
        self._rows: list[tuple[Any, ...]] = []

    def arguments(self, now: float | None) -> list[Any]:
        """The arguments of STATEMENT. `now` None: the server's time."""
        columns = list(zip(*self._rows, strict=True))
        return [list(self.names), list(self.entries), now, *columns]

    def add(self, group: int, together: bool, number: int, calls: Sequence[Call]) -> None:
        """Add the calls of one operation; `number` is its place in the batch."""
        for call in calls:
            self._rows.append((group, together, number, *call))
