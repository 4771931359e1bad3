"""Versions of the tables and functions, and how a schema of an older version gets the latest.

Two replicas that start at once take turns: the second one finds the work done. A replica of an
older version that runs meanwhile goes on with its own functions.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.store.store import CannotOpen

if TYPE_CHECKING:
    from asyncpg import Connection

VERSION: Final = 1
_SCRIPTS: Final = (("tables.sql", "functions.sql"),)
"""Element n turns a schema of version n into one of version n + 1; without tables it has 0."""


def quoted(name: str) -> str:
    """A name as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


async def prepare(connection: "Connection", schema: str, *, known: bool = False) -> None:
    """Bring the schema to the latest version, in one transaction.

    Raises CannotOpen, or what the server says. `known`: this process has used it before, and goes
    on although a newer one has changed it meanwhile.
    """
    version = await _version(connection, schema)
    if version == VERSION:
        return
    if version > VERSION:
        if known:
            return
        raise CannotOpen(
            f"the schema {schema} has version {version}, and this proxy knows versions up to "
            f"{VERSION}: use the newer proxy again, or another schema (store.schema)"
        )
    async with connection.transaction():
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"resilience-proxy {schema}"
        )
        await _create(connection, schema)
        version = await _version(connection, schema)
        await connection.execute(f"SET LOCAL search_path TO {quoted(schema)}")
        for scripts in _SCRIPTS[version:]:
            for script in scripts:
                await connection.execute(Path(__file__).with_name(script).read_text())
        await connection.execute(f"UPDATE version SET number = {VERSION}")


async def _version(connection: "Connection", schema: str) -> int:
    """0 if there are no tables. Raises CannotOpen if there are those of another application."""
    tables = await connection.fetch(
        "SELECT c.relname FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm') LIMIT 1000",
        schema,
    )
    names = {row["relname"] for row in tables}
    if not names:
        return 0
    if not {"version", "keys", "entries", "sagas"} <= names:
        raise CannotOpen(
            f"the schema {schema} has tables of another application: name another one "
            "(store.schema)"
        )
    found: int | None = await connection.fetchval(f"SELECT number FROM {quoted(schema)}.version")
    return found or 0


async def _create(connection: "Connection", schema: str) -> None:
    """An own statement for an existing schema would need a right to create others."""
    found = await connection.fetchval(
        "SELECT true FROM pg_catalog.pg_namespace WHERE nspname = $1", schema
    )
    if not found:
        await connection.execute(f"CREATE SCHEMA {quoted(schema)}")
