"""The probes of a half-open circuit breaker: those in flight, and the time that each has left."""

from proxy.policies.circuit_breaker_answers import CircuitPermit
from proxy.policies.gate import Permit


class Probes:
    """The probes that have not returned yet, at most `half_open.calls`.

    The time of a probe is `longest` seconds; it stands still while the client's body flows.
    """

    __slots__ = ("_in_flight", "longest")

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self._in_flight: set[CircuitPermit] = set()

    def __len__(self) -> int:
        return len(self._in_flight)

    def admit(self, generation: int, now: float) -> CircuitPermit:
        probe = CircuitPermit(generation, now)
        self._in_flight.add(probe)
        return probe

    def take_back(self, permit: Permit) -> bool:
        """Whether it was in flight: not of an earlier state, and not expired."""
        assert isinstance(permit, CircuitPermit)
        if permit not in self._in_flight:
            return False
        self._in_flight.discard(permit)
        return True

    def take_expired(self, now: float) -> CircuitPermit | None:
        """The probe whose time ended first, if that of any has ended."""
        overdue = [
            probe
            for probe in self._in_flight
            if probe.paused_at < 0 and now >= probe.since + self.longest
        ]
        if not overdue:
            return None
        first = min(overdue, key=_since)
        self._in_flight.discard(first)
        return first

    def pause(self, permit: Permit, now: float) -> None:
        """Stop the time of a probe that is in flight."""
        assert isinstance(permit, CircuitPermit)
        if permit in self._in_flight and permit.paused_at < 0:
            permit.paused_at = now

    def resume(self, permit: Permit, now: float) -> None:
        assert isinstance(permit, CircuitPermit)
        if permit.paused_at >= 0:
            permit.since += now - permit.paused_at
            permit.paused_at = -1.0

    def forget(self) -> None:
        """The state has changed: their results are dropped."""
        self._in_flight.clear()


def _since(probe: CircuitPermit) -> float:
    return probe.since
