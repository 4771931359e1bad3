"""TLS of the listeners, and the parts shared with upstreams.

At least TLS 1.2. Listeners have no CBC, and follow the client's order of ciphers. ALPN offers
HTTP/1.1, and on listeners HTTP/2. Keys are not encrypted. With `client_ca` a client must present a
certificate. Resuming a session skips that check, so sessions from before the last change of the
files are refused: a removed CA takes effect at once.
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from time import time

from proxy.config.server_model import ListenerConfig, ListenerProtocol, ListenerTls
from proxy.file_watch import FileWatch
from proxy.wire.tls_object import TlsObject

CLOSE_TIMEOUT = 30.0
"""Seconds for a client to read remaining bytes and to answer close_notify."""

_CIPHERS = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL:!eNULL:!aDSS"
"""Ciphers of TLS 1.2: Python's own list without CBC, whose padding has been attacked repeatedly."""

_HTTP1 = ("http/1.1",)

_log = logging.getLogger("proxy.tls")


class UnusableTls(Exception):
    """A listener's TLS files are unusable; the text names key, file and reason."""


def harden(context: ssl.SSLContext) -> None:
    """Settings of every context of the proxy."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_HTTP1)


def alpn_protocols(listener: ListenerConfig) -> Sequence[str]:
    """The protocols that a listener offers by ALPN, the best one first."""
    names = ((ListenerProtocol.HTTP2, "h2"), (ListenerProtocol.HTTP1, "http/1.1"))
    return tuple(name for protocol, name in names if protocol in listener.protocols)


def chosen_protocol(transport: asyncio.BaseTransport) -> str | None:
    """The protocol that ALPN chose in a transport's handshake, None if there was no choice."""
    connection: TlsObject = transport.get_extra_info("ssl_object")
    return connection.selected_alpn_protocol()


def certificate_of(transport: asyncio.BaseTransport) -> bytes:
    """The peer's certificate in DER; b"" without TLS, or if the peer showed none."""
    connection: TlsObject | None = transport.get_extra_info("ssl_object")
    if connection is None:
        return b""
    return connection.getpeercert(binary_form=True) or b""


def load_identity(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    """Load a certificate chain and its key (None: in the same file).

    Raises OSError or ValueError (`reason_of` says why); the context is unusable afterwards.
    """
    for path in (cert, key or cert):
        # OpenSSL does not say which of the two is missing.
        with open(path, "rb"):
            pass
    # A password callback that fails: without it OpenSSL would ask on the terminal.
    context.load_cert_chain(cert, key, _no_password)


def _no_password() -> str:
    raise ValueError("the key is encrypted, and keys with a password are not supported")


def openssl_code(error: Exception) -> str | None:
    """OpenSSL's reason code. Errors of Python's own code have none."""
    return getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None


def reason_of(error: Exception) -> str:
    """Why a file cannot be used or a handshake failed: in the words of OpenSSL or the system."""
    code = openssl_code(error)
    if code:
        return code.replace("_", " ").lower()
    if isinstance(error, ssl.SSLError):
        return "not a PEM file of that kind" if "PEM lib" in str(error) else str(error.args[-1])
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return where + error.strerror
    return str(error) or type(error).__name__


class ListenerContext:
    """The TLS of one listener. `context` is permanent.

    New handshakes use the certificate and CAs that were loaded last; finished handshakes are not
    affected.
    """

    def __init__(self, key: str, tls: ListenerTls, protocols: Sequence[str] = _HTTP1) -> None:
        """`key`: its place in the configuration. `protocols`: those of ALPN, the best one first.

        Raises UnusableTls.
        """
        self._key = key
        self._tls = tls
        self._protocols = protocols
        self._watch = FileWatch((tls.cert, tls.key, tls.client_ca))
        self._warned = ""
        self._stale = False
        self._renewed_at = 0.0
        # A handshake begins in `context` and is then handed to the latest context, because CAs can
        # be added to a context but not removed.
        self._latest = self.context = _server_context(key, tls, protocols)

    def use(self, tls: ListenerTls, protocols: Sequence[str] = _HTTP1) -> None:
        """Use other files and protocols; the next `renew` loads them.

        Whether client certificates are required cannot change: OpenSSL decides that when the
        handshake begins.
        """
        if tls != self._tls or protocols != self._protocols:
            self._tls = tls
            self._protocols = protocols
            self._watch = FileWatch((tls.cert, tls.key, tls.client_ca))
            self._stale = True

    def renew(self) -> None:
        """Load the files if they have changed; if they are unusable, the old ones stay.

        Blocks while it reads. Call it repeatedly: an unusable file is tried each time until it is
        usable, with one warning.
        """
        if not self._watch.changed() and not self._stale:
            return
        tls = self._tls
        try:
            self._latest = _server_context(self._key, tls, self._protocols)
        except UnusableTls as error:
            self._stale = True
            if self._warned != str(error):
                self._warned = str(error)
                _log.warning("%s; the previous files stay in use", error)
            return
        self._renewed_at = time()
        # Only if there is a later one: it costs a handshake 3 %.
        self.context.sni_callback = self._hand_over
        self._stale = tls is not self._tls  # `use` was called meanwhile
        self._warned = ""
        _log.info("%s: new files, in use from the next handshake", self._key)

    def _hand_over(
        self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext
    ) -> int | None:
        """Called by OpenSSL in every handshake, with or without a server name."""
        connection.context = self._latest
        # In this order: reading a session leaks it before CPython 3.12.8 (python/cpython#116810).
        if self._tls.client_ca and connection.session_reused:
            session = connection.session
            if session is not None and session.time <= self._renewed_at:
                return ssl.AlertDescription.ALERT_DESCRIPTION_ACCESS_DENIED
        return None


def _server_context(key: str, tls: ListenerTls, protocols: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    harden(context)
    context.set_alpn_protocols(protocols)
    context.set_ciphers(_CIPHERS)
    # Every cipher is authenticated and forward secret, so the client may choose. OpenSSL would take
    # AES-256; Go, BoringSSL and browsers prefer AES-128 where the processor has AES: it is cheaper.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        load_identity(context, tls.cert, tls.key)
    except (OSError, ValueError) as error:
        raise UnusableTls(
            f"{key}: the certificate {tls.cert} with the key {tls.key} cannot be used: "
            f"{reason_of(error)}"
        ) from error
    if tls.client_ca is None:
        # OpenSSL sends two tickets, and clients use one: 2 % of a handshake.
        context.num_tickets = 1
        return context
    try:
        context.load_verify_locations(tls.client_ca)
    except (OSError, ValueError) as error:
        raise UnusableTls(
            f"{key}.client_ca: the file {tls.client_ca} cannot be used: {reason_of(error)}"
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED
    # No tickets: `_hand_over` sees only the TLS 1.2 sessions that are cached here.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context
