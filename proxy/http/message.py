"""Messages as values, the same for every version of HTTP.

A head has two parts. The *shared* part is one object for all heads with the same fields: it is
validated once, and readers remember it. The *own* part differs in each request: ids, the trace, a
length, a cookie. Heads are immutable; `RequestHead.changed` makes another one.

    RequestHead ──shared──▶ Shared (fields, held)         one for many heads
         └────────own─────▶ its own fields, by position   one for each head
"""

from typing import Final, TypeAlias

from proxy.http.authority import Authority
from proxy.http.lists import connection_options, joined


class FieldName:
    """A field's name: `text` as spelled, and `lower` for comparing.

    `prefix` is the name's part of an HTTP/1 line, so that a writer only joins bytes; `literal`
    its part of an HTTP/2 literal, `sized` the same with the length of a value of `sized_for`
    bytes: caches of `http/h2/encoder.py`. `kind`: REGULAR, or which pseudo-header of HTTP/2 it
    names (`http/h2/names.py`).
    """

    __slots__ = ("kind", "literal", "lower", "prefix", "sized", "sized_for", "text")

    def __init__(self, text: bytes, kind: int = 0) -> None:
        self.text = text
        self.lower = text.lower()
        self.prefix = b"\r\n" + text + b": "
        self.literal = b""
        self.sized = b""
        self.sized_for = -1
        self.kind = kind


class Field:
    """One forwarded field: its name as spelled and its value.

    `line` is its HTTP/1 form without the line end. The rest says what an HTTP/2 peer sent:
    `stable`: a `FieldStore` remembers it, so equal fields are this object. `secret`: no table may
    hold it, here or at the next hop (RFC 7541 section 7.1.3). `malformed`: no message may have it
    (RFC 9113 sections 8.2.1 to 8.3).
    """

    __slots__ = ("line", "malformed", "name", "secret", "stable", "value")

    def __init__(self, name: FieldName, value: bytes, line: bytes) -> None:
        self.name = name
        self.value = value
        self.line = line
        self.stable = False
        self.secret = False
        self.malformed = False


def named_field(name: FieldName, value: bytes) -> Field:
    """A field with an existing `FieldName`."""
    return Field(name, value, name.text + b": " + value)


OwnField: TypeAlias = tuple[FieldName, bytes]
OwnFields: TypeAlias = list[OwnField]
"""Fields that the proxy adds to a forwarded head."""


def make_field(name: bytes, value: bytes) -> Field:
    """A field from its name and value, which must be valid."""
    return named_field(FieldName(name), value)


FIXED: Final = -1
NOT_FORWARDED: Final = -2
SEVERAL: Final = -3
"""Places of a field; see `Shared`."""


class Shared:
    """The shared part of many heads.

    `fields` are forwarded, in order; None marks the place of an own field. `held` has the values
    of the fields that are not forwarded, by lower-case name. `blocks` is the HTTP/1 form of the
    fields between the own ones: one block more than own fields. `keep_alive` and `chunked` are
    what the fields say about connection and body, `dated` whether they have a Date, `crumbs`
    whether a cookie is spread over several fields, as only HTTP/2 allows.

    `sought` is the name that heads with this part were last asked for, `place` where its field is:
    a position among the own fields, FIXED (its value is `fixed`), NOT_FORWARDED, or SEVERAL. All
    heads with the same shared part have the same forwarded names in the same places.
    """

    __slots__ = (
        "blocks",
        "chunked",
        "crumbs",
        "dated",
        "fields",
        "fixed",
        "held",
        "keep_alive",
        "place",
        "sought",
    )

    def __init__(self, fields: list[Field | None], held: dict[bytes, list[bytes]]) -> None:
        self.sought = b""
        self.place = NOT_FORWARDED
        self.fixed = b""
        self.fields = fields
        self.held = held
        self.keep_alive = True
        self.chunked = False
        self.dated = False
        self.crumbs = False
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


NO_OWN: Final[list[Field]] = []
_NO_VALUES: Final[list[bytes]] = []
_WITHOUT_FIELD: Final = frozenset((b"host", b"content-length"))
"""Names with a value that no field needs to have: see `RequestHead.values`."""


