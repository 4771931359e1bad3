"""The drain: from SIGTERM to the exit.

    SERVING ──drain──> DRAINING ──nothing left, or timeout──> DRAINED ──SIGTERM──> (exit)

A signal and the admin API begin the same drain, and there is only one. They differ at its end:
after a signal the process exits, otherwise it stays, with its outbound listener serving, until a
signal (a native sidecar gets SIGTERM last).

1. At once: not ready, every inbound response carries Connection: close, and HTTP/2 connections
   get their GOAWAY. A second later inbound connections that have been idle since are closed.
2. For `delay` the inbound listener still accepts, because the cluster needs that long to react.
3. Then it closes. The outbound listener keeps working, because the service needs its dependencies
   to finish. When all inbound requests are answered, the service may end (`inbound_drained`).
   What the outbox keeps in a store that dies with the pod is tried meanwhile.
4. The drain ends when nothing inbound is in flight, the service has no outbound connection open
   and outbound has been quiet for a second (and a service that asked when to end has had some
   seconds to begin); or at `timeout`, when the rest is cut and counted.

SIGINT without an open connection on either listener skips `delay` and the quiet second.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Set
from enum import Enum
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Protocol

from proxy.admin.controls import Reload
from proxy.bypass import Bypass
from proxy.config.model import Listener
from proxy.config.server_model import DrainConfig
from proxy.exchange.exchange import Exchange
from proxy.exchange.gate import ListenerGate
from proxy.exchange.gateway import Gateway
from proxy.outbox_tables import Tables
from proxy.telemetry.timestamps import Timestamps
from proxy.wire.streams import ClientConnection

if TYPE_CHECKING:
    from proxy.delivery.outbox import Outbox
    from proxy.delivery.sagas import Sagas
    from proxy.delivery.tables.tables import OutboxTables
    from proxy.promises import Promises
    from proxy.store.store import Store

IDLE_GRACE = 1.0
"""Seconds before idle inbound connections are closed: a client may be about to send."""
QUIET = 1.0
"""After so many seconds without an outbound request the service has finished."""
TOLD = 3.0
"""Seconds after the answer to the service's hook, in which its last calls may begin: SIGTERM must
reach the service first."""
DRAIN_WITHIN = 10.0
"""Seconds to wait for a drain to begin: the hook that requests it is a program, whose start may
take seconds on a busy node."""
_TICK = 0.02

_log = logging.getLogger("proxy.lifecycle")


class Phase(Enum):
    SERVING = "serving"
    DRAINING = "draining"
    DRAINED = "drained"


class Accepts(Protocol):
    """The part of an acceptor that the drain uses."""

    @property
    def handshakes(self) -> int:
        """Connections in their TLS handshake."""

    def close(self) -> None:
        """Stop accepting."""

    def end_handshakes(self) -> None:
        """Close the connections in their TLS handshake."""


class Lifecycle:
    """Drains a gateway. `drain_cut` counts the exchanges that the end of a drain cut.

    `config_file` None: the embedded default; `config_loaded_at` in seconds since the Unix epoch.
    `store`: where promises are kept, `promises`: what keeps them; None without a store. `tables`:
    the service's own.
    """

    def __init__(self, gateway: Gateway, config: DrainConfig, config_file: str | None) -> None:
        self._config = config
        self._inbound = gateway.gates[Listener.INBOUND]
        self._outbound = gateway.gates[Listener.OUTBOUND]
        self._servers: dict[Listener, Accepts] = {}
        self._task: asyncio.Task[None] | None = None
        self._exit_asked = asyncio.Event()
        self._begun = asyncio.Event()
        self._inbound_drained = asyncio.Event()
        self._drained = asyncio.Event()
        self._at_once = asyncio.Event()
        self._hooks = 0  # of the service, whose answers are held back
        self._told_at: float | None = None
        self._signalled = False
        self._hurried = False
        self.phase = Phase.SERVING
        self.started = monotonic()
        self.drain_cut = 0
        self.config_file = config_file
        self.config_loaded_at = time()
        self.last_reload: Mapping[str, Any] | None = None
        self.bypass = Bypass()
        self.store: Store | None = None
        self.promises: Promises | None = None
        self.tables = Tables()
        self.reloads = {"applied": 0, "rejected": 0}

    @property
    def draining(self) -> bool:
        return self.phase is not Phase.SERVING

    @property
    def ready(self) -> bool:
        return self.phase is Phase.SERVING and len(self._servers) == len(Listener)

    @property
    def at_once(self) -> bool:
        """A second signal came: do not wait for anything."""
        return self._at_once.is_set()

    def serving(self, listener: Listener, server: Accepts) -> None:
        """Register an open listener."""
        self._servers[listener] = server

    def reconfigure(self, config: DrainConfig) -> None:
        """Use another configuration; a drain that has begun keeps its end."""
        self._config = config

    @property
    def deliveries(self) -> "Outbox | None":
        """The outbox; None without one."""
        return None if self.promises is None else self.promises.outbox

    @property
    def sagas(self) -> "Sagas | None":
        """The sagas; None where configuration and store have none."""
        return None if self.promises is None else self.promises.sagas

    @property
    def outbox_tables(self) -> "OutboxTables | None":
        """The tables of the service's own; None without one."""
        return self.tables.running

    @property
    def bypass_left(self) -> float:
        return self.bypass.left

    async def turn_bypass(self, on: bool) -> None:
        """Suspend policies that may make an outage worse for a while, or use them again."""
        await self.bypass.turn(on)

    def reloaded(self, outcome: Reload, trigger: str) -> None:
        """Remember the result of a reload."""
        now = time()
        self.reloads[outcome.result] += 1
        if outcome.applied:
            self.config_loaded_at = now
        self.last_reload = {
            "result": outcome.result,
            "time": Timestamps().text(now),
            "trigger": trigger,
            "problems": list(outcome.problems),
        }

    # --- requests to end ----------------------------------------------------------------------

    def on_signal(self, name: str) -> None:
        """SIGTERM or SIGINT: drain, then exit. The second one ends at once."""
        if self._signalled:
            _log.warning("second signal (%s): ending at once", name)
            self._at_once.set()
            return
        self._signalled = True
        self._hurried = name == "SIGINT" and self.phase is Phase.SERVING and self._nobody_there()
        self._exit(f"{name}, a second one ends at once")

    async def exit_asked(self) -> None:
        """Wait until the process should exit, before any drain."""
        await self._exit_asked.wait()

    def on_terminal_closed(self) -> None:
        """SIGHUP, because the terminal was closed: drain, then exit. It may come several times."""
        if not self._exit_asked.is_set():
            self._exit("SIGHUP, the terminal was closed")

    def _exit(self, why: str) -> None:
        _log.info("%s: draining, then exiting", why)
        self._exit_asked.set()
        self.begin_drain()

    def begin_drain(self) -> None:
        """Start the drain, if it has not begun."""
        if self.phase is not Phase.SERVING:
            return
        self.phase = Phase.DRAINING
        _log.info(
            "draining: new inbound connections for another %g s, all ends within %g s",
            self._config.delay,
            self._config.timeout,
        )
        self._inbound.closing = True
        if self.promises is not None:
            self.promises.begin_drain(self._config.timeout)
        self.tables.begin_drain()
        self._begun.set()
        self._task = asyncio.get_running_loop().create_task(self._drain())

    async def drained(self) -> int:
        """Wait for the end of the drain; returns how many exchanges were cut."""
        await self._drained.wait()
        return self.drain_cut

    async def inbound_drained(self) -> bool:
        """Wait until the service gets no more requests; False: there is no drain.

        The service keeps half of the drain's timeout to end open WebSockets and streams itself.
        """
        if await self._within(DRAIN_WITHIN, self._begun):
            self._hooks += 1
            try:
                await self._inbound_drained.wait()
            finally:
                self._hooks -= 1
            # Once: repeated requests must not delay the drain.
            if self._told_at is None:
                self._told_at = monotonic()
        return self.draining

    async def ended(self) -> int:
        """Wait until the process should exit; returns its exit status."""
        await self._exit_asked.wait()
        await self._until(self._drained)
        if not self._at_once.is_set():
            await self._finish_outbound()
        self.cut(self._inbound.exchanges | self._outbound.exchanges)
        if self._task is not None:
            self._task.cancel()
        return 3 if self.drain_cut else 0

    # --- the drain ----------------------------------------------------------------------------

    async def _drain(self) -> None:
        begun = monotonic()
        timeout = self._config.timeout
        deadline = begun + timeout
        # A client that connects from now on is about to send a request, so it is not idle.
        before = frozenset(self._inbound.connections)
        self._leave(before)
        loop = asyncio.get_running_loop()
        loop.call_later(IDLE_GRACE, self._close_idle, before)
        await asyncio.sleep(0 if self._hurried else min(self._config.delay, timeout))
        await self._stop_accepting()
        self._close_idle(before)
        self._leave(self._inbound.connections)
        loop.call_later(IDLE_GRACE, self._close_idle, self._inbound.connections)
        if (server := self._servers.get(Listener.INBOUND)) is not None:
            loop.call_later(IDLE_GRACE, server.end_handshakes)
        # Polled, so that the hot path does no work for it.
        while (now := monotonic()) < deadline and not self._nothing_left():
            if self._nothing_inbound() or now >= begun + timeout / 2:
                self._inbound_drained.set()
            await asyncio.sleep(_TICK)
        self._inbound_drained.set()
        self.cut(self._inbound.exchanges)
        if self._exit_asked.is_set():
            self.cut(self._outbound.exchanges)
        self.phase = Phase.DRAINED
        _log.info("drained after %.3f s, %d cut", monotonic() - begun, self.drain_cut)
        self._drained.set()

    async def _stop_accepting(self) -> None:
        """Close the inbound listener; clients in its queue are still served."""
        await asyncio.sleep(0)
        server = self._servers.get(Listener.INBOUND)
        if server is not None:
            server.close()

    def _leave(self, connections: Set[ClientConnection]) -> None:
        for connection in tuple(connections):
            connection.leave()

    def _close_idle(self, connections: Set[ClientConnection]) -> None:
        for connection in connections & self._inbound.connections:
            connection.close_idle()

    def _nothing_inbound(self) -> bool:
        return self._nobody_at(self._inbound)

    def _nobody_there(self) -> bool:
        """Whether no connection is open on either listener."""
        return self._nothing_inbound() and self._nobody_at(self._outbound)

    def _nobody_at(self, gate: ListenerGate) -> bool:
        server = self._servers.get(gate.listener)
        in_handshake = server is not None and server.handshakes
        return not (gate.exchanges or gate.connections or in_handshake)

    def _nothing_left(self) -> bool:
        if not self._nobody_there() or self._hooks:
            return False
        if self._hurried:
            return True
        if self.tables.busy or (self.promises is not None and self.promises.busy):
            return False
        now = monotonic()
        told_long_ago = self._told_at is None or now - self._told_at >= TOLD
        return told_long_ago and now - self._outbound.last_active >= QUIET

    async def _finish_outbound(self) -> None:
        """A signal after the drain: outbound requests get the drain's time too."""
        deadline = monotonic() + self._config.timeout
        while self._outbound.exchanges and monotonic() < deadline:
            if self._at_once.is_set():
                return
            await asyncio.sleep(_TICK)

    async def _within(self, seconds: float, event: asyncio.Event) -> bool:
        """Whether `event` happens within that time."""
        try:
            async with asyncio.timeout(seconds):
                return await event.wait()
        except TimeoutError:
            return False

    async def _until(self, event: asyncio.Event) -> None:
        """Wait for `event` or a second signal."""
        waits = [asyncio.ensure_future(e.wait()) for e in (event, self._at_once)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def cut(self, exchanges: Iterable[Exchange]) -> None:
        """Cut, log and count them. Their connections must still be open: they are answered."""
        for exchange in tuple(exchanges):
            self.drain_cut += 1
            record = exchange.record
            fields = {
                "listener": record.listener.value,
                "route": record.route,
                "method": record.method,
                "upstream": record.upstream,
                "request_id": record.request_id,
                "age_s": round(monotonic() - record.started, 3),
            }
            _log.warning("request cut at the end of the drain", extra={"fields": fields})
            exchange.cut()
