"""Request ids: kept when safe, made as version 4 UUIDs."""

import random
import uuid

import pytest

from proxy.http.request_id import RequestIds, valid_request_id


@pytest.mark.parametrize("value", [b"a", b"!~", b"x" * 128, b'6f1c-"quoted";<>'])
def test_visible_ascii_is_kept(value: bytes) -> None:
    assert valid_request_id(value)


@pytest.mark.parametrize("value", [b"", b"x" * 129, b"a b", b"a\tb", b"a\x7f", b"\xc3\xa9", b"\0"])
def test_anything_else_is_not(value: bytes) -> None:
    assert not valid_request_id(value)


@pytest.mark.parametrize("bits", [0, 2**128 - 1, 0x0123456789ABCDEF0123456789ABCDEF])
def test_new_ids_are_uuids_of_version_4(bits: int) -> None:
    ids = RequestIds(lambda count: bits.to_bytes(16, "big") * (count // 16))
    for _ in range(100):
        new = ids.new()
        assert new.decode() == str(uuid.UUID(int=bits, version=4))
        assert valid_request_id(new)


def test_no_id_is_given_twice() -> None:
    ids = RequestIds(random.Random(7).randbytes)
    assert len({ids.new() for _ in range(1000)}) == 1000
