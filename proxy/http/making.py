"""Heads that the proxy makes itself, or makes again."""

from typing import Final

from proxy.http.authority import Authority
from proxy.http.message import NO_OWN, Field, RequestHead, ResponseHead, Shared

_WITH_CONTENT: Final = frozenset(("POST", "PUT", "PATCH"))


def make_request(
    method: str,
    scheme: str,
    host: tuple[str, Authority | None, str],
    target: tuple[str, str | None],
    fields: list[Field],
    held: dict[bytes, list[bytes]],
    length: int,
) -> RequestHead:
    """The head of a request.

    `host` is a Host field's text, its authority and the authority's host; `target` the path and
    the query. `length` 0: there is no body.
    """
    head = RequestHead()
    head.shared = Shared([*fields], held)
    head.own = NO_OWN
    head.held = held
    head.written = b""
    head.method = method
    head.scheme = scheme
    head.host_text, head.authority, head.host = host
    head.path, head.query_text = target
    head.absolute = False
    head.version = 11
    head.keep_alive = True
    head.length = length
    head.sized = length > 0 or method in _WITH_CONTENT
    head.chunked = False
    head.unusual = False
    return head


def make_response(status: int, fields: list[Field], length: int | None) -> ResponseHead:
    """The head of the proxy's own response."""
    head = ResponseHead()
    head.shared = Shared([*fields], {})
    head.shared.dated = True  # its writer adds a date where it needs one
    head.own = NO_OWN
    head.held = head.shared.held
    head.written = b""
    head.version = 11
    head.status = status
    head.status_line = b""
    head.keep_alive = True
    head.length = length
    head.chunked = False
    return head
