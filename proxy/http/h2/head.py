"""Heads and trailers from HTTP/2 fields: what RFC 9113 section 8 demands of them."""

from binascii import b2a_base64
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, cast

from proxy.errors import BadRequest, UpstreamMalformed, UrlTooLong
from proxy.http.authority import HostMemory
from proxy.http.h2.decoder import FieldSection
from proxy.http.h2.fields import FieldStore
from proxy.http.h2.judge import Judge, Malformed, misplaced
from proxy.http.h2.names import (
    AUTHORITY,
    METHOD,
    PATH,
    REGULAR,
    SCHEME,
    STATUS,
    why_malformed,
)
from proxy.http.message import (
    Field,
    FieldName,
    Head,
    RequestHead,
    ResponseHead,
    make_field,
)
from proxy.http.trailers import REFUSED, is_dropped
from proxy.http.treatment import CHECKED_IN_REQUESTS

_REQUEST_OWN = frozenset(
    {
        b":path",
        b"authorization",
        b"baggage",
        b"content-length",
        b"cookie",
        b"grpc-timeout",
        b"idempotency-key",
        b"traceparent",
        b"tracestate",
        b"x-b3-spanid",
        b"x-b3-traceid",
        b"x-idempotency-key",
        b"x-request-id",
        b"x-request-timeout-ms",
    }
)
"""Names whose values are new in most requests, and credentials; the store learns others."""
_RESPONSE_OWN = frozenset({b"content-length", b"date", b"etag", b"set-cookie", b"x-request-id"})
_REQUEST_HELD = frozenset({b"host", b"te", b"expect", b"via", b"proxy-authorization"})
"""Fields of requests that are not forwarded as received."""
_RESPONSE_HELD = frozenset({b"te", b"proxy-authenticate", b"x-request-id"})
_NO_NAMES: Final[frozenset[bytes]] = frozenset()

