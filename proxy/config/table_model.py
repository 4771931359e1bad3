"""Outbox tables as typed, immutable values: where the rows are, and where they are delivered."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final

from proxy.policies.outbox import OutboxConfig
from proxy.templates import Template

BY_KEY: Final = "key"
"""`order_by` of a table: rows with one key, one at a time."""


@dataclass(frozen=True, slots=True)
class TableName:
    """A table, in `schema` or where the connection's search path finds it."""

    name: str
    schema: str = ""

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The names of a table's columns; None: the table has no such column.

    Read: `id` (unique), `key` (rows in order), `type`, `body`, `created` (their order). Written:
    `status`, `attempts`, `error`, `done` (when it was finished), `claimed` (when a proxy took it),
    `due` (when it is tried next).
    """

    id: str
    body: str
    status: str
    key: str | None = None
    type: str | None = None
    created: str | None = None
    attempts: str | None = None
    error: str | None = None
    done: str | None = None
    claimed: str | None = None
    due: str | None = None

    @property
    def given(self) -> Iterator[tuple[str, str]]:
        """What each column is for, and its name."""
        for one in fields(self):
            name = getattr(self, one.name)
            if name is not None:
                yield one.name, name


WRITTEN: Final = ("status", "attempts", "error", "done", "claimed", "due")
"""Columns that the proxy writes; no other one is."""


@dataclass(frozen=True, slots=True)
class TableStates:
    """Values of the status column. `failed`: a try failed and another one follows."""

    pending: str = "PENDING"
    delivering: str = "PROCESSING"
    done: str = "PROCESSED"
    failed: str = "FAILED"
    dead: str = "DEAD_LETTER"


@dataclass(frozen=True, slots=True)
class TableTarget:
    """Where a row goes: it starts a saga, or is a request for an upstream."""

    saga: str | None = None
    upstream: str | None = None
    path: Template = Template(("/",))
    method: str = "POST"
    headers: tuple[tuple[str, Template], ...] = ()
    policy: str = "default"


@dataclass(frozen=True, slots=True)
class TableConfig:
    """One table. `url` None: the store's. Times in seconds.

    `poll`: between two looks for new rows, `notify` the channel whose notifications end the wait.
    `batch`: the most rows that are taken at once. `reclaim`: after this time a row is taken back
    from a worker that gave no sign of life. `outbox`: attempts, backoff and order.
    """

    name: str
    table: TableName
    columns: TableColumns
    to: TableTarget
    url: str | None = None
    states: TableStates = TableStates()
    poll: float = 1.0
    notify: str | None = None
    batch: int = 100
    reclaim: float = 300.0
    outbox: OutboxConfig = OutboxConfig()

    @property
    def ordered(self) -> bool:
        return self.outbox.order_by == BY_KEY

    @property
    def route_name(self) -> str:
        """Of the route that its tries take; also the label of its metrics."""
        return f"table:{self.name}"
