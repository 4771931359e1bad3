"""A limit for what is asked of a server that may have stopped answering.

A timeout of asyncpg, or a cancelled task, first asks the server over a new connection to cancel the
statement, and what comes next on the old one (a ROLLBACK) waits for that. A server that hangs with
its connections open, as a frozen virtual machine does, would be waited for without end.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol


class Ends(Protocol):
    def terminate(self) -> None: ...


@asynccontextmanager
async def limited(connection: Ends, seconds: float) -> AsyncIterator[None]:
    """End the connection if the block takes longer, and raise TimeoutError."""
    late = False

    def end() -> None:
        nonlocal late
        late = True
        connection.terminate()

    timer = asyncio.get_running_loop().call_later(seconds, end)
    try:
        yield
    except Exception:
        if late:
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
