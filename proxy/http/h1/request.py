"""Parses a request's head strictly (RFC 9112 sections 2 to 6).

This file validates the request line, and `http/h1/fields.py` the fields. Input that llhttp
tolerates and an intermediary must not (an unsupported version, blanks in the request line, several
Hosts, an invalid target) is refused here. The client's head is never forwarded unchanged.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

import httptools

from proxy.errors import BadRequest, HeadersTooLarge, UrlTooLong
from proxy.http.authority import HostMemory
from proxy.http.h1.chunked import ChunkedDecoder
from proxy.http.h1.fields import FieldReader, Reading, give
from proxy.http.h1.framing import MAX_LENGTH_DIGITS, BodyDecoder, LengthDecoder
from proxy.http.h1.memory import HeadMemory
from proxy.http.h1.shapes import NO_LENGTH, OTHER_SHAPE
from proxy.http.message import RequestHead
from proxy.http.treatment import CHECKED_IN_REQUESTS

HEAD_END: Final = b"\r\n\r\n"

CONNECTION_FIELDS = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Hop-by-hop fields (RFC 9110 section 7.6.1): never forwarded as received."""

_REWRITTEN = frozenset({b"host", b"content-length", b"expect", b"via"})
_NOT_BY_CONNECTION = CONNECTION_FIELDS | _REWRITTEN
_OWN = frozenset({b"idempotency-key", b"x-idempotency-key", b"baggage"})
"""Forwarded fields that are new in each request, in addition to those of the exchange."""
_ENCLOSING: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose requests have content."""
_METHODS: Final = {
    name.encode(): name for name in ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH")
}
"""Common methods; others are decoded each time."""
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_IN_TARGETS: Final = bytes([c if 0x20 < c < 0x7F and c != 0x23 else 0x21 for c in range(256)])
"""Maps the characters that a target may have to themselves, and no others: visible, without `#`."""
_VERSIONS: Final = {b"HTTP/1.1": 11, b"HTTP/1.0": 10} | {b"HTTP/1.%d" % n: 11 for n in range(2, 10)}
"""A later minor version is read as HTTP/1.1 (RFC 9110 section 2.5)."""
_JUDGED_AS: Final = {10: b"GET / HTTP/1.0", 11: b"GET / HTTP/1.1"}


def body_decoder(head: RequestHead) -> BodyDecoder | None:
    """A new decoder for the body, None without a body."""
    if head.chunked:
        return ChunkedDecoder()
    return LengthDecoder(head.length) if head.length else None


_FIRST: Final = b"GET / HTTP/1.0\r\n\r\n"
"""What `last_raw` is before the first request: what is compared with it must have a meaning."""


class RequestParser:
    """Parses the heads of one listener's connections, one whole head at a time.

    `held_back` are further lower-case names that the exchange wants in `RequestHead.held`; it also
    gets those for which `keeps_out` is true.
    Clients send the same head again and again, byte for byte: those are remembered
    with their results (`known`, each a whole head; `last_raw` and `last` are the one that came
    last). The common part of heads that differ in path,
    ids and trace is too.
    """

    __slots__ = (
        "_host_memory",
        "_hosts",
        "_max_fields",
        "_max_url",
        "_memory",
        "_reader",
        "known",
        "last",
        "last_raw",
    )

    def __init__(
        self,
        held_back: Iterable[bytes],
        *,
        max_url: int,
        max_fields: int,
        keeps_out: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._max_url = max_url
        self._max_fields = max_fields
        self._host_memory = HostMemory()
        self._hosts = self._host_memory.known
        given = frozenset(held_back)
        self._memory: HeadMemory[RequestHead] = HeadMemory()
        self.known: dict[bytes, RequestHead] = self._memory.known
        self.last_raw = _FIRST
        self._reader = FieldReader(
            httptools.HttpRequestParser,
            CONNECTION_FIELDS | _REWRITTEN | given,
            given | _OWN,
            checked=CHECKED_IN_REQUESTS,
            kept=_NOT_BY_CONNECTION,
            keeps_out=keeps_out,
        )
        self.last = self._parse(_FIRST)

    def parse(self, raw: bytes) -> RequestHead:
        """The head in `raw`, which ends with its empty line.

        Raises BadRequest, UrlTooLong or HeadersTooLarge; the connection cannot go on after that.
        """
        head = self.known.get(raw)
        if head is None:
            head = self._parse(raw)
            self._memory.offer(raw, head)
        else:
            self.last_raw, self.last = raw, head
        return head

    def _parse(self, raw: bytes) -> RequestHead:
        head = RequestHead()
        lines = raw.split(b"\r\n")
        target = self._request_line(head, lines[0])
        if len(lines) - 3 > self._max_fields:
            raise HeadersTooLarge(f"The request has more than {self._max_fields} header fields.")
        reading: Reading | None = None
        length = self._reader.shapes.read(head, lines, head.version)
        if length == OTHER_SHAPE:
            reading = self._reader.read(_JUDGED_AS[head.version], lines, head.version)
            length = _take(head, reading)
        head.keep_alive = head.shared.keep_alive
        head.chunked = head.shared.chunked
        head.sized = length != NO_LENGTH
        head.length = length if head.sized else 0
        if head.version == 10 and head.method in _ENCLOSING and not head.sized:
            # In HTTP/1.0 only a length marks the end of the content (RFC 1945 section 8.3).
            raise BadRequest("An HTTP/1.0 request with this method needs a Content-Length.")
        self._target(head, target)
        if reading is not None and reading.learnt:
            self._reader.remember(reading)
        return head

    def _request_line(self, head: RequestHead, line: bytes) -> str:
        """The target, with exactly one space on either side (RFC 9112 section 3)."""
        parts = line.split(b" ")
        if len(parts) != 3:
            raise _bad_request_line(line)
        method, target, version = parts
        known = 11 if version == b"HTTP/1.1" else _VERSIONS.get(version)
        if known is None or not target:
            raise _bad_request_line(line)
        head.version = known
        if len(target) > self._max_url:
            raise UrlTooLong(f"The URL is longer than {self._max_url} bytes.")
        if target.translate(_IN_TARGETS) != target:
            raise BadRequest("The request's target has characters that are not allowed in a URL.")
        text = target.decode("latin-1")
        usual = _METHODS.get(method)
        head.unusual = usual is None
        head.method = usual or _rare_method(method)
        return text

    def _target(self, head: RequestHead, target: str) -> None:
        """The four forms of RFC 9112 section 3.2."""
        hosts = head.held.get(b"host")
        if hosts is None:
            if head.version == 11:
                raise BadRequest("The request has no Host field.")
        elif len(hosts) > 1:
            raise BadRequest("The request has several Host fields.")
        head.absolute = False
        head.scheme = "http"
        host = hosts[0] if hosts is not None else b""
        if head.method == "CONNECT":
            host = self._authority_form(head, target)
        elif target[:1] == "/":
            head.path, mark, query = target.partition("?")
            head.query_text = query if mark else None
        elif target == "*" and head.method == "OPTIONS":
            head.path, head.query_text = target, None
        else:
            host = self._absolute_form(head, target)
        known = self._hosts.get(host)
        if known is None:
            known = self._host_memory.learn(host)
        head.host_text, head.authority, head.host = known

    def _authority_form(self, head: RequestHead, target: str) -> bytes:
        """``host:port`` of a CONNECT, which has no default port and no body (RFC 9110 9.3.6)."""
        head.path, head.query_text = "*", None
        host = target.encode("ascii")
        _, authority, _ = self._hosts.get(host) or self._host_memory.learn(host)
        if authority is None or authority.port is None or head.has_body:
            raise BadRequest("CONNECT needs host:port, and no body.")
        return host

    def _absolute_form(self, head: RequestHead, target: str) -> bytes:
        """The URL's authority replaces Host's (RFC 9112 section 3.2.2)."""
        try:
            url = urlsplit(target)
        except ValueError:
            raise BadRequest("The request's URL is malformed.") from None
        if url.scheme not in ("http", "https") or not url.netloc:
            raise BadRequest("The request's target is neither a path nor an http URL.")
        head.absolute = True
        head.scheme = url.scheme
        head.query_text = url.query if "?" in target else None
        head.path = url.path or ("*" if head.method == "OPTIONS" and "?" not in target else "/")
        return url.netloc.encode("latin-1")


def _rare_method(method: bytes) -> str:
    """Any token can be a method (RFC 9110 section 9.1)."""
    if _TOKEN.fullmatch(method) is None:
        raise BadRequest("The request does not begin with a method.")
    return method.decode("latin-1")


def _take(head: RequestHead, reading: Reading) -> int:
    """Set the fields of a head; returns its length, `NO_LENGTH` without one."""
    if reading.fault is not None:
        raise BadRequest(f"The request's head is malformed: {reading.fault}.")
    give(reading, head)
    if reading.learnt:
        _judge(head, reading)
    return int(reading.lengths[0]) if reading.lengths else NO_LENGTH


def _judge(head: RequestHead, reading: Reading) -> None:
    """The body's framing, for an unknown head (RFC 9112 section 6)."""
    lengths = reading.lengths
    if b"transfer-encoding" in head.held:
        _check_coding(head, lengths)
        reading.shared.chunked = True
    elif lengths and (
        len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > MAX_LENGTH_DIGITS
    ):
        raise BadRequest("The request's Content-Length is not a single number.")


