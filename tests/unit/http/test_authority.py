"""Authorities of Host fields and URLs."""

import pytest

from proxy.http.authority import Authority, parse_authority


@pytest.mark.parametrize(
    ("text", "host", "port", "written"),
    [
        ("a", "a", None, "a"),
        ("Shop.Example:8080", "shop.example", 8080, "shop.example:8080"),
        ("10.0.0.1:1", "10.0.0.1", 1, "10.0.0.1:1"),
        ("a:65535", "a", 65535, "a:65535"),
        ("a:00080", "a", 80, "a:80"),
        ("a:", "a", None, "a"),
        ("[::1]", "::1", None, "[::1]"),
        ("[FE80::A]:443", "fe80::a", 443, "[fe80::a]:443"),
        ("[::ffff:1.2.3.4]", "::ffff:1.2.3.4", None, "[::ffff:1.2.3.4]"),
        ("under_score~1.", "under_score~1.", None, "under_score~1."),
        ("", "", None, ""),
    ],
)
def test_taken(text, host, port, written):
    authority = parse_authority(text)
    assert authority == Authority(host, port)
    assert str(authority) == written


@pytest.mark.parametrize(
    "text",
    [
        ":80", "a b", " a", "a\t", "a/b", "a?b", "a#b", "u@a", "u:p@a", "a%41", "ä", "a\\b", "a:b",
        "a,b", "a;b", "a=80", "a&b", "a+b", "*", "a!", "$a", "a'b", "(a)",
        "a:0", "a:65536", "a:000080", "a:-1", "a:+1", "a: 1", "a:²", "a:80:80", "::1", "[::1", "[]",
        "[::1]80", "[::1]a:80", "[::g]", "[fe80::1%eth0]", "[[::1]]", "[::1]:0",
    ],
)  # fmt: skip
def test_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        parse_authority(text)
