"""The keys of rate limits, hedges, mirrors and faults."""

import re
from math import ceil

from proxy.config.cursor import Cursor
from proxy.config.kinds import (
    ENVIRONMENT,
    Boolean,
    Choice,
    Duration,
    Integer,
    JsonSchema,
    Leaf,
    Ratio,
    Size,
    Text,
)
from proxy.config.names import UpstreamName, check_header_name
from proxy.config.record import Field, Given, ListOf, Record, Values
from proxy.config.suggestions import did_you_mean
from proxy.config.traffic_advice import rate_meant
from proxy.policies.faults import FaultConfig
from proxy.policies.gate import Mode
from proxy.policies.hedge import P95, HedgeConfig
from proxy.policies.mirror import MirrorConfig
from proxy.policies.rate_limit import CLIENT_KEY, HEADER_KEY, ROUTE_KEY, Rate, RateLimitConfig

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*/\s*([a-z]+)")
_UNITS = {"s": "s", "m": "m", "h": "h"}
_LONG_UNITS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hour": "h", "hr": "h"}
_USUAL_HEADER = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)+")
_LIMIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_MOST_PER_SECOND = 1_000_000
_RAREST = 366 * 86_400.0  # seconds
_LARGEST_BURST = 10_000_000  # times the rarest: 15 digits, as RFC 9651 has for the fields of a 429


class RateKind(Leaf[Rate]):
    wants = "a rate such as 100/s, 60/m or 1000/h"

    def parse(self, text: str) -> Rate:
        found = _RATE.fullmatch(text.strip())
        if found is None:
            mend = rate_meant(text)
            hint = f"; did you mean {mend}?" if mend else ""
            raise ValueError(f"{text!r} is not {self.wants}{hint}")
        unit = found[2]
        if unit not in _UNITS:
            short = _LONG_UNITS.get(unit.removesuffix("s"))
            hint = f"; did you mean {found[1]}/{short}?" if short else ""
            raise ValueError(f"{text!r} is not {self.wants}{hint}")
        rate = Rate(float(found[1]), unit)
        if not rate.count:
            raise ValueError("must be more than 0; a route that admits nothing is not a limit")
        if rate.seconds * _MOST_PER_SECOND < 1:
            raise ValueError(f"must be at most {_MOST_PER_SECOND}/s, not {text}")
        if rate.seconds > _RAREST:
            raise ValueError(f"must be at least one request a year, not {text}")
        return rate

    def dump(self, value: Rate, reveal: bool) -> str:
        return str(value)

    def schema(self) -> JsonSchema:
        pattern = r"^[0-9]+(\.[0-9]+)?/[smh]$"
        return {"anyOf": [{"type": "string", "pattern": pattern}, ENVIRONMENT]}


class LimitKey(Leaf[str]):
    wants = "route, client, or header:NAME such as header:x-user"

    def read(self, at: Cursor, base: str | None = None) -> str:
        (key, (_, name)), *others = (at.members() or {"": (at.mark, at)}).items()
        if key == "header" and not others and name.text():
            raise at.error(f"must be {self.wants}; did you mean header:{(name.text() or key)[0]}?")
        return super().read(at, base)

    def parse(self, text: str) -> str:
        if text in (ROUTE_KEY, CLIENT_KEY):
            return text
        name = text.removeprefix(HEADER_KEY)
        if text.startswith(HEADER_KEY) and name.strip():
            if name != name.strip():
                raise ValueError(f"did you mean {HEADER_KEY}{name.strip()}, without the space?")
            return HEADER_KEY + check_header_name(name).lower()
        lower = text.lower()
        if lower.startswith(HEADER_KEY) and name.strip():
            raise ValueError(f"must be {self.wants}, not {text!r}; did you mean {lower}?")
        hint = did_you_mean(text, (ROUTE_KEY, CLIENT_KEY))
        if not hint and _USUAL_HEADER.fullmatch(text):
            hint = f"; did you mean {HEADER_KEY}{text}?"
        raise ValueError(f"must be {self.wants}, not {text!r}{hint}")

    def schema(self) -> JsonSchema:
        words = {"enum": [ROUTE_KEY, CLIENT_KEY]}
        return {"anyOf": [words, {"type": "string", "pattern": "^header:.+$"}, ENVIRONMENT]}


def _check_limit_name(text: str) -> str:
    if not _LIMIT_NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} is not usable as a name: letters, digits, '.', '_', ':' and '-', at most "
            "128, a letter or digit first"
        )
    return text


def _settle(values: Values, given: Given, at: Cursor) -> None:
    values.setdefault("key", ROUTE_KEY)
    values.setdefault("name", values["key"])
    if "rate" in values:
        values.setdefault("burst", ceil(values["rate"].count))


