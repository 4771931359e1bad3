"""A request's head: from a client's bytes to values, strictly (RFC 9112 sections 2 to 6).

llhttp does the parsing; what it tolerates and a careful intermediary must not (a version it does
not speak, blanks in the request line, several Hosts, a target that is no target) is refused here.
Nothing of the client's head goes on as it came: `RequestHead.lines` are the fields that may be
forwarded, in their order and spelling, each serialised anew.
"""

from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import urlsplit

import httptools

from proxy.errors import BadRequest, HeadersTooLarge, UrlTooLong
from proxy.http.authority import Authority, parse_authority
from proxy.http.fields import JUDGE, FieldReader, Fields, connection_options
from proxy.http.framing import MAX_LENGTH_DIGITS, BodyDecoder, ChunkedDecoder, LengthDecoder

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
_NOT_BY_CONNECTION = CONNECTION_FIELDS | _REWRITTEN
_ABOUT_CONNECTION = frozenset(
    {b"connection", b"content-length", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""Fields that frame a body or say what becomes of the connection, to llhttp or to the proxy."""
_CHECKED = frozenset({b"content-type", b"content_length", b"transfer_encoding"})
"""Fields that go on if they cannot be read in two ways (`FieldSink`)."""
_ENCLOSING = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose requests have a content by their nature."""
_METHODS = {
    name.encode(): name for name in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
}
"""The usual ones; the others are decoded each time."""
_VERSIONS = {b"HTTP/1.1\r\n": 1, b"HTTP/1.0\r\n": 0}
_MAX_KNOWN = 256
"""Heads that are remembered parsed."""
_LONGEST_KNOWN = 4096
"""Bytes of a head that is remembered."""
_MAX_AUTHORITIES = 1000
"""Authorities that are remembered parsed."""

_Host: TypeAlias = tuple[str, Authority | None, str]
"""Of a Host field: its text, what it names, and the host of that."""


class RequestHead(Fields):
    """One request's head. Nobody changes it: the next request with the same bytes has it too.

    `path` is the raw path (``*`` for OPTIONS alone), `query_text` what follows the first ``?``,
    None without one. `authority` names whom the request is for: the URL's in absolute form, else
    Host's, None where there is none; `host` is its host, "" for none, `host_text` the whole as it
    came. `length` is 0 where no
    Content-Length was given.
    """

    __slots__ = (
        "_unchanged_front",
        "absolute",
        "authority",
        "chunked",
        "host",
        "host_text",
        "keep_alive",
        "length",
        "method",
        "minor",
        "path",
        "query_text",
        "scheme",
    )

    _unchanged_front: bytes
    method: str
    scheme: str
    path: str
    query_text: str | None
    authority: Authority | None
    host: str
    host_text: str
    absolute: bool
    minor: int
    keep_alive: bool
    length: int
    chunked: bool

    @property
    def query(self) -> str:
        return self.query_text or ""

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow (a length of 0 is a body of none)."""
        return self.chunked or self.length > 0

    @property
    def expects_continue(self) -> bool:
        expect = self.held.get(b"expect")
        return expect is not None and expect[0].lower() == b"100-continue"

    @property
    def upgrade(self) -> bytes | None:
        """The protocol that the client would switch to (RFC 9110 section 7.8), None for none.

        HTTP/2 in the clear is never passed on: the proxy could not see the requests in it. Nor is
        an upgrade with a body: it would have to be sent before the switch.
        """
        protocols = self.held.get(b"upgrade")
        if protocols is None or self.minor == 0 or self.has_body:
            return None
        asked = b", ".join(protocols)
        options = connection_options(self.held.get(b"connection", []))
        return asked if b"upgrade" in options and b"h2c" not in asked.lower() else None

    def front(self, *, path: str, host: str, lines: list[bytes]) -> bytes:
        """The request as it goes on, from its line to what frames its body, serialised anew."""
        target = path if self.query_text is None else f"{path}?{self.query_text}"
        held = self.held
        framing = b""
        if self.chunked:
            framing = b"Transfer-Encoding: chunked\r\n"
        elif b"content-length" in held:
            framing = b"Content-Length: %d\r\n" % self.length
        if b"te" in held and any(b"trailers" in value.lower() for value in held[b"te"]):
            framing += b"TE: trailers\r\n"
        if b"upgrade" in held and (upgrade := self.upgrade) is not None:
            framing += b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n"
        line = f"{self.method} {target} HTTP/1.1\r\nHost: {host}\r\n".encode("latin-1")
        return b"".join((line, *lines, framing))

    @property
    def unchanged_front(self) -> bytes:
        """`front` where no rule and no rewrite changes anything."""
        front = self._unchanged_front
        if not front:
            front = self.front(path=self.path, host=self.host_text, lines=self.lines)
            self._unchanged_front = front
        return front

    def body_decoder(self) -> BodyDecoder | None:
        """A fresh decoder for the body that follows, None where none does."""
        if self.chunked:
            return ChunkedDecoder()
        return LengthDecoder(self.length) if self.length else None


class RequestParser:
    """Parses the heads of one listener's connections, one whole head at a time.

    `held_back` are further lower-case names that the exchange wants in `RequestHead.held`.
    Clients send the same head again and again, byte for byte: those that came last are remembered
    with what was made of them. One llhttp parser judges head after head, for as long as each had
    no body.
    """

    __slots__ = ("_hosts", "_known", "_max_fields", "_max_url", "_parser", "_reader")

    def __init__(self, held_back: Iterable[bytes], *, max_url: int, max_fields: int) -> None:
        self._max_url = max_url
        self._max_fields = max_fields
        self._hosts: dict[bytes, _Host] = {}
        held = CONNECTION_FIELDS | _REWRITTEN | frozenset(held_back)
        self._known: dict[bytes, RequestHead] = {}
        self._reader = FieldReader(held, _CHECKED)
        self._renew()

    def parse(self, raw: bytes) -> RequestHead:
        """The head in `raw`, which ends with its empty line.

        Raises BadRequest, UrlTooLong or HeadersTooLarge; the connection cannot go on after that.
        """
        head = self._known.get(raw)
        if head is None:
            head = self._parse(raw)
            if len(raw) <= _LONGEST_KNOWN:
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()  # those that are in use are soon there again
                self._known[raw] = head
        return head

    def _parse(self, raw: bytes) -> RequestHead:
        head = RequestHead()
        head._unchanged_front = b""
        target = self._request_line(head, raw)
        if raw.count(b"\r\n") - 2 > self._max_fields:
            raise HeadersTooLarge(f"The request has more than {self._max_fields} header fields.")
        fault = self._reader.read(self._parser, raw, head)
        if fault is None and head.minor == 1 and _ABOUT_CONNECTION.isdisjoint(head.held):
            # Most requests: no body, and the connection stays. llhttp waits for the next head.
            head.keep_alive = True
            head.length = 0
            head.chunked = False
        else:
            self._renew()  # what llhttp made of this head must not meet the next one
            if fault is not None:
                raise BadRequest(f"The request's head is malformed: {fault}.")
            _connection(head)
        self._target(head, target)
        return head

    def _renew(self) -> None:
        self._parser = httptools.HttpRequestParser(JUDGE)

    def _request_line(self, head: RequestHead, raw: bytes) -> str:
        """The target. Exactly one space on either side of it (RFC 9112 section 3)."""
        try:
            method, target, rest = raw.split(b" ", 2)
            head.minor = _VERSIONS[rest[:10]]
        except (ValueError, KeyError):
            raise _bad_request_line(raw) from None
        if not target:
            raise _bad_request_line(raw)
        if len(target) > self._max_url:
            raise UrlTooLong(f"The URL is longer than {self._max_url} bytes.")
        text = target.decode("latin-1")
        # A line end in it as well: llhttp takes "GET /x" for a whole line, one of HTTP/0.9.
        if not text.isascii() or not text.isprintable() or "#" in text:
            raise BadRequest("The request's target has characters that no URL in a request has.")
        head.method = _METHODS.get(method) or _rare_method(method)
        return text

    def _target(self, head: RequestHead, target: str) -> None:
        """The four forms of RFC 9112 section 3.2."""
        hosts = head.held.get(b"host")
        if hosts is None:
            if head.minor == 1:
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
            known = self._learn_host(host)
        head.host_text, head.authority, head.host = known

    def _authority_form(self, head: RequestHead, target: str) -> bytes:
        """``host:port`` of a CONNECT, which has no default port and no body (RFC 9110 9.3.6)."""
        head.path, head.query_text = "*", None
        host = target.encode("ascii")
        _, authority, _ = self._hosts.get(host) or self._learn_host(host)
        if authority is None or authority.port is None or head.has_body:
            raise BadRequest("CONNECT wants host:port, and no body.")
        return host

    def _learn_host(self, host: bytes) -> _Host:
        text = host.decode("latin-1")
        try:
            authority = parse_authority(text)
        except ValueError as error:
            raise BadRequest(f"The request's authority is malformed: {error}.") from None
        known = (text, authority if authority.host else None, authority.host)
        if len(self._hosts) < _MAX_AUTHORITIES:
            self._hosts[host] = known
        return known

    def _absolute_form(self, head: RequestHead, target: str) -> bytes:
        """The URL's authority takes the place of Host's (RFC 9112 section 3.2.2)."""
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
    """llhttp knows which there are, but passes over line ends before them: not those of here."""
    if not method[:1].isalpha():
        raise BadRequest("The request does not begin with a method.")
    return method.decode("latin-1")


def _connection(head: RequestHead) -> None:
    """Persistence, what Connection names (RFC 9112 section 9.3), and framing."""
    held = head.held
    head.keep_alive = head.persistence(head.minor, _NOT_BY_CONNECTION)
    head.length = 0
    head.chunked = False
    if b"transfer-encoding" in held:
        _check_coding(head)
        head.chunked = True
    elif b"content-length" in held:
        lengths = held[b"content-length"]
        if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > MAX_LENGTH_DIGITS:
            raise BadRequest("The request's Content-Length is not one number.")
        head.length = int(lengths[0])
    elif head.minor == 0 and head.method in _ENCLOSING:
        # In HTTP/1.0 nothing else could say where the content ends (RFC 1945 section 8.3).
        raise BadRequest("A request of HTTP/1.0 with this method needs a Content-Length.")


def _check_coding(head: RequestHead) -> None:
    """RFC 9112 section 6.1, read as strictly as it allows."""
    codings = head.held[b"transfer-encoding"]
    if b"content-length" in head.held:
        raise BadRequest("The request has both Content-Length and Transfer-Encoding.")
    if head.minor == 0:
        raise BadRequest("A request of HTTP/1.0 cannot have a Transfer-Encoding.")
    if len(codings) != 1 or codings[0].lower() != b"chunked":
        raise BadRequest("The request's Transfer-Encoding is not 'chunked'.")


def _bad_request_line(raw: bytes) -> BadRequest:
    line = raw.partition(b"\r\n")[0].split(b" ")
    if len(line) == 3 and line[1] and line[2].startswith(b"HTTP/"):
        return BadRequest("The request's HTTP version is not spoken here: 1.1 and 1.0 are.")
    return BadRequest("The request line is not 'METHOD target HTTP/1.1' with single spaces.")


def early_fault(partial: bytes) -> BadRequest | None:
    """What is already wrong with the first bytes of a head whose end is still to come.

    So that garbage is answered at once instead of after the head's timeout.
    """
    if not partial[:1].isalpha():
        return BadRequest("What came is not an HTTP request.")
    if partial.count(b"\n") != partial.count(b"\r\n"):
        return BadRequest("The request's head has a line feed without a carriage return.")
    line, end, _ = partial.partition(b"\r\n")
    parts = line.split(b" ")
    if end and (len(parts) != 3 or not parts[1] or parts[2] + end not in _VERSIONS):
        return _bad_request_line(partial)
    return None
