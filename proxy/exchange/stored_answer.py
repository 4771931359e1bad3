"""An answer as the bytes that a store keeps, and back."""

import json
from typing import Any, Final

from proxy.exchange.answers import Answer
from proxy.exchange.heads import DATE, REQUEST_ID
from proxy.exchange.request import Request
from proxy.http.making import make_response
from proxy.http.message import Field, make_field, named_field

REPLAYED: Final = (b"Idempotent-Replayed", b"true")
_LEFT_OUT: Final = frozenset(
    (
        b"set-cookie",
        b"date",
        b"proxy-status",
        b"connection",
        b"keep-alive",
        b"trailer",
        b"x-request-id",
    )
)
"""Fields of the first answer alone. The others of a connection never reach an exchange."""

_LENGTH: Final = 4
"""Bytes before the head, with its length."""


def pack(answer: Answer, body: bytes | None = None) -> bytes:
    """The status, the fields and the body (`body`: all of it, if the answer has only a part).

    The response to HEAD has the length of a body that it has not (RFC 9110 section 8.6).
    """
    content = answer.piece if body is None else body
    fields = [
        (field.name.text.decode("latin-1"), field.value.decode("latin-1"))
        for field in answer.head.fields
        if field.name.lower not in _LEFT_OUT
    ]
    told = [answer.head.status, fields]
    if answer.head.length and not content:
        told.append(answer.head.length)
    head = json.dumps(told, separators=(",", ":")).encode()
    return b"".join((len(head).to_bytes(_LENGTH, "big"), head, content))


def replay(request: Request, stored: bytes) -> Answer:
    """The answer that was packed, marked as a repetition."""
    end = _LENGTH + int.from_bytes(stored[:_LENGTH], "big")
    status, pairs, *told = _read(stored[_LENGTH:end])
    body = stored[end:]
    length = len(body) if not told else told[0]
    fields: list[Field] = [
        make_field(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs
    ]
    fields.append(make_field(*REPLAYED))
    fields.append(named_field(REQUEST_ID, request.id))
    head = make_response(status, fields, None if status in (204, 304) else length)
    shown = body if head.has_body(request.head.method) else b""
    return Answer(head, [(DATE, request.terms.date())], shown)


def _read(head: bytes) -> list[Any]:
    found: list[Any] = json.loads(head)
    return found
