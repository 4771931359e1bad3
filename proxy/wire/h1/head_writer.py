"""Writes heads in HTTP/1.1 (RFC 9112).

A *front* is the part of a head that depends only on its value, without the empty line; it is cached
in the head. The framing, which depends on the peer, and the proxy's own fields follow it.
"""

from http import HTTPStatus
from typing import Final

from proxy.http.lists import joined
from proxy.http.message import Head, OwnFields, RequestHead, ResponseHead
from proxy.wire.flow import JOINED_BYTES, Channel

ESTABLISHED: Final = b"HTTP/1.1 200 Connection established"
"""The status line of the proxy's answer to a CONNECT, which has no other line."""
HEAD_ENDS: Final = b"\r\n\r\n"
CHUNKED: Final = b"\r\nTransfer-Encoding: chunked"
CLOSE: Final = b"\r\nConnection: close"
KEEP_ALIVE: Final = b"\r\nConnection: keep-alive"
LAST_CHUNK: Final = b"0\r\n\r\n"

_UPGRADE_REQUIRED: Final = 426
_STATUS_LINES: Final[dict[int, bytes]] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus
}


def request_front(head: RequestHead) -> bytes:
    """The request line, Host, the forwarded fields, and the body's framing."""
    front = head.written
    if not front:
        front = head.written = _request_front(head)
    return front


def response_front(head: ResponseHead) -> bytes:
    """The status line, the forwarded fields, and the length if given."""
    front = head.written
    if not front:
        front = head.written = _response_front(head)
    return front


def add_own(parts: list[bytes], own: OwnFields) -> None:
    """Append the proxy's own fields."""
    for name, value in own:
        parts.append(name.prefix)
        parts.append(value)


def last_chunk(trailers: list[tuple[bytes, bytes]]) -> bytes:
    """The end of a chunked body (RFC 9112 section 7.1)."""
    if not trailers:
        return LAST_CHUNK
    lines = [b"%b: %b\r\n" % field for field in trailers]
    return b"0\r\n" + b"".join(lines) + b"\r\n"


def write_chunked(
    channel: Channel,
    head: list[bytes],
    piece: bytes,
    ended: bool,
    trailers: list[tuple[bytes, bytes]],
) -> None:
    """Write a head and the first piece of a chunked body; a long piece is not copied."""
    if piece:
        head.append(b"%x\r\n" % len(piece))
        if ended or len(piece) <= JOINED_BYTES:
            head.append(piece)
            piece = b""
            head.append(b"\r\n")
    if ended:
        head.append(last_chunk(trailers))
    channel.write_parts(head, piece)
    if piece:
        channel.write(b"\r\n")


def _request_front(head: RequestHead) -> bytes:
    query = head.query_text
    if query is None:
        line = f"{head.method} {head.path} HTTP/1.1\r\nHost: {head.host_text}"
    else:
        line = f"{head.method} {head.path}?{query} HTTP/1.1\r\nHost: {head.host_text}"
    parts = [line.encode("latin-1")]
    if head.shared.crumbs:
        _add_fields_with_one_cookie(parts, head)
    else:
        _add_fields(parts, head)
    if head.chunked:
        parts.append(CHUNKED)
    elif head.sized:
        parts.append(b"\r\nContent-Length: %d" % head.length)
    held = head.held
    if b"te" in held or b"upgrade" in held:
        _add_options(parts, head)
    return b"".join(parts)


def _add_options(parts: list[bytes], head: RequestHead) -> None:
    """Hop-by-hop fields that the proxy sends as its own (RFC 9110 section 7.6.1)."""
    upgrade = head.upgrade
    options = [b"TE"] if head.takes_trailers else []
    if options:
        parts.append(b"\r\nTE: trailers")
    if upgrade is not None:
        options.append(b"Upgrade")
    if options:
        parts.append(b"\r\nConnection: " + b", ".join(options))
    if upgrade is not None:
        parts.append(b"\r\nUpgrade: " + upgrade)


def _response_front(head: ResponseHead) -> bytes:
    status = head.status
    parts = [head.status_line or _STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
    _add_fields(parts, head)
    upgrade = head.held.get(b"upgrade")
    if upgrade is not None and (status == _UPGRADE_REQUIRED or status == 101):
        # Responses that must name the protocol (RFC 9110 sections 15.2.2, 15.5.22).
        parts.append(b"\r\nConnection: Upgrade\r\nUpgrade: " + joined(upgrade))
    if head.length is not None and status != 204 and status >= 200:
        parts.append(b"\r\nContent-Length: %d" % head.length)
    return b"".join(parts)


def _add_fields_with_one_cookie(parts: list[bytes], head: Head) -> None:
    """Only HTTP/2 may spread a cookie over several fields (RFC 9113 section 8.2.3)."""
    crumbs: list[bytes] = []
    for field in head.fields:
        if field.name.lower == b"cookie":
            crumbs.append(field.value)
        else:
            parts.append(b"\r\n")
            parts.append(field.line)
    if crumbs:
        parts.append(b"\r\nCookie: " + b"; ".join(crumbs))


def _add_fields(parts: list[bytes], head: Head) -> None:
    blocks = head.shared.blocks
    parts.append(blocks[0])
    for at, field in enumerate(head.own, 1):
        parts.append(b"\r\n")
        parts.append(field.line)
        parts.append(blocks[at])
