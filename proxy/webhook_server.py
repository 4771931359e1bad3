"""`webhook`: the admission webhook as a process, served over TLS until a signal.

SIGTERM ──▶ not ready, still answering for `delay` seconds: the API server learns of it late
        ──▶ no more connections, reviews in progress are answered, exit. A second signal: at once.
"""

import asyncio
import signal
import sys
from dataclasses import dataclass
from typing import Any

import uvloop
from aiohttp import web

from proxy.admin.connections import HEAD, Connection, Connections, answering
from proxy.admin.problems import problems
from proxy.config.server_model import Address, ListenerTls, LogFormat
from proxy.kubernetes.settings import Settings
from proxy.kubernetes.webhook import Webhook
from proxy.telemetry import process_log
from proxy.telemetry.line_writer import LineWriter, descriptor_of
from proxy.tls_renewal import TlsRenewal
from proxy.wire.acceptor import Acceptor
from proxy.wire.handshakes import Handshakes
from proxy.wire.tls import CLOSE_TIMEOUT, ListenerContext, UnusableTls

CONNECTIONS = 256
"""Maximum connections: API servers keep some, the kubelet and Prometheus come and go."""
_GRACE = 5.0
"""Seconds for reviews in progress at the end; each takes milliseconds."""


@dataclass(frozen=True, slots=True)
class Options:
    """`delay`: seconds that it still answers after a signal."""

    address: Address
    tls: ListenerTls
    delay: float
    settings: Settings


def run(options: Options) -> int:
    """Serve until a signal. Exit status: 0, 1 without an address, 2 for unusable TLS files."""
    log = LineWriter(descriptor_of(sys.stderr))
    handler = process_log.install(log, LogFormat.JSON)
    try:
        tls = ListenerContext("--tls-cert", options.tls)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Server(options, tls, log).serve())
    except UnusableTls as error:
        print(f"resilience-proxy: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        reason = error.strerror or str(error)
        print(f"resilience-proxy: cannot listen on {options.address}: {reason}", file=sys.stderr)
        return 1
    finally:
        process_log.uninstall(handler)
    return 0


class _Server:
    def __init__(self, options: Options, tls: ListenerContext, log: LineWriter) -> None:
        self._options = options
        self._tls = tls
        self._log = log
        self._ending = asyncio.Event()
        self._at_once = asyncio.Event()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        app = Webhook(self._options.settings, lambda: not self._ending.is_set()).application()
        app.middlewares[:0] = [answering, problems]
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_GRACE,
            handler_cancellation=True,
        )
        renewal = TlsRenewal([self._tls])
        acceptor: Acceptor | None = None
        try:
            await runner.setup()
            assert runner.server is not None
            acceptor = self._acceptor(runner.server)
            host, port = await acceptor.open(self._options.address.host, self._options.address.port)
            renewal.start()
            self._log.write(f"resilience-proxy webhook is serving {Address(host, port)}\n".encode())
            await self._ending.wait()
            await self._pause(self._options.delay)
        finally:
            await renewal.stop()
            if acceptor is not None:
                acceptor.close()
                acceptor.end_handshakes()
            await runner.cleanup()

    def _acceptor(self, server: web.Server) -> Acceptor:
        """Limits connections in their handshake and after it."""
        connections = Connections(limit=CONNECTIONS)
        loop = asyncio.get_running_loop()

        def protocol() -> Any:
            return Connection(connections, server, loop=loop, access_log=None)

        handshakes = Handshakes(
            protocol,
            self._tls.context,
            room=lambda: CONNECTIONS - len(connections),
            timeout=lambda: HEAD,
            close_timeout=CLOSE_TIMEOUT,
        )
        return Acceptor("webhook", protocol, handshakes=handshakes, backlog=1024)

    def _on_signal(self) -> None:
        (self._at_once if self._ending.is_set() else self._ending).set()

    async def _pause(self, seconds: float) -> None:
        """Wait, unless a second signal arrives."""
        try:
            async with asyncio.timeout(seconds):
                await self._at_once.wait()
        except TimeoutError:
            return
