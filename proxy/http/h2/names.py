"""Names and values of HTTP/2 fields: which are pseudo-headers, which no message may have."""

from typing import Final

from proxy.http.message import Field, FieldName

REGULAR: Final = 0
METHOD: Final = 1
SCHEME: Final = 2
AUTHORITY: Final = 3
PATH: Final = 4
PROTOCOL: Final = 5
STATUS: Final = 6
UNKNOWN_PSEUDO: Final = 7
"""A name with a colon that no specification knows; always malformed (RFC 9113 section 8.3)."""

PSEUDO: Final = {
    b":method": METHOD,
    b":scheme": SCHEME,
    b":authority": AUTHORITY,
    b":path": PATH,
    b":protocol": PROTOCOL,
    b":status": STATUS,
}
_CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""Names of fields that HTTP/2 does not have (RFC 9113 section 8.2.2)."""


def _only(characters: bytes) -> bytes:
    """A table for `translate` that leaves these characters, and none other, as they are."""
    return bytes(each if each in characters else (each + 1) % 256 for each in range(256))


_NAME_TABLE: Final = _only(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
"""Lower-case tokens: RFC 9113 section 8.2.1 with RFC 9110 section 5.6.2."""
_VALUE_TABLE: Final = _only(b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100)))
"""RFC 9110 section 5.5; RFC 9113 section 8.2.1 only demands that NUL, CR and LF are refused."""


def make_name(text: bytes) -> FieldName:
    """A name as an HTTP/2 peer sent it."""
    if text.startswith(b":"):
        return FieldName(text, PSEUDO.get(text, UNKNOWN_PSEUDO))
    return FieldName(text)


def is_malformed_name(name: FieldName) -> bool:
    """Whether no HTTP/2 message may have a field of this name."""
    if name.kind != REGULAR:
        return name.kind == UNKNOWN_PSEUDO
    text = name.text
    if text in _CONNECTION_SPECIFIC or not text:
        return True
    return text.translate(_NAME_TABLE) != text


def is_malformed_value(name: FieldName, value: bytes) -> bool:
    """Whether no HTTP/2 message may have this value in a field of this name."""
    if not value:
        return False
    first, last = value[0], value[len(value) - 1]
    if first == 32 or first == 9 or last == 32 or last == 9:
        return True
    if name.text == b"te" and value.lower() != b"trailers":
        return True
    return value.translate(_VALUE_TABLE) != value


def why_malformed(field: Field) -> str:
    """A sentence for a malformed field, for logs and answers."""
    name = field.name
    shown = name.text.decode("latin-1").encode("unicode_escape").decode()
    if name.kind == UNKNOWN_PSEUDO:
        return f"{shown} is not a pseudo-header field"
    if name.text in _CONNECTION_SPECIFIC:
        return f"HTTP/2 does not allow the field {shown}"
    if is_malformed_name(name):
        return f"a field name has characters that are not allowed: {shown}"
    if name.text == b"te":
        return "te may only be trailers in HTTP/2"
    return f"the value of {shown} has characters that are not allowed"
