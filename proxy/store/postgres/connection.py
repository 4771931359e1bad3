"""Opening a connection: what the server must be, and what failures mean.

Behind a pooler nothing is kept in the session: no prepared statement, no setting, so that it may
give every transaction another server process. Without one the statement is prepared once.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from proxy.store.postgres.calls import STATEMENT
from proxy.store.postgres.limited import limited
from proxy.store.postgres.results import Rows
from proxy.store.postgres.schema import prepare, quoted
from proxy.store.store import CannotOpen

try:
    import asyncpg
    from asyncpg.exceptions import ClientConfigurationError, TargetServerAttributeNotMatched
    from asyncpg.exceptions._base import InternalClientError
except ImportError:
    raise CannotOpen(
        "store.url names PostgreSQL, which needs: pip install 'resilience-proxy[postgres]'"
    ) from None

if TYPE_CHECKING:
    from asyncpg import Connection, Record

APPLICATION: Final = "resilience-proxy"
"""`application_name` of its sessions."""


@dataclass(frozen=True, slots=True)
class PostgresConfig:
    """`url` may have a password; `shown` has none. `timeout`: seconds of a statement."""

    url: str
    shown: str
    schema: str = "resilience_proxy"
    connections: int = 2
    timeout: float = 2.0


class Unreachable(Exception):
    """There is no server now that takes writes. It may be there later."""


class Lost(Exception):
    """The connection cannot be used any more."""


Run = Callable[..., Awaitable[Rows]]


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection that can be used. `run` takes the arguments of `v1_run`, and commits.

    `direct`: no pooler gives its transactions to other server processes. Then the statement is
    prepared once. `clock`: the time that the server said, and when it was asked (monotonic).
    """

    connection: "Connection"
    run: "Run"
    direct: bool
    sync: str
    clock: tuple[float, float]


class Failure(Enum):
    """What a failed statement means.

    FAULT: of one operation, the transaction has been rolled back. AGAIN: rolled back, and it may
    succeed if it is run again. SLOW: rolled back after its time. FULL: rolled back, the disk is
    full. REFUSED: rolled back, and this server takes no writes. LOST: not known whether it was
    committed.
    """

    FAULT = "fault"
    AGAIN = "again"
    SLOW = "slow"
    FULL = "full"
    REFUSED = "refused"
    LOST = "lost"


_ASKED: Final = (
    "SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS standby,"
    " current_setting('transaction_read_only') = 'on' AS read_only,"
    " CASE WHEN current_setting('fsync') = 'off' THEN 'off (fsync)'"
    " ELSE current_setting('synchronous_commit') END AS sync,"
    " extract(epoch FROM clock_timestamp())::float8 AS now"
)
_SCHEMA: Final = 30.0
"""Seconds in which the tables must be made, or those that another replica makes."""
_OF_TIMEOUT: Final = 0.75
"""Of `timeout`: the server ends a statement before the proxy does, and so it is known to have done
nothing. What only the proxy gives up may still be committed."""
_BEGIN: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {0};"
    " SET LOCAL idle_in_transaction_session_timeout = {0}"
)
"""A proxy that is paused within a transaction must not keep its locks."""
_FOR_GOOD: Final = ("28", "3D", "3F", "42")
"""Classes of errors that waiting does not cure: credentials, database, schema, rights."""
_OF_DATA: Final = ("22", "23", "42", "P0", "XX", "0A", "54")
_OF_NEIGHBOURS: Final = ("40", "53", "55")


async def open_connection(config: PostgresConfig, *, known: bool = False) -> Opened:
    """Connect, and bring the schema to the latest version. `known`: see `prepare`.

    Raises Unreachable, or CannotOpen where waiting does not help.
    """
    try:
        return await _open(config, known)
    except Exception as error:  # noqa: BLE001 - raised again, as a sentence
        raise _failure(config, error) from None


