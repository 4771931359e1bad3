"""What fails leaves no reference cycle: the collector comes by once in hundreds of megabytes.

9,000 clients that left while an upstream accepted no connections took 20 MB, and the next 9,000
another 20.
"""

import asyncio
import errno
import gc
from collections.abc import Callable
from typing import Any

import pytest

from proxy.config.model import ConnectionsConfig
from proxy.errors import ConnectError
from proxy.upstream.address import Address
from proxy.upstream.connector import Connector
from proxy.upstream.tasks import Tasks
from proxy.upstream.threads import in_thread
from proxy.upstream.tls import TlsContexts
from proxy.wire.h1.upstream import UpstreamConnection

ADDRESS = Address("http", "127.0.0.1", 9, "127.0.0.1")
COUNT = 100


class Network:
    """A loop whose connects end as the test says, or never."""

    def __init__(self, code: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: Callable[[], Any], *to: Any) -> Any:
        connection = factory()
        if self._code:
            raise OSError(self._code, "it fails")
        await asyncio.sleep(60)
        return None, connection


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0, "connect-timeout"),
        (errno.ECONNREFUSED, "connect-refused"),
        (errno.ENETUNREACH, "connect-failed"),
    ],
)
async def test_a_connect_that_fails(code: int, reason: str) -> None:
    tasks = Tasks(Network(code))  # type: ignore[arg-type]
    connector = Connector(UpstreamConnection, ConnectionsConfig(), None, TlsContexts(), tasks)
    gc.collect()
    gc.disable()
    try:
        await failed_connects(connector, reason)
        assert gc.collect() < COUNT, "not one object for each"
    finally:
        gc.enable()


async def failed_connects(connector: Connector, reason: str) -> None:
    reasons: list[str] = []

    def done(result: object) -> None:
        assert isinstance(result, ConnectError)
        reasons.append(result.reason)

    for _ in range(COUNT):
        connector.connect(ADDRESS, 0.01, lambda session: None, done)
    while len(reasons) < COUNT:
        await asyncio.sleep(0.01)
    assert set(reasons) == {reason}


async def test_a_look_up_that_fails() -> None:
    def look_up() -> None:
        raise OSError(errno.ENOENT, "no such name")

    async def looks_up() -> None:
        await in_thread(look_up)

    gc.collect()
    gc.disable()
    try:
        for _ in range(COUNT):
            with pytest.raises(OSError, match="no such name"):
                await asyncio.create_task(looks_up())
        assert gc.collect() < COUNT, "not one object for each"
    finally:
        gc.enable()
