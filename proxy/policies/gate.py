"""The one shape of every policy: a gate lets calls through, a decider says what follows a failure.

    admit ─▶ Permit ──────────────────────────────────▶ settle, exactly once
       ├───▶ Wait ──▶ granted: wait.permit ───────────▶ settle, exactly once
       │        └───▶ abandon (timed out, client gone)
       └───▶ Refusal: `error` makes the answer

Gates are asked in the order of `policies.catalogue`, and settled in reverse order. A gate never
sleeps, reads a clock, draws a random number or knows another gate. What the proxy refuses itself
and what a client did or failed to do is settled as IGNORED, which leaves no trace.

The classes here are compiled bases, so that a call through them stays a compiled call.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from proxy.errors import ProxyError
from proxy.outcome import Outcome, Verdict


class Ask:
    """What a gate may want to know of the request that asks."""

    __slots__ = ()

    @property
    def client(self) -> str:
        """The peer's address."""
        raise NotImplementedError

    @property
    def method(self) -> str:
        raise NotImplementedError

    @property
    def tries(self) -> int:
        """Attempts so far, one that is about to begin included."""
        raise NotImplementedError

    def values(self, name: bytes) -> Sequence[bytes]:
        """The values of a header field; `name` in lower case."""
        raise NotImplementedError


class Permit:
    """Leave to go on. It comes back to its gate through `settle`."""

    __slots__ = ()


class Wait:
    """A place in a gate's queue.

    `permit` is None until it is granted; then `on_granted` is called, within the call that freed
    the permit, so it must be quick and must not raise. Whoever waits sets a timer for `deadline`
    (monotonic seconds) and abandons the wait then.
    """

    __slots__ = ("deadline", "on_granted", "permit")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.on_granted: Callable[[], object] | None = None
        self.permit: Permit | None = None

    def timeout(self) -> ProxyError:
        """The failure of a wait whose deadline passed."""
        raise NotImplementedError


class Refusal:
    """No permit. A subclass carries the numbers that `error` puts into a sentence."""

    __slots__ = ()

    def error(self) -> ProxyError:
        """The failure that the client is told of."""
        raise NotImplementedError


Answer: TypeAlias = Permit | Wait | Refusal


class Snapshot:
    """A gate as it is at one moment.

    A subclass is a dataclass; its fields are the members that the admin API shows, and those that
    the metrics name. A field holds a number, a text, an enum member, None, or a mapping of label
    values to numbers.
    """

    __slots__ = ()


class Gate:
    """One policy's state for one name. The name is that of the admin API and of the metrics."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def admit(self, now: float, ask: Ask) -> Answer:
        """Ask to go on. Only a gate that is asked once for the whole request may answer Wait."""
        raise NotImplementedError

    def settle(self, permit: Permit, verdict: Verdict, seconds: float, now: float) -> None:
        """Take a permit back, exactly once.

        `seconds`: how long it was held for the upstream's answer; time in which the client's
        body flowed is left out.
        """
        raise NotImplementedError

    def abandon(self, wait: Wait) -> None:
        """Leave the queue; what was granted in the meantime goes to the next."""

    def pause(self, permit: Permit, now: float) -> None:
        """The client's body flows: what this gate measures of the call stands still."""

    def resume(self, permit: Permit, now: float) -> None:
        """The client's body has ended: it goes on. Without a `pause` nothing happens."""

    def allows_retry(self, now: float) -> bool:
        """Whether another attempt makes sense. Asking changes nothing."""
        return True

    def adopt(self, config: object) -> bool:
        """After a reload: go on under `config` and return True, or change nothing."""
        raise NotImplementedError

    def succeed(self, former: "Gate") -> None:
        """Go on with the counters of the gate that had this name: a counter never falls."""

    def idle(self, now: float) -> bool:
        """Whether it may be forgotten: nothing is held or waits, nothing is left to remember."""
        raise NotImplementedError

    def snapshot(self, now: float) -> Snapshot:
        raise NotImplementedError


class Decision:
    """What follows an attempt."""

    __slots__ = ()


class Tries:
    """What a decider is told of a request's attempts so far.

    `number`: the attempt that just ended, 1 for the first. `repeatable`: the request may be sent
    again after a service may have seen it. `body_whole`: all of its body that was read is still
    here. `gates_open`: some gate that another attempt would ask lets it pass. `time_left`: seconds
    of the request's deadline. `waited`: seconds before this attempt. `retry_after`: seconds that
    the response asked for, None where it did not.
    """

    __slots__ = (
        "body_whole",
        "gates_open",
        "number",
        "repeatable",
        "retry_after",
        "time_left",
        "waited",
    )

    def __init__(
        self,
        *,
        number: int,
        repeatable: bool,
        body_whole: bool,
        gates_open: bool,
        time_left: float,
        waited: float,
        retry_after: float | None,
    ) -> None:
        self.number = number
        self.repeatable = repeatable
        self.body_whole = body_whole
        self.gates_open = gates_open
        self.time_left = time_left
        self.waited = waited
        self.retry_after = retry_after


class Decider:
    """Says what follows an attempt."""

    __slots__ = ()

    def decide(self, tries: Tries, outcome: Outcome, now: float) -> Decision:
        """What it allows is charged at once: a decision is asked for once and then carried out."""
        raise NotImplementedError


def pass_gates(gates: list[Gate], permits: list[Permit], now: float, ask: Ask) -> Answer | None:
    """Ask the gates that have given no permit yet, in order, and add what they give to `permits`.

    Returns the first answer that is no permit, None where all let the request pass. After a Wait
    was granted its permit is added by the caller, who then calls this again.
    """
    count = len(gates)
    at = len(permits)
    while at < count:
        answer = gates[at].admit(now, ask)
        if not isinstance(answer, Permit):
            return answer
        permits.append(answer)
        at += 1
    return None


def settle_gates(
    gates: list[Gate], permits: list[Permit], verdict: Verdict, seconds: float, now: float
) -> None:
    """Give the permits back, the last one first. A second call finds nothing to give back."""
    while permits:
        permit = permits.pop()
        gates[len(permits)].settle(permit, verdict, seconds, now)


def pause_gates(gates: list[Gate], permits: list[Permit], now: float) -> None:
    """The client's body flows."""
    for at in range(len(permits)):
        gates[at].pause(permits[at], now)


def resume_gates(gates: list[Gate], permits: list[Permit], now: float) -> None:
    """The client's body has ended, or the attempt has."""
    for at in range(len(permits)):
        gates[at].resume(permits[at], now)
