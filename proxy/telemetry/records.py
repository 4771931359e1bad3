"""What telemetry remembers of the past, for the admin side to show."""

from dataclasses import dataclass

from proxy.telemetry.breaker_history import BreakerHistory
from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.telemetry.history import History


@dataclass(frozen=True, slots=True)
class Records:
    """Troubled exchanges, samples of the routes, and changes of the circuit breakers' states."""

    recorder: FlightRecorder
    history: History
    breakers: BreakerHistory
