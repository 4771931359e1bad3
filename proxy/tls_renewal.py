"""Checks every second for new certificates, keys or CAs on disk, and loads them."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from proxy.upstream.registry import Upstreams
from proxy.wire.tls import ListenerContext

INTERVAL = 1.0
"""Seconds between two checks, each a few stat calls."""

_log = logging.getLogger("proxy.tls")


class TlsRenewal:
    """A task from `start` to `stop`, both called within the event loop."""

    def __init__(
        self,
        listeners: Iterable[ListenerContext],
        upstreams: Upstreams | None = None,
        *,
        interval: float = INTERVAL,
    ) -> None:
        # Reading may block on a disk, so a thread does it.
        self._renewals: list[Callable[[], Coroutine[Any, Any, None]]] = [
            partial(asyncio.to_thread, listener.renew) for listener in listeners
        ]
        if upstreams is not None:
            self._renewals.append(upstreams.renew_tls)
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Return when no check runs any more. No effect without `start`."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            for renew in self._renewals:
                try:
                    await renew()
                except Exception:  # noqa: BLE001 - a bug here must not end later checks
                    _log.exception("internal error while TLS files were renewed")
