"""What telemetry remembers, for the admin API and the page."""

from dataclasses import dataclass

from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.telemetry.history import History
from proxy.telemetry.tap import Tap
from proxy.telemetry.transitions import Transitions


@dataclass(frozen=True, slots=True)
class Records:
    """Exchanges with trouble, samples of the routes, state changes of the circuit breakers; and the
    tap, which remembers nothing.
    """

    recorder: FlightRecorder
    history: History
    breakers: Transitions
    tap: Tap
