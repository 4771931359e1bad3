"""TLS towards upstreams: the context of an upstream, and messages for its failures.

At least TLS 1.2; ALPN offers what `protocol` allows; certificates are verified unless `verify` is
false.
"""

import asyncio
import logging
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from proxy.config.model import UpstreamProtocol, UpstreamTls
from proxy.errors import TlsFailure
from proxy.file_watch import FileWatch
from proxy.upstream.threads import in_thread
from proxy.upstream.tls_sessions import SessionReads, Sessions, resume_sessions
from proxy.wire.tls import harden, load_identity, openssl_code, reason_of

# X509_V_ERR_* of OpenSSL's <openssl/x509_vfy.h>, as SSLCertVerificationError.verify_code.
_NOT_YET_VALID = 9
_EXPIRED = 10
_UNKNOWN_CA = frozenset({2, 18, 19, 20, 21, 27})
_WRONG_NAME = frozenset({62, 64})

# SSLError.reason if the peer's first bytes are not a TLS record.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})

# SSLError.reason if both sides have no TLS version in common, found here or by the peer.
_OTHER_VERSION = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"})

# SSLError.reason if the peer speaks none of the offered protocols (RFC 7301 section 3.2).
_NO_PROTOCOL = frozenset({"TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "NO_APPLICATION_PROTOCOL"})

_ALPN = {
    UpstreamProtocol.AUTO: ["h2", "http/1.1"],
    UpstreamProtocol.HTTP1: ["http/1.1"],
    UpstreamProtocol.HTTP2: ["h2"],
}

_log = logging.getLogger("proxy.tls")


class CertificateFailure(TlsFailure):
    """The upstream's certificate was refused (RFC 9209 section 2.3.13)."""

    proxy_error = "tls_certificate_error"


def client_context(
    tls: UpstreamTls | None, protocol: UpstreamProtocol = UpstreamProtocol.HTTP1
) -> ssl.SSLContext:
    """The context for one upstream's settings. Reads files: TlsFailure names an unusable one."""
    tls = tls or UpstreamTls()
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except (OSError, ValueError) as error:
        raise TlsFailure(f"The CA file {tls.ca} cannot be used: {reason_of(error)}.") from error
    harden(context)
    context.set_alpn_protocols(_ALPN[protocol])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert is not None:
        try:
            load_identity(context, tls.cert, tls.key)
        except (OSError, ValueError) as error:
            raise TlsFailure(
                f"The client certificate {tls.cert} with the key {tls.key or tls.cert} "
                f"cannot be used: {reason_of(error)}."
            ) from error
    return context


@dataclass(slots=True)
class _Built:
    """A context and its files. `stale`: they changed and could not be loaded."""

    context: ssl.SSLContext
    sessions: Sessions
    watch: FileWatch
    stale: bool = False
    warned: str = ""


_Settings = tuple[UpstreamTls | None, UpstreamProtocol]


def _build(settings: _Settings, reads: SessionReads) -> _Built:
    tls, protocol = settings
    # Take the files' state before reading: a change during the reading must be noticed.
    watch = FileWatch((tls.ca, tls.cert, tls.key) if tls is not None else ())
    context = client_context(tls, protocol)
    return _Built(context, resume_sessions(context, reads), watch)


class TlsContexts:
    """Contexts, built when first needed, one for each set of settings; failures are not cached.

    Building one reads the system's CAs, tens of milliseconds: a thread does it.
    """

    def __init__(self) -> None:
        self._built: dict[_Settings, _Built] = {}
        self._building: dict[_Settings, asyncio.Future[_Built]] = {}
        self._reads = SessionReads()

    async def get(
        self, tls: UpstreamTls | None, protocol: UpstreamProtocol = UpstreamProtocol.HTTP1
    ) -> ssl.SSLContext:
        """Raises TlsFailure if a file cannot be used; the next call tries again."""
        settings = (tls, protocol)
        built = self._built.get(settings)
        if built is not None:
            return built.context
        building = self._building.get(settings)
        if building is None:
            building = self._building[settings] = in_thread(partial(_build, settings, self._reads))
            building.add_done_callback(partial(self._finish, settings))
        # A waiter that is cancelled does not affect the others.
        return (await asyncio.shield(building)).context

    def keep(self, wanted: Collection[UpstreamTls | None]) -> None:
        """Forget the contexts of all other settings. Open connections are not affected."""
        for settings in tuple(self._built):
            if settings[0] not in wanted:
                self._built.pop(settings).sessions.clear()

    async def renew(self) -> None:
        """Rebuild contexts whose files have changed, for new connections.

        Unusable files (perhaps only half of a pair is new) change nothing: one warning, and they
        are tried again each time.
        """
        for (tls, protocol), built in tuple(self._built.items()):
            if tls is not None and (built.watch.changed() or built.stale):
                await self._renew(tls, protocol, built)

    async def _renew(self, tls: UpstreamTls, protocol: UpstreamProtocol, built: _Built) -> None:
        try:
            context = await in_thread(partial(client_context, tls, protocol))
        except TlsFailure as error:
            built.stale = True
            if built.warned != error.detail:
                built.warned = error.detail
                _log.warning("%s The previous files stay in use.", error.detail)
            return
        built.sessions.clear()
        built.context = context
        built.sessions = resume_sessions(context, self._reads)
        built.stale = False
        built.warned = ""
        names = ", ".join(path for path in (tls.ca, tls.cert, tls.key) if path is not None)
        _log.info("upstream TLS: new files, in use from the next connection: %s", names)

    def _finish(self, settings: _Settings, building: asyncio.Future[_Built]) -> None:
        del self._building[settings]
        if not building.cancelled() and building.exception() is None:
            self._built[settings] = building.result()


def no_http2(where: str) -> TlsFailure:
    """The failure for a peer that does not agree on HTTP/2 although nothing else was offered."""
    return TlsFailure(
        f"{where} does not speak HTTP/2 over TLS (it did not select h2 by ALPN): set protocol: "
        "auto, or http1, for this upstream."
    )


def tls_failure(error: OSError, where: str, server_name: str) -> TlsFailure:
    """The failure for an error in the handshake with `where`, expected to be `server_name`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CertificateFailure(_certificate_detail(error, where, server_name))
    if isinstance(error, ssl.SSLError) and openssl_code(error) in _NO_TLS:
        return TlsFailure(
            f"{where} does not speak TLS on this port: check the port, or use http:// for it."
        )
    if isinstance(error, ssl.SSLError) and openssl_code(error) in _OTHER_VERSION:
        return TlsFailure(
            f"{where} supports no TLS version that is allowed here ({reason_of(error)}): it must "
            "support TLS 1.2 or 1.3."
        )
    if isinstance(error, ssl.SSLError) and openssl_code(error) in _NO_PROTOCOL:
        return TlsFailure(
            f"{where} speaks none of the versions of HTTP that were offered (ALPN): see protocol "
            "of this upstream."
        )
    if isinstance(error, ssl.SSLError):
        return TlsFailure(
            f"The TLS handshake with {where} failed ({reason_of(error)}): see whether it asks for "
            "a client certificate, and whether both sides have a cipher in common."
        )
    return TlsFailure(
        f"{where} closed the connection during the TLS handshake: see whether it speaks TLS on "
        f"this port, knows the name {server_name}, and asks for a client certificate."
    )


def _certificate_detail(error: ssl.SSLCertVerificationError, where: str, server_name: str) -> str:
    code = getattr(error, "verify_code", 0)
    message = getattr(error, "verify_message", str(error))
    if code == _EXPIRED:
        return f"The certificate of {where} has expired: renew it, or check this machine's clock."
    if code == _NOT_YET_VALID:
        return f"The certificate of {where} is not valid yet: check the clocks of both sides."
    if code in _WRONG_NAME:
        return (
            f"The certificate of {where} is not for {server_name}: "
            "set tls.server_name to one of its names."
        )
    if code in _UNKNOWN_CA:
        return (
            f"The certificate of {where} comes from a CA that is not trusted here "
            f"({message}): set tls.ca to that CA's certificate."
        )
    return f"The certificate of {where} was refused: {message}."
