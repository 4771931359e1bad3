"""Messages as values, the same for every version of HTTP.

A head has two parts. The *shared* part is one object for all heads with the same fields: it is
judged once, and readers remember it. The *own* part is what differs in each request: ids, the
trace, a length, a cookie. Nobody changes a head after it was made; `RequestHead.changed` makes
another one.

    RequestHead ──shared──▶ Shared (fields, held)         one for many heads
         └────────own─────▶ its own fields, by position   one for each head
"""

from typing import Final, TypeAlias

from proxy.http.authority import Authority


class FieldName:
    """A field's name: `text` as it is written, and `lower` for comparing.

    `prefix` is what the name adds to an HTTP/1 head before the value, so that a writer joins
    bytes and formats none.
    """

    __slots__ = ("lower", "prefix", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.lower = text.lower()
        self.prefix = b"\r\n" + text + b": "


class Field:
    """One field that goes on: its name as spelled and its value.

    `line` is its HTTP/1 form without the line's end.
    """

    __slots__ = ("line", "name", "value")

    def __init__(self, name: FieldName, value: bytes, line: bytes) -> None:
        self.name = name
        self.value = value
        self.line = line


def named_field(name: FieldName, value: bytes) -> Field:
    """A field with a name that is there already."""
    return Field(name, value, name.text + b": " + value)


OwnField: TypeAlias = tuple[FieldName, bytes]
OwnFields: TypeAlias = list[OwnField]
"""Fields that the proxy adds to a head that goes on."""


def make_field(name: bytes, value: bytes) -> Field:
    """A field from its name and value, which must be valid."""
    return named_field(FieldName(name), value)


class Shared:
    """What many heads have in common.

    `fields` go on, in their order; None stands where a head's own field has its place. `held` has
    the values of the fields that do not go on, by lower-case name. `blocks` is the HTTP/1 form of
    the fields between the own ones: one block more than there are own fields. `keep_alive` and
    `chunked` are what the fields say about connection and body.
    """

    __slots__ = ("blocks", "chunked", "fields", "held", "keep_alive")

    def __init__(self, fields: list[Field | None], held: dict[bytes, list[bytes]]) -> None:
        self.fields = fields
        self.held = held
        self.keep_alive = True
        self.chunked = False
        self.blocks = _blocks(fields)


def _blocks(fields: list[Field | None]) -> list[bytes]:
    blocks: list[bytes] = []
    lines: list[bytes] = [b""]
    for field in fields:
        if field is None:
            blocks.append(b"\r\n".join(lines))
            lines = [b""]
        else:
            lines.append(field.line)
    blocks.append(b"\r\n".join(lines))
    return blocks


_NO_OWN: Final[list[Field]] = []


class Head:
    """The fields of one head. `held` has the values of those that do not go on.

    `own` are the own fields that go on, for the places that `shared` leaves free. `written` is
    for the connections' writers to remember what they made of this head.
    """

    __slots__ = ("held", "own", "shared", "written")

    shared: Shared
    own: list[Field]
    held: dict[bytes, list[bytes]]
    written: bytes

    @property
    def fields(self) -> list[Field]:
        """The fields that go on, in their order."""
        found: list[Field] = []
        at = 0
        for field in self.shared.fields:
            if field is None:
                field = self.own[at]
                at += 1
            found.append(field)
        return found

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field by its lower-case name, in order."""
        if name in self.held:
            return self.held[name]
        return [field.value for field in self.fields if field.name.lower == name]


class RequestHead(Head):
    """One request's head.

    `path` is the raw path (``*`` for OPTIONS alone), `query_text` what follows the first ``?``,
    None without one. `authority` names whom the request is for: the URL's in absolute form, else
    Host's, None where there is none; `host` is its host, "" for none, `host_text` the whole as it
    came. `minor` is the version that it came in, of HTTP/1. `sized`: a length was given, `length`;
    `chunked`: the body's length is unknown.
    """

    __slots__ = (
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
        "sized",
    )

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
    sized: bool
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
    def takes_trailers(self) -> bool:
        """Whether the client says that it reads trailers (RFC 9110 section 10.1.4)."""
        values = self.held.get(b"te")
        return values is not None and any(b"trailers" in value.lower() for value in values)

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

    def changed(self, *, path: str, host_text: str, fields: list[Field]) -> "RequestHead":
        """The same request to another path and host, with other fields that go on."""
        head = RequestHead()
        head.shared = Shared([*fields], self.shared.held)
        head.own = _NO_OWN
        head.held = self.held
        head.written = b""
        head.method = self.method
        head.scheme = self.scheme
        head.path = path
        head.query_text = self.query_text
        head.authority = self.authority
        head.host = self.host
        head.host_text = host_text
        head.absolute = self.absolute
        head.minor = self.minor
        head.keep_alive = self.keep_alive
        head.length = self.length
        head.sized = self.sized
        head.chunked = self.chunked
        return head


class ResponseHead(Head):
    """One response's head.

    `status_line` is its HTTP/1 form without the line's end, b"" where the writer has to make it.
    `minor` is the version that it came in, of HTTP/1. `length` is None where none was given; then
    `chunked` says whether the end of a body would have been marked. `keep_alive`: the connection
    that it came on may carry another exchange.
    """

    __slots__ = ("chunked", "keep_alive", "length", "minor", "status", "status_line")

    minor: int
    status: int
    status_line: bytes
    keep_alive: bool
    length: int | None
    chunked: bool

    def has_body(self, method: str) -> bool:
        """Whether a body follows the response to `method` (RFC 9112 section 6.3, rules 1 and 2)."""
        status = self.status
        return method != "HEAD" and status >= 200 and status != 204 and status != 304

    def changed(self, fields: list[Field]) -> "ResponseHead":
        """The same response with other fields that go on."""
        head = ResponseHead()
        head.shared = Shared([*fields], self.shared.held)
        head.own = _NO_OWN
        head.held = self.held
        head.written = b""
        head.minor = self.minor
        head.status = self.status
        head.status_line = self.status_line
        head.keep_alive = self.keep_alive
        head.length = self.length
        head.chunked = self.chunked
        return head


def make_response(status: int, fields: list[Field], length: int | None) -> ResponseHead:
    """The head of a response that the proxy makes itself."""
    head = ResponseHead()
    head.shared = Shared([*fields], {})
    head.own = _NO_OWN
    head.held = head.shared.held
    head.written = b""
    head.minor = 1
    head.status = status
    head.status_line = b""
    head.keep_alive = True
    head.length = length
    head.chunked = False
    return head


def connection_options(values: list[bytes]) -> frozenset[bytes]:
    """The lower-case options of Connection fields (RFC 9110 section 7.6.1)."""
    joined = b",".join(values).lower()
    return frozenset(option.strip() for option in joined.split(b",")) - {b""}
