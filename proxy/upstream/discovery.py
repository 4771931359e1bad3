"""The addresses of one upstream's endpoints, refreshed while the upstream is in use.

    unknown ──first look-up──► known ──every dns_refresh, while in use──► known
                                  └──unused for 5 periods──► known, paused ──use──► known

A use after a pause gets the known addresses at once, and starts a look-up. A failed look-up keeps
the known addresses; without any, its failure is the answer for all waiters.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from proxy.config.model import EndpointConfig
from proxy.errors import ConnectError, DnsFailure
from proxy.upstream.leases import Scheduler, Ticket
from proxy.upstream.resolver import Addresses, OnLookedUp, literal
from proxy.upstream.shortages import LookUpQueued, LookUpStoodStill, LookUpTimeout
from proxy.wire.alarm import FINEST, HELD_UP, LATE

_NO_NAMES: Final[frozenset[str]] = frozenset()

PAUSE_AFTER = 5
"""Look-ups pause after this many periods without a use."""


class LooksUp(Protocol):
    """The part of `Resolver` that this file needs."""

    def look_up(self, host: str, on_begun: Callable[[], None], on_done: OnLookedUp) -> None:
        """Look a name up; `on_done` is called exactly once, from the loop.

        `on_begun` is called once before that, when the look-up leaves the queue, perhaps at once.
        """


class _Wait:
    """An exchange's wait for the first address: a `Ticket`."""

    __slots__ = ("_discovery", "due", "late", "on_done", "timeout", "timer")

    def __init__(
        self,
        discovery: "Discovery",
        on_done: Callable[[ConnectError | None], None],
        timeout: float,
    ) -> None:
        self._discovery = discovery
        self.on_done = on_done
        self.timeout = timeout
        self.timer: Ticket | None = None
        self.due = 0.0
        self.late: bool | None = None

    def cancel(self) -> None:
        self._discovery.end_wait(self)


