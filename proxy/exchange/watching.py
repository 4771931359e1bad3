"""Watches an exchange while it waits: how long it takes as a whole, and how fast its client is.

The client's pace (`limits.body_rate`, `timeouts.body_rate`) is judged when its clock rings. If
another exchange needs a permit, the exchange with the slowest client gives its place.
"""

from time import monotonic
from typing import Any, Final

from proxy.errors import BodyTimeout, ClientGone, ProxyError
from proxy.exchange.carrier import Carrier
from proxy.exchange.events import ALARM, COMMITTED, ROUTING, Phase
from proxy.exchange.marks import BODY_RATE
from proxy.exchange.pace import GRACE, Pace, TakingPace
from proxy.exchange.record import Record
from proxy.exchange.relay import Relay
from proxy.policies.gate import Gate, Permit

_NO_GATES: Final[list[Gate]] = []


class Watching(Carrier):
    """An exchange as its watch knows it: its phase, its permits, its relay.

    `phase` is its current phase, `record` is what observers get. `_permits` are those of the first
    of `_gates`, in their order.
    """

    __slots__ = ("_gates", "_permits", "_relay", "phase", "record")

    record: Record

    def __init__(self) -> None:
        super().__init__()
        self.phase: Phase = ROUTING
        self._gates: list[Gate] = _NO_GATES
        self._permits: list[Permit] = []
        self._relay: Relay | None = None

    def expect(self, until: float) -> None:
        timing = self.request.timing
        timing.undelayed = False
        timing.arm(self, until if until < timing.watch else timing.watch)

    def heard(self) -> Any:
        happened = super().heard()
        if happened is ALARM:
            self._look()
        return happened

    def _look(self) -> None:
        """Raise if the whole exchange takes too long, or if its client is too slow."""
        timing, body, relay = self.request.timing, self.request.body, self._relay
        now = monotonic()
        if now < timing.watch:
            return
        marks, committed = timing.marks, self.phase is COMMITTED
        if marks is not None:
            timing.watch = marks.look(self.record, now, committed=committed)
        elif now >= timing.cutoff:
            raise timing.overlong(committed=committed, client_owes=body is not None and body.owed)
        else:
            timing.watch = timing.cutoff
        if body is not None and body.pace is not None:
            self._judge(body.pace, now)
        if relay is not None and relay.pace is not None:
            self._judge(relay.pace, now)

    def _judge(self, pace: Pace, now: float) -> None:
        timing = self.request.timing
        if timing.stood_still:
            pace.begin_again(now)
        elif pace.too_slow(now):
            if self.request.observes_rate:
                self.record.observe(BODY_RATE)
                pace.begin_again(now)
                return
            raise self._too_slow(pace, now, f"after waiting for it for {GRACE:g} s")
        timing.look_at(pace.look_at)

    def _too_slow(self, pace: Pace, now: float, why: str) -> ProxyError:
        text = (
            f"at {pace.average(now):.3g} bytes per second, {why}; the minimum is {pace.rate} "
            "(limits.body_rate, timeouts.body_rate)."
        )
        if isinstance(pace, TakingPace):
            return ClientGone(f"The client read the response {text}")
        return BodyTimeout(f"The client sent the request's body {text}")

    # --- if another exchange needs its permit ----------------------------------------------------

    def behind(self, gate: Gate, now: float) -> float:
        """Bytes that its client is behind `body_rate`, if it holds a permit of `gate`; else 0."""
        pace = self._slowest_pace(now)
        if pace is None or self.request.observes_rate or not self._holds(gate):
            return 0.0
        return pace.behind(now)

    def places(self) -> list[Gate]:
        """The gates with places of which it holds a permit."""
        held = self._gates[: len(self._permits)]
        return [gate for gate in held if gate.has_places]

    def give_place(self, now: float) -> None:
        """End it: its client is too slow, and another exchange needs its permit."""
        pace = self._slowest_pace(now)
        if pace is not None:
            self.wake(
                self._too_slow(pace, now, "while other requests wait for its permit (bulkhead)")
            )

    def _slowest_pace(self, now: float) -> Pace | None:
        body, relay = self.request.body, self._relay
        sending = body.pace if body is not None else None
        taking = relay.pace if relay is not None else None
        if sending is None or (taking is not None and taking.behind(now) > sending.behind(now)):
            return taking
        return sending

    def _holds(self, gate: Gate) -> bool:
        if self.running:
            return False
        held = len(self._permits)
        for at, one in enumerate(self._gates):
            if one is gate:
                return at < held
        return False
