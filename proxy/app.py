"""The running proxy: creates all parts, serves, and shuts down in order."""

import asyncio
import gc
import logging
import os
import random
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import uvloop

from proxy.admin.server import AdminServer
from proxy.config.loading import Loaded
from proxy.config.model import Config, Listener
from proxy.config.server_model import Address
from proxy.config.standing_aside import standing_aside
from proxy.config.store_model import StoreConfig
from proxy.exchange.bindings import Bindings
from proxy.exchange.gate import ListenerGate, Observer
from proxy.exchange.gateway import Gateway
from proxy.lifecycle import Lifecycle
from proxy.listening import CannotListen, Listening, banner, listener_contexts
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerState
from proxy.reload import Reloader, Swap, freeze_many
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import RouteTable
from proxy.startup import CannotStart, Hangup, hangups
from proxy.telemetry import process_log
from proxy.telemetry.access_log import AccessLog
from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.telemetry.history import History
from proxy.telemetry.line_writer import LineWriter, descriptor_of
from proxy.telemetry.metrics import registry_of
from proxy.telemetry.records import Records
from proxy.telemetry.span_counts import CannotExport
from proxy.telemetry.tap import Tap
from proxy.telemetry.tracing import Tracing, check_exporter
from proxy.telemetry.transitions import Transitions
from proxy.tls_renewal import TlsRenewal
from proxy.upstream.local_address import is_local_address
from proxy.upstream.registry import Upstreams
from proxy.wire.acceptor import Acceptor
from proxy.wire.h1.downstream import Downstreams
from proxy.wire.h1.upstream import UpstreamConnection
from proxy.wire.handshakes import Handshakes
from proxy.wire.tls import CLOSE_TIMEOUT, UnusableTls, alpn_protocols

if TYPE_CHECKING:
    from proxy.promises import Promises

BACKLOG = 4096
"""Maximum connections waiting to be accepted; the kernel's limit may be lower."""
_FLUSH_SECONDS = 1.0

_log = logging.getLogger("proxy.app")


def run(loaded: Loaded) -> int:
    """Serve until a signal, and exit the process with status 0, or 3 if the drain cut requests.

    If it cannot start, it returns the exit status: 1 if an address cannot be bound, 2 if a
    listener's certificates or keys, the exporter of spans, or the store are unusable.
    """
    hangups.hold()
    _raise_file_limit(loaded.config)
    log = LineWriter(descriptor_of(sys.stderr))
    form = process_log.format_for(descriptor_of(sys.stderr), loaded.config.access_log.format)
    handler = process_log.install(log, form, loaded.config.log.level)
    try:
        check_exporter(loaded.config)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            status = runner.run(_serve(loaded, log, handler))
            process_log.uninstall(handler)
            _end(status)
    except CannotListen as error:
        print(f"resilience-proxy: {error}", file=sys.stderr)
        return 1
    except (UnusableTls, CannotExport, CannotStart) as error:
        print(f"resilience-proxy: {error}", file=sys.stderr)
        return 2
    finally:
        process_log.uninstall(handler)


