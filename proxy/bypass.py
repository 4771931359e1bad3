"""The bypass: suspends policies that may make an outage worse, for some minutes.

An operator turns it on and off (`POST /bypass`). It ends after a time and with the process, so that
it cannot be forgotten.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from proxy.telemetry import process_log

LASTS = 600.0
"""Seconds after the last turning on until it ends."""

_log = logging.getLogger("proxy.bypass")


async def _nothing() -> None:
    """Before there is anything to apply a change to."""


class Bypass:
    """`changed` is called after each change, and returns when the change is in effect.

    Use it within the loop.
    """

    def __init__(self, *, lasts: float = LASTS) -> None:
        self.changed: Callable[[], Awaitable[None]] = _nothing
        self._lasts = lasts
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def active(self) -> bool:
        return self._timer is not None

    @property
    def left(self) -> float:
        """Seconds until it ends; 0 if it is off."""
        if self._timer is None:
            return 0.0
        return max(self._timer.when() - asyncio.get_running_loop().time(), 0.0)

    async def turn(self, on: bool) -> None:
        """Turn it on for the full time, or off. Returns when that is in effect."""
        was = self.active
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if on:
            self._timer = asyncio.get_running_loop().call_later(self._lasts, self._end)
        if on and not was:
            _log.warning(
                "bypass: retries, circuit breakers and limits are suspended for %g s",
                self._lasts,
            )
        if was and not on:
            _log.warning("bypass: turned off, all policies are in effect again")
        if on != was:
            await self.changed()

    def _end(self) -> None:
        self._timer = None
        _log.warning("bypass: ended, all policies are in effect again")
        self._ending = asyncio.get_running_loop().create_task(self._apply_end())

    async def _apply_end(self) -> None:
        try:
            await self.changed()
        except Exception as error:  # noqa: BLE001 - no caller would report it
            process_log.bug("the bypass could not be ended", error)
