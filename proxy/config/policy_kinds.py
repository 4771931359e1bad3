"""Kinds of values in policies: outcomes, methods, jitter, the breaker's window."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from proxy.config.advice import OFF_WORDS
from proxy.config.cursor import Cursor
from proxy.config.kinds import (
    ENVIRONMENT,
    Duration,
    Integer,
    JsonSchema,
    Kind,
    Leaf,
    Number,
    Ratio,
    Size,
    words_schema,
)
from proxy.config.names import KNOWN_METHODS, METHOD
from proxy.config.problems import Path
from proxy.config.record import Field, Given, ListOf, Record, Values
from proxy.config.suggestions import did_you_mean
from proxy.outcome import GRPC_TERMS, Condition, OutcomeSet, parse_statuses
from proxy.policies.backoff import BackoffConfig, Jitter, JitterKind
from proxy.policies.circuit_breaker_config import OpenForConfig, WindowConfig, WindowType
from proxy.policies.retry import RetryMethods
from proxy.units import format_duration, format_ratio, parse_duration, parse_ratio

OUTCOMES = [*(condition.value for condition in Condition), "gateway-error", "5xx", *GRPC_TERMS]
STATUS: JsonSchema = {"type": "integer", "minimum": 200, "maximum": 599}
_STATUSES: JsonSchema = {"type": "string", "pattern": "^[2-5][0-9]{2}(-[2-5][0-9]{2})?$"}


class BodyRate(Kind[int | None]):
    """Bytes per second, or ``listener`` for the listener's limit."""

    _size = Size(zero=True)

    def read(self, at: Cursor, base: int | None = None) -> int | None:
        found = at.text()
        return None if found is not None and found[0] == "listener" else self._size.read(at)

    def dump(self, value: int | None, reveal: bool) -> Any:
        return "listener" if value is None else self._size.dump(value, reveal)

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"const": "listener"}, self._size.schema()]}


def family_meant(text: str) -> str:
    """``; did you mean 400-499?`` for ``4xx``, "" for anything else."""
    family = re.fullmatch(r"([2-5])xx", text.lower())
    return f"; did you mean {family[1]}00-{family[1]}99?" if family else ""


class Outcome(Leaf[str]):
    """A condition, a status or a range of statuses, as `OutcomeSet` parses it."""

    wants = "a condition such as timeout, a status or a range of statuses"

    def parse(self, text: str) -> str:
        try:
            OutcomeSet((text,))
        except ValueError as error:
            hint = did_you_mean(text, OUTCOMES)
            if text.lower() != "5xx":
                hint = family_meant(text) or hint
            raise ValueError(f"{error}{hint}") from None
        return text

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"enum": OUTCOMES}, STATUS, _STATUSES, ENVIRONMENT]}


class StatusRange(Leaf[str]):
    """As `parse_statuses` reads it."""

    wants = "a status such as 204, or a range such as 200-299"

    def parse(self, text: str) -> str:
        try:
            parse_statuses(text)
        except ValueError:
            raise ValueError(f"{text!r} is not {self.wants}{family_meant(text)}") from None
        return text

    def dump(self, value: str, reveal: bool) -> Any:
        return int(value) if value.isdigit() else value

    def schema(self) -> JsonSchema:
        return {"anyOf": [STATUS, _STATUSES, ENVIRONMENT]}


class Outcomes(Kind[OutcomeSet]):
    """A list of outcomes, or of statuses alone."""

    def __init__(self, one: Leaf[str], plural: str) -> None:
        self._list = ListOf(one, plural)

    def read(self, at: Cursor, base: OutcomeSet | None = None) -> OutcomeSet:
        return OutcomeSet(self._list.read(at))

    def dump(self, value: OutcomeSet, reveal: bool) -> list[Any]:
        return [int(term) if term.isdigit() else term for term in value.terms]

    def schema(self) -> JsonSchema:
        return self._list.schema()


OUTCOME_LIST: Final = Outcomes(Outcome(), "conditions and statuses")
STATUS_LIST: Final = Outcomes(StatusRange(), "statuses")


class Methods(Kind[RetryMethods]):
    """``idempotent``, ``any`` or an exact list, with which Idempotency-Key has no effect."""

    _list = ListOf(METHOD, "methods")

    def read(self, at: Cursor, base: RetryMethods | None = None) -> RetryMethods:
        found = at.text()
        if found is None:
            return RetryMethods(frozenset(self._list.read(at)), keyed=False)
        if found[0] == "idempotent":
            return RetryMethods()
        if found[0] == "any":
            return RetryMethods(any=True)
        hint = did_you_mean(found[0], ("idempotent", "any"))
        if found[0].upper() in KNOWN_METHODS:
            hint = f"; did you mean [{found[0].upper()}]?"
        raise at.error(f"must be idempotent, any or a list of methods, not {found[0]!r}{hint}")

    def dump(self, value: RetryMethods, reveal: bool) -> Any:
        if value.any:
            return "any"
        return "idempotent" if value.keyed else sorted(value.names)

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"enum": ["idempotent", "any"]}, self._list.schema(), ENVIRONMENT]}


