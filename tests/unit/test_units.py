"""Durations, sizes and ratios: what is taken, what is refused and with which advice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.units import (
    UnitError,
    format_duration,
    format_ratio,
    format_size,
    parse_duration,
    parse_ratio,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250us", 0.00025),
        ("20ms", 0.02),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("14d", 1209600.0),
        ("0s", 0.0),
        ("0", 0.0),
        (0, 0.0),
        ("0.1s", 0.1),
        ("007ms", 0.007),
    ],
)
def test_durations(text: str | int, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "-1s",
        "+1s",
        "1 s",
        " 1s",
        "1s ",
        "1e3s",
        "nan",
        "inf",
        "infs",
        "nans",
        "1.s",
        ".5s",
        "1..5s",
        "1.2.3s",
        "1m30s",
        "1D30h",
        "٣s",
        "1s\n",
        "5%",
        True,
        float("nan"),
        -1,
        "9" * 40,
    ],
)
def test_not_a_duration(text: str | float) -> None:
    with pytest.raises(UnitError):
        parse_duration(text)


def test_a_bare_duration_is_answered_with_the_units() -> None:
    with pytest.raises(
        UnitError, match=r"^5 has no unit; did you mean 5us or 5ms or 5s or 5m or 5h or 5d\?$"
    ):
        parse_duration(5)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("5sec", "5s"), ("5S", "5s"), ("5 s", "5s"), ("2min", "2m"), ("2days", "2d"), ("1µs", "1us")],
)
def test_a_strange_duration_unit_is_answered_with_the_likely_one(text: str, meant: str) -> None:
    with pytest.raises(UnitError, match=rf"did you mean {meant}\?"):
        parse_duration(text)


def test_an_unknown_unit_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        UnitError, match="unknown unit 'fortnight'; the units are us, ms, s, m, h, d"
    ):
        parse_duration("1fortnight")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500B", 500),
        ("64KiB", 65536),
        ("1MiB", 1 << 20),
        ("1GiB", 1 << 30),
        ("1.5KiB", 1536),
        ("0", 0),
        (0, 0),
        ("0B", 0),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    parsed = parse_size(text)
    assert parsed == size
    assert isinstance(parsed, int)


@pytest.mark.parametrize("text", ["64", "-1B", "1.5B", "64Kib ", "1TB", "0x10B", "", "B"])
def test_not_a_size(text: str) -> None:
    with pytest.raises(UnitError):
        parse_size(text)


@pytest.mark.parametrize(("text", "meant"), [("64KB", "64KiB"), ("1mb", "1MiB"), ("8k", "8KiB")])
def test_units_of_two_meanings_are_refused_with_the_clear_one(text: str, meant: str) -> None:
    with pytest.raises(UnitError, match=rf"did you mean {meant}\?"):
        parse_size(text)


@pytest.mark.parametrize(
    ("value", "ratio"),
    [
        ("20%", 0.2),
        (0.2, 0.2),
        ("0.2", 0.2),
        (1, 1.0),
        (0, 0.0),
        ("100%", 1.0),
        ("0%", 0.0),
        ("0.1%", 0.001),
        (1e-05, 1e-05),
        ("7%", 0.07),
    ],
)
def test_ratios(value: str | float, ratio: float) -> None:
    assert parse_ratio(value) == ratio


@pytest.mark.parametrize(
    "value",
    [
        "101%",
        1.5,
        -0.1,
        "-5%",
        "+5%",
        "20 %",
        "nan",
        "inf",
        float("nan"),
        float("inf"),
        "",
        "%",
        "x",
        True,
        "1e-1",
        "20%%",
    ],
)
def test_not_a_ratio(value: str | float) -> None:
    with pytest.raises(UnitError):
        parse_ratio(value)


def test_a_bare_percentage_is_answered_with_its_sign() -> None:
    with pytest.raises(UnitError, match=r"did you mean 20%\?"):
        parse_ratio(20)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.025, "25ms"),
        (1.5, "1.5s"),
        (90, "90s"),
        (120, "2m"),
        (3600, "1h"),
        (86400, "1d"),
        (90000, "25h"),
        (0.5, "500ms"),
        (0.00025, "250us"),
        (5400, "90m"),
        (2.5e-07, "0.25us"),
    ],
)
def test_durations_are_written_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (500, "500B"), (65536, "64KiB"), (1536, "1536B"), (1 << 30, "1GiB")],
)
def test_sizes_are_written_with_the_largest_unit(size: int, text: str) -> None:
    assert format_size(size) == text
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.2, "20%"), (1.0, "100%"), (0.0, "0%"), (0.001, "0.1%")]
)
def test_ratios_are_written_as_percentages(ratio: float, text: str) -> None:
    assert format_ratio(ratio) == text
    assert parse_ratio(text) == ratio


@given(st.integers(0, 10**12))
def test_what_is_written_is_read_back(number: int) -> None:
    assert parse_duration(format_duration(number / 10**6)) == number / 10**6
    assert parse_size(format_size(number)) == number
    assert parse_ratio(format_ratio(number / 10**12)) == number / 10**12


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1e-7, "0.1us"),
        (1.5e-9, "0.0015us"),
        (1200.0, "20m"),
        (100.0, "100s"),
        (5400.0, "90m"),
        (9000.0, "2.5h"),
        (4.32e19, "500000000000000d"),
        (0.1, "100ms"),
        (1 / 3, "333.3333333333333ms"),
    ],
)
def test_durations_of_any_size_are_exact(seconds, text):
    assert format_duration(seconds) == text
    if len(text) < 18:
        assert parse_duration(text) == seconds
