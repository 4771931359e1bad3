"""Where requests have the key that they are hashed by."""

import pytest

from proxy.http.h1.request import RequestParser
from proxy.http.hash_key import HashKey, HashSource

parser = RequestParser((), max_url=4096, max_fields=64)


def head(target="/cart", *fields):
    lines = [f"GET {target} HTTP/1.1", "Host: shop", *fields, "", ""]
    return parser.parse("\r\n".join(lines).encode("latin-1"))


USER = HashKey(HashSource.HEADER, b"user-id")
SESSION = HashKey(HashSource.COOKIE, b"sid")
BASKET = HashKey(HashSource.QUERY, b"basket")


@pytest.mark.parametrize(
    ("key", "request_head", "found"),
    [
        (USER, head("/", "User-Id: u7"), b"u7"),
        (USER, head("/", "User-Id: u7", "User-Id: u8"), b"u7"),
        (USER, head("/"), b""),
        (SESSION, head("/", "Cookie: a=1; sid=s3; b=2"), b"s3"),
        (SESSION, head("/", 'Cookie: sid="s3"'), b"s3"),
        (SESSION, head("/", "Cookie: a=1", "Cookie: sid=s3"), b"s3"),
        (SESSION, head("/", "Cookie: xsid=1; sid2=4; SID=5"), b""),
        (SESSION, head("/", "Cookie: sid"), b""),
        (BASKET, head("/?a=1&basket=b%209&basket=2"), b"b 9"),
        (BASKET, head("/?%62asket=9"), b"9"),
        (BASKET, head("/?baskets=9"), b""),
        (BASKET, head("/"), b""),
        (BASKET, head("/?" + "a&" * 100 + "basket=1"), b""),
        (HashKey(HashSource.CLIENT), head("/"), b"10.0.0.9"),
    ],
)
def test_the_key_of_a_request(key, request_head, found):
    assert key.of(request_head, "10.0.0.9") == found