_METHODS: Final = {
    name.encode(): name for name in ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH")
}
"""Common methods; others are decoded each time."""
_ENCLOSING: Final = frozenset({"POST", "PUT", "PATCH"})
_SCHEMES: Final = {b"http": "http", b"https": "https"}
_TOKEN_CHARACTERS: Final = (
    b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
_WEBSOCKET: Final = b"websocket"
_KEY: Final = FieldName(b"sec-websocket-key")
_SWITCHED: Final = 101

Trailers: TypeAlias = list[tuple[bytes, bytes]]


def request_store() -> FieldStore:
    """A store for the fields of requests."""
    return FieldStore(_REQUEST_OWN)


def response_store() -> FieldStore:
    """A store for the fields of responses."""
    return FieldStore(_RESPONSE_OWN)


class _Judged:
    """The heads that a section gives, by whether the stream ends with it."""

    __slots__ = ("ended", "going_on", "reader")

    def __init__(self, reader: object) -> None:
        self.reader = reader
        self.ended: Head | None = None
        self.going_on: Head | None = None

    def keep(self, head: Head, ended: bool) -> None:
        if ended:
            self.ended = head
        else:
            self.going_on = head


def _judged(section: FieldSection, reader: object) -> _Judged:
    """What this reader made of the section; another reader's heads are forgotten."""
    judged = section.judged
    if not isinstance(judged, _Judged) or judged.reader is not reader:
        judged = section.judged = _Judged(reader)
    return judged


class RequestReader:
    """Reads the request heads of one listener under one configuration.

    `held_back` are further lower-case names that the exchange wants in `RequestHead.held`; it also
    gets those for which `keeps_out` is true. `new_bytes(n)`: n random bytes.
    """

    __slots__ = ("_hosts", "_judge", "_max_url", "_memory", "_new_bytes")

    def __init__(
        self,
        held_back: Iterable[bytes],
        *,
        max_url: int,
        new_bytes: Callable[[int], bytes],
        keeps_out: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._max_url = max_url
        self._new_bytes = new_bytes
        self._memory = HostMemory()
        self._hosts = self._memory.known
        held = _REQUEST_HELD | frozenset(held_back)
        self._judge = Judge(held, CHECKED_IN_REQUESTS, keeps_out)

    def read(self, section: FieldSection, ended: bool) -> RequestHead:
        """The head of a request; `ended`: no body follows.

        Raises Malformed, or BadRequest or UrlTooLong, which are answered. The section is complete.
        """
        judged = _judged(section, self)
        known = judged.ended if ended else judged.going_on
        if known is not None:
            return cast(RequestHead, known)
        head = self._read(section.fields, ended)
        if b"upgrade" in head.held:
            return head  # its key is new each time
        judged.keep(head, ended)
        return head

    def _read(self, fields: list[Field], ended: bool) -> RequestHead:
        key: list[object] = []
        own: list[Field] = []
        seen = 0
        method = scheme = authority = path = protocol = b""
        for field in fields:
            name = field.name
            kind = name.kind
            if kind == REGULAR:
                if field.stable:
                    key.append(field)
                    continue
                if field.malformed:
                    raise Malformed(why_malformed(field))
                key.append(name)
                own.append(field)
                continue
            if field.malformed or kind == STATUS:
                raise Malformed(why_malformed(field))
            if key or seen & (1 << kind):
                raise Malformed(misplaced(field, bool(key)))
            seen |= 1 << kind
            if kind == PATH:
                path = field.value
            elif kind == METHOD:
                method = field.value
            elif kind == AUTHORITY:
                authority = field.value
            elif kind == SCHEME:
                scheme = field.value
            else:
                protocol = field.value
        head = RequestHead()
        head.version = 20
        head.keep_alive = True
        head.absolute = True
        self._method(head, method)
        length = self._judge.judge(head, fields, key, own)
        _frame(head, length, ended)
        self._authority(head, authority)
        if method == b"CONNECT" and not protocol:
            self._connect(head, seen)
            return head
        _demand(seen, _ORDINARY, "a pseudo-header field is missing")
        self._target(head, scheme, path)
        if protocol:
            return self._websocket(head, protocol)
        return head

    def _method(self, head: RequestHead, method: bytes) -> None:
        usual = _METHODS.get(method)
        head.unusual = usual is None
        if usual is None:
            if not method or method.translate(None, _TOKEN_CHARACTERS):
                raise Malformed(":method is missing or not a method")
            usual = method.decode("ascii")
        head.method = usual

    def _authority(self, head: RequestHead, authority: bytes) -> None:
        """Set the authority; a Host field may repeat it or stand for it (section 8.3.1)."""
        hosts = head.held.get(b"host")
        if hosts is not None:
            if len(hosts) > 1:
                raise BadRequest("The request has several Host fields.")
            if not authority:
                authority = hosts[0]
            elif authority.lower() != hosts[0].lower():
                raise BadRequest("The request's Host differs from its :authority.")
        if not authority:
            raise BadRequest("The request has neither :authority nor Host.")
        known = self._hosts.get(authority)
        if known is None:
            known = self._memory.learn(authority)
        head.host_text, head.authority, head.host = known

    def _target(self, head: RequestHead, scheme: bytes, path: bytes) -> None:
        known = _SCHEMES.get(scheme)
        if known is None:
            raise BadRequest("The request's :scheme is neither http nor https.")
        head.scheme = known
        if len(path) > self._max_url:
            raise UrlTooLong(f"The URL is longer than {self._max_url} bytes.")
        text = path.decode("latin-1")
        if not text.isascii() or not text.isprintable() or " " in text or "#" in text:
            raise Malformed(":path has characters that are not allowed in a URL")
        if path[:1] == b"/":
            head.path, mark, query = text.partition("?")
            head.query_text = query if mark else None
        elif path == b"*" and head.method == "OPTIONS":
            head.path, head.query_text = text, None
        else:
            raise Malformed(":path is not a path")

    def _connect(self, head: RequestHead, seen: int) -> None:
        """A tunnel to ``host:port`` (section 8.5)."""
        if seen & _TARGET:
            raise Malformed("CONNECT has :scheme or :path")
        _demand(seen, _CONNECTING, "CONNECT has no :authority")
        authority = head.authority
        if authority is None or authority.port is None or head.length:
            raise BadRequest("CONNECT needs host:port, and no body.")
        head.scheme = "http"
        head.path, head.query_text = "*", None
        head.chunked = head.sized = False

    def _websocket(self, head: RequestHead, protocol: bytes) -> RequestHead:
        """An extended CONNECT (RFC 8441), as the request for an upgrade that it means."""
        if head.method != "CONNECT":
            raise Malformed(":protocol is only for CONNECT")
        if protocol.lower() != _WEBSOCKET:
            raise BadRequest("The request's :protocol is not websocket.")
        if head.length:
            raise BadRequest("A request for a WebSocket has no body.")
        head.method = "GET"
        head.unusual = head.chunked = head.sized = False
        key = b2a_base64(self._new_bytes(16), newline=False)
        fields = [field for field in head.fields if field.name.lower != _KEY.lower]
        fields.append(make_field(_KEY.text, key))
        head.held = {**head.held, b"upgrade": [_WEBSOCKET], b"connection": [b"Upgrade"]}
        return head.changed(path=head.path, host_text=head.host_text, fields=fields)


_ORDINARY: Final = 1 << METHOD | 1 << SCHEME | 1 << PATH
_CONNECTING: Final = 1 << METHOD | 1 << AUTHORITY
_TARGET: Final = 1 << SCHEME | 1 << PATH


def _demand(seen: int, wanted: int, fault: str) -> None:
    if seen & wanted != wanted:
        raise Malformed(fault)


def _frame(head: RequestHead, length: bytes, ended: bool) -> None:
    """The body's length (section 8.1.1)."""
    if length:
        head.sized = True
        head.chunked = False
        head.length = int(length)
        if ended and head.length:
            raise Malformed("content-length promises a body, and the stream ends without one")
        return
    head.length = 0
    head.chunked = not ended
    head.sized = ended and head.method in _ENCLOSING


class ResponseReader:
    """Reads the response heads of all upstreams."""

    __slots__ = ("_judge",)

    def __init__(self) -> None:
        self._judge = Judge(_RESPONSE_HELD, _NO_NAMES, None)

    def read(self, section: FieldSection, ended: bool) -> ResponseHead:
        """The head of a response; `ended`: no body follows. Raises Malformed.

        `length` may be given although the response has no body, as to HEAD.
        """
        judged = _judged(section, self)
        known = judged.ended if ended else judged.going_on
        if known is not None:
            return cast(ResponseHead, known)
        head = self._read(section.fields, ended)
        judged.keep(head, ended)
        return head

    def _read(self, fields: list[Field], ended: bool) -> ResponseHead:
        key: list[object] = []
        own: list[Field] = []
        status = b""
        for field in fields:
            name = field.name
            if name.kind == REGULAR:
                if field.stable:
                    key.append(field)
                    continue
                if field.malformed:
                    raise Malformed(why_malformed(field))
                key.append(name)
                own.append(field)
            elif name.kind != STATUS or field.malformed:
                raise Malformed(why_malformed(field))
            elif key or status:
                raise Malformed(misplaced(field, bool(key)))
            else:
                status = field.value
        head = ResponseHead()
        head.version = 20
        head.status = _status(status)
        head.status_line = b""
        head.keep_alive = True
        try:
            length = self._judge.judge(head, fields, key, own)
        except BadRequest as error:  # not of a response: nothing is checked
            raise UpstreamMalformed(error.detail) from None
        head.length = int(length) if length else None
        head.chunked = not ended and not length
        return head


def _status(value: bytes) -> int:
    if len(value) != 3 or not value.isdigit() or value < b"100":
        raise Malformed(":status is missing or not a status")
    status = int(value)
    if status == _SWITCHED:
        raise Malformed("101 does not exist in HTTP/2")
    return status


def read_trailers(section: FieldSection) -> Trailers:
    """The fields of a trailer section, without those that have no meaning there.

    Raises Malformed.
    """
    trailers: Trailers = []
    for field in section.fields:
        name = field.name
        if name.kind != REGULAR:
            raise Malformed("a trailer section has a pseudo-header field")
        if field.malformed:
            raise Malformed(why_malformed(field))
        if name.lower in REFUSED:
            raise Malformed("a trailer field would frame or route the message again")
        if not is_dropped(name.lower):
            trailers.append((name.text, field.value))
    return trailers
