"""Retry-After (RFC 9110 section 10.2.3): how long an upstream asks clients to wait.

    delay-seconds   120                                   only ASCII digits
    IMF-fixdate     Sun, 06 Nov 1994 08:49:37 GMT
    rfc850-date     Sunday, 06-Nov-94 08:49:37 GMT
    asctime-date    Sun Nov  6 08:49:37 1994

Two deviations that servers need are accepted: a day of one digit, and UTC for GMT. The name of the
day must be valid, and is not checked against the date.
"""

from calendar import timegm
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DAYS = frozenset(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
_LONG_DAYS = frozenset(
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
)
_ZONES = ("GMT", "UTC")
_MAX_DIGITS = 15  # more digits are longer than any useful wait
_MAX_CHARACTERS = 64


def parse_retry_after(values: Sequence[str | bytes], wall_now: float) -> float | None:
    """Seconds to wait from `wall_now` (Unix time), or None without a usable value.

    `values` are the fields of a response in order; only the first counts. A date in the past is
    0, a number of excessive length inf.
    """
    if not values:
        return None
    first = values[0]
    text = (first.decode("latin-1") if isinstance(first, bytes) else first).strip(" \t")
    if _is_digits(text):
        return float(text) if len(text) <= _MAX_DIGITS else inf
    if len(text) > _MAX_CHARACTERS:
        return None
    when = _parse_date(text, wall_now)
    return None if when is None else max(0.0, when - wall_now)


def _parse_date(text: str, wall_now: float) -> float | None:
    """Unix time of an HTTP date (RFC 9110 section 5.6.7), None for anything else."""
    # Only asctime's form has a day of one digit after two spaces.
    words = text.replace("  ", " ", 1).split(" ") if "," not in text else text.split(" ")
    if len(words) == 6 and words[0][-1:] == "," and words[0][:-1] in _DAYS and words[5] in _ZONES:
        return _unix(words[3], words[2], words[1], words[4])
    if len(words) == 4 and words[0][-1:] == "," and words[0][:-1] in _LONG_DAYS:
        date = words[1].split("-")
        if words[3] in _ZONES and len(date) == 3 and len(date[2]) == 2 and _is_digits(date[2]):
            return _unix_of_short_year(int(date[2]), date[1], date[0], words[2], wall_now)
    if len(words) == 5 and words[0] in _DAYS:
        return _unix(words[4], words[1], words[2], words[3])
    return None


def _unix_of_short_year(
    short: int, month: str, day: str, clock: str, wall_now: float
) -> float | None:
    """The latest year with these last two digits that is at most 50 years ahead.

    RFC 9110 section 5.6.7: what appears to be more than 50 years in the future is past.
    """
    now = datetime.fromtimestamp(wall_now, UTC)
    latest = now.year + 50
    year = latest - (latest - short) % 100
    when = _unix(str(year), month, day, clock)
    if when is None or year < latest:
        return when
    limit = timegm((latest, *now.timetuple()[1:6], 0, 0, 0))
    return when if when <= limit else _unix(str(year - 100), month, day, clock)


def _unix(year: str, month: str, day: str, clock: str) -> float | None:
    times = clock.split(":")
    if len(times) != 3 or not all(len(part) == 2 and _is_digits(part) for part in times):
        return None
    if len(year) != 4 or not _is_digits(year) or not _is_digits(day) or len(day) > 2:
        return None
    if month not in _MONTHS:
        return None
    hour, minute, second = map(int, times)
    if second == 60:  # a leap second, which `calendar` does not know
        second = 59
    try:
        date = datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second)
    except ValueError:
        return None
    return float(timegm(date.timetuple()))


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