async def _open(config: PostgresConfig, known: bool) -> Opened:
    connection = await asyncpg.connect(
        config.url,
        timeout=config.timeout,
        statement_cache_size=0,
        server_settings={"application_name": APPLICATION},
    )
    usable = False
    try:
        # One transaction: a pooler may give the next one to another server process.
        async with (
            limited(connection, config.timeout if known else _SCHEMA),
            connection.transaction(isolation="read_committed"),
        ):
            asked = monotonic()
            told = await connection.fetchrow(_ASKED)
            clock = told["now"], asked
            _check(told)
            await prepare(connection, config.schema, known=known)
        direct = connection.get_server_pid() == told["pid"]
        statement = STATEMENT.format(schema=quoted(config.schema))
        patience = int(1000 * _OF_TIMEOUT * config.timeout)
        if direct:
            async with limited(connection, config.timeout):
                await connection.execute(
                    f"SET default_transaction_isolation = 'read committed';"
                    f"SET statement_timeout = {patience}"
                )
                running: Run = (await connection.prepare(statement)).fetch
        else:
            running = partial(_in_transaction, connection, _BEGIN.format(patience), statement)
        usable = True
    finally:
        if not usable:
            await drop(connection)
    return Opened(connection, running, direct, told["sync"], clock)


async def _in_transaction(
    connection: "Connection", begin: str, statement: str, *arguments: Any
) -> Rows:
    """asyncpg prepares what it runs, in a step of its own: both must meet one server process."""
    await connection.execute(begin)
    try:
        found: Rows = await connection.fetch(statement, *arguments)
    except Exception:
        await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")
    return found


async def drop(connection: "Connection") -> None:
    """Close it at once, without a word to the server."""
    connection.terminate()
    await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn


def _check(told: "Record") -> None:
    if told["standby"]:
        raise Unreachable("it is a standby, which takes no writes")
    if told["read_only"]:
        raise Unreachable("it takes no writes (transaction_read_only)")


def _failure(config: PostgresConfig, error: Exception) -> Exception:
    start = f"the store {config.shown}"
    match error:
        case CannotOpen() | ClientConfigurationError() | ssl.SSLError():
            return CannotOpen(f"{start} cannot be used: {sentence(error)}")
        case asyncpg.PostgresError() if (error.sqlstate or "").startswith(_FOR_GOOD):
            return CannotOpen(f"{start} cannot be used: {sentence(error)}")
        case (
            asyncpg.PostgresError()
            | asyncpg.InterfaceError()
            | InternalClientError()
            | TargetServerAttributeNotMatched()
            | OSError()
            | Unreachable()
        ):
            return Unreachable(f"{start} cannot be reached: {sentence(error)}")
    return error


def sentence(error: BaseException) -> str:
    """What an error says, on one line."""
    if isinstance(error, TimeoutError):
        return "it does not answer in time (store.timeout)"
    text = " ".join(str(error).split()) or type(error).__name__
    code = error.sqlstate if isinstance(error, asyncpg.PostgresError) else None
    return f"{text} ({code})" if code else text


def meaning(error: Exception) -> Failure:
    """What a failed statement means. Every error that is not known leaves it unknown."""
    if isinstance(error, asyncpg.DataError | asyncpg.exceptions._base.DataError):
        return Failure.FAULT
    if not isinstance(error, asyncpg.PostgresError):
        return Failure.LOST if _of_connection(error) else Failure.FAULT
    code = error.sqlstate or ""
    if code == "53100":
        return Failure.FULL
    if code == "25006":
        return Failure.REFUSED
    if code == "57014":
        return Failure.SLOW
    if code.startswith(_OF_NEIGHBOURS):
        return Failure.AGAIN
    if code in ("42P01", "42883", "3F000", "42501"):
        return Failure.REFUSED
    if code.startswith(_OF_DATA):
        return Failure.FAULT
    return Failure.LOST


def _of_connection(error: Exception) -> bool:
    return isinstance(error, OSError | asyncpg.InterfaceError | InternalClientError)
