"""Lists of several fields, without empty members."""

import pytest

from proxy.http.lists import appended, joined


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
