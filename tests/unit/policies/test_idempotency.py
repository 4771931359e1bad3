"""Keys, digests and what becomes of a record, by value."""

import pytest

from proxy.policies.idempotency import Fate, fate_of
from proxy.policies.idempotency_keys import (
    HEAD_BYTES,
    KeyInvalid,
    begin_body,
    body_digest,
    head_digest,
    key_digest,
    parse_key,
    same_request,
    scope_digest,
)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ([], None),
        ([b"abc"], b"abc"),
        ([b'"abc"'], b"abc"),
        ([b'"a\\"b\\\\c"'], b'a"b\\c'),
        ([b" abc\t"], b"abc"),
        ([b"k" * 255], b"k" * 255),
        ([b"a", b'"a"'], b"a"),
        ([b'a"b'], b'a"b'),
    ],
)
def test_keys(values: list[bytes], key: bytes | None) -> None:
    assert parse_key(values) == key


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b'""'],
        [b'"a'],
        [b'"a" b'],
        [b'"a";p=1'],
        [b"a b"],
        [b'"a b"'],
        [b"k" * 256],
        [b"\xc3\xa9"],
        [b'"\\x"'],
        [b"a", b"b"],
    ],
)
def test_what_is_not_a_key(values: list[bytes]) -> None:
    with pytest.raises(KeyInvalid):
        parse_key(values)


def test_a_scope_keeps_its_parts_apart() -> None:
    parts: list[list[bytes | None]] = [
        [None], [b""], [b"a"], [b"a", b"b"], [b"ab", b""], [b"b", b"a"], [None, b"a"],
    ]  # fmt: skip
    digests = [scope_digest(one) for one in parts]
    assert len(set(digests)) == len(parts)
    assert scope_digest([]) == b""


def test_heads_differ_in_each_part() -> None:
    heads = [
        head_digest("POST", "/a", [[b"x"]]),
        head_digest("PUT", "/a", [[b"x"]]),
        head_digest("POST", "/a?", [[b"x"]]),
        head_digest("POST", "/a", [[b"x", b""]]),
        head_digest("POST", "/a", [[]]),
        head_digest("POST", "/a", [[b"x"], []]),
    ]
    assert len(set(heads)) == len(heads)
    assert {len(head) for head in heads} == {HEAD_BYTES}


def test_a_fingerprint_without_a_body_is_that_of_every_body() -> None:
    head = head_digest("POST", "/a", [])
    assert same_request(head, head + body_digest(b"1", ()))
    assert not same_request(head + body_digest(b"1", ()), head + body_digest(b"2", ()))
    assert not same_request(head, head_digest("POST", "/b", []) + body_digest(b"1", ()))


def fingerprints(body: bytes, limit: int, head: bytes = b"POST") -> tuple[bytes, bytes]:
    """Of a body beyond `limit`: at its claim, and when all of it has passed."""
    first = head_digest(head.decode(), "/a", [])
    start, digest = begin_body(body[: limit + 1], limit)
    digest.update(body[limit + 1 :])
    return first + start, first + start + digest.digest()


def test_long_bodies_are_compared_as_far_as_both_are_known() -> None:
    claim, whole = fingerprints(b"x" * 30, 10)
    assert same_request(claim, whole)
    assert same_request(whole, whole)
    same_start = fingerprints(b"x" * 11 + b"y" * 19, 10)
    assert same_request(claim, same_start[0])
    assert same_request(claim, same_start[1])
    assert not same_request(whole, same_start[1])
    for other in fingerprints(b"y" * 30, 10) + fingerprints(b"x" * 30, 10, b"PUT"):
        assert not same_request(claim, other)
        assert not same_request(whole, other)


def test_another_body_limit_makes_only_the_start_unknown() -> None:
    claim, whole = fingerprints(b"x" * 30, 10)
    later_claim, later = fingerprints(b"x" * 30, 20)
    assert same_request(claim, later_claim)
    assert same_request(whole, later)
    assert same_request(whole, head_digest("POST", "/a", []) + body_digest(b"x" * 30, ()))
    assert not same_request(whole, fingerprints(b"x" * 29 + b"y", 20)[1])
    assert not same_request(whole, head_digest("POST", "/a", []) + body_digest(b"x" * 29, ()))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a":1,"t":2}', b'{"t":3, "a":1}', True),
        (b'{"a":1,"t":2}', b'{"a":1}', True),
        (b'{"a":1,"t":2}', b'{"a":2,"t":2}', False),
        (b'{"m":{"t":1},"t":9}', b'{"m":{"t":1},"t":8}', True),
        (b'{"m":{"t":1}}', b'{"m":{"t":2}}', False),
        (b'{"m":{"n":1}}', b'{"m":{"n":2}}', True),
        (b'{"l":[1,2]}', b'{"l":[1,3]}', True),
        (b'{"l":[1,2]}', b'{"l":[2,2]}', False),
        (b'{"a/b":1}', b'{"a/b":2}', True),
        (b"not json", b"not json", True),
        (b"not json", b"not  json", False),
        (b"[" * 5000, b"[" * 5000, True),
        (b"5", b"6", False),
    ],
)
def test_ignored_parts(one: bytes, other: bytes, same: bool) -> None:
    ignore = ("/t", "/m/n", "/l/1", "/a~1b")
    assert (body_digest(one, ignore) == body_digest(other, ignore)) is same


def test_a_key_is_not_its_own_digest() -> None:
    assert b"order-7" not in key_digest(b"order-7")


@pytest.mark.parametrize(
    ("statuses", "fate"),
    [
        ([200, 201, 204, 299, 301, 304, 400, 404, 409, 410, 422, 499, 500, 501, 505, 511, 599],
         Fate.REMEMBERED),
        ([401, 403, 407, 421, 425, 429, 503], Fate.RELEASED),
        ([408, 502, 504], Fate.UNKNOWN),
    ],
)  # fmt: skip
def test_fates(statuses: list[int], fate: Fate) -> None:
    assert {fate_of(status) for status in statuses} == {fate}
