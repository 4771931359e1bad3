"""Faults of attempts: what the configuration or the request's headers ask for."""

from typing import Final

from proxy.errors import FaultInjected
from proxy.exchange.attempt import Attempt
from proxy.exchange.heads import FAULT_ABORT_FIELD, FAULT_DELAY_FIELD, FAULT_THROTTLE_FIELD
from proxy.policies.faults import Faults
from proxy.units import parse_duration, parse_size

_LONGEST: Final = 20
"""Bytes of a header's value that is read."""


def draw_fault(attempt: Attempt, faults: Faults) -> None:
    """Draw the fault of an attempt that is about to begin."""
    delay, abort, throttle = 0.0, 0, 0
    if faults.asks:
        held = attempt.head_held
        delay = _delay(held.get(FAULT_DELAY_FIELD))
        abort = _abort(held.get(FAULT_ABORT_FIELD))
        throttle = _throttle(held.get(FAULT_THROTTLE_FIELD))
    fault = faults.draw(delay, abort, throttle)
    if fault is None:
        return
    attempt.fault = fault
    attempt.record.fault = "+".join(fault.kinds)


def injected(attempt: Attempt) -> FaultInjected | None:
    """The failure that a fault made of this attempt, None if its response is the upstream's."""
    fault = attempt.fault
    if fault is None or not fault.abort:
        return None
    return FaultInjected(fault.abort)


def _delay(values: list[bytes] | None) -> float:
    if not values or len(values[0]) > _LONGEST:
        return 0.0
    try:
        return parse_duration(values[0].decode("latin-1"))
    except ValueError:
        return 0.0


def _abort(values: list[bytes] | None) -> int:
    if not values or len(values[0]) != 3 or not values[0].isdigit():
        return 0
    status = int(values[0])
    return status if 200 <= status <= 599 else 0


def _throttle(values: list[bytes] | None) -> int:
    if not values or len(values[0]) > _LONGEST:
        return 0
    try:
        return parse_size(values[0].decode("latin-1"))
    except ValueError:
        return 0