def _check_coding(head: RequestHead, lengths: list[bytes]) -> None:
    """RFC 9112 section 6.1, as strictly as it allows."""
    codings = head.held[b"transfer-encoding"]
    if lengths:
        raise BadRequest("The request has both Content-Length and Transfer-Encoding.")
    if head.version == 10:
        raise BadRequest("An HTTP/1.0 request cannot have a Transfer-Encoding.")
    if len(codings) != 1 or codings[0].lower() != b"chunked":
        raise BadRequest("The request's Transfer-Encoding is not 'chunked'.")


def _bad_request_line(raw: bytes) -> BadRequest:
    line = raw.partition(b"\r\n")[0].split(b" ")
    if len(line) == 3 and line[1] and line[2].startswith(b"HTTP/"):
        return BadRequest("The request's HTTP version is not supported: use HTTP/1.1.")
    return BadRequest("The request line is not 'METHOD target HTTP/1.1' with single spaces.")


def early_fault(partial: bytes) -> BadRequest | None:
    """The fault in the first bytes of an incomplete head, if there is one.

    So that invalid input is answered at once, not after the head's timeout.
    """
    if not partial[:1].isalpha():
        return BadRequest("The input is not an HTTP request.")
    if partial.count(b"\n") != partial.count(b"\r\n"):
        return BadRequest("The request's head has a line feed without a carriage return.")
    line, end, _ = partial.partition(b"\r\n")
    parts = line.split(b" ", 3)
    if end and (len(parts) != 3 or not parts[1] or parts[2] not in _VERSIONS):
        return _bad_request_line(partial)
    return None
