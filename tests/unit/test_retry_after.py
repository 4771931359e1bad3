"""Retry-After: seconds, the three forms of dates, and what is as if absent."""

from datetime import UTC, datetime

import pytest

from proxy.http.retry_after import parse_retry_after

NOW = datetime(2019, 6, 3, 11, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("\t42 ", 42),
        (b"7", 7),
        ("9" * 400, float("inf")),
        ("Mon, 03 Jun 2019 11:30:12 GMT", 1812),
        ("Mon, 3 Jun 2019 12:00:00 UTC", 3600),
        ("Monday, 03-Jun-19 11:30:12 GMT", 1812),
        ("Mon Jun  3 11:30:12 2019", 1812),
        ("Thu Jun 13 11:00:00 2019", 864000),
        (b"Mon, 03 Jun 2019 10:59:59 GMT", 0),
        ("Mon, 03 Jun 2019 11:00:60 GMT", 59),
    ],
)
def test_what_is_understood(value: str | bytes, seconds: float) -> None:
    assert parse_retry_after([value], NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "²",
        "٣",
        "soon",
        "1, 2",
        "0x10",
        "1 2",
        "Mon, 31 Jun 2019 11:30:12 GMT",
        "Mon, 03 Jun 2019 24:30:12 GMT",
        "Mon, 03 Jun 2019 11:30 GMT",
        "Mon, 03 Jun 2019 11:30:12 +0000",
        "Mon, 03 Jun 2019 11:30:12 CET",
        "Mon, 03 Jun 2019 11:30:12",
        "Mon, 03 Juni 2019 11:30:12 GMT",
        "Xyz, 03 Jun 2019 11:30:12 GMT",
        "03 Jun 2019 11:30:12 GMT",
        "Monday, 03-Jun-2019 11:30:12 GMT",
        "Mon, 03-Jun-19 11:30:12 GMT",
        "Mon Jun  3 11:30:12 2019 GMT",
        "Mon, 03 Jun 2019 1:30:12 GMT",
        "Mon, 003 Jun 2019 11:30:12 GMT",
        "Mon, 03 Jun 0000 11:30:12 GMT",
        "Mon, 03 Jun 2019 11:30:12 GMT" + " " * 80 + "x",
        "9" * 400 + "x",
        b"\xff\xfe",
    ],
)
def test_what_is_as_if_absent(value: str | bytes) -> None:
    assert parse_retry_after([value], NOW) is None


def test_the_first_field_alone_counts() -> None:
    assert parse_retry_after(["2", "3"], NOW) == 2
    assert parse_retry_after(["x", "3"], NOW) is None
    assert parse_retry_after([], NOW) is None


@pytest.mark.parametrize(
    ("now", "text", "then"),
    [
        ("1999-12-31T23:59:57", "Saturday, 01-Jan-00 00:00:00 GMT", "2000-01-01T00:00:00"),
        ("2026-06-01T00:00:00", "Monday, 01-Jun-76 00:00:00 GMT", "2076-06-01T00:00:00"),
        ("2040-01-01T00:00:00", "Monday, 01-Jan-89 00:00:00 GMT", "2089-01-01T00:00:00"),
    ],
)
def test_a_short_year_is_the_next_with_its_digits(now: str, text: str, then: str) -> None:
    wall_now = datetime.fromisoformat(now + "+00:00").timestamp()
    expected = datetime.fromisoformat(then + "+00:00").timestamp() - wall_now
    assert parse_retry_after([text], wall_now) == expected


@pytest.mark.parametrize(
    "text", ["Monday, 01-Jun-76 00:00:01 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"]
)
def test_a_short_year_more_than_fifty_years_ahead_is_past(text: str) -> None:
    wall_now = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
    assert parse_retry_after([text], wall_now) == 0
