"""A request's head: from a client's bytes to values, strictly (RFC 9112 sections 2 to 6).

llhttp does the parsing; what it tolerates and a careful intermediary must not (a version it does
not speak, blanks in the request line, several Hosts, a target that is no target) is refused here.
Nothing of the client's head goes on as it came: `RequestHead.lines` are the fields that may be
forwarded, in their order and spelling, each serialised anew.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

import httptools

from proxy.errors import BadRequest, HeadersTooLarge, UrlTooLong
from proxy.http.authority import Authority, parse_authority
from proxy.http.fields import (
    PERSISTENCE,
    FieldSink,
    connection_options,
    feed_head,
    persistent,
    sort_fields,
    without,
)
from proxy.http.framing import BodyDecoder, ChunkedDecoder, LengthDecoder

HEAD_END = b"\r\n\r\n"

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
"""For this connection alone (RFC 9110 section 7.6.1): never forwarded as they came."""

_REWRITTEN = frozenset({b"host", b"content-length", b"expect", b"via"})
_VERSIONS = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}


class RequestHead:
    """One request's head.

    `path` is the raw path (``*`` for OPTIONS alone), `query` what follows the first ``?`` or None.
    `authority` names whom the request is for: the URL's in absolute form, else Host's, None
    where there is none. `lines` are the fields that go on; `held` has the values, by lower-case
    name, of those that do not and that the exchange decides about.
    """

    __slots__ = (
        "absolute",
        "authority",
        "chunked",
        "expects_continue",
        "fields",
        "held",
        "host",
        "keep_alive",
        "length",
        "lines",
        "method",
        "minor",
        "path",
        "query_text",
        "scheme",
        "target",
    )

    method: str
    target: str
    scheme: str
    path: str
    query_text: str | None
    authority: Authority | None
    host: str
    absolute: bool
    minor: int
    keep_alive: bool
    length: int
    chunked: bool
    expects_continue: bool
    fields: list[tuple[bytes, bytes]]
    lines: list[bytes]
    held: dict[bytes, list[bytes]]

    @property
    def query(self) -> str:
        return self.query_text or ""

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow (a length of 0 is a body of none)."""
        return self.chunked or self.length > 0

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field by its lower-case name, in order."""
        return [value for field, value in self.fields if field.lower() == name]

    def body_decoder(self) -> BodyDecoder | None:
        """A fresh decoder for the body that follows, None where none does."""
        if self.chunked:
            return ChunkedDecoder()
        return LengthDecoder(self.length) if self.length else None


class RequestParser:
    """Parses the heads of one listener's connections, one whole head at a time.

    `held_back` are further lower-case names that the exchange wants in `RequestHead.held`.
    One llhttp parser serves head after head, for as long as each had no body.
    """

    __slots__ = ("_held_back", "_max_fields", "_max_url", "_parser", "_sink")

    def __init__(self, held_back: Iterable[bytes], *, max_url: int, max_fields: int) -> None:
        self._held_back = CONNECTION_FIELDS | _REWRITTEN | frozenset(held_back)
        self._max_url = max_url
        self._max_fields = max_fields
        self._renew()

    def _renew(self) -> None:
        self._sink = FieldSink()
        self._parser = httptools.HttpRequestParser(self._sink)

    def parse(self, raw: bytes) -> RequestHead:
        """The head in `raw`, which ends with its empty line.

        Raises BadRequest, UrlTooLong or HeadersTooLarge; the connection cannot go on after that.
        """
        head = RequestHead()
        self._request_line(head, raw)
        head.fields = fields = self._parse_fields(raw)
        if len(fields) > self._max_fields:
            raise HeadersTooLarge(f"The request has more than {self._max_fields} header fields.")
        head.lines, head.held = sort_fields(fields, self._held_back)
        _connection(head)
        _framing(head)
        _target(head)
        if head.has_body or not head.keep_alive or b"upgrade" in head.held:
            self._renew()  # llhttp now waits for a body, or takes the connection for ended
        return head

    def _request_line(self, head: RequestHead, raw: bytes) -> None:
        """Exactly one space on either side of the target (RFC 9112 section 3)."""
        line = raw[: raw.find(b"\r")]
        parts = line.split(b" ")
        if len(parts) != 3 or parts[2] not in _VERSIONS:
            raise BadRequest(_describe_request_line(parts))
        method, target, version = parts
        if len(target) > self._max_url:
            raise UrlTooLong(f"The URL is longer than {self._max_url} bytes.")
        if not target.isascii() or b"#" in target:
            raise BadRequest("The request's target has characters that no URL in a request has.")
        head.method = method.decode("latin-1")
        head.target = target.decode("ascii")
        head.minor = _VERSIONS[version]

    def _parse_fields(self, raw: bytes) -> list[tuple[bytes, bytes]]:
        sink = self._sink
        sink.fields = []
        fault = feed_head(self._parser, raw)
        if fault is not None:
            self._renew()
            raise BadRequest(f"The request's head is malformed: {fault}.")
        return sink.fields


def _describe_request_line(parts: list[bytes]) -> str:
    if len(parts) == 3 and parts[2].startswith(b"HTTP/"):
        return "The request's HTTP version is not spoken here: 1.1 and 1.0 are."
    return "The request line is not 'METHOD target HTTP/1.1' with single spaces."


def _connection(head: RequestHead) -> None:
    """Persistence, and the fields that Connection names (RFC 9112 section 9.3)."""
    values = head.held.get(b"connection")
    if values is None:
        head.keep_alive = head.minor == 1
        return
    options = connection_options(values)
    head.keep_alive = persistent(options, head.minor)
    named = options - PERSISTENCE
    if named:
        head.lines = without(head.lines, named)
        for name in named - CONNECTION_FIELDS - _REWRITTEN:
            head.held.pop(name, None)


def _framing(head: RequestHead) -> None:
    """Section 6.3 of RFC 9112, read as strictly as it allows; llhttp saw to both fields at once."""
    held = head.held
    head.length = 0
    head.chunked = False
    head.expects_continue = b"expect" in held and held[b"expect"][0].lower() == b"100-continue"
    codings = held.get(b"transfer-encoding")
    if codings is not None:
        if b"content-length" in held:
            raise BadRequest("The request has both Content-Length and Transfer-Encoding.")
        if head.minor == 0:
            raise BadRequest("A request of HTTP/1.0 cannot have a Transfer-Encoding.")
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise BadRequest("The request's Transfer-Encoding is not 'chunked'.")
        head.chunked = True
        return
    lengths = held.get(b"content-length")
    if lengths is not None:
        if len(lengths) != 1 or not lengths[0].isdigit():
            raise BadRequest("The request's Content-Length is not one number.")
        head.length = int(lengths[0])


def _target(head: RequestHead) -> None:
    """The four forms of RFC 9112 section 3.2."""
    hosts = head.held.get(b"host")
    if hosts is None and head.minor == 1:
        raise BadRequest("The request has no Host field.")
    if hosts is not None and len(hosts) > 1:
        raise BadRequest("The request has several Host fields.")
    head.absolute = False
    head.scheme = "http"
    target = head.target
    if head.method == "CONNECT":
        head.path, head.query_text = "", None
        head.authority = _authority(target)
    else:
        head.authority = _authority(hosts[0].decode("latin-1")) if hosts else None
        if target.startswith("/"):
            path, mark, query = target.partition("?")
            head.path, head.query_text = path, query if mark else None
        elif target == "*" and head.method == "OPTIONS":
            head.path, head.query_text = target, None
        else:
            _absolute_form(head, target)
    head.host = head.authority.host if head.authority else ""


def _authority(text: str) -> Authority | None:
    try:
        authority = parse_authority(text)
    except ValueError as error:
        raise BadRequest(f"The request's authority is malformed: {error}.") from None
    return authority if authority.host else None


def _absolute_form(head: RequestHead, target: str) -> None:
    """The URL's authority takes the place of Host's (RFC 9112 section 3.2.2)."""
    try:
        url = urlsplit(target)
    except ValueError:
        raise BadRequest("The request's URL is malformed.") from None
    if url.scheme not in ("http", "https") or not url.netloc:
        raise BadRequest("The request's target is neither a path nor an http URL.")
    head.absolute = True
    head.scheme = url.scheme
    head.authority = _authority(url.netloc)
    head.query_text = url.query if "?" in target else None
    head.path = url.path or ("*" if head.method == "OPTIONS" and "?" not in target else "/")


def early_fault(partial: bytes) -> BadRequest | None:
    """What is already wrong with the first bytes of a head whose end is still to come.

    So that garbage is answered at once instead of after the head's timeout.
    """
    if not partial[:1].isalpha():
        return BadRequest("What came is not an HTTP request.")
    if partial.count(b"\n") != partial.count(b"\r\n"):
        return BadRequest("The request's head has a line feed without a carriage return.")
    line, end, _ = partial.partition(b"\r\n")
    if end and (len(parts := line.split(b" ")) != 3 or parts[2] not in _VERSIONS):
        return BadRequest(_describe_request_line(parts))
    return None
