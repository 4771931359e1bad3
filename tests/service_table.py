"""A table of a service's own, as a service makes and fills it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import postgres

TABLE = """
CREATE TABLE outbox_events (
    id bigserial PRIMARY KEY,
    aggregate_id text,
    event_type varchar(50),
    payload jsonb NOT NULL,
    status varchar(20) NOT NULL DEFAULT 'PENDING',
    created_at timestamptz NOT NULL DEFAULT now(),
    retry_count int NOT NULL DEFAULT 0,
    error_message varchar(255),
    processed_at timestamptz
);
"""
MORE = """
ALTER TABLE outbox_events ADD COLUMN claimed_at timestamptz, ADD COLUMN next_at timestamptz;
"""
COLUMNS = {
    "id": "id",
    "key": "aggregate_id",
    "type": "event_type",
    "body": "payload",
    "status": "status",
    "created": "created_at",
    "attempts": "retry_count",
    "error": "error_message",
    "done": "processed_at",
}
COUNTED = 30.0
"""Seconds until a count of the rows is shown: they are counted for a fiftieth of the time, and a
busy machine needs a while for it."""
ALL_COLUMNS = COLUMNS | {"claimed": "claimed_at", "due": "next_at"}


class ServiceTable:
    """The table in a database; `sql` is what the service does."""

    def __init__(self, url: str, ddl: str = TABLE) -> None:
        self.url = url
        self.sql(ddl)

    def sql(self, statement: str) -> str:
        """Run SQL in one session; rows are lines, `|` between columns."""
        return postgres.run_sql(self.url, statement)

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """A session that keeps its transaction open."""
        session = Session(self.url)
        try:
            yield session
        finally:
            session.close()

    def insert(self, key: str, body: str = "{}", **more: Any) -> None:
        """One event, in a transaction of its own."""
        names = ["aggregate_id", "payload", *more]
        values = ", ".join(f"'{value}'" for value in (key, body, *more.values()))
        self.sql(f"INSERT INTO outbox_events ({', '.join(names)}) VALUES ({values})")

    def states(self) -> list[str]:
        """In their order."""
        return self.sql("SELECT status FROM outbox_events ORDER BY created_at, id").split()

    def column(self, name: str, row: int = 1) -> str:
        return self.sql(f"SELECT {name} FROM outbox_events WHERE id = {row}")


class Session:
    """psql with its input open."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [postgres.program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, statement: str) -> None:
        """Returns when it has been carried out."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{statement}\n\\echo done\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line == "done\n":
                return
        raise AssertionError(statement)

    def kill(self) -> None:
        """End it with its transaction open."""
        self._process.kill()

    def close(self) -> None:
        self._process.communicate("\\q\n" if self._process.poll() is None else None, timeout=5)
