"""The part of a request that keeps its choice the same: one value, always the same endpoint."""

from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote_plus

from proxy.http.message import RequestHead

_MOST_PARAMETERS: Final = 100
_COOKIE: Final = b"cookie"


class HashSource(Enum):
    """Where a request has its key. The values are those of the configuration."""

    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"
    CLIENT = "client"


HEADER: Final = HashSource.HEADER
COOKIE: Final = HashSource.COOKIE
QUERY: Final = HashSource.QUERY


@dataclass(frozen=True)
class HashKey:
    """`field`: the name of the header (in lower case), cookie or query parameter; b"" for the
    client's address.
    """

    source: HashSource
    field: bytes = b""

    @property
    def name(self) -> str:
        return self.field.decode()

    def of(self, head: RequestHead, client: str) -> bytes:
        """The key of a request; b"": it has none. `client`: the peer's address."""
        source = self.source
        if source is HEADER:
            return head.first(self.field)
        if source is COOKIE:
            return _cookie(head, self.field)
        if source is QUERY:
            return _parameter(head.query_text, self.name)
        return client.encode()


def _cookie(head: RequestHead, name: bytes) -> bytes:
    """The value of a cookie (RFC 6265 section 4.2.1). HTTP/2 may divide the field."""
    for field in head.values(_COOKIE):
        for pair in field.split(b";"):
            found, _, value = pair.partition(b"=")
            if found.strip() == name:
                return value.strip().strip(b'"')
    return b""


def _parameter(query: str | None, name: str) -> bytes:
    """The value of a query's parameter, decoded."""
    if not query or len(query) < len(name):
        return b""
    for pair in query.split("&", _MOST_PARAMETERS)[:_MOST_PARAMETERS]:
        found, _, value = pair.partition("=")
        if found == name or unquote_plus(found) == name:
            return unquote_plus(value).encode("utf-8", "surrogatepass")
    return b""
