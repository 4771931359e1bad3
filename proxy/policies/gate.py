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
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

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


class Answer:
    """What a gate says: a Permit, a Wait or a Refusal.

    `granted`: it is a Permit. (Asking an attribute is cheaper than `isinstance`, which takes a
    detour through Python for a class with several subclasses.)
    """

    __slots__ = ("granted",)

    def __init__(self, granted: bool) -> None:
        self.granted = granted


class Permit(Answer):
    """Leave to go on. It comes back to its gate through `settle`."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(True)


class Wait(Answer):
    """A place in a gate's queue.

    `permit` is None until it is granted; then `on_granted` is called, within the call that freed
    the permit, so it must be quick and must not raise. Whoever waits sets a timer for `deadline`
    (monotonic seconds) and abandons the wait then.
    """

    __slots__ = ("deadline", "on_granted", "permit")

    def __init__(self, deadline: float) -> None:
        super().__init__(False)
        self.deadline = deadline
        self.on_granted: Callable[[], object] | None = None
        self.permit: Permit | None = None

    def timeout(self) -> ProxyError:
        """The failure of a wait whose deadline passed."""
        raise NotImplementedError


class Refusal(Answer):
    """No permit. A subclass carries the numbers that `error` puts into a sentence."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(False)

    def error(self) -> ProxyError:
        """The failure that the client is told of."""
        raise NotImplementedError


class Snapshot:
    """A gate as it is at one moment.

    A subclass is a dataclass whose first field is `name`. Its fields are the members that the
    admin API shows, and those that the metrics name. A field holds a number, a text, an enum
    member, None, or a mapping of label values to numbers.
    """

    def not_shown(self) -> frozenset[str]:
        """Fields that the admin API leaves out."""
        return frozenset()


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
        """Whether it may be forgotten when there are too many of its kind.

        It may not while a permit of its own is held, a request waits, or an operator's order
        stands.
        """
        raise NotImplementedError

    def snapshot(self, now: float) -> Snapshot:
        raise NotImplementedError


class Scope(Enum):
    """What one gate is for. The values are words of the configuration."""

    ROUTE = "route"  # one route and its upstream
    UPSTREAM = "upstream"  # an upstream and all routes that use the same policy towards it
    ENDPOINT = "endpoint"  # one endpoint of a route's upstream


@dataclass(frozen=True)
class Family:
    """A metric of each gate of a kind: ``proxy_<kind>_<field>``, with the label `name`.

    `field` is one of the snapshot. With `label` its value is an enum member (1 for that one, 0 for
    the others) or a mapping of that label's values to numbers. A counter never falls.
    """

    field: str
    text: str
    label: str = ""
    counter: bool = False


class GateKind:
    """What everything else knows of a kind of gates: one line of `policies.catalogue`.

    `key`: its key in a policy, and its name in metrics. `setting`: where its settings stand in a
    policy, if that is not `key`. `default`: its settings where nothing else is said. `member`: its
    name in `/status`; the admin API shows the same at ``/`` + that name with dashes. `title`: for
    people. `make`: a gate of a name and settings.

    `scope_of`: what a gate with these settings is for; None: there is no gate. `outer`: whether,
    although it stands among the gates of attempts, it is asked once, around all attempts.
    `of_upstream`: it remembers how an upstream behaved, so that it means nothing for another one.
    `shows_route`: the admin API tells its route and upstream.
    """

    def __init__(
        self,
        key: str,
        *,
        make: Callable[[str, Any], Gate],
        default: object,
        member: str,
        title: str,
        families: Sequence[Family] = (),
        setting: Sequence[str] = (),
        scope_of: Callable[[Any], Scope | None] = lambda _: Scope.ROUTE,
        outer: Callable[[Any], bool] = lambda _: False,
        of_upstream: bool = False,
        shows_route: bool = False,
    ) -> None:
        self.key = key
        self.make = make
        self.default = default
        self.member = member
        self.title = title
        self.families = tuple(families)
        self.setting = tuple(setting) or (key,)
        self.scope_of = scope_of
        self.outer = outer
        self.of_upstream = of_upstream
        self.shows_route = shows_route


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
        if not answer.granted:
            return answer
        permits.append(cast(Permit, answer))
        at += 1
    return None


def settle_gates(
    gates: list[Gate], permits: list[Permit], verdict: Verdict, seconds: float, now: float
) -> None:
    """Give the permits back, the last one first. A second call finds nothing to give back."""
    at = len(permits)
    while at:
        at -= 1
        gates[at].settle(permits[at], verdict, seconds, now)
    permits.clear()


def pause_gates(gates: list[Gate], permits: list[Permit], now: float) -> None:
    """The client's body flows."""
    for at in range(len(permits)):
        gates[at].pause(permits[at], now)


def resume_gates(gates: list[Gate], permits: list[Permit], now: float) -> None:
    """The client's body has ended, or the attempt has."""
    for at in range(len(permits)):
        gates[at].resume(permits[at], now)
