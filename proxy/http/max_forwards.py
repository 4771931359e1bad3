"""Max-Forwards: TRACE and OPTIONS that this proxy answers itself (RFC 9110 section 7.6.2).

A TRACE is reflected without what could be a credential (RFC 9110 section 9.3.8).
"""

import re
from collections.abc import Iterator
from typing import Final

from proxy.http.message import Field, FieldName, RequestHead, named_field

_METHODS: Final = frozenset({"TRACE", "OPTIONS"})
_MAX_FORWARDS: Final = b"max-forwards"
_FIELD: Final = FieldName(b"Max-Forwards")
_MAX_DIGITS: Final = 9
_NUMBERS: Final = {10: "1.0", 11: "1.1", 20: "2.0"}
_CREDENTIAL = re.compile(rb"auth|cookie|token|secret|passw|key|session|signature|assertion")
MESSAGE_HTTP: Final = b"message/http"


def forwards_left(head: RequestHead) -> int | None:
    """How often it may be forwarded; None: no limit, or one that cannot be read."""
    if head.method not in _METHODS:
        return None
    values = head.values(_MAX_FORWARDS)
    if len(values) != 1 or not values[0].isdigit() or len(values[0]) > _MAX_DIGITS:
        return None
    return int(values[0])


def counted_down(head: RequestHead, left: int) -> RequestHead:
    """The request with one forwarding less than `left`."""
    counted = named_field(_FIELD, b"%d" % (left - 1))
    fields = [counted if field.name.lower == _MAX_FORWARDS else field for field in head.fields]
    return head.changed(path=head.path, host_text=head.host_text, fields=fields)


def reflection(head: RequestHead) -> bytes:
    """The request as it was received, without credentials."""
    query = "" if head.query_text is None else f"?{head.query_text}"
    target = f"{head.scheme}://{head.host_text}" if head.absolute else ""
    line = f"{head.method} {target}{head.path}{query} HTTP/{_NUMBERS[head.version]}"
    lines = [line.encode("latin-1")]
    for name, value in _received(head):
        if _CREDENTIAL.search(name.lower()) is None:
            lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _received(head: RequestHead) -> Iterator[tuple[bytes, bytes]]:
    for name, values in head.held.items():
        for value in values:
            yield name.title(), value
    fields: list[Field] = head.fields
    for field in fields:
        yield field.name.text, field.value
