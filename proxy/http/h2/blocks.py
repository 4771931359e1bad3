"""Heads and trailers as HTTP/2 field blocks, for one connection's encoder."""

from typing import Final, TypeAlias

from proxy.http.h2.encoder import Encoder, fixed
from proxy.http.message import (
    FieldName,
    OwnFields,
    RequestHead,
    ResponseHead,
    make_field,
)

_MAX_TRAILER_NAMES: Final = 64
_LONGEST_NAME: Final = 64
_ACCEPT: Final = b"sec-websocket-accept"
_CONTENT_LENGTH: Final = FieldName(b"content-length")
_STATUS: Final = FieldName(b":status")
_PATH: Final = FieldName(b":path")
_METHOD: Final = FieldName(b":method")
_SCHEME: Final = FieldName(b":scheme")
_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH")
_CODED_METHODS: Final = {name: fixed(_METHOD, name.encode()) for name in _METHODS}
_CODED_SCHEMES: Final = {name: fixed(_SCHEME, name.encode()) for name in ("http", "https")}
_STATUSES: Final = 600
_CODED_STATUSES: Final = [fixed(_STATUS, b"%d" % status) for status in range(_STATUSES)]
_TE_TRAILERS: Final = make_field(b"te", b"trailers")
_SWITCHED: Final = 101
Trailers: TypeAlias = list[tuple[bytes, bytes]]


def response_block(encoder: Encoder, head: ResponseHead, own: OwnFields) -> list[bytes]:
    """The coded fields of a response; 101 becomes 200, the answer to an extended CONNECT."""
    status = head.status
    block = encoder.begin()
    if status == _SWITCHED:
        head = _without_accept(head)
        status = 200
    if status < _STATUSES:
        block.append(_CODED_STATUSES[status])
    else:
        encoder.add_own(block, _STATUS, b"%d" % status)
    encoder.add_head(block, head.shared, head.own)
    if head.length is not None and status != 204 and status >= 200:
        encoder.add_own(block, _CONTENT_LENGTH, b"%d" % head.length)
    for name, value in own:
        encoder.add_own(block, name, value)
    return block


def _without_accept(head: ResponseHead) -> ResponseHead:
    """Without what HTTP/2 does not have (RFC 8441 section 5.1)."""
    return head.changed([field for field in head.fields if field.name.lower != _ACCEPT])


def request_block(encoder: Encoder, head: RequestHead, own: OwnFields, scheme: str) -> list[bytes]:
    """The coded fields of a request, not of a CONNECT; `scheme` is the endpoint's."""
    block = encoder.begin()
    method = _CODED_METHODS.get(head.method)
    if method is None:
        encoder.add_own(block, _METHOD, head.method.encode("ascii"))
    else:
        block.append(method)
    block.append(_CODED_SCHEMES[scheme])
    query = head.query_text
    target = head.path if query is None else f"{head.path}?{query}"
    encoder.add_own(block, _PATH, target.encode("latin-1"))
    encoder.add_authority(block, head.host_text)
    encoder.add_head(block, head.shared, head.own)
    if head.sized:
        encoder.add_own(block, _CONTENT_LENGTH, b"%d" % head.length)
    if b"te" in head.held and head.takes_trailers:
        encoder.add_field(block, _TE_TRAILERS)
    for name, value in own:
        encoder.add_own(block, name, value)
    return block


_trailer_names: Final[dict[bytes, FieldName]] = {}


def trailers_block(encoder: Encoder, trailers: Trailers) -> list[bytes]:
    """The coded fields of a trailer section."""
    block = encoder.begin()
    for text, value in trailers:
        name = _trailer_names.get(text)
        if name is None:
            name = FieldName(text)
            if len(text) <= _LONGEST_NAME:
                if len(_trailer_names) >= _MAX_TRAILER_NAMES:
                    _trailer_names.clear()
                _trailer_names[text] = name
        encoder.add_own(block, name, value)
    return block
