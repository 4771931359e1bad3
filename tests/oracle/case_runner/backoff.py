"""Cases of backoff: parameters, and the waits they give."""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import inf
from typing import Any

from case_runner.fields import CaseError, Fields, check
from proxy.policies.backoff import Backoff, BackoffConfig, Jitter, JitterKind
from proxy.units import parse_ratio

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_GROWING = ("exponential", "full-jitter", "equal-jitter", "decorrelated")
_STEADY = ("constant", "fixed")
_OWN_JITTER = {
    "full-jitter": Jitter(JitterKind.FULL),
    "equal-jitter": Jitter(JitterKind.EQUAL),
    "decorrelated": Jitter(JitterKind.DECORRELATED),
}
_NO_JITTER = Jitter(JitterKind.NONE)
_JITTERS = {
    "none": _NO_JITTER,
    "off": _NO_JITTER,
    "full": Jitter(JitterKind.FULL),
    "full-jitter": Jitter(JitterKind.FULL),
    "on": Jitter(JitterKind.FULL),
    "equal": Jitter(JitterKind.EQUAL),
    "equal-jitter": Jitter(JitterKind.EQUAL),
    "decorrelated": Jitter(JitterKind.DECORRELATED),
}
_PLUS_MINUS = re.compile(r"plus-minus(?: (\d+(?:\.\d+)?%|[01](?:\.\d+)?))?")
_HISTOGRAM = re.compile(
    r"histogram by whole (?:second|unit|millisecond) within \+-(\d+(?:\.\d+)?)% "
    r"of uniform over (\d+)\.\.(\d+)"
)


@dataclass(frozen=True)
class Params:
    """What a case gives; waits are in `unit` seconds."""

    where: str
    unit: float
    config: BackoffConfig
    draw: float | None
    attempt: int
    samples: int

    def backoff(self, source: Callable[[], float]) -> Backoff:
        return Backoff(self.config, source)

    def wait(self, backoff: Backoff, retry: int) -> float:
        return backoff.delay(retry) / self.unit


def run(case: Fields, defaults: Mapping[str, Any]) -> None:
    where, given, expected = case.where, case.need("params"), case.need("expect")
    for params in _alternatives(where, Fields(f"{where}: params", given), expected):
        expect = Fields(f"{where}: expect", expected)
        samples = expect.take("samples")
        if samples is not None:
            params = replace(params, samples=int(samples))
        asked = expect.rest()
        if not asked:
            raise CaseError(f"{where}: nothing is expected")
        for key, value in asked.items():
            if key not in _CHECKS:
                raise CaseError(f"{where}: unknown expectation {key!r}")
            _CHECKS[key](params, value)


def _alternatives(where: str, given: Fields, expected: Any) -> list[Params]:
    """Every reading of ``constant|linear, jitter on or off``."""
    unit = _UNITS.get(given.take("unit", "s"))
    if unit is None:
        raise CaseError(f"{where}: unknown unit")
    kinds, _, remark = str(given.need("kind")).partition(", ")
    base, cap = float(given.need("base")), given.any_of("cap", "max")
    multiplier = given.take("multiplier")
    factor, text = given.take("factor"), given.take("jitter")
    jitters = _remarked(where, remark) if remark else [_jitter(where, text, factor)]
    draw, attempt = given.take("random"), int(given.take("attempt", 1))
    samples = int(given.take("samples", 200))
    given.finish()
    found = []
    for kind, jitter in product(kinds.split("|"), jitters):
        config = BackoffConfig(
            initial=base * unit,
            multiplier=_multiplier(where, kind, multiplier, base),
            max=inf if cap is None else float(cap) * unit,
            jitter=jitter or _OWN_JITTER.get(kind, _NO_JITTER),
        )
        found.append(
            Params(where, unit, config, None if draw is None else float(draw), attempt, samples)
        )
    return found


def _multiplier(where: str, kind: str, multiplier: Any, base: float) -> float:
    if kind in _GROWING:
        return 2.0 if multiplier is None else float(multiplier)
    if kind in _STEADY or (kind == "linear" and base == 0):
        return 1.0
    if kind == "linear":
        raise CaseError(f"{where}: the proxy has no linear backoff")
    raise CaseError(f"{where}: unknown kind {kind!r}")