class Discovery:
    """`on_change` is called after every change of `addresses`.

    `starting`: of several endpoints, the names whose first look-up has no result yet, or has just
    got it.
    """

    def __init__(
        self,
        endpoints: tuple[EndpointConfig, ...],
        refresh: float,
        resolver: LooksUp,
        loop: Scheduler,
        on_change: Callable[[], None],
    ) -> None:
        """`refresh` in seconds; 0: a name is looked up only until a look-up succeeds."""
        self.addresses: dict[str, Addresses] = {}
        self._refresh = refresh
        self._resolver = resolver
        self._loop = loop
        self._on_change = on_change
        self._names: list[str] = []
        self._flying: set[str] = set()
        self._begun: set[str] = set()
        self._errors: dict[str, DnsFailure] = {}
        self._waits: dict[_Wait, None] = {}
        self._timer: Ticket | None = None
        self._periods_unused = 0
        self._closed = False
        for endpoint in endpoints:
            address = literal(endpoint.host)
            if address is not None:
                self.addresses[endpoint.host] = (address,)
            elif endpoint.host not in self._names:
                self._names.append(endpoint.host)
        self.starting = frozenset(self._names) if len(endpoints) > 1 else _NO_NAMES

    @property
    def static(self) -> bool:
        """Whether all endpoints are literal addresses, so that nothing needs a look-up."""
        return not self._names

    @property
    def waiting(self) -> int:
        """Exchanges that wait for the first address."""
        return len(self._waits)

    def note_use(self) -> None:
        """Continue the look-ups, or start them again after a pause."""
        self._periods_unused = 0
        if self._timer is None and not self._closed:
            self._wake()

    def resolve(self, on_done: Callable[[ConnectError | None], None], timeout: float) -> Ticket:
        """Wait for the first address, `timeout` seconds at most once a look-up has begun.

        `on_done` is called from the loop, unless the ticket was cancelled before: with None as
        soon as there is an address, or with the failure.
        """
        wait = _Wait(self, on_done, timeout)
        self._waits[wait] = None
        if self.addresses:
            wait.timer = self._loop.call_soon(self._answer, wait, None)
            return wait
        self.note_use()
        self._look_up_all()
        if self._begun and wait in self._waits:
            self._start_clock(wait)
        return wait

    def overdue(self) -> LookUpTimeout:
        """The failure of a wait that another deadline ends before its `timeout`."""
        names = ", ".join(self._names)
        if self._begun:
            return LookUpTimeout(
                f"The look-up of {names} took longer than the attempt's deadline: "
                "check that this machine's DNS servers answer."
            )
        return LookUpQueued(
            f"The look-up of {names} waited behind many others, which this machine's DNS servers "
            "do not answer: this says nothing about the upstream."
        )

    def end_wait(self, wait: _Wait) -> bool:
        """Forget a wait; False if it was already over."""
        if wait not in self._waits:
            return False
        del self._waits[wait]
        if wait.timer is not None:
            wait.timer.cancel()
        return True

    def successor(self, endpoints: tuple[EndpointConfig, ...]) -> "Discovery":
        """Close this one, and make one for other endpoints. Addresses that are known stay known."""
        self.close()
        new = Discovery(endpoints, self._refresh, self._resolver, self._loop, self._on_change)
        new.learn(self)
        return new

    def learn(self, other: "Discovery") -> None:
        """Go on from another one, whose addresses are known here too; other names are new."""
        self.starting &= other.starting
        for name in self._names:
            if name in other.addresses:
                self.addresses[name] = other.addresses[name]

    def close(self) -> None:
        """Stop refreshing. Waits for a first address still get it."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- look-ups ---------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._refresh > 0:
            self._timer = self._loop.call_later(self._refresh, self._tick)
            self._look_up_all()
        else:
            self._look_up_missing()

    def _tick(self) -> None:
        self._timer = None
        self._periods_unused += 1
        if self._periods_unused > PAUSE_AFTER:
            return
        self._timer = self._loop.call_later(self._refresh, self._tick)
        self._look_up_all()

    def _look_up_missing(self) -> None:
        for name in self._names:
            if name not in self.addresses:
                self._look_up(name)

    def _look_up_all(self) -> None:
        for name in self._names:
            self._look_up(name)

    def _look_up(self, name: str) -> None:
        if name not in self._flying:
            self._flying.add(name)
            self._resolver.look_up(
                name, partial(self._on_begun, name), partial(self._looked_up, name)
            )

    def _on_begun(self, name: str) -> None:
        self._begun.add(name)
        for wait in self._waits:
            if wait.timer is None:
                self._start_clock(wait)

    def _start_clock(self, wait: _Wait) -> None:
        if wait.timer is None:
            timeout = max(wait.timeout, 0.0)
            wait.due = self._loop.time() + timeout
            wait.timer = self._loop.call_later(timeout, self._time_out, wait)

    def _looked_up(self, name: str, result: Addresses | DnsFailure) -> None:
        self._flying.discard(name)
        self._begun.discard(name)
        if isinstance(result, DnsFailure):
            self._errors[name] = result
        else:
            self._errors.pop(name, None)
            known = self.addresses.get(name)
            if known is None or set(known) != set(result):
                self.addresses[name] = result
                self._on_change()
        self.starting -= {name}
        if self.addresses:
            self._answer_all(None)
        elif not self._flying:
            self._answer_all(self._first_error())

    def _first_error(self) -> DnsFailure:
        return next(self._errors[name] for name in self._names if name in self._errors)

    def _answer_all(self, answer: ConnectError | None) -> None:
        for wait in tuple(self._waits):
            self._answer(wait, answer)

    def _answer(self, wait: _Wait, answer: ConnectError | None) -> None:
        if self.end_wait(wait):
            wait.on_done(answer)

    def _time_out(self, wait: _Wait) -> None:
        names = ", ".join(self._names)
        behind = self._loop.time() - wait.due
        if behind > HELD_UP and wait.late is None:
            wait.late = behind > LATE  # first read what has already arrived
            wait.timer = self._loop.call_later(FINEST, self._time_out, wait)
            return
        if wait.late:
            self._answer(
                wait,
                LookUpStoodStill(
                    f"The look-up of {names} took too long because this process was stopped, or "
                    "had no CPU time."
                ),
            )
            return
        self._answer(
            wait,
            LookUpTimeout(
                f"The look-up of {names} took longer than {wait.timeout:.3g}s: "
                "check that this machine's DNS servers answer."
            ),
        )
