"""Durations, sizes and ratios: parses the notation of the configuration, and writes it.

    duration   250us  20ms  1.5s  2m  1h  7d   seconds, a float
    size       500B  64KiB  1MiB  1GiB         bytes, an int
    ratio      20%  or  0.2                    a float of 0 to 1

A number without a unit is an error that suggests units; only zero needs none. Signs, exponents,
inner spaces, nan and inf are errors. KB, MB and GB are refused because they are ambiguous: powers
of 1000 or of 1024.
"""

from collections.abc import Mapping
from functools import lru_cache
from math import gcd, isfinite
from typing import TypeAlias

_Exact: TypeAlias = tuple[int, int]
"""Numerator and denominator. `decimal` and `fractions` would take 0.6 MiB of an idle process."""

_DURATIONS: dict[str, _Exact] = {
    "us": (1, 1_000_000),
    "ms": (1, 1000),
    "s": (1, 1),
    "m": (60, 1),
    "h": (3600, 1),
    "d": (86400, 1),
}
_SIZES: dict[str, _Exact] = {"B": (1, 1), "KiB": (2**10, 1), "MiB": (2**20, 1), "GiB": (2**30, 1)}

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
    above, below = _parse(text, _DURATIONS, "a duration", "20ms, 1.5s or 2m")
    return above / below


def parse_size(text: str | float) -> int:
    """Whole bytes. Raises UnitError."""
    above, below = _parse(text, _SIZES, "a size", "500B, 64KiB or 1MiB")
    if above % below:
        raise UnitError(f"{text} is not a whole number of bytes")
    return above // below


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
            plain = _plainly(number)
            sign = "%" if percent else ""
            meant = f"; did you mean {plain}{sign}?" if _is_number(plain) else ""
            raise UnitError(f"{_shown(value)} is not a ratio; {hint}{meant}")
        return float(value)
    above, below = _exact(number)
    if percent:
        below *= 100
    if above > below:
        meant = f"; did you mean {number}%?" if not percent and above <= 100 * below else ""
        raise UnitError(f"{text} is more than 100%, {hint}{meant}")
    return above / below


@lru_cache(maxsize=256)
def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` turns into exactly this value."""
    return _format(seconds, _DURATIONS, "0s")


def format_size(size: int) -> str:
    """The text with the largest unit of which `size` is a whole number."""
    unit = max((u for u in _SIZES if size % _SIZES[u][0] == 0), key=_SIZES.__getitem__)
    return f"{size // _SIZES[unit][0]}{unit}" if size else "0B"


def format_ratio(ratio: float) -> str:
    """A percentage that `parse_ratio` turns into exactly this value."""
    above, below = _shortest(ratio)
    return f"{_plain(above * 100, below)}%"


def _parse(value: str | float, units: Mapping[str, _Exact], what: str, examples: str) -> _Exact:
    if isinstance(value, bool):
        raise UnitError(f"{_shown(value)} is not {what} such as {examples}")
    text = str(value)
    end = len(text)
    while end and not (text[end - 1].isascii() and text[end - 1].isdigit()):
        end -= 1
    number, unit = text[:end], text[end:]
    if not _is_number(number) or not isfinite(float(number)):
        plain = _plainly(number)
        meant = f"; did you mean {plain}{unit}?" if unit in units and _is_number(plain) else ""
        raise UnitError(f"{_shown(value)} is not {what} such as {examples}{meant}")
    above, below = _exact(number)
    if unit in units:
        times, parts = units[unit]
        return above * times, below * parts
    if unit:
        raise UnitError(f"{_shown(value)}: {_about(number, unit, units)}")
    if above == 0:
        return 0, 1
    meant = " or ".join(number + candidate for candidate in units)
    raise UnitError(f"{number} has no unit; did you mean {meant}?")


def _plainly(number: str) -> str:
    """``0.5`` for ``.5``, ``0,5`` or ``0.5 ``: the same without other habits of writing numbers."""
    plain = number.strip().replace(",", ".")
    return f"0{plain}" if plain.startswith(".") else plain


def _about(number: str, unit: str, units: Mapping[str, _Exact]) -> str:
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


def _exact(number: str) -> _Exact:
    """What `_is_number` accepts, perhaps with a sign."""
    whole, _, fraction = number.partition(".")
    return int(whole + fraction), 10 ** len(fraction)


def _shortest(value: float) -> _Exact:
    """The shortest decimal number that a float is read from."""
    number, _, exponent = repr(float(value)).partition("e")
    above, below = _exact(number)
    power = int(exponent or 0)
    return (above * 10**power, below) if power >= 0 else (above, below * 10**-power)


def _format(value: float, units: Mapping[str, _Exact], zero: str) -> str:
    if not value:
        return zero
    above, below = _shortest(value)
    texts: list[str] = []
    for unit in reversed(list(units)):
        times, parts = units[unit]
        text = _plain(above * parts, below * times)
        if text and (above * parts >= below * times or (unit == next(iter(units)) and not texts)):
            texts.append(text + unit)
    return min(texts, key=len)


def _plain(above: int, below: int) -> str:
    """A decimal number; "" for one without an end."""
    common = gcd(above, below)
    above, below = above // common, below // common
    places = 0
    while below % 10 == 0:
        below //= 10
        places += 1
    while below > 1:  # one factor 2 or 5 more is one place more
        factor = 2 if below % 2 == 0 else 5
        if below % factor:
            return ""
        below //= factor
        above *= 10 // factor
        places += 1
    text = str(above).zfill(places + 1)
    return f"{text[:-places]}.{text[-places:]}" if places else text


def _shown(value: str | float) -> str:
    return repr(value) if isinstance(value, str) else str(value)
