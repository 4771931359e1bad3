"""An upgrade over HTTP/2: the extended CONNECT of RFC 8441, for the side that asks for it.

GET + Upgrade: websocket + Sec-WebSocket-Key ──▶ CONNECT + :protocol
                  101 + Sec-WebSocket-Accept ◀── 2xx
"""

from base64 import b64encode
from hashlib import sha1
from typing import Final

from proxy.http.h2.encoder import Encoder
from proxy.http.message import FieldName, OwnFields, RequestHead, ResponseHead, make_field

_CONNECT: Final = make_field(b":method", b"CONNECT")
_SCHEMES: Final = {name: make_field(b":scheme", name.encode()) for name in ("http", "https")}
_PROTOCOL: Final = FieldName(b":protocol")
_PATH: Final = FieldName(b":path")
_AUTHORITY: Final = FieldName(b":authority")
_KEY: Final = b"sec-websocket-key"
_ACCEPT: Final = b"Sec-WebSocket-Accept"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def connect_block(
    encoder: Encoder, head: RequestHead, own: OwnFields, scheme: str, protocol: bytes
) -> list[bytes]:
    """The coded fields of a request to switch to `protocol` (RFC 8441 sections 4 and 5)."""
    block = encoder.begin()
    encoder.add_field(block, _CONNECT)
    encoder.add_own(block, _PROTOCOL, protocol)
    encoder.add_field(block, _SCHEMES[scheme])
    query = head.query_text
    target = head.path if query is None else f"{head.path}?{query}"
    encoder.add_own(block, _PATH, target.encode("latin-1"))
    encoder.add_own(block, _AUTHORITY, head.host_text.encode("latin-1"))
    for field in head.fields:
        if field.name.lower != _KEY:
            encoder.add_field(block, field)
    for name, value in own:
        encoder.add_own(block, name, value)
    return block


def switched(head: ResponseHead, request: RequestHead, protocol: bytes) -> ResponseHead:
    """The 101 that a 2xx of an extended CONNECT means for a client of HTTP/1.1."""
    fields = head.fields
    keys = request.values(_KEY)
    if keys:
        accept = b64encode(sha1(keys[0] + _GUID, usedforsecurity=False).digest())
        fields = [*fields, make_field(_ACCEPT, accept)]
    made = head.changed(fields)
    made.status = 101
    made.length = None
    made.chunked = False
    made.held = {**head.held, b"upgrade": [protocol]}
    return made
