"""A field that is sought in a head is found, whatever was sought before in heads like it."""

import random
from collections.abc import Callable

import pytest

from proxy.http.h1.request import RequestParser
from proxy.http.h2.decoder import Decoder
from proxy.http.h2.head import RequestReader, request_store
from proxy.http.message import RequestHead, make_field

MANY = 1 << 20
NAMES = ("user-id", "x-team", "accept", "x-request-id", "expect", "x-held", "host", "absent")
Given = list[tuple[str, str]]


def reader_1() -> Callable[[Given], RequestHead]:
    parser = RequestParser((b"x-held",), max_url=4096, max_fields=64)

    def read(given: Given) -> RequestHead:
        lines = ["GET / HTTP/1.1", "Host: shop", *(f"{name}: {value}" for name, value in given)]
        return parser.parse("\r\n".join([*lines, "", ""]).encode())

    return read


def reader_2() -> Callable[[Given], RequestHead]:
    reader = RequestReader((b"x-held",), max_url=4096, new_bytes=bytes)
    decoder = Decoder(request_store())

    def literal(name: str, value: str) -> bytes:
        return bytes((0, len(name))) + name.encode() + bytes((len(value),)) + value.encode()

    def read(given: Given) -> RequestHead:
        first = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop")]
        block = b"".join([literal(*one) for one in first + given])
        return reader.read(decoder.decode(block, MANY, MANY), True)

    return read


@pytest.mark.parametrize("make", [reader_1, reader_2])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_found_in_heads_of_every_kind(
    make: Callable[[], Callable[[Given], RequestHead]], seed: int
) -> None:
    """Held against all values of the name: with few values and ever new ones, several fields of a
    name, and other names in turns."""
    read, draws = make(), random.Random(seed)
    several = 0
    for number in range(400):
        names = draws.choices(NAMES[:6], k=draws.randrange(4))
        values = (f"{draws.randrange(3)}", f"new {number}")
        given = [(name, draws.choice(values)) for name in names]
        head = read(given)
        for name in draws.choices(NAMES, k=3):
            text = [value for one, value in given if one == name]
            if name == "host":
                text = ["shop"]
            wanted = [value.encode() for value in text]
            several += len(wanted) > 1
            assert head.joined(name.encode()) == b",".join(wanted)
            assert head.first(name.encode()) == (wanted[0] if wanted else b"")
            assert head.values(name.encode()) == wanted
    assert several


def test_host_and_length_are_found_without_such_fields() -> None:
    head = reader_2()([("content-length", "0")])
    for _ in range(2):
        assert head.joined(b"host") == head.first(b"host") == b"shop"
        assert head.joined(b"content-length") == head.first(b"content-length") == b"0"


def test_a_changed_head_is_searched_anew() -> None:
    head = reader_1()([("User-Id", "1")])
    assert head.joined(b"user-id") == b"1"
    other = head.changed(path="/", host_text="shop", fields=[make_field(b"User-Id", b"2")])
    assert other.joined(b"user-id") == b"2"
    assert head.joined(b"user-id") == b"1"
