"""Durations, sizes and ratios: parses the notation of the configuration, and writes it.

    duration   250us  20ms  1.5s  2m  1h  7d seconds, a float
    size       500B  64KiB  1MiB  1GiB       bytes, an int
    ratio      20%  or  0.2                  a float of 0 to 1

A number without a unit is an error that suggests units; only zero needs none. Signs, exponents,
inner spaces, nan and inf are errors. KB, MB and GB are refused because they are ambiguous: powers
of 1000 or of 1024.
"""

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite

_DURATIONS = {
    "us": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_SIZES = {"B": Decimal(1), "KiB": Decimal(2**10), "MiB": Decimal(2**20), "GiB": Decimal(2**30)}

# Common misspellings in lower case, and the unit that they probably mean.
_MEANT = {
    "µs": "us",
    "μs": "us",
    "msec": "ms",
    "millis": "ms",
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "min": "m",
    "mins": "m",
    "minute": "m",
    "minutes": "m",
    "hr": "h",
    "hour": "h",
    "hours": "h",
    "day": "d",
    "days": "d",
    "byte": "B",
    "bytes": "B",
    "k": "KiB",
    "ki": "KiB",
    "kb": "KiB",
    "m": "MiB",
    "mi": "MiB",
    "mb": "MiB",
    "g": "GiB",
    "gi": "GiB",
    "gb": "GiB",
}
_MAX_DIGITS = 18  # a longer number is probably a typing error


class UnitError(ValueError):
    """A value in the wrong notation; the message says what is expected."""


def parse_duration(text: str | float) -> float:
    """Seconds. Raises UnitError."""
    return float(_parse(text, _DURATIONS, "a duration", "20ms, 1.5s or 2m"))


def parse_size(text: str | float) -> int:
    """Whole bytes. Raises UnitError."""
    size = _parse(text, _SIZES, "a size", "500B, 64KiB or 1MiB")
    if size != int(size):
        raise UnitError(f"{text} is not a whole number of bytes")
    return int(size)


def parse_ratio(value: str | float) -> float:
    """A ratio of 0 to 1, from ``20%`` or 0.2. Raises UnitError."""
    hint = "a ratio is a number such as 20% or 0.2"
    if isinstance(value, bool):
        raise UnitError(f"{_shown(value)} is not a ratio; {hint}")
    text = str(value)
    number, percent = (text[:-1], True) if text.endswith("%") else (text, False)
    if not _is_number(number):
        # str() writes a small float with an exponent; the value is valid.
        if isinstance(value, str) or not 0 <= value <= 1:
            raise UnitError(f"{_shown(value)} is not a ratio; {hint}")
        return float(value)
    ratio = Decimal(number) / 100 if percent else Decimal(number)
    if ratio > 1:
        meant = f"; did you mean {number}%?" if not percent and ratio <= 100 else ""
        raise UnitError(f"{text} is more than 100%, {hint}{meant}")
    return float(ratio)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` turns into exactly this value."""
    return _format(seconds, _DURATIONS, "0s")


def format_size(size: int) -> str:
    """The text with the largest unit of which `size` is a whole number."""
    unit = max((u for u in _SIZES if size % int(_SIZES[u]) == 0), key=_SIZES.__getitem__)
    return f"{size // int(_SIZES[unit])}{unit}" if size else "0B"


def format_ratio(ratio: float) -> str:
    """A percentage that `parse_ratio` turns into exactly this value."""
    return _plain(Decimal(repr(float(ratio))) * 100) + "%"


def _parse(value: str | float, units: Mapping[str, Decimal], what: str, examples: str) -> Decimal:
    if isinstance(value, bool):
        raise UnitError(f"{_shown(value)} is not {what} such as {examples}")
    text = str(value)
    end = len(text)
    while end and not (text[end - 1].isascii() and text[end - 1].isdigit()):
        end -= 1
    number, unit = text[:end], text[end:]
    if not _is_number(number) or not isfinite(float(number)):
        raise UnitError(f"{_shown(value)} is not {what} such as {examples}")
    if unit in units:
        return Decimal(number) * units[unit]
    if unit:
        raise UnitError(f"{_shown(value)}: {_about(number, unit, units)}")
    if Decimal(number) == 0:
        return Decimal(0)
    meant = " or ".join(number + candidate for candidate in units)
    raise UnitError(f"{number} has no unit; did you mean {meant}?")


def _about(number: str, unit: str, units: Mapping[str, Decimal]) -> str:
    """Why this unit is wrong, and which one was probably meant."""
    bare = unit.strip()
    alike = [known for known in units if known.lower() == bare.lower()]
    meant = alike[0] if alike else _MEANT.get(bare.lower())
    if meant in units:
        return f"did you mean {number}{meant}?"
    return f"unknown unit {bare!r}; the units are {', '.join(units)}"


def _is_number(text: str) -> bool:
    """ASCII digits with at most one point between two of them."""
    whole, point, fraction = text.partition(".")
    parts = [whole, fraction] if point else [whole]
    return len(text) <= _MAX_DIGITS and all(part.isascii() and part.isdigit() for part in parts)


def _format(value: float, units: dict[str, Decimal], zero: str) -> str:
    if not value:
        return zero
    exact = Decimal(repr(float(value)))
    texts = []
    for unit in reversed(units):
        number = exact / units[unit]
        if number >= 1 and number * units[unit] == exact:
            texts.append(_plain(number) + unit)
    smallest = next(iter(units))
    return min(texts, key=len) if texts else _plain(exact / units[smallest]) + smallest


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _shown(value: str | float) -> str:
    return repr(value) if isinstance(value, str) else str(value)
