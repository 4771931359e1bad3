"""What the operations work on: the connection, the present, and the parts."""

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

PART_BYTES: Final = 16 * 1024 * 1024
"""A part takes no more records from this size on."""
PART_STRETCHES: Final = 8
"""And when it has been open for this share of the time that its records are kept."""
ROW_BYTES: Final = 256
"""About what a record takes without its response."""


@dataclass(slots=True)
class Part:
    """A table of idempotency records that expire at about the same time."""

    id: int
    keep: int
    opened_at: float
    expires_at: float
    bytes: int

    @property
    def table(self) -> str:
        return f"keys_{self.id}"


class NoRoom(Exception):
    """The operation makes a promise, and the store is full. It has changed nothing yet."""


class Tables:
    """`now` is the transaction's present. `room`: new promises can be made. `promises` counts them.

    `due_earlier`: watchers must be called after the commit. `parts` has the newest last; after a
    rollback `reload` makes it true again. `unfinished`: the entries of a queue that are not, as far
    as this transaction has counted them.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.now = 0.0
        self.room = True
        self.promises = 0
        self.due_earlier = False
        self.parts: list[Part] = []
        self.changed_parts: set[int] = set()
        self.lookups: list[str] = []
        self.unfinished: dict[str, int] = {}
        self._fence = 0
        self.reload()

    def begin(self, now: float, *, room: bool) -> None:
        """Before each transaction that runs operations."""
        self.now = now
        self.room = room
        self.unfinished.clear()

    def next_fence(self) -> int:
        """A fence that no claim before had: rows of idempotency records are used again."""
        self._fence = max(self._fence + 1, int(self.now * 1_000_000))
        return self._fence

    def need_room(self) -> None:
        """Before a new promise. Raises NoRoom."""
        if not self.room:
            raise NoRoom
        self.promises += 1

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self.db.execute(statement, values)

    def one(self, statement: str, *values: object) -> Any:
        """The first row, or None."""
        return self.db.execute(statement, values).fetchone()

    def extend(self, table: str, name: str, identity: str, fence: int, lease: float) -> bool:
        """Extend a claim that is held to `lease` from now; `name` is the identity's column."""
        extended = self.execute(
            f"UPDATE {table} SET lease_until = ?"
            f" WHERE {name} = ? AND fence = ? AND lease_until > 0",
            self.now + lease,
            identity,
            fence,
        )
        return extended.rowcount == 1

    def reload(self) -> None:
        """Read the parts from the file."""
        rows = self.db.execute(
            "SELECT id, keep, opened_at, expires_at, bytes FROM parts ORDER BY id"
        )
        self.parts = [Part(*row) for row in rows]
        self.changed_parts.clear()
        self.lookups.clear()
        self.unfinished.clear()
        self.due_earlier = False

    def write_parts(self) -> None:
        """Before a commit: what changed of the parts."""
        for part in self.parts:
            if part.id in self.changed_parts:
                self.execute(
                    "UPDATE parts SET expires_at = ?, bytes = ? WHERE id = ?",
                    part.expires_at,
                    part.bytes,
                    part.id,
                )
        self.changed_parts.clear()
