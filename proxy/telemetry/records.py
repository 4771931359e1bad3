"""What telemetry remembers, for the admin API and the page."""

from dataclasses import dataclass

from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.telemetry.history import History
from proxy.telemetry.transitions import Transitions


@dataclass(frozen=True, slots=True)
class Records:
    """Exchanges with trouble, samples of the routes, and state changes of the circuit breakers."""

    recorder: FlightRecorder
    history: History
    breakers: Transitions