class JitterKindOrRatio(Leaf[Jitter]):
    _words: ClassVar = [kind.value for kind in JitterKind if kind is not JitterKind.RATIO]
    wants = "one of " + ", ".join(_words) + ", or a ratio such as 20%"

    def parse(self, text: str) -> Jitter:
        if text in self._words:
            return Jitter(JitterKind(text))
        if not text[:1].isdigit():
            hint = did_you_mean(text, self._words)
            if text.lower() in OFF_WORDS:
                hint = "; did you mean 'none'?"
            raise ValueError(f"must be {self.wants}, not {text!r}{hint}")
        return Jitter(JitterKind.RATIO, parse_ratio(text))

    def dump(self, value: Jitter, reveal: bool) -> str:
        ratio = value.kind is JitterKind.RATIO
        return format_ratio(value.ratio) if ratio else value.kind.value

    def schema(self) -> JsonSchema:
        return {"anyOf": [words_schema(self._words), *Ratio().schema()["anyOf"]]}


class WindowSize(Leaf[int]):
    """Outcomes or whole seconds, distinguished by the unit: a pair of type and number."""

    wants = "a number of calls such as 100, or whole seconds such as 60s"
    counts = True

    def parse(self, text: str) -> Any:
        if text.isascii() and text.isdigit():
            return WindowType.COUNT, Integer(1).parse(text)
        seconds = parse_duration(text)
        if seconds < 1 or seconds != int(seconds):
            raise ValueError(f"must be whole seconds, at least 1s, not {text}")
        return WindowType.TIME, int(seconds)

    def dump(self, value: Any, reveal: bool) -> Any:
        return value

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"type": "integer", "minimum": 1}, *Duration().schema()["anyOf"]]}


class Window(Record[WindowConfig]):
    """`type` and `size` must match, also if they come from different layers."""

    def read(self, at: Cursor, base: WindowConfig | None = None) -> WindowConfig:
        inherited = base or WindowConfig()
        value = super().read(at, base)
        if value.type is not inherited.type and "size" not in (at.members() or {}):
            at.error(f"a window of type {value.type.value} also needs a 'size'")
        return value

    def dump(self, value: WindowConfig, reveal: bool) -> dict[str, Any]:
        return {str(path[0]): shown for path, shown in self.leaves(value)}

    def leaves(self, value: WindowConfig, path: Path = ()) -> Iterator[tuple[Path, Any]]:
        timed = value.type is WindowType.TIME
        yield (*path, "type"), value.type.value
        yield (*path, "size"), format_duration(value.size) if timed else value.size


def settle_window(values: Values, given: Given, at: Cursor) -> None:
    """Extract the size's number, and check that it matches the type."""
    if "size" not in given:
        return
    window_type = values["type"]
    size_type, values["size"] = values["size"]
    if size_type is not window_type:
        wants = "60s" if window_type is WindowType.TIME else "100"
        given["size"].error(
            f"the window's type is {window_type.value}: a size such as {wants} is needed"
        )


def check_max(value: BackoffConfig | OpenForConfig, given: Given, at: Cursor) -> None:
    """`max` caps every wait. Below `initial` it is an error if both are written together, and a
    warning if one is inherited."""
    if value.max >= value.initial:
        return
    most, first = format_duration(value.max), format_duration(value.initial)
    if "max" in given and "initial" in given:
        given["max"].error(f"{most} is less than initial, which is {first}")
    elif "max" in given or "initial" in given:
        (given.get("max") or given["initial"]).warning(
            f"max is {most} and initial {first}: every wait is {most}"
        )


BACKOFF_KEYS = {
    "initial": Field(Duration(zero=True), "The wait before the second attempt."),
    "multiplier": Field(Number(1), "The factor from one wait to the next."),
    "max": Field(Duration(zero=True), "The longest wait, before jitter."),
    "jitter": Field(
        JitterKindOrRatio(),
        "full: 0 to the wait; equal: half the wait to the wait; decorrelated: up to three "
        "times the previous wait; none; or a ratio (20%: plus or minus a fifth).",
    ),
}
BACKOFF = Record(BackoffConfig, BACKOFF_KEYS, check=check_max, definition="backoff")
