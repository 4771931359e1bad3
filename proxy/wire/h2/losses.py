"""Failures of HTTP/2 towards an upstream.

What a stream's end before its time means for its request (RFC 9113 sections 6.8, 7 and 8.7), and
why a new connection cannot be used: then nothing of a request was sent.
"""

from proxy.errors import (
    ConnectError,
    ConnectFailed,
    Http11Required,
    ProxyError,
    SessionLost,
    StreamRefused,
    TlsFailure,
    UpstreamMalformed,
    UpstreamReset,
    UpstreamTruncated,
)
from proxy.grpc_status import of_reset
from proxy.http.h1.response import what_it_looks_like
from proxy.http.h2.frames import HTTP_1_1_REQUIRED, REFUSED_STREAM, code_name
from proxy.wire.tls import openssl_code

_TRUNCATED = "before the end of its response"


def reset_by_peer(code: int, *, answered: bool) -> ProxyError:
    """The upstream sent RST_STREAM. `answered`: after its response's head."""
    name = code_name(code)
    error: ProxyError
    if answered:
        error = UpstreamTruncated(f"The upstream reset the stream {_TRUNCATED} ({name}).")
    elif code == REFUSED_STREAM:
        error = StreamRefused(f"The upstream refused the request unprocessed ({name}).")
    elif code == HTTP_1_1_REQUIRED:
        error = Http11Required(f"The upstream takes this request only over HTTP/1.1 ({name}).")
    else:
        error = UpstreamReset(f"The upstream reset the stream ({name}).")
    error.grpc = of_reset(code)
    return error


def turned_away(reason: str) -> ProxyError:
    """The stream is above the last one that the upstream's GOAWAY names."""
    return StreamRefused(f"The upstream was closing and did not process the request ({reason}).")


def broken(text: str, *, answered: bool) -> ProxyError:
    """The upstream broke a rule of HTTP/2."""
    if answered:
        return UpstreamTruncated(f"The upstream's response is malformed: {text}.")
    return UpstreamMalformed(f"The upstream's response is malformed: {text}.")


def connection_lost(reason: str, *, answered: bool, handed: bool) -> ProxyError:
    """The connection was lost. `handed`: bytes of the request were given to the kernel."""
    if answered:
        return UpstreamTruncated(f"The upstream closed {_TRUNCATED}{reason}.")
    if handed:
        return UpstreamReset(f"The upstream closed the connection{reason}.")
    return SessionLost(f"The connection was found dead before the request was sent{reason}.")


def why_lost(exc: Exception | None) -> str:
    """Why a transport was lost, as the end of a sentence; "" without an error."""
    if exc is None:
        return ""
    code = openssl_code(exc)
    return f" ({code.replace('_', ' ').lower()})" if code else " (reset)"


# --- new connections; `where` is the endpoint -----------------------------------------------------


def not_http2(where: str, data: bytes) -> ConnectError:
    """The first bytes are of another protocol."""
    if data.startswith(b"HTTP/1"):
        return ConnectFailed(
            f"{where} answered in HTTP/1.1, and HTTP/2 was expected: it does not speak HTTP/2 on "
            "this port. Set protocol: http1 for this upstream."
        )
    seen = f": it looks like {what_it_looks_like(data)}" if data else ""
    return ConnectFailed(f"{where} does not speak HTTP/2 on this port{seen}.")


def broken_at_once(where: str, text: str) -> ConnectError:
    """The first frames break a rule."""
    return ConnectFailed(f"{where} does not speak HTTP/2 as it should: {text}.")


def ended_at_once(where: str, name: str) -> ConnectError:
    """The first frames include a GOAWAY."""
    return ConnectFailed(f"{where} accepted the connection and ended it ({name}).")


def no_room(where: str) -> ConnectError:
    """The first SETTINGS allow no stream."""
    return ConnectFailed(
        f"{where} allows no requests on the connection now (SETTINGS_MAX_CONCURRENT_STREAMS is 0)."
    )


def lost_at_once(where: str, scheme: str, reason: str) -> ConnectError:
    """The connection was lost before the first SETTINGS."""
    if scheme == "https":
        # In TLS 1.3 a server checks the client's certificate after the client's handshake.
        return TlsFailure(
            f"{where} closed the connection right after the TLS handshake{reason}: see whether it "
            "requires another client certificate (tls.cert) than the one it got."
        )
    return ConnectFailed(
        f"{where} closed the connection when it was spoken to in HTTP/2{reason}: see whether it "
        "speaks HTTP/2 in the clear on this port (protocol: http1 if not)."
    )
