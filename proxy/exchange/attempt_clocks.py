"""An attempt's clocks: when it is due, and when its time stands still.

While the attempt is REACHING or SENT, its own deadline (`timeouts.attempt`) and the request's run.
While the client's body flows, both stand still, its gates' clocks with them, and `timeouts.idle`
applies. After it is DONE no clock applies.
"""

from enum import Enum
from time import monotonic
from typing import Final

from proxy.errors import AttemptTimeout, BodyTimeout, ProxyError
from proxy.exchange import marks
from proxy.exchange.binding import Binding
from proxy.exchange.events import ALARM
from proxy.exchange.record import AttemptRecord
from proxy.exchange.request import Request
from proxy.exchange.script import SUSPENDED, Script
from proxy.policies.gate import Permit, pause_gates, resume_gates
from proxy.wire.alarm import NEVER
from proxy.wire.streams import UpstreamStream


class Phase(Enum):
    REACHING = "reaching"
    SENT = "sent"
    DONE = "done"


REACHING: Final = Phase.REACHING
SENT: Final = Phase.SENT
DONE: Final = Phase.DONE

_PATIENCE: Final = 0.1
"""Seconds that an upstream waits for a body at least before it gives up."""


class AttemptClocks(Script):
    """An attempt as its clocks know it: its phase, its gates, its stream.

    `stream` is set from sending to release. `_wake_at`: the end of a fault's delay, at which it
    goes on even if the timeouts only observe.
    """

    __slots__ = (
        "_gates",
        "_paused",
        "_permits",
        "_phase",
        "_request",
        "_stood_before",
        "_wake_at",
        "binding",
        "record",
        "stream",
    )

    def __init__(self, request: Request, binding: Binding, record: AttemptRecord) -> None:
        super().__init__()
        self._request = request
        self._phase = REACHING
        self._paused = False
        self._wake_at = NEVER
        self._gates = binding.attempt_gates
        self._permits: list[Permit] = []
        self._stood_before = request.timing.deadline.stood_still
        self.binding = binding
        self.record = record
        self.stream: UpstreamStream | None = None

    def stood_still(self, now: float) -> float:
        """Seconds of this attempt in which the client's body flowed."""
        return self._request.timing.deadline.standing(now) - self._stood_before

    @property
    def _stood(self) -> float:
        """Seconds in which this attempt's clocks stood still, up to the last time."""
        return self._request.timing.deadline.stood_still - self._stood_before

    @property
    def _attempt_seconds(self) -> float:
        """`timeouts.attempt`, longer by the time in which its clocks stood still."""
        return self.binding.policies.timeouts.attempt + self._stood

    @property
    def _due(self) -> float:
        """The earlier of its own deadline and the request's; both clocks pause together.

        If the timeouts only observe: when to note that it would have ended.
        """
        timing = self._request.timing
        if timing.marks is not None and marks.ATTEMPT in self._request.record.observed:
            return NEVER
        deadline = timing.deadline
        own = self.record.started + self._attempt_seconds
        return own if own < deadline.at else deadline.at

    def _overdue(self) -> ProxyError | None:
        """The failure of the clock that expired while waiting for the response."""
        timing = self._request.timing
        now = monotonic()
        if timing.deadline.paused:
            if now < timing.idle_at:
                return None
            if self._body_moves():
                timing.activity = now
                return None
            seconds = timing.idle_seconds
            if self.stream is not None and self.stream.write_paused:
                return AttemptTimeout(
                    f"{self.record.endpoint} read none of the request's body for {seconds:g} s."
                )
            return BodyTimeout(f"The client sent none of the request's body for {seconds:g} s.")
        if now < self._due:
            return None
        if timing.deadline.expired(now):
            return timing.request_timeout()
        seconds = self.binding.policies.timeouts.attempt
        return AttemptTimeout(
            f"{self.record.endpoint} sent no response head within {seconds:g} s (timeouts.attempt)."
        )

    def _check_request(self) -> None:
        """Raise RequestTimeout if the request's own deadline has expired."""
        timing = self._request.timing
        if timing.deadline.expired(monotonic()):
            raise timing.request_timeout()

    def on_mark(self) -> None:
        """The timeouts only observe, and one of them would have ended this attempt: note it."""
        timing, record = self._request.timing, self._request.record
        now = monotonic()
        if timing.deadline.paused:
            if now >= timing.idle_at:
                if not self._body_moves():
                    record.observe(marks.IDLE)
                timing.activity = now
            due = timing.idle_at
        else:
            if now >= self._due:
                record.observe(marks.ATTEMPT)
            due = self._due
        timing.arm(self, min(due, self._wake_at))
        if now >= self._wake_at:
            self.wake(ALARM)

    @property
    def _connect_seconds(self) -> float:
        observes = self._request.timing.marks is not None
        return marks.LONGEST_CONNECT if observes else self.binding.policies.timeouts.connect

    def _connect_took(self, since: float) -> None:
        """Note a look-up or connect that `timeouts.connect` would have ended."""
        took = monotonic() - since
        if self._request.timing.marks is not None and took > self.binding.policies.timeouts.connect:
            self._request.record.observe(marks.CONNECT)

    def _arm(self) -> None:
        timing = self._request.timing
        timing.arm(self, timing.idle_at if timing.deadline.paused else self._due)

    async def _wait(self, until: float) -> object:
        """Wait for the next event, ALARM at `until` at the latest. Raises a failure, or the end."""
        self._request.timing.arm(self, until)
        await SUSPENDED
        return self.heard()

    # --- while the client's body flows ------------------------------------------------------------

    def pause_clocks(self) -> None:
        """The client's body flows: `idle` applies now, and the deadlines pause."""
        if self._paused:
            return
        self._paused = True
        request = self._request
        now = monotonic()
        request.timing.deadline.pause(now)
        pause_gates(self._gates, self._permits, now)
        if request.outer_permits:
            pause_gates(self.binding.outer_gates, request.outer_permits, now)

    def resume_clocks(self) -> None:
        """The body or the attempt has ended."""
        if not self._paused:
            return
        self._paused = False
        request = self._request
        now = monotonic()
        request.timing.deadline.resume(now)
        resume_gates(self._gates, self._permits, now)
        if request.outer_permits:
            resume_gates(self.binding.outer_gates, request.outer_permits, now)
        if self._phase is SENT:
            self._arm()

    def _body_moves(self) -> bool:
        """Whether the upstream still reads the request's body, slower than any event tells."""
        body = self._request.body
        return body is not None and body.moves()

    @property
    def _client_owes(self) -> bool:
        """Whether the upstream waits for body bytes from the client."""
        body = self._request.body
        return body is not None and body.owed

    @property
    def _gave_up(self) -> bool:
        """Whether the upstream may answer because the client did not send its body.

        An earlier answer has another reason.
        """
        if not self._client_owes:
            return False
        return self.stood_still(monotonic()) >= _PATIENCE
