"""The admin API on its own address, in the same loop as the data plane."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client.registry import CollectorRegistry

from proxy.admin.api import AdminApi
from proxy.admin.connections import IDLE, Connection, Connections
from proxy.admin.controls import Controls, Reload
from proxy.admin.door import BACKLOG, Door
from proxy.admin.pace import Pace
from proxy.config import Sources
from proxy.config.server_model import Address
from proxy.telemetry.observed import Gateway
from proxy.telemetry.records import Records
from proxy.wire.listening import listening_sockets

ACCEPTING_SHARE = 0.05
"""Share of the loop's time for connections that come and go."""
_GRACE = 1.0
"""Seconds for requests in progress when the server stops."""

_log = logging.getLogger("proxy.admin")


def _worth_logging(record: logging.LogRecord) -> bool:
    """Drops log records about invalid HTTP: the client got 400, and port scans are not events."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


_log.addFilter(_worth_logging)


class AdminServer:
    """Started once, stopped once."""

    def __init__(
        self,
        gateway: Gateway,
        controls: Controls,
        registry: CollectorRegistry,
        records: Records,
        reload: Callable[[str], Awaitable[Reload]],
        sources: Callable[[], Sources],
    ) -> None:
        """`reload` gets the trigger's name; `sources` belong to the configuration in effect."""
        api = AdminApi(gateway, controls, registry, records, reload, sources)
        self._application = api.application()
        self._runner: web.AppRunner | None = None
        self._listeners: list[Door] = []
        self._pace = Pace(ACCEPTING_SHARE, time.monotonic, burst=0.25)

    async def start(self, address: Address) -> tuple[str, int]:
        """Listen; returns the bound host and port. Raises OSError if that fails.

        ``::`` is every address of both families, with a socket for each.
        """
        runner = web.AppRunner(
            self._application,
            handle_signals=False,
            shutdown_timeout=_GRACE,
            handler_cancellation=True,  # cancel the handler when its client has left
        )
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(runner.cleanup)
            await runner.setup()
            loop = asyncio.get_running_loop()
            assert runner.server is not None
            options: dict[str, Any] = {
                "loop": loop,
                "access_log": None,
                "logger": _log,
                "keepalive_timeout": IDLE,
            }
            protocol = partial(Connection, Connections(), runner.server, **options)
            undo.callback(self._close_listeners)
            host, port = await self._listen(protocol, address.host, address.port)
            if host == "::":
                await self._listen(protocol, "0.0.0.0", port)
            undo.pop_all()
        self._runner = runner
        return host, port

    async def _listen(
        self, protocol: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[str, int]:
        opened = await listening_sockets(host, port, BACKLOG)
        self._listeners += [Door(one, protocol, self._pace) for one in opened]
        bound_host, bound_port = opened[0].getsockname()[:2]
        return bound_host, bound_port

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def stop(self) -> None:
        """Close the listener, give requests in progress a moment to end, close the rest."""
        runner, self._runner = self._runner, None
        self._close_listeners()
        if runner is not None:
            await runner.cleanup()
