"""A case's configuration, in Resilience4j's terms, as that of the proxy's breaker.

What Resilience4j has and the proxy does not, is a timer's work and done when a case says ``tick``:
leaving OPEN without a request, and a limit to HALF_OPEN as a whole (the proxy limits each probe).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from case_runner.fields import CaseError, Fields
from proxy.policies.circuit_breaker_config import (
    BreakerMode,
    CircuitBreakerConfig,
    HalfOpenConfig,
    OpenForConfig,
    SlowCallConfig,
    WindowConfig,
    WindowType,
)

_DEFAULTS: dict[str, Any] = {
    "failure_rate_threshold": 50,
    "slow_call_rate_threshold": 100,
    "slow_call_duration_ms": 60000,
    "wait_open_ms": 60000,
    "permitted_half_open": 10,
    "minimum_calls": 100,
    "window": {"type": "count", "size": 100},
    "max_wait_half_open_ms": 0,
    "half_open_timeout_state": "OPEN",
    "auto_half_open": False,
    "initial_state": "CLOSED",
}


@dataclass(frozen=True)
class Setup:
    """`half_open_limit` seconds, inf for none; it ends in `half_open_ends_in`."""

    config: CircuitBreakerConfig
    initial_state: str
    auto_half_open: bool
    half_open_limit: float
    half_open_ends_in: str

    def in_mode(self, mode: BreakerMode) -> CircuitBreakerConfig:
        return replace(self.config, mode=mode)


def read_setup(where: str, given: Any, defaults: Mapping[str, Any]) -> Setup:
    fields = Fields(f"{where}: config", {**_DEFAULTS, **defaults, **(given or {})})
    limit = _seconds(fields.take("max_wait_half_open_ms")) or inf
    ends_in = str(fields.take("half_open_timeout_state"))
    if ends_in not in ("OPEN", "CLOSED"):
        raise CaseError(f"{where}: half-open cannot end in {ends_in}")
    rate = float(fields.take("failure_rate_threshold")) / 100
    config = CircuitBreakerConfig(
        window=_window(where, fields.take("window")),
        minimum_calls=int(fields.take("minimum_calls")),
        failure_rate=rate,
        slow_call=SlowCallConfig(
            _seconds(fields.take("slow_call_duration_ms")),
            float(fields.take("slow_call_rate_threshold")) / 100,
        ),
        open_for=_open_for(where, fields),
        half_open=HalfOpenConfig(
            calls=int(fields.take("permitted_half_open")),
            # Given up, a probe counts as failed: that would spoil an end in CLOSED.
            max_wait=limit if ends_in == "OPEN" else inf,
            failure_rate=rate,
        ),
    )
    setup = Setup(
        config,
        str(fields.take("initial_state")),
        bool(fields.take("auto_half_open")),
        limit,
        ends_in,
    )
    fields.finish()
    return setup


def _window(where: str, given: Any) -> WindowConfig:
    fields = Fields(f"{where}: window", given)
    kind, size = str(fields.need("type")).lower(), int(fields.need("size"))
    fields.finish()
    kinds = {kind.value: kind for kind in WindowType}
    if kind not in kinds:
        raise CaseError(f"{where}: unknown window type {kind!r}")
    return WindowConfig(kinds[kind], size)


def _open_for(where: str, fields: Fields) -> OpenForConfig:
    wait = _seconds(fields.take("wait_open_ms"))
    given = fields.take("wait_open_backoff")
    if given is None:
        return OpenForConfig(initial=wait, max=inf)
    backoff = Fields(f"{where}: wait_open_backoff", given)
    initial = _seconds(backoff.take("initial_ms", wait * 1000))
    longest = backoff.any_of("max_ms", "cap_ms")
    config = OpenForConfig(
        initial=initial,
        multiplier=float(backoff.take("multiplier", 1)),
        max=inf if longest is None else _seconds(longest),
    )
    backoff.finish()
    return config


def _seconds(milliseconds: Any) -> float:
    return float(milliseconds) / 1000
