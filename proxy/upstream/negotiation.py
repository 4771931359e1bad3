"""The protocol of a new connection: known before, or agreed in the TLS handshake (ALPN).

    http1   HTTP/1.1
    http2   HTTP/2: prior knowledge in the clear; by TLS it must be agreed
    auto    by TLS: HTTP/2 if the upstream selects it, else HTTP/1.1

An HTTP/2 connection is not lent before the upstream's first SETTINGS, so that an upstream that does
not speak it is a connect failure: nothing of a request was sent. HTTP/2 is imported with the first
connection that uses it.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from proxy.config.model import ConnectionsConfig, UpstreamProtocol
from proxy.errors import ConnectError
from proxy.upstream.address import Address
from proxy.upstream.leases import ConnectionFactory, OnClosed
from proxy.upstream.tls import no_http2
from proxy.wire.streams import UpstreamSession

if TYPE_CHECKING:
    from proxy.wire.h2.upstream import Http2Connection

HTTP1: Final = UpstreamProtocol.HTTP1
HTTP2: Final = UpstreamProtocol.HTTP2
_H2: Final = "h2"


def http2_connection(address: Address, config: ConnectionsConfig, on_closed: OnClosed) -> Any:
    """A new HTTP/2 connection to `address`, before its transport.

    An asyncio protocol by its methods: a compiled class cannot have that base class.
    """
    from proxy.wire.h2.upstream import Http2Connection

    return Http2Connection(
        on_closed,
        where=address.where,
        scheme=address.scheme,
        max_streams=config.max_streams,
        keepalive=config.keepalive,
    )


class Negotiated:
    """The asyncio protocol of a TLS connection until its handshake is done.

    It then gives its transport to the protocol that was agreed. `http2`: that one, if it is HTTP/2.
    """

    def __init__(
        self,
        address: Address,
        config: ConnectionsConfig,
        factory: ConnectionFactory,
        on_closed: OnClosed,
    ) -> None:
        self._address = address
        self._config = config
        self._factory = factory
        self._on_closed = on_closed
        self.http2: Http2Connection | None = None
        self.session: UpstreamSession | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        connection = transport.get_extra_info("ssl_object")
        if connection.selected_alpn_protocol() == _H2:
            made = self.http2 = http2_connection(self._address, self._config, self._on_closed)
        elif self._address.protocol is HTTP2:
            transport.abort()
            return
        else:
            made = self._factory(self._on_closed)
        transport.set_protocol(cast(asyncio.Protocol, made))
        made.connection_made(transport)
        self.session = made.session

    def connection_lost(self, exc: Exception | None) -> None:
        """Only where nothing was agreed: the connector sees that there is no session."""

    def agreed(self) -> UpstreamSession:
        """Raises TlsFailure if the upstream did not select HTTP/2, and nothing else was offered."""
        if self.session is None:
            raise no_http2(self._address.where)
        return self.session


async def established(
    loop: asyncio.AbstractEventLoop, connection: "Http2Connection"
) -> UpstreamSession:
    """Wait for the upstream's first SETTINGS. Raises ConnectError if something else comes."""
    answer: asyncio.Future[ConnectError | None] = loop.create_future()

    def ready(error: ConnectError | None) -> None:
        if not answer.done():
            answer.set_result(error)

    connection.when_ready(ready)
    try:
        error = await answer
    except asyncio.CancelledError:
        connection.abort()
        raise
    if error is not None:
        raise error
    return connection.session
