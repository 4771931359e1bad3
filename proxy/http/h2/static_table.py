"""HPACK's static table (RFC 7541 appendix A)."""

from typing import Final

STATIC_SIZE: Final = 61

_ROWS: Final = """
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""
"""The names and values, from index 1 on."""


def static_rows() -> list[tuple[bytes, bytes]]:
    """Name and value of each index, from 1 on."""
    rows: list[tuple[bytes, bytes]] = []
    for row in _ROWS.encode().strip().split(b"\n"):
        name, _, value = row.partition(b" ")
        rows.append((name, value))
    return rows
