"""Parses a response's head (RFC 9112 sections 4 and 6)."""

from typing import Final

import httptools

from proxy.errors import UpstreamMalformed
from proxy.http.h1.chunked import ChunkedDecoder
from proxy.http.h1.fields import TEXT, FieldReader, Reading, give
from proxy.http.h1.framing import (
    MAX_LENGTH_DIGITS,
    BodyDecoder,
    CloseDecoder,
    LengthDecoder,
)
from proxy.http.h1.memory import HeadMemory
from proxy.http.h1.shapes import NO_LENGTH, OTHER_SHAPE
from proxy.http.message import ResponseHead

_HELD_BACK = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    }
)
_OWN = frozenset({b"x-request-id"})
"""Fields whose values are new in each response; the reader learns others."""
_VERSIONS: Final = {b"HTTP/1.1": 11, b"HTTP/1.0": 10} | {b"HTTP/1.%d" % n: 11 for n in range(2, 10)}
"""A later minor version is read as HTTP/1.1 (RFC 9110 section 2.5)."""
_JUDGED_AS: Final = {10: b"HTTP/1.0 200 OK", 11: b"HTTP/1.1 200 OK"}
_NOT_BY_CONNECTION = frozenset({b"content-length", b"transfer-encoding", b"upgrade"})
"""Fields that count although Connection names them: two of them say where the body ends."""
_VERSION_1: Final = b"HTTP/1."
_TLS_ALERT: Final = b"\x15\x03"
"""How a TLS server's answer to plain HTTP begins: a record with an alert (RFC 8446, 5.1)."""
MAX_FIELDS: Final = 1000
"""Of a head. 64 KiB can have 16,000, which take 10 ms."""
_STATUS_LINES_BYTES = 32 * 1024
"""Maximum bytes of remembered parsed status lines."""
_LONGEST_STATUS_LINE = 256
_FIRST: Final = b"HTTP/1.1 200 OK\r\n\r\n"
"""Stands for the last head as long as there is none: any bytes may come from an upstream, so what
is compared with them must be a head."""


class _StatusLine:
    """A parsed status line; `forwarded`: its forwarded form."""

    __slots__ = ("forwarded", "status", "version")

    def __init__(self, version: int, status: int, forwarded: bytes) -> None:
        self.version = version
        self.status = status
        self.forwarded = forwarded


def body_decoder(head: ResponseHead, method: str) -> BodyDecoder | None:
    """A decoder for the body of the response to `method`, None without a body.

    RFC 9112 section 6.3.
    """
    if not head.has_body(method):
        return None
    if head.length is not None:
        return LengthDecoder(head.length) if head.length else None
    return ChunkedDecoder() if head.chunked else CloseDecoder()


class ResponseParser:
    """Parses the heads of responses, one whole head at a time.

    Many responses have the same head, except for a Date that changes once a second: they are
    remembered in their parsed form. The shared part of heads that differ in length, tag or ids is
    too. `last_raw`: the last whole head that was remembered, and `last` what it means: comparing
    with it costs less than to find a head's end.
    """

    __slots__ = (
        "_known",
        "_memory",
        "_reader",
        "_status_lines",
        "_status_lines_bytes",
        "last",
        "last_raw",
    )

    def __init__(self) -> None:
        self._memory: HeadMemory[ResponseHead] = HeadMemory()
        self._known: dict[bytes, ResponseHead] = self._memory.known
        self.last_raw = _FIRST
        self.last = ResponseHead()
        self._reader = FieldReader(
            httptools.HttpResponseParser, _HELD_BACK, _OWN, kept=_NOT_BY_CONNECTION
        )
        self._status_lines: dict[bytes, _StatusLine] = {}
        self._status_lines_bytes = 0
        self.last = self._parse(_FIRST)

    def parse(self, raw: bytes) -> ResponseHead:
        """The head in `raw`, which ends with its empty line. Raises UpstreamMalformed."""
        head = self._known.get(raw)
        if head is None:
            head = self._parse(raw)
            self._memory.offer(raw, head)
        else:
            self.last_raw, self.last = raw, head
        return head

    def _parse(self, raw: bytes) -> ResponseHead:
        head = ResponseHead()
        lines = raw.split(b"\r\n")
        if len(lines) - 3 > MAX_FIELDS:
            raise UpstreamMalformed(f"The upstream's response has more than {MAX_FIELDS} fields.")
        line = self._status_lines.get(lines[0]) or self._status_line(lines[0])
        head.version = line.version
        head.status = line.status
        head.status_line = line.forwarded
        length = self._reader.shapes.read(head, lines, line.version)
        if length == OTHER_SHAPE:
            length = self._read_fields(head, lines)
        head.keep_alive = head.shared.keep_alive
        head.chunked = head.shared.chunked
        head.length = length if length != NO_LENGTH else None
        return head

    def _read_fields(self, head: ResponseHead, lines: list[bytes]) -> int:
        """The fields of a head of no known shape; returns its length or `NO_LENGTH`."""
        version = head.version
        reading = self._reader.read(_JUDGED_AS[version], lines, version)
        if reading.fault is not None:
            raise UpstreamMalformed(f"The upstream's response head is malformed: {reading.fault}.")
        give(reading, head)
        if reading.learnt:
            _judge(reading, version)
            self._reader.remember(reading)
        return int(reading.lengths[0]) if reading.lengths else NO_LENGTH

    def _status_line(self, line: bytes) -> _StatusLine:
        """Version, status and forwarded line of ``HTTP/1.1 200 OK``.

        The reason phrase may be empty, and the space before it missing. Statuses above 599 are
        forwarded and count as 5xx (RFC 9110 section 15).
        """
        version = _VERSIONS.get(line[:8])
        code = line[9:12]
        if (
            version is None
            or line[8:9] != b" "
            or len(code) != 3
            or not code.isdigit()
            or line[12:13] not in (b" ", b"")
        ):
            fault = early_fault(line[:_LONGEST_STATUS_LINE])
            raise UpstreamMalformed(fault or "The upstream's status line is malformed.")
        if line.translate(None, TEXT):
            raise UpstreamMalformed("The upstream's status line has control characters.")
        status = int(code)
        if status < 100:
            raise UpstreamMalformed(f"The upstream's status {status} is not a status of HTTP.")
        known = _StatusLine(version, status, b"HTTP/1.1 %b %b" % (code, line[13:]))
        if len(line) <= _LONGEST_STATUS_LINE:
            if self._status_lines_bytes + len(line) > _STATUS_LINES_BYTES:
                self._status_lines.clear()
                self._status_lines_bytes = 0
            self._status_lines[line] = known
            self._status_lines_bytes += len(line)
        return known


