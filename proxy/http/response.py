"""A response's head: from an upstream's bytes to values (RFC 9112 sections 4 and 6)."""

import httptools

from proxy.errors import UpstreamMalformed
from proxy.http.fields import (
    PERSISTENCE,
    FieldSink,
    connection_options,
    feed_head,
    persistent,
    sort_fields,
    without,
)
from proxy.http.framing import BodyDecoder, ChunkedDecoder, CloseDecoder, LengthDecoder

_HELD_BACK = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    }
)
_VERSIONS = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}


class ResponseHead:
    """One response's head.

    `status_line` is serialised anew and ends with CRLF. `length` is None where no Content-Length
    was given. `lines` are the fields that go on to the client, `held` the values of the others.
    """

    __slots__ = (
        "chunked",
        "fields",
        "held",
        "keep_alive",
        "length",
        "lines",
        "status",
        "status_line",
    )

    status: int
    status_line: bytes
    keep_alive: bool
    length: int | None
    chunked: bool
    fields: list[tuple[bytes, bytes]]
    lines: list[bytes]
    held: dict[bytes, list[bytes]]

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field by its lower-case name, in order."""
        return [value for field, value in self.fields if field.lower() == name]

    def body_decoder(self, method: str, *, payload: bool = False) -> BodyDecoder | None:
        """A decoder for the body that follows, None where none does (RFC 9112 section 6.3).

        `payload`: a chunked body comes without its framing.
        """
        if method == "HEAD" or self.status < 200 or self.status in (204, 304):
            return None
        if self.chunked:
            return ChunkedDecoder(payload=payload)
        if self.length is None:
            return CloseDecoder()
        return LengthDecoder(self.length) if self.length else None


def parse_response_head(raw: bytes) -> ResponseHead:
    """The head in `raw`, which ends with its empty line. Raises UpstreamMalformed."""
    sink = FieldSink()
    fault = feed_head(httptools.HttpResponseParser(sink), raw)
    if fault is not None:
        raise UpstreamMalformed(f"The upstream's response head is malformed: {fault}.")
    head = ResponseHead()
    head.fields = sink.fields
    minor = _status_line(head, raw)
    head.lines, head.held = sort_fields(sink.fields, _HELD_BACK)
    _connection(head, minor)
    _framing(head, minor)
    return head


def _status_line(head: ResponseHead, raw: bytes) -> int:
    """``HTTP/1.1 200 OK``: the reason phrase may be empty, the space before it left out."""
    line = raw[: raw.find(b"\r")]
    minor = _VERSIONS.get(line[:8])
    code = line[9:12]
    if minor is None or line[8:9] != b" " or not code.isdigit() or line[12:13] not in (b" ", b""):
        raise UpstreamMalformed("The upstream's status line is malformed.")
    head.status = int(code)
    if not 100 <= head.status <= 599:
        raise UpstreamMalformed(f"The upstream's status {head.status} is none of HTTP's.")
    head.status_line = b"HTTP/1.1 %b %b\r\n" % (code, line[13:])
    return minor


def _connection(head: ResponseHead, minor: int) -> None:
    values = head.held.get(b"connection")
    if values is None:
        head.keep_alive = minor == 1
        return
    options = connection_options(values)
    head.keep_alive = persistent(options, minor)
    named = options - PERSISTENCE
    if named:
        head.lines = without(head.lines, named)


def _framing(head: ResponseHead, minor: int) -> None:
    held = head.held
    codings = held.get(b"transfer-encoding")
    lengths = held.get(b"content-length")
    head.chunked = False
    head.length = None
    if codings is not None:
        if minor == 0 or lengths is not None or len(codings) != 1:
            raise UpstreamMalformed("The upstream's response says its length in two ways.")
        if codings[0].lower() != b"chunked":
            raise UpstreamMalformed("The upstream's Transfer-Encoding is not 'chunked'.")
        head.chunked = True
    elif lengths is not None:
        if len(lengths) != 1 or not lengths[0].isdigit():
            raise UpstreamMalformed("The upstream's Content-Length is not one number.")
        head.length = int(lengths[0])
