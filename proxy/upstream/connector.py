"""Opens the connections of one upstream, and turns errors into the proxy's failures.

asyncio and uvloop switch Nagle's algorithm off on TCP connections.
"""

import asyncio
import errno
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from proxy.config.model import ConnectionsConfig, UpstreamTls
from proxy.errors import ConnectError, ConnectFailed, ConnectRefused, ConnectTimeout
from proxy.upstream.address import Address
from proxy.upstream.leases import ConnectionFactory, OnClosed, OnConnected
from proxy.upstream.negotiation import HTTP1, HTTP2, Negotiated, established, http2_connection
from proxy.upstream.resolver import describe
from proxy.upstream.shortages import ConnectShortage, ConnectStoodStill, NoThread, connect_shortage
from proxy.upstream.tasks import Tasks
from proxy.upstream.time_limit import TimeLimit
from proxy.upstream.tls import TlsContexts, tls_failure
from proxy.wire.streams import UpstreamSession, UpstreamStream

TLS_CLOSE_TIMEOUT = 1.0
"""Seconds that closing waits for the peer's close_notify."""


class Connector:
    """A `Connects`. Scheme ``https`` means TLS, any other plain TCP."""

    def __init__(
        self,
        factory: ConnectionFactory,
        config: ConnectionsConfig,
        tls: UpstreamTls | None,
        contexts: TlsContexts,
        tasks: Tasks,
    ) -> None:
        """`factory` makes the HTTP/1 connections."""
        self._factory = factory
        self._config = config
        self._tls = tls
        self._contexts = contexts
        self._tasks = tasks

    def connect(
        self, address: Address, timeout: float, on_closed: OnClosed, on_done: OnConnected
    ) -> None:
        """Start one; `on_done` is called exactly once, from the loop, with the result."""
        task = self._tasks.start(self._open(address, timeout, on_closed))
        task.add_done_callback(partial(self._finished, address, on_done))

    def _finished(
        self, address: Address, on_done: OnConnected, task: asyncio.Task[UpstreamSession]
    ) -> None:
        if task.cancelled():
            on_done(
                ConnectFailed(
                    f"Connecting to {address.where} was cancelled: the proxy is shutting down."
                )
            )
            return
        error = task.exception()
        if error is None:
            on_done(task.result())
            return
        if not isinstance(error, ConnectError):
            self._tasks.report(f"Connecting to {address.where} failed unexpectedly", error)
            error = ConnectFailed(f"Connecting to {address.where} failed: {describe(error)}.")
        on_done(error)

    async def _open(self, address: Address, seconds: float, on_closed: OnClosed) -> UpstreamSession:
        limit = TimeLimit(self._tasks.loop, seconds)
        try:
            with limit:
                if address.scheme == "https":
                    return await self._open_tls(address, on_closed)
                return await self._open_tcp(address, on_closed)
        except TimeoutError as error:
            # The kernel's ETIMEDOUT is a TimeoutError too, with the same meaning.
            tls = " and its TLS handshake" if address.scheme == "https" else ""
            if limit.stood_still:
                raise ConnectStoodStill(
                    f"Connecting to {address.where}{tls} took too long because this process was "
                    "stopped, or had no CPU time."
                ) from error
            raise ConnectTimeout(
                f"{address.where} did not complete a connection{tls} within {seconds:.3g}s: it "
                f"is overloaded, or {_or_else(address)}."
            ) from error
        except OSError as error:
            raise _connect_error(error, address) from error

    async def _open_tcp(self, address: Address, on_closed: OnClosed) -> UpstreamSession:
        if address.protocol is HTTP2:
            _, connection = await self._tasks.loop.create_connection(
                partial(http2_connection, address, self._config, on_closed),
                address.ip,
                address.port,
            )
            return await established(self._tasks.loop, connection)
        protocol: UpstreamStream
        _, protocol = await self._tasks.loop.create_connection(
            partial(self._factory, on_closed), address.ip, address.port
        )
        return protocol.session

    async def _open_tls(self, address: Address, on_closed: OnClosed) -> UpstreamSession:
        try:
            context = await self._contexts.get(self._tls, address.protocol)
        except NoThread as error:
            raise ConnectShortage(
                f"No thread can be started to read the CAs for {address.where}: raise the pids "
                "limit."
            ) from error
        server_name = (self._tls and self._tls.server_name) or address.host.removesuffix(".")
        negotiated = None
        factory: Callable[[], Any] = partial(self._factory, on_closed)
        if address.protocol is not HTTP1:
            negotiated = Negotiated(address, self._config, self._factory, on_closed)
            factory = partial(_same, negotiated)
        try:
            _, protocol = await self._tasks.loop.create_connection(
                factory,
                address.ip,
                address.port,
                ssl=context,
                server_hostname=server_name,
                ssl_shutdown_timeout=TLS_CLOSE_TIMEOUT,
            )
        except (ssl.SSLError, ConnectionResetError, ConnectionAbortedError) as error:
            raise tls_failure(error, address.where, server_name) from error
        except ValueError as error:
            raise ConnectFailed(
                f"{server_name} cannot be the server name of {address.where}: {error}."
            ) from error
        if negotiated is None:
            return cast(UpstreamSession, protocol.session)
        if negotiated.http2 is not None:
            return await established(self._tasks.loop, negotiated.http2)
        return negotiated.agreed()


def _same(negotiated: Negotiated) -> Negotiated:
    return negotiated


def _or_else(address: Address) -> str:
    if address.protocol is HTTP2:
        return "does not speak HTTP/2 (protocol: http2)"
    return "the network drops the packets"


_NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH})


def _connect_error(error: OSError, address: Address) -> ConnectError:
    shortage = connect_shortage(error, address.where)
    if shortage is not None:
        return shortage
    if error.errno == errno.ECONNREFUSED:
        return ConnectRefused(
            f"{address.where} refused the connection: "
            "see whether the service is running, and listening on this port."
        )
    if error.errno in _NO_ROUTE:
        return ConnectFailed(
            f"There is no route to {address.where}: "
            "check the address, and the network policies on the way."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ConnectFailed(
            f"No local port is left for a connection to {address.where}, or this machine has no "
            "address of that family: look at connections in TIME_WAIT."
        )
    return ConnectFailed(f"Connecting to {address.where} failed: {describe(error)}.")
