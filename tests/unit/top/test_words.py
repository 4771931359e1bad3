"""Numbers in few columns."""

import pytest

from proxy.top import words


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0.0"), (0.44, "0.4"), (99.44, "99.4"), (99.5, "100"), (1234.5, "1234"),
     (12345, "12k")],
)  # fmt: skip
def test_rate(value, text):
    assert words.rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (-1.0, "-"), (0, "0%"), (0.01, "<0.1%"), (0.1, "0.1%"), (9.94, "9.9%"),
     (9.96, "10%"), (100, "100%")],
)  # fmt: skip
def test_percent(value, text):
    assert words.percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.42, "0.4ms"), (9.94, "9.9ms"), (9.96, "10ms"), (999.4, "999ms"),
     (999.6, "1.00s"), (1234, "1.23s"), (12345, "12.3s"), (60000, ">60s")],
)  # fmt: skip
def test_milliseconds(value, text):
    assert words.milliseconds(value, 60000.0) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0s"), (59, "59s"), (60, "1m 0s"), (3599, "59m 59s"), (3660, "1h 1m"),
     (200000, "2d 7h")],
)  # fmt: skip
def test_age(seconds, text):
    assert words.age(seconds) == text


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [("stock", 5, "stock"), ("stocks", 5, "stock"), ("default-outbound", 10, "defa..ound")],
)
def test_shortened(text, width, short):
    assert words.shortened(text, width) == short
    assert len(short) <= width
