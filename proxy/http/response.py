"""A response's head: from an upstream's bytes to values (RFC 9112 sections 4 and 6)."""

from typing import Final

import httptools

from proxy.errors import UpstreamMalformed
from proxy.http.fields import JUDGE, FieldReader, Fields
from proxy.http.framing import (
    MAX_LENGTH_DIGITS,
    BodyDecoder,
    ChunkedDecoder,
    CloseDecoder,
    LengthDecoder,
)

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
_NOT_BY_CONNECTION = frozenset({b"content-length", b"transfer-encoding", b"upgrade"})
"""Fields that count although Connection names them: two of them say where the body ends."""
_UPGRADE_REQUIRED = 426
_TEXT = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
"""What a reason phrase is made of (RFC 9112 section 4); llhttp takes anything but line ends."""
_MAX_KNOWN = 256
"""Heads that are remembered parsed."""
_LONGEST_KNOWN = 4096
"""Bytes of a head that is remembered."""
_MAX_STATUS_LINES = 1000
"""Status lines that are remembered parsed."""


class ResponseHead(Fields):
    """One response's head. Nobody changes it: the next response with the same bytes has it too.

    `status_line` is serialised anew and ends with CRLF; `front` is that and the fields that go on,
    `length_field` the Content-Length anew. `length` is None where none was given.
    """

    __slots__ = (
        "chunked", "front", "keep_alive", "length", "length_field", "status", "status_line",
    )  # fmt: skip

    status: int
    status_line: bytes
    front: bytes
    length_field: bytes
    keep_alive: bool
    length: int | None
    chunked: bool

    def has_body(self, method: str) -> bool:
        """Whether a body follows the response to `method` (RFC 9112 section 6.3, rules 1 and 2)."""
        status = self.status
        return method != "HEAD" and status >= 200 and status != 204 and status != 304

    def body_decoder(self, method: str, *, payload: bool = False) -> BodyDecoder | None:
        """A decoder for the body that follows, None where none does (RFC 9112 section 6.3).

        `payload`: a chunked body comes without its framing.
        """
        if not self.has_body(method):
            return None
        if self.length is not None:
            return LengthDecoder(self.length) if self.length else None
        return ChunkedDecoder(payload=payload) if self.chunked else CloseDecoder()


class _Llhttp:
    """One parser of llhttp's, for head after head as long as it sees the end of each body too.

    `read`: the head that it read last and whose body it waits for; None: it waits for a head.
    """

    __slots__ = ("parser", "read")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.parser = httptools.HttpResponseParser(JUDGE)
        self.read: ResponseHead | None = None


_llhttp: Final = _Llhttp()
_reader: Final = FieldReader(_HELD_BACK)
_known: Final[dict[bytes, ResponseHead]] = {}
_CAN_GO_ON = (None, [b"keep-alive"])
_status_lines: dict[bytes, tuple[int, int, bytes]] = {}


def parse_response_head(raw: bytes) -> ResponseHead:
    """The head in `raw`, which ends with its empty line. Raises UpstreamMalformed.

    Many responses have the same head, but for a Date that changes once a second: those that came
    last are remembered with what was made of them.
    """
    head = _known.get(raw)
    if head is None:
        head = _parse(raw)
        if len(raw) <= _LONGEST_KNOWN:
            if len(_known) >= _MAX_KNOWN:
                _known.clear()  # those that are in use are soon there again
            _known[raw] = head
    return head


def _parse(raw: bytes) -> ResponseHead:
    head = ResponseHead()
    if _llhttp.read is not None:
        _llhttp.renew()
    _llhttp.read = head
    fault = _reader.read(_llhttp.parser, raw, head)
    if fault is not None:
        raise UpstreamMalformed(f"The upstream's response head is malformed: {fault}.")
    line = raw[: raw.find(b"\r")]
    minor, head.status, head.status_line = _status_lines.get(line) or _status_line(line)
    held = head.held
    head.keep_alive = head.persistence(minor, _NOT_BY_CONNECTION)
    head.chunked = False
    head.length = None
    head.length_field = b""
    if b"transfer-encoding" in held:
        _check_coding(held, minor)
        head.chunked = True
    elif b"content-length" in held:
        lengths = held[b"content-length"]
        if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > MAX_LENGTH_DIGITS:
            raise UpstreamMalformed("The upstream's Content-Length is not one number.")
        head.length = int(lengths[0])
        head.length_field = b"Content-Length: %d\r\n" % head.length
    if head.status == _UPGRADE_REQUIRED and b"upgrade" in held:
        # The one response that has to say which protocol it wants (RFC 9110 section 15.5.22).
        head.lines.append(b"Connection: Upgrade\r\n")
        head.lines.append(b"Upgrade: %b\r\n" % b", ".join(held[b"upgrade"]))
    head.front = b"".join((head.status_line, *head.lines))
    return head


def pass_over_body(head: ResponseHead, body: bytes) -> None:
    """This head has this whole body, as long as its Content-Length says.

    To tell llhttp is cheaper than another parser for the next head, and as good as not to.
    """
    if head is _llhttp.read and head.keep_alive and head.held.get(b"connection") in _CAN_GO_ON:
        _llhttp.parser.feed_data(body)
        _llhttp.read = None


def _status_line(line: bytes) -> tuple[int, int, bytes]:
    """Version, status and the line anew, of ``HTTP/1.1 200 OK``.

    The reason phrase may be empty, and the space before it left out.
    """
    minor = _VERSIONS.get(line[:8])
    code = line[9:12]
    if minor is None or line[8:9] != b" " or not code.isdigit() or line[12:13] not in (b" ", b""):
        raise UpstreamMalformed("The upstream's status line is malformed.")
    if line.translate(None, _TEXT):
        raise UpstreamMalformed("The upstream's status line has control characters.")
    status = int(code)
    if not 100 <= status <= 599:
        raise UpstreamMalformed(f"The upstream's status {status} is none of HTTP's.")
    known = (minor, status, b"HTTP/1.1 %b %b\r\n" % (code, line[13:]))
    if len(_status_lines) < _MAX_STATUS_LINES:
        _status_lines[line] = known
    return known


def _check_coding(held: dict[bytes, list[bytes]], minor: int) -> None:
    codings = held[b"transfer-encoding"]
    if minor == 0 or b"content-length" in held or len(codings) != 1:
        raise UpstreamMalformed("The upstream's response says its length in two ways.")
    if codings[0].lower() != b"chunked":
        raise UpstreamMalformed("The upstream's Transfer-Encoding is not 'chunked'.")
