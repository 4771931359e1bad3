"""Lists of several fields, without empty members."""

import pytest

from proxy.http.lists import appended, joined, without_comments


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([b"a"], b"a"),
        ([b"a, b"], b"a, b"),
        ([b"a,b", b"c"], b"a,b, c"),
        ([b"1.1 a (x,y)"], b"1.1 a (x,y)"),
        ([b""], b""),
        ([b",,"], b""),
        ([b" ,\t, "], b""),
        ([b"a,,b"], b"a, b"),
        ([b"a", b"", b"b"], b"a, b"),
        ([b",a"], b"a"),
        ([b"a ,"], b"a"),
        ([b"", b""], b""),
    ],
)
def test_joined(values: list[bytes], text: bytes) -> None:
    assert joined(values) == text
    assert appended(values, b"z") == (text + b", z" if text else b"z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"1.1 a, 1.0 b", b"1.1 a, 1.0 b"),
        (b"1.1 a (x, y), 1.0 b", b"1.1 a , 1.0 b"),
        (b"1.1 a ((x, (y)), z), 1.0 b", b"1.1 a , 1.0 b"),
        (rb"1.1 a (\), x), 1.0 b", b"1.1 a , 1.0 b"),
        (b"1.1 a (never ends, 1.0 b", b"1.1 a (never ends, 1.0 b"),
        (b"1.1 a) , 1.0 b", b"1.1 a) , 1.0 b"),
        (b"()", b""),
        (b"a\\", b"a\\"),
        (b"(" * 50_000 + b")" * 50_000 + b"a", b"a"),
    ],
)
def test_comments_are_left_out(text, expected):
    assert without_comments(text) == expected
