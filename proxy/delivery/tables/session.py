"""One connection to a table's database. The only file that knows asyncpg."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import asyncpg

from proxy.config.postgres_url import without_password
from proxy.config.table_model import TableConfig
from proxy.delivery.tables.catalog import (
    COLUMNS,
    RELATION,
    SERVER,
    SIGN,
    Changed,
    Refused,
    Shape,
    Unusable,
    shape_of,
)
from proxy.delivery.tables.statements import relation
from proxy.store.postgres.limited import limited

_CONNECT: Final = 5.0
_COMMAND: Final = 10.0
_TRANSACTION: Final = 30.0
"""Seconds for a connection, a statement and a transaction."""
_CLOSE: Final = 1.0
_GONE: Final = frozenset({"08", "57", "53", "40", "55", "25"})
"""Classes of SQLSTATE after which another connection, or another moment, may help."""
_OF_ROW: Final = frozenset({"22", "23", "P0"})


class Unreachable(Exception):
    """The database does not answer now; the text says why."""


class Session:
    """A connection. Every method raises `Unreachable` or `Unusable`; after that it is of no use.

    It works behind a pooler that gives each transaction another connection: nothing is prepared,
    and nothing but notifications needs the session.
    """

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self._connection = connection

    @property
    def closed(self) -> bool:
        return bool(self._connection.is_closed())

    async def close(self) -> None:
        with suppress(Exception):
            await self._connection.close(timeout=_CLOSE)
        self._connection.terminate()

    async def shape(self, table: TableConfig) -> Shape:
        """Look at the table. Raises Unusable if its rows cannot be delivered."""
        async with self.transaction():
            server = await self._row(SERVER)
            assert server is not None
            found = await self._row(RELATION, relation(table))
            oid = None if found is None else found["oid"]
            columns = [] if oid is None else await self.rows(COLUMNS, oid)
            sign = await self._sign(table)
        return shape_of(table, server, found, columns, sign)

    async def check(self, table: TableConfig, shape: Shape) -> None:
        """Raises Changed if the table has not this shape any more.

        At the end of a transaction, which this undoes; its locks keep the table as it is.
        """
        if await self._sign(table) != shape.sign:
            raise Changed("the table has been changed")

    async def _sign(self, table: TableConfig) -> str | None:
        names = list({name for _, name in table.columns.given})
        found: str | None = (await self._row(SIGN, relation(table), names))["sign"]
        return found

    async def listen(self, channel: str, heard: Callable[[], object]) -> None:
        """Call `heard` for every notification. Behind such a pooler none arrives."""
        with _Translated():
            async with limited(self._connection, _COMMAND):
                await self._connection.add_listener(channel, lambda *_: heard())

    def on_lost(self, lost: Callable[[], object]) -> None:
        self._connection.add_termination_listener(lambda _: lost())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All statements within it are one commit. Each sees what was committed before it began,
        whatever the database's default is."""
        with _Translated():
            async with (
                limited(self._connection, _TRANSACTION),
                self._connection.transaction(isolation="read_committed"),
            ):
                yield

    async def rows(self, statement: str, *values: Any) -> Sequence[Any]:
        """The rows that a statement gives."""
        with _Translated():
            async with limited(self._connection, _COMMAND):
                found: Sequence[Any] = await self._connection.fetch(statement, *values)
        return found

    async def _row(self, statement: str, *values: Any) -> Any:
        with _Translated():
            async with limited(self._connection, _COMMAND):
                found = await self._connection.fetchrow(statement, *values)
        return found


class _Translated:
    """Turns the library's errors into the two that callers know."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, Unreachable | Unusable):
            return
        if isinstance(error, TimeoutError):
            raise Unreachable("the database does not answer in time") from None
        if isinstance(error, asyncpg.PostgresError):
            state = error.sqlstate or ""
            if state[:2] in _GONE:
                raise Unreachable(_sentence(error)) from None
            kind = Refused if state[:2] in _OF_ROW else Unusable
            raise kind(_sentence(error)) from None
        if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
            raise Unreachable(str(error) or type(error).__name__) from None


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


async def open_session(url: str) -> Session:
    """Raises Unreachable, or Unusable for a database or role that does not exist."""
    try:
        with _Translated():
            connection = await asyncpg.connect(
                url,
                timeout=_CONNECT,
                statement_cache_size=0,
                server_settings={"application_name": "resilience-proxy"},
            )
    except (Unreachable, Unusable) as error:
        raise type(error)(f"{without_password(url)}: {error}") from None
    except (ValueError, asyncio.InvalidStateError) as error:
        raise Unusable(f"{without_password(url)}: {error}") from None
    return Session(connection)
