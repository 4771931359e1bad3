"""The document of `/history`: the routes' last 15 minutes, the breakers' last changes."""

from math import isnan
from typing import Any

from proxy.admin.documents import Rows
from proxy.admin.views import Document
from proxy.telemetry.history import INTERVAL, SAMPLES, History, Sample
from proxy.telemetry.records import Records
from proxy.telemetry.timestamps import Timestamps
from proxy.telemetry.transitions import Transition, Transitions


def history(records: Records) -> Document:
    return {**samples(records.history), **transitions(records.breakers)}


def samples(taken: History, last: int = SAMPLES) -> Document:
    """The kept samples as columns of the same length for each route, oldest first."""
    return {
        "interval_s": INTERVAL,
        "times": [round(at, 3) for at in taken.times(last)],
        "routes": Rows(
            {"name": route, "listener": listener, **_columns(found)}
            for (listener, route), found in taken.routes(last)
        ),
    }


def _columns(found: list[Sample]) -> dict[str, list[float | None]]:
    return {
        "rate": [_number(one.rate) for one in found],
        "errors": [_number(one.errors) for one in found],
        "p50_ms": [_number(one.p50 * 1000) for one in found],
        "p99_ms": [_number(one.p99 * 1000) for one in found],
    }


def _number(value: float) -> float | None:
    return None if isnan(value) else round(value, 3)


def transitions(kept: Transitions) -> Document:
    text = Timestamps().text
    return {
        "circuit_breakers": Rows(
            {
                "name": name,
                "changes": found.count,
                "transitions": [_transition(one, text(one.at)) for one in tuple(found.last)],
            }
            for name, found in list(kept.changes().items())
        )
    }


def _transition(one: Transition, at: str) -> dict[str, Any]:
    return {
        "time": at,
        "from": one.left.value,
        "to": one.entered.value,
        "failure_rate": round(one.failure_rate, 2),
        "slow_call_rate": round(one.slow_call_rate, 2),
        "calls": one.calls,
    }