def _remarked(where: str, remark: str) -> list[Jitter | None]:
    word, _, choices = remark.partition(" ")
    if word != "jitter" or not choices:
        raise CaseError(f"{where}: cannot read {remark!r}")
    return [_jitter(where, choice, None) for choice in choices.split(" or ")]


def _jitter(where: str, text: Any, factor: Any) -> Jitter | None:
    """None: as the kind has it. YAML reads a bare ``on`` and ``off`` as truth values."""
    if text is None:
        return None if factor is None else Jitter(JitterKind.RATIO, parse_ratio(factor))
    name = {True: "on", False: "off"}.get(text, str(text)) if isinstance(text, bool) else str(text)
    plus_minus = _PLUS_MINUS.fullmatch(name)
    if plus_minus is not None:
        share = plus_minus.group(1) or factor
        if share is None:
            raise CaseError(f"{where}: {name} of what?")
        return Jitter(JitterKind.RATIO, parse_ratio(share))
    if name not in _JITTERS:
        raise CaseError(f"{where}: unknown jitter {name!r}")
    return _JITTERS[name]


def _source(params: Params) -> Callable[[], float]:
    if params.draw is None:
        return random.Random(42).random
    draw = params.draw
    return lambda: draw


def _check_sequence(params: Params, expected: Any) -> None:
    backoff, previous = params.backoff(_source(params)), 0.0
    for index, wait in enumerate(expected):
        previous = backoff.delay(index + 1, previous)
        check(f"{params.where}: wait {index + 1}", previous / params.unit, wait)


def _check_range(params: Params, expected: Any) -> None:
    low, high = expected
    draws = [0.0, 1.0 - 2**-53]  # the ends of what a source can give, and some between
    source = random.Random(42)
    for draw in draws + [source.random() for _ in range(params.samples)]:
        wait = params.wait(params.backoff(lambda draw=draw: draw), params.attempt)
        if not low - 1e-9 <= wait <= high + 1e-9:
            raise CaseError(f"{params.where}: {wait} is not within {low} and {high}")


def _check_by_random(params: Params, expected: Any) -> None:
    for draw, wait in expected.items():
        value = float(draw)
        backoff = params.backoff(lambda value=value: value)
        check(f"{params.where}: random {draw}", params.wait(backoff, params.attempt), wait)


def _check_by_attempt_index(params: Params, expected: Any) -> None:
    backoff = params.backoff(_source(params))
    for index, wait in expected.items():
        check(f"{params.where}: index {index}", params.wait(backoff, int(index) + 1), wait)


def _check_by_attempt(params: Params, expected: Any) -> None:
    backoff = params.backoff(_source(params))
    for attempt, wait in expected.items():
        check(f"{params.where}: attempt {attempt}", params.wait(backoff, int(attempt)), wait)


def _check_rule(params: Params, expected: Any) -> None:
    rule = _HISTOGRAM.fullmatch(str(expected))
    if rule is None:
        raise CaseError(f"{params.where}: unknown rule {expected!r}")
    tolerance, first, last = float(rule[1]) / 100, int(rule[2]), int(rule[3])
    backoff = params.backoff(_source(params))
    counts = Counter(int(params.wait(backoff, params.attempt)) for _ in range(params.samples))
    share = params.samples / (last - first + 1)
    for second in range(first, last + 1):
        if abs(counts[second] - share) > tolerance * share:
            raise CaseError(f"{params.where}: {counts[second]} waits of {second}, not {share}")
    if outside := set(counts) - set(range(first, last + 1)):
        raise CaseError(f"{params.where}: waits outside of the range: {sorted(outside)}")


_CHECKS: dict[Any, Callable[[Params, Any], None]] = {
    "sequence": _check_sequence,
    "range": _check_range,
    "by_random": _check_by_random,
    "by_attempt_index": _check_by_attempt_index,
    "by_attempt": _check_by_attempt,
    "rule": _check_rule,
}
