"""Opens the connections of one upstream, and says what went wrong in the proxy's own terms.

Nagle's algorithm is off on every connection: asyncio and uvloop see to that for TCP.
"""

import asyncio
import errno
import ssl
from functools import partial

from proxy.config.model import UpstreamTls
from proxy.errors import ConnectError, ConnectFailed, ConnectRefused, ConnectTimeout
from proxy.upstream.connection import (
    ConnectionFactory,
    OnClosed,
    OnConnected,
    PooledConnection,
)
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.resolver import describe
from proxy.upstream.tasks import Tasks
from proxy.upstream.tls import TlsContexts, tls_failure

TLS_CLOSE_TIMEOUT = 1.0
"""Seconds that closing waits for the other side's close_notify."""


class Connector:
    """A `Connects`. Scheme ``https`` means TLS, every other one plain TCP."""

    def __init__(
        self,
        factory: ConnectionFactory,
        tls: UpstreamTls | None,
        contexts: TlsContexts,
        tasks: Tasks,
    ) -> None:
        self._factory = factory
        self._tls = tls
        self._contexts = contexts
        self._tasks = tasks

    def connect(
        self, endpoint: Endpoint, timeout: float, on_closed: OnClosed, on_done: OnConnected
    ) -> None:
        """Start one; `on_done` hears exactly once, from the loop, what became of it."""
        task = self._tasks.start(self._open(endpoint, timeout, on_closed))
        task.add_done_callback(partial(self._finished, endpoint, on_done))

    def _finished(
        self, endpoint: Endpoint, on_done: OnConnected, task: asyncio.Task[PooledConnection]
    ) -> None:
        if task.cancelled():
            on_done(
                ConnectFailed(
                    f"Connecting to {endpoint.where} was given up: the proxy is shutting down."
                )
            )
            return
        error = task.exception()
        if error is None:
            on_done(task.result())
            return
        if not isinstance(error, ConnectError):
            self._tasks.report(f"Connecting to {endpoint.where} failed unforeseen", error)
            error = ConnectFailed(f"Connecting to {endpoint.where} failed: {describe(error)}.")
        on_done(error)

    async def _open(
        self, endpoint: Endpoint, seconds: float, on_closed: OnClosed
    ) -> PooledConnection:
        try:
            async with asyncio.timeout(seconds):
                protocol: PooledConnection
                if endpoint.scheme == "https":
                    protocol = await self._open_tls(endpoint, on_closed)
                else:
                    _, protocol = await self._tasks.loop.create_connection(
                        partial(self._factory, on_closed), endpoint.ip, endpoint.port
                    )
        except TimeoutError as error:
            # The kernel's ETIMEDOUT is a TimeoutError too, and means the same.
            tls = " and its TLS handshake" if endpoint.scheme == "https" else ""
            raise ConnectTimeout(
                f"{endpoint.where} did not complete a connection{tls} within {seconds:.3g}s: it "
                "is overloaded, or something on the way drops the packets."
            ) from error
        except OSError as error:
            raise _connect_error(error, endpoint) from error
        return protocol

    async def _open_tls(self, endpoint: Endpoint, on_closed: OnClosed) -> PooledConnection:
        context = await self._contexts.get(self._tls)
        server_name = (self._tls and self._tls.server_name) or endpoint.host.removesuffix(".")
        protocol: PooledConnection
        try:
            _, protocol = await self._tasks.loop.create_connection(
                partial(self._factory, on_closed),
                endpoint.ip,
                endpoint.port,
                ssl=context,
                server_hostname=server_name,
                ssl_shutdown_timeout=TLS_CLOSE_TIMEOUT,
            )
        except (ssl.SSLError, ConnectionResetError, ConnectionAbortedError) as error:
            raise tls_failure(error, endpoint.where, server_name) from error
        except ValueError as error:
            raise ConnectFailed(
                f"{server_name} cannot be the server name of {endpoint.where}: {error}."
            ) from error
        return protocol


_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
_NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH})


def _connect_error(error: OSError, endpoint: Endpoint) -> ConnectError:
    if error.errno == errno.ECONNREFUSED:
        return ConnectRefused(
            f"{endpoint.where} refused the connection: "
            "see whether the service is running, and listening on this port."
        )
    if error.errno in _NO_DESCRIPTORS:
        return ConnectFailed(
            f"No file descriptor is left for a connection to {endpoint.where}: raise this "
            "process's limit (ulimit -n), or lower connections.max of the upstreams."
        )
    if error.errno in _NO_ROUTE:
        return ConnectFailed(
            f"There is no route to {endpoint.where}: "
            "check the address, and the network policies on the way."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ConnectFailed(
            f"No local port is left for a connection to {endpoint.where}, or this machine has no "
            "address of that family: look at connections in TIME_WAIT."
        )
    return ConnectFailed(f"Connecting to {endpoint.where} failed: {describe(error)}.")
