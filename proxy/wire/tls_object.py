"""One connection's TLS, as the event loop's TLS layer calls it.

It stands where the layer expects an `ssl.SSLObject`, and has the methods that a layer calls. It
saves a Python frame per call, and OpenSSL's slow way to say that nothing has arrived: a closing
connection asks that twice in vain, and each answer costs 12,000 instructions.
"""

import ssl
from collections.abc import Callable
from ssl import SSLWantReadError
from typing import Any, Final

_RECORD: Final = 16 * 1024
"""The most that a read returns: the contents of one record (RFC 8446 section 5.1)."""


class TlsObject:
    """`connection`: the `ssl.SSLObject`. `incoming`: what it reads from."""

    __slots__ = ("_inner", "_pending", "_read", "connection", "incoming")

    def __init__(self, connection: ssl.SSLObject, incoming: ssl.MemoryBIO) -> None:
        self.connection = connection
        self.incoming = incoming
        # The object of OpenSSL's module, whose methods SSLObject's only call.
        self._inner: Any = getattr(connection, "_sslobj", connection)
        self._read: Callable[..., Any] = self._inner.read
        self._pending: Callable[[], int] = self._inner.pending

    def read(self, size: int, buffer: object = None) -> object:
        """Decrypted bytes, at most `size`; with `buffer` they go there, and their number returns.

        Empty, or 0: the client has ended TLS. Raises SSLWantReadError when nothing is there, and
        SSLZeroReturnError when both sides have ended TLS.
        """
        if not self.incoming.pending and not self._pending():
            raise SSLWantReadError
        if buffer is not None:
            return self._read(size, buffer)
        # Python allocates what is asked for, and a layer asks for 256 KiB.
        return self._read(min(size, _RECORD))

    @property
    def write(self) -> Callable[..., int]:
        """Encrypt bytes; returns their number."""
        written: Callable[..., int] = self._inner.write
        return written

    @property
    def pending(self) -> Callable[[], int]:
        """The number of bytes that are decrypted and not read."""
        return self._pending

    def do_handshake(self) -> None:
        self._inner.do_handshake()

    def unwrap(self) -> None:
        """Send close_notify. Raises SSLWantReadError until the client's has arrived."""
        self.connection.unwrap()

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The client's certificate. The layer asks in every handshake for the fields of a
        certificate, and nothing here reads them: only DER is there.
        """
        return self.connection.getpeercert(binary_form=True) if binary_form else None

    def selected_alpn_protocol(self) -> str | None:
        return self.connection.selected_alpn_protocol()

    def cipher(self) -> Any:
        return self.connection.cipher()

    def compression(self) -> None:
        """None is in use: OpenSSL's builds leave it out."""