RATE_LIMIT = Record(
    RateLimitConfig,
    {
        "name": Field(
            Text("a name such as per-user", _check_limit_name),
            "Unique in its list; label of metrics and name in RateLimit. Default: the key.",
        ),
        "key": Field(
            LimitKey(),
            "What each has its own limit: route (the default: one limit for all), client, or "
            "header:NAME. Requests without the header share one limit.",
        ),
        "rate": Field(RateKind(), "Requests per second, minute or hour: 100/s, 60/m, 1000/h.", (),
                      required=True),
        "burst": Field(
            Integer(1, _LARGEST_BURST),
            "Requests at once after a pause. Default: the number of the rate.",
        ),
        "mode": Field(
            Choice(Mode), "observe: counts what it would refuse, and refuses nothing."
        ),
    },
    settle=_settle,
)  # fmt: skip


class RateLimitList(ListOf[RateLimitConfig]):
    """The limits of a route; all must have room for a request."""

    def __init__(self) -> None:
        super().__init__(RATE_LIMIT, "limits such as {rate: 100/s}")

    def read(
        self, at: Cursor, base: tuple[RateLimitConfig, ...] | None = None
    ) -> tuple[RateLimitConfig, ...]:
        limits = super().read(at, base)
        names = [one.name for one in limits]
        for number, item in enumerate(at.items() or ()):
            if names[number] in names[:number]:
                name = names[number]
                raise item.error(f"two limits are named {name!r}; give each a name of its own")
        return limits


class HedgeDelay(Leaf[float]):
    wants = "a duration such as 50ms, or p95"
    _duration = Duration(zero=True)

    def parse(self, text: str) -> float:
        if text.lower() == "p95":
            return P95
        if re.fullmatch(r"[pP][0-9.]+|[0-9.]+%", text):
            raise ValueError(f"must be {self.wants}: no other percentile is learned, not {text!r}")
        return self._duration.parse(text)

    def dump(self, value: float, reveal: bool) -> str:
        return "p95" if value == P95 else self._duration.dump(value, reveal)

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"const": "p95"}, *self._duration.schema()["anyOf"]]}


HEDGE = Record(
    HedgeConfig,
    {
        "delay": Field(
            HedgeDelay(),
            "The time without a response's head after which another attempt begins, beside the "
            "first one; p95: learned from the route's last 10 s, at least 10 ms. 0s: no hedges.",
        ),
        "max": Field(Integer(1), "Hedges of one request; each counts in retry.attempts."),
    },
    definition="hedge",
)


class _Share(Ratio):
    """Of requests or attempts. A bare 1 is 100 %, and often meant as 1 %."""

    def read(self, at: Cursor, base: float | None = None) -> float:
        found = at.text()
        if found is not None and found[0] == "1":
            at.warning("1 is 100 %: write 100%, or 1% for one of a hundred")
        return super().read(at, base)


class _Rate(Size):
    """Bytes per second."""

    def parse(self, text: str) -> int:
        size = text.removesuffix("/s")
        if size != text:
            raise ValueError(f"is per second anyway; write {size}")
        return super().parse(text)


MIRROR = Record(
    MirrorConfig,
    {
        "upstream": Field(UpstreamName(), "Where the copies go.", required=True),
        "share": Field(_Share(), "Share of the requests that are copied."),
        "max_in_flight": Field(
            Integer(1), "Copies at once; while so many are in flight, no request is copied."
        ),
        "credentials": Field(Boolean(), "Copies keep Authorization and Cookie."),
    },
    sparse=True,
    definition="mirror",
)


def _settle_fault(values: Values, given: Given, at: Cursor) -> None:
    kinds = [key for key in ("delay", "abort", "reset", "throttle") if key in given and values[key]]
    if values["headers"]:
        for key in ("abort", "reset"):
            if key in kinds:
                given[key].error("has no meaning with headers: true; the request asks for it")
    elif len(kinds) > 1:
        names = " and ".join(kinds)
        given[kinds[1]].error(f"one fault has one of {names}; write an entry for each")
    elif not kinds:
        at.error("needs one of delay, abort, reset and throttle, or headers: true")


FAULT = Record(
    FaultConfig,
    {
        "share": Field(_Share(zero=False), "Share of the attempts.", required=True),
        "delay": Field(
            Duration(zero=True),
            "Wait this long before the attempt; with headers: the longest that may be asked for.",
        ),
        "abort": Field(Integer(200, 599), "Answer with this status instead of the upstream."),
        "reset": Field(Boolean(), "Close the connection instead of an answer."),
        "throttle": Field(
            _Rate(),
            "Pass on so many bytes of the response's body per second; with headers: the slowest "
            "that may be asked for.",
        ),
        "headers": Field(
            Boolean(),
            "Requests ask for it: x-fault-delay (a duration), x-fault-abort (a status) and "
            "x-fault-throttle (a size).",
        ),
    },
    settle=_settle_fault,
    sparse=True,
)
FAULTS = ListOf(FAULT, "faults such as {share: 1%, abort: 503}")