def early_fault(partial: bytes) -> str:
    """The fault in the first bytes of an incomplete head; "" if there is none.

    So that an upstream that speaks another protocol fails at once, not after a timeout.
    """
    if not _VERSION_1.startswith(partial[: len(_VERSION_1)]):
        return f"The upstream's answer is not HTTP/1: it looks like {what_it_looks_like(partial)}."
    if partial.count(b"\n") != partial.count(b"\r\n"):
        return "The upstream's response head has a line feed (LF) without a carriage return (CR)."
    return ""


def stray_fault(data: bytes) -> str:
    """The failure for bytes that came before a request was sent."""
    seen = what_it_looks_like(data)
    return f"The upstream sent bytes before it got a request: it looks like {seen}."


_SPOKEN: Final = (
    (b"SSH-", "an SSH server"),
    (b"-ERR", "a Redis or POP3 server"),
    (b"-NOA", "a Redis server"),
    (b"-DEN", "a Redis server"),
    (b"+OK", "a Redis or POP3 server"),
    (b"* ", "an IMAP server"),
    (b"ERROR\r\n", "a memcached server"),
    (b"AMQP", "an AMQP broker"),
    (b"RFB 0", "a VNC server"),
    (b"RTSP/", "an RTSP server"),
    (b"SIP/", "a SIP server"),
    (b"ICY ", "a SHOUTcast server"),
    (b"HTTP/2", "a status line of HTTP/2, which has none"),
    (b"HTTP/", "an HTTP version other than 1"),
    (b"It looks like you are trying to access MongoDB", "a MongoDB server"),
    (b"<", "a document without a status line"),
)
"""What servers of other protocols begin with."""


def what_it_looks_like(data: bytes) -> str:
    """What speaks on the other side, from its first bytes."""
    if data.startswith(_VERSION_1):
        if data.count(b"\n") != data.count(b"\r\n"):
            return "a response without a request, with a line feed (LF) that has no CR before it"
        return "a response without a request"
    for beginning, what in _SPOKEN:
        if data.startswith(beginning):
            return what
    if data[:3].isdigit() and data[3:4] in (b" ", b"-"):
        return "an SMTP or FTP server"
    if data.startswith(_TLS_ALERT):
        return "a TLS alert: use https:// for it, or another port"
    if data[3:4] == b"\x04" and data[:1] == b"\0":
        return "HTTP/2 frames"
    if data[3:5] == b"\0\x0a":
        return "a MySQL server"
    if data[:2] in (b"E\0", b"N", b"N\0"):
        return "a PostgreSQL server"
    return "another protocol"


def _judge(reading: Reading, version: int) -> None:
    """The body's framing, for an unknown head (RFC 9112 section 6)."""
    lengths = reading.lengths
    codings = reading.held.get(b"transfer-encoding")
    if codings is not None:
        if version == 10:
            raise UpstreamMalformed("An HTTP/1.0 response cannot have a Transfer-Encoding.")
        if lengths:
            raise UpstreamMalformed("The upstream's response has two different lengths.")
        if len(codings) != 1:
            raise UpstreamMalformed("The upstream's response has several Transfer-Encodings.")
        if codings[0].lower() != b"chunked":
            raise UpstreamMalformed("The upstream's Transfer-Encoding is not 'chunked'.")
        reading.shared.chunked = True
    elif lengths and (
        len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > MAX_LENGTH_DIGITS
    ):
        raise UpstreamMalformed("The upstream's Content-Length is not a single number.")
