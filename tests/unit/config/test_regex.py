"""Regular expressions in linear time, and what is said about those that RE2 does not have."""

import pytest

from proxy.config.regex import MAX_TEXT, Regex


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("/items/[0-9]+", "/items/7", True),
        ("/items/[0-9]+", "/items/7/", False),
        ("/items/[0-9]+", "x/items/7", False),
        ("^/a$", "/a", True),
        ("g.*", "gold", True),
        ("", "", True),
        ("a|b", "b", True),
        ("ü+", "üü", True),
        ("[^a]", "ü", True),
        (r"\d", "٣", False),
        ("(?i)GOLD", "gold", True),
    ],
)
def test_it_covers_the_whole_text(pattern, text, matches):
    assert Regex(pattern).matches(text) is matches


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("/a(?=b).*", "RE2 has no look-around; '(?=' is at character 3"),
        ("(?<!x)y", "RE2 has no look-around; '(?<!' is at character 1"),
        (r"(a)\1", r"RE2 has no back references; '\\1' is at character 4"),
        ("(?P<n>a)(?P=n)", "RE2 has no back references; '(?P=' is at character 9"),
        ("a++b", "RE2 has no atomic groups and possessive repeats"),
        ("(?>a)b", "RE2 has no atomic groups and possessive repeats"),
        ("(?(1)a|b)", "RE2 has no conditions"),
        ("(?#note)a", "RE2 has no comments"),
        (r"/a\Z", r"RE2 has no \Z (\z is the end"),
        ("[a", "is not a regular expression: missing ]: [a"),
        ("*a", "is not a regular expression: no argument for repetition operator: *"),
        (r"\\1[", "is not a regular expression: missing ]: ["),
        ("a{2000}", "is not a regular expression: invalid repetition size: {2000}"),
        ("[a-z]{1,900}", "is too large: it compiles to"),
        ("(((a{30}){30}){30})", "invalid repetition size"),
        ("(" * 2000 + ")", "is not a regular expression"),
    ],
)
def test_what_cannot_be_is_explained(pattern, said):
    with pytest.raises(ValueError, match=r"^is ") as raised:
        Regex(pattern)
    assert said in str(raised.value)


def test_a_text_beyond_the_bound_matches_nothing():
    anything = Regex(".*")
    assert anything.matches("a" * MAX_TEXT)
    assert not anything.matches("a" * (MAX_TEXT + 1))
    assert not anything.matches("ü" * (MAX_TEXT // 2 + 1))


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("/items/[0-9]+", "/items/"),
        ("^/api/.*$", "/api/"),
        ("/api(/.*)?", "/api"),
        ("/(a|b)/x", "/"),
        ("/a|/b", "/"),
        ("/a|x", ""),
        ("(?i)/Api", "/"),
        (r"/a\.b/[^/]+", "/a.b/"),
        ("/ü/x", "/"),
        (".*", ""),
        (".*/x", ""),
        ("", ""),
        ("(/a)?", ""),
    ],
)
def test_what_every_match_begins_with(pattern, prefix):
    assert Regex(pattern).prefix == prefix


def test_the_mistake_is_told_with_its_place(errors):
    found = errors(
        """
        routes:
          - name: a
            match:
              regex: /a(?=b)
              headers: {x-a: {regex: '(a)\\1'}}
        """
    )
    assert len(found) == 2
    assert found[0].startswith("5:14: routes[0].match.regex: is not a regular expression of RE2")
    assert found[1].startswith("6:30: routes[0].match.headers.x-a.regex: is not a regular")