def _end(status: int) -> NoReturn:
    """Exit the process. Everything has been written.

    A normal exit of Python and libuv would join threads, which may wait for a name server or a
    disk that does not answer.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(
            OSError, ValueError, AttributeError
        ):  # None: the process was started without it
            stream.flush()
    os._exit(status)


async def _serve(loaded: Loaded, log: LineWriter, events_handler: process_log.EventHandler) -> int:
    return await _Proxy(loaded, log, events_handler).serve()


class _Proxy:
    """The proxy of one process; constructed within its event loop."""

    def __init__(
        self,
        loaded: Loaded,
        log: LineWriter,
        events_handler: process_log.EventHandler,
    ) -> None:
        self._loaded = loaded
        self._config = config = loaded.config
        self._promises = None if config.store is None else _promises(config.store)
        self._log = log
        self._events_handler = events_handler
        self._access = LineWriter(descriptor_of(sys.stdout))
        self._recorder = FlightRecorder(config)
        self._transitions = Transitions()
        self._tracing = Tracing(events_handler.write_line, self._transitions)
        own_addresses = OwnAddresses(is_local_address)
        self._upstreams = Upstreams(
            config.upstreams, UpstreamConnection, is_own=own_addresses.covers
        )
        self._gateway = Gateway(
            config,
            table=RouteTable(config),
            upstreams=self._upstreams,
            bindings=self._bindings(config),
            own_addresses=own_addresses,
            random=random.random,
            observers=self._observers(config),
        )
        self._tap = Tap(self._gateway)
        self._lifecycle = Lifecycle(self._gateway, config.drain, loaded.filename)
        self._reloader = Reloader(loaded, self._lifecycle, self._prepare)
        self._lifecycle.bypass.changed = self._reloader.apply_again
        self._history = History(self._gateway)
        self._admin = self._admin_server()
        self._acceptors: list[Acceptor] = []
        self._started = False
        self._binding_on = False
        self._tls = listener_contexts(config)
        self._tls_renewal = TlsRenewal(self._tls.values(), self._upstreams)
        if self._promises is not None:
            self._promises.serve(self._gateway)
            self._lifecycle.store = self._promises.store
            self._lifecycle.promises = self._promises
        self._lifecycle.tables.need(config)

    def _admin_server(self) -> AdminServer:
        logs = (self._access, self._log)
        return AdminServer(
            self._gateway,
            self._lifecycle,
            registry_of(self._gateway, self._lifecycle, logs, self._tracing, self._tap),
            Records(self._recorder, self._history, self._transitions, self._tap),
            self._reloader.reload,
            lambda: self._reloader.sources,
        )

    def _bindings(self, config: Config) -> Bindings:
        promises = self._promises.of_route if self._promises is not None else None
        return Bindings(config, self._upstreams, random.random, self._breaker_changed, promises)

    def _breaker_changed(
        self, breaker: CircuitBreaker, left: BreakerState, entered: BreakerState, now: float
    ) -> None:
        process_log.breaker_transition(breaker, left, entered, now)
        self._transitions.record(breaker, left, entered, now)

    def _observers(self, config: Config) -> list[Observer]:
        form = process_log.format_for(descriptor_of(sys.stdout), config.access_log.format)
        log = AccessLog(replace(config.access_log, format=form), random.random, self._access)
        return [log.record, self._recorder.observer, *self._tracing.observers(config)]

    def _prepare(self, config: Config) -> Swap:
        """The slow part of applying a configuration, for a thread."""
        bypass = self._lifecycle.bypass.active
        in_force = standing_aside(config) if bypass else config
        return partial(self._adopt, config, in_force, RouteTable(in_force), bypass)

    def _adopt(self, config: Config, in_force: Config, table: RouteTable, bypass: bool) -> bool:
        """Swap in another configuration in one step of the loop: no request sees half of it.

        False: the bypass was turned since `_prepare`, which must be called again, or the routes
        of the previous configuration are still being bound.
        """
        if bypass is not self._lifecycle.bypass.active or self._binding_on:
            return False
        observers = [*self._observers(config), *self._tap.observers()]
        self._upstreams.reconfigure(in_force.upstreams)
        if self._promises is not None:
            self._promises.adopt(config)
        bindings = self._bindings(in_force)
        bindings.take_over(self._gateway.bindings, table)
        self._bind_on(bindings)
        self._gateway.adopt(config, table=table, bindings=bindings, observers=observers)
        if self._promises is not None:
            self._promises.adopted()
        self._lifecycle.tables.adopted()
        self._lifecycle.reconfigure(config.drain)
        self._recorder.reconfigure(config)
        for listener, context in self._tls.items():
            listening = config.listeners.of(listener)
            if listening.tls is not None:  # unchanged: switching TLS off needs a restart
                context.use(listening.tls, alpn_protocols(listening))
        form = process_log.format_for(descriptor_of(sys.stderr), config.access_log.format)
        self._events_handler.use(form)
        if config.log != self._config.log:  # else an ordered level stays
            process_log.set_level(config.log.level)
        self._config = config
        return True

    def _bind_on(self, bindings: Bindings) -> None:
        """Take over the former bindings, a part in each step of the loop."""
        self._binding_on = bindings.bind_on()
        freeze_many()
        if self._binding_on:
            asyncio.get_running_loop().call_later(0.001, self._bind_on, bindings)

    async def serve(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            name = signal.Signals(number).name
            loop.add_signal_handler(number, self._lifecycle.on_signal, name)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        try:
            bound = await self._open()
            if bound is None:
                return 0
            self._announce(bound)
            _quiet_collector()
            self._history.start()
            self._reloader.start()
            self._tls_renewal.start()
            self._lifecycle.tables.start(self._gateway, self._promises)
            self._started = True
            if hangups.held:
                self._on_hangup()
            status = await self._lifecycle.ended()
            await self._lifecycle.tables.finish()
            lost = await self._promises.finish() if self._promises is not None else 0
        finally:
            await self._close()
        return 3 if lost or self._lifecycle.drain_cut else status

    def _on_hangup(self) -> None:
        """SIGHUP: reload, unless the terminal was closed. During the start it is deferred."""
        if not self._started:
            hangups.held = True
            return
        meaning = hangups.meaning()
        if meaning is Hangup.RELOAD:
            self._reloader.on_signal()
        elif meaning is Hangup.TERMINAL_CLOSED:
            self._lifecycle.on_terminal_closed()

    async def _open(self) -> Mapping[str, list[Address]] | None:
        """Open all addresses, the admin one first, so that a probe gets 'not ready'.

        None: the process should exit while it still waited for its store.
        """
        listening = Listening()
        config = self._config
        if bound := await listening.open("admin", config.admin.address, self._admin.start):
            self._gateway.own_addresses.add(bound.host, bound.port)
        if self._promises is not None and not await self._open_promises(self._promises):
            return None
        for listener in Listener:
            acceptor = self._acceptor(listener)
            self._acceptors.append(acceptor)
            for address in config.listeners.of(listener).addresses:
                bound = await listening.open(listener.value, address, partial(_open, acceptor))
                if bound:
                    self._gateway.own_addresses.add(bound.host, bound.port)
        sources = self._loaded.sources
        listening.complete(
            {
                "admin": sources.of(("admin", "address")),
                **{
                    each.value: sources.of(("listeners", each.value, "address"))
                    for each in Listener
                },
            }
        )
        for listener, acceptor in zip(Listener, self._acceptors, strict=True):
            self._lifecycle.serving(listener, acceptor)
        return listening.bound

    async def _open_promises(self, promises: "Promises") -> bool:
        """False: the process should exit. Raises CannotStart."""
        opening = asyncio.ensure_future(promises.open(self._config.drain.timeout))
        leaving = asyncio.ensure_future(self._lifecycle.exit_asked())
        await asyncio.wait((opening, leaving), return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not opening.done():
            opening.cancel()
            return False
        opening.result()
        return True

    def _acceptor(self, listener: Listener) -> Acceptor:
        gate: ListenerGate = self._gateway.gates[listener]
        name = f"listeners.{listener.value}"

        handshakes = None
        tls = self._tls.get(listener)
        factory = Downstreams(gate, tls=tls is not None).make
        if tls is not None:
            handshakes = Handshakes(
                factory,
                tls.context,
                room=lambda: gate.limits.connections - len(gate.connections),
                timeout=lambda: gate.limits.header_timeout,
                close_timeout=CLOSE_TIMEOUT,
            )
        return Acceptor(name, factory, handshakes=handshakes, backlog=BACKLOG)

    def _announce(self, bound: Mapping[str, list[Address]]) -> None:
        """Print the addresses and how to use them, for a manual start."""
        service = str(self._config.upstreams["app"].endpoints[0])
        scheme = "https" if Listener.OUTBOUND in self._tls else "http"
        file = self._loaded.filename or "none: the embedded default"
        for line in banner(bound, service, scheme, file):
            self._log.write(line.encode() + b"\n")

    async def _close(self) -> None:
        self._history.stop()
        await self._reloader.stop()
        await self._tls_renewal.stop()
        for acceptor in self._acceptors:
            acceptor.close()
        for gate in self._gateway.gates.values():
            for connection in tuple(gate.connections):
                connection.close_idle()
        await self._until_flushed()
        await self._tracing.close(0.0 if self._lifecycle.at_once else _FLUSH_SECONDS)
        self._upstreams.close()
        await self._upstreams.wait_closed()
        if self._promises is not None:
            await self._promises.close()
        await self._admin.stop()
        self._access.flush(_FLUSH_SECONDS)

    async def _until_flushed(self) -> None:
        """Give the last answers a moment to be sent, then cut what has come meanwhile."""
        gates = self._gateway.gates.values()
        for _ in range(int(_FLUSH_SECONDS / 0.02)):
            if self._lifecycle.at_once or not any(gate.connections for gate in gates):
                break
            await asyncio.sleep(0.02)
        self._lifecycle.cut(exchange for gate in gates for exchange in gate.exchanges)
        for gate in gates:
            for connection in tuple(gate.connections):
                connection.cut()


async def _open(acceptor: Acceptor, address: Address) -> tuple[str, int]:
    return await acceptor.open(address.host, address.port)


def _promises(config: StoreConfig) -> "Promises":
    """Imported only where a configuration has a store."""
    from proxy.promises import Promises

    return Promises(config)


def _quiet_collector() -> None:
    """Let the collector run often over few objects; objects from the start are not examined.

    Connections and exchanges leave no cycles, so it finds nothing, and a run over few objects
    takes little time: 25,000 of them, those of the second generation, about 5 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 5, 200)


def _raise_file_limit(config: Config) -> None:
    """Raise the soft limit of open files to the hard one: each exchange takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < config.limits.connections:
        print(
            f"resilience-proxy: only {hard} files can be open (ulimit -n), fewer than "
            f"limits.connections {config.limits.connections}",
            file=sys.stderr,
        )
