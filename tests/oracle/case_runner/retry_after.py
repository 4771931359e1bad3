"""Cases of Retry-After: a header's value, a time, and the wait it means then."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from case_runner.fields import CaseError, Fields, check
from proxy.http.retry_after import parse_retry_after

_RELATIVE = re.compile(r"now(?: ([+-]) (\d+(?:\.\d+)?) ?(ms|[a-z]+?)s?)?")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_SOME_TIME = datetime(2019, 6, 3, 11, 0, tzinfo=UTC)


def run(case: Fields, defaults: Mapping[str, Any]) -> None:
    expect = Fields(f"{case.where}: expect", case.need("expect"))
    until = _instant(expect.take("until")) if "until" in expect else None
    given = case.take("now")
    now = _instant(given) if given is not None else _default_now(until)
    header = case.take("header")
    values = header if isinstance(header, list) else [] if header is None else [header]
    delay = parse_retry_after([_resolve(str(value), now) for value in values], now.timestamp())

    if until is not None:
        check(
            f"{case.where}: until",
            None if delay is None else now.timestamp() + delay,
            max(until, now).timestamp(),
        )
    if "delay_s" in expect:
        check(f"{case.where}: delay_s", delay, expect.take("delay_s"))
    if "delay_ms" in expect:
        check(
            f"{case.where}: delay_ms",
            None if delay is None else delay * 1000,
            expect.take("delay_ms"),
        )
    if "invalid" in expect:
        check(f"{case.where}: invalid", delay is None, expect.take("invalid"))
    expect.finish()


def _default_now(until: datetime | None) -> datetime:
    """Any time will do where none is given, but a date must lie ahead to be seen."""
    return _SOME_TIME if until is None else until - timedelta(hours=1)


def _instant(value: Any) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise CaseError(f"{value!r} is not a time") from error
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _resolve(value: str, now: datetime) -> str:
    """``now - 1 day`` as an HTTP date; everything else as it stands."""
    match = _RELATIVE.fullmatch(value)
    if match is None:
        return value
    sign, amount, unit = match.groups()
    if sign is None:
        return format_datetime(now, usegmt=True)
    if unit not in _UNITS:
        raise CaseError(f"{value!r}: unknown unit")
    offset = float(amount) * _UNITS[unit]
    return format_datetime(now + offset if sign == "+" else now - offset, usegmt=True)