class Head:
    """The fields of one head. `held` has the values of those that are not forwarded.

    `own` are the forwarded own fields, for the places that `shared` leaves free. `written` is a
    cache for the connections' writers.
    """

    __slots__ = ("held", "own", "shared", "written")

    shared: Shared
    own: list[Field]
    held: dict[bytes, list[bytes]]
    written: bytes

    @property
    def fields(self) -> list[Field]:
        """The forwarded fields, in order."""
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
        held = self.held.get(name)
        if held is not None:
            return held
        found: list[bytes] = []
        at = 0
        for field in self.shared.fields:
            if field is None:
                field = self.own[at]
                at += 1
            if field.name.lower == name:
                found.append(field.value)
        return found

    def first(self, name: bytes) -> bytes:
        """The first value of a field by its lower-case name; b"": it is empty, or there is none."""
        place = self._place(name)
        if place >= 0:
            return self.own[place].value
        if place == FIXED:
            return self.shared.fixed
        values = self._others(name, place)
        return values[0] if values else b""

    def joined(self, name: bytes) -> bytes:
        """The values of a field by its lower-case name, with commas between them.

        b"": it is empty, or there is none.
        """
        place = self._place(name)
        if place >= 0:
            return self.own[place].value
        if place == FIXED:
            return self.shared.fixed
        return b",".join(self._others(name, place))

    def _others(self, name: bytes, place: int) -> list[bytes]:
        """The values of a field that is not forwarded, or that comes several times."""
        if place == NOT_FORWARDED and name not in self.held and name not in _WITHOUT_FIELD:
            return _NO_VALUES
        return self.values(name)

    def _place(self, name: bytes) -> int:
        """Where the field is: `Shared.place`. The same name is sought in most heads."""
        shared = self.shared
        if shared.sought is not name and shared.sought != name:
            self._seek(name)
        return shared.place

    def _seek(self, name: bytes) -> None:
        """Note the place of this name's field in the shared part."""
        shared = self.shared
        shared.sought = name
        shared.place = NOT_FORWARDED
        if name in self.held:
            return
        place = NOT_FORWARDED
        at = 0
        for field in shared.fields:
            own = field is None
            if field is None:
                field = self.own[at]
                at += 1
            if field.name.lower == name:
                if place != NOT_FORWARDED:
                    place = SEVERAL
                    break
                place = at - 1 if own else FIXED
                shared.fixed = field.value
        shared.place = place


class RequestHead(Head):
    """One request's head.

    `path` is the raw path (``*`` only for OPTIONS), `query_text` the text after the first ``?``,
    None without one. `authority` is the requested authority: the URL's in absolute form, else
    Host's, None without either; `host` is its host, "" without one, `host_text` the received text.
    `version` is the received version of HTTP: 10, 11 or 20. `sized`: `length` was given; `chunked`:
    the body's length is unknown. `unusual`: the method is none of the common ones.
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
        "path",
        "query_text",
        "scheme",
        "sized",
        "unusual",
        "version",
    )

    method: str
    scheme: str
    path: str
    query_text: str | None
    authority: Authority | None
    host: str
    host_text: str
    absolute: bool
    version: int
    keep_alive: bool
    length: int
    sized: bool
    chunked: bool
    unusual: bool

    @property
    def query(self) -> str:
        return self.query_text or ""

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field by its lower-case name, in order.

        Host is `:authority` of HTTP/2 too; Content-Length, kept as `length`, is a field to users.
        """
        found = super().values(name)
        if not found:
            if name == b"host" and self.host_text:
                return [self.host_text.encode("latin-1")]
            if name == b"content-length" and self.sized:
                return [b"%d" % self.length]
        return found

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow (a body of length 0 has none)."""
        return self.chunked or self.length > 0

    @property
    def expects_continue(self) -> bool:
        expect = self.held.get(b"expect")
        return expect is not None and expect[0].lower() == b"100-continue"

    @property
    def takes_trailers(self) -> bool:
        """Whether the client accepts trailers (RFC 9110 section 10.1.4)."""
        for value in self.held.get(b"te", _NO_VALUES):
            if value == b"trailers" or b"trailers" in value.lower():
                return True
        return False

    @property
    def upgrade(self) -> bytes | None:
        """The protocol that the client wants to switch to (RFC 9110 section 7.8), or None.

        An upgrade to HTTP/2 in the clear is never forwarded: the proxy would not see its requests.
        Neither is an upgrade with a body, which would have to be sent before the switch.
        """
        protocols = self.held.get(b"upgrade")
        if protocols is None or self.version == 10 or self.has_body:
            return None
        asked = joined(protocols)
        options = connection_options(self.held.get(b"connection", []))
        if not asked or b"upgrade" not in options or b"h2c" in asked.lower():
            return None
        return asked

    def changed(self, *, path: str, host_text: str, fields: list[Field]) -> "RequestHead":
        """The same request with another path and host and other forwarded fields."""
        shared = Shared([*fields], self.shared.held)
        shared.crumbs = self.shared.crumbs
        return self.sharing(shared, NO_OWN, path=path, host_text=host_text)

    def sharing(
        self, shared: Shared, own: list[Field], *, path: str, host_text: str
    ) -> "RequestHead":
        """The same request with another path and host, and with the fields of these parts."""
        head = RequestHead()
        head.shared = shared
        head.own = own
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
        head.version = self.version
        head.keep_alive = self.keep_alive
        head.length = self.length
        head.sized = self.sized
        head.chunked = self.chunked
        head.unusual = self.unusual
        return head


class ResponseHead(Head):
    """One response's head.

    `status_line` is its HTTP/1 form without the line end, b"" if the writer must make it. `version`
    is the received version of HTTP: 10, 11 or 20. `length` is None if none was given; `chunked`
    then says whether the body's end is marked. `keep_alive`: its connection may carry another
    exchange.
    """

    __slots__ = ("chunked", "keep_alive", "length", "status", "status_line", "version")

    version: int
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
        """The same response with other forwarded fields."""
        head = ResponseHead()
        head.shared = Shared([*fields], self.shared.held)
        head.own = NO_OWN
        head.held = self.held
        head.written = b""
        head.version = self.version
        head.status = self.status
        head.status_line = self.status_line
        head.keep_alive = self.keep_alive
        head.length = self.length
        head.chunked = self.chunked
        return head
