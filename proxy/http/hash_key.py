"""The part of a request that keeps its choice the same: one value, always the same endpoint.

The hash is the same in every process and version: replicas of the proxy agree on it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote_plus
from zlib import crc32

from proxy.http.message import RequestHead

_MOST_PARAMETERS: Final = 100
_COOKIE: Final = b"cookie"
_BITS: Final = 0x7FFFFFFF


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
    """`name`: of the header, cookie or query parameter; "" for the client's address."""

    source: HashSource
    name: str = ""

    def of(self, head: RequestHead, client: str) -> bytes:
        """The key of a request; b"": it has none. `client`: the peer's address."""
        source = self.source
        if source is HEADER:
            values = head.values(self.name.lower().encode())
            return values[0] if values else b""
        if source is COOKIE:
            return _cookie(head, self.name.encode())
        if source is QUERY:
            return _parameter(head.query_text, self.name)
        return client.encode()


def stable_hash(key: bytes) -> int:
    """31 bits of a hash of `key`, the same in every process.

    It spreads keys, and does not resist someone who looks for collisions.
    """
    code = crc32(key)
    return mixed((code ^ (code >> 31)) & _BITS)


def mixed(bits: int) -> int:
    """A permutation of 31 bits in which every bit depends on all others."""
    bits ^= bits >> 15
    bits = (bits * 0x2C1B3C6D) & _BITS
    bits ^= bits >> 12
    bits = (bits * 0x297A2D39) & _BITS
    bits ^= bits >> 15
    bits = (bits * 0x5BD1E995) & _BITS
    return bits ^ (bits >> 13)


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
