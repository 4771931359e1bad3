"""Authorities of Host fields and URLs."""

import pytest

from proxy.http.authority import Authority, literal_address, parse_authority


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
        ("[0:0::1]", "::1", None, "[::1]"),
        ("under_score~1.", "under_score~1", None, "under_score~1"),
        ("shop.:81", "shop", 81, "shop:81"),
        ("a" * 253 + ".", "a" * 253, None, "a" * 253),
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
        "[::1::2]", ".", "a..", ".a", "a..b", "a" * 254, "a" * 254 + ".:80",
    ],
)  # fmt: skip
def test_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        parse_authority(text)


@pytest.mark.parametrize("text", ["u@a", "u:p@a", "u:p@a:80", "@a", "u@[::1]"])
def test_user_information_is_named_as_the_fault(text):
    with pytest.raises(ValueError, match="user information"):
        parse_authority(text)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("10.1.258", "10.1.1.2"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0x7f.0x0.0x0.0x1", "127.0.0.1"),
        ("0177.0.0.01", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0x", "0.0.0.0"),
        ("::1", "::1"),
        ("0::1", "::1"),
        ("shop", None),
        ("", None),
        ("127.0.0.1.1", None),
        ("256.1", None),
        ("1.16777216", None),
        ("127.0.0.256", None),
        ("4294967296", None),
        ("08.1", None),
        ("1..1", None),
        ("1_0.1", None),
        ("0x7g", None),
        ("9" * 5000, None),
    ],
)
def test_literal_addresses_in_every_notation(host, address):
    assert literal_address(host) == address
