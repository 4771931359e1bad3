"""The shape of every policy: a gate admits calls, a decider decides what follows a failure.

    admit ─▶ Permit ──────────────────────────────────▶ settle, exactly once
       ├───▶ Wait ──▶ granted: wait.permit ───────────▶ settle, exactly once
       │        └───▶ abandon (timed out, client gone)
       └───▶ Refusal: `error` makes the answer

Gates are asked in the order of `policies.catalogue`, and settled in reverse order. A gate never
sleeps, reads a clock, draws a random number or knows another gate. The proxy's own refusals, and
anything that a client did or failed to do, are settled as IGNORED, which leaves no trace.

The classes here are compiled bases, so that calls through them stay compiled calls.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any, Final, cast

from proxy.errors import ProxyError
from proxy.outcome import Outcome, Verdict


class Mode(Enum):
    """Whether a policy acts. OBSERVE: it counts what it would have done, and changes nothing."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


OBSERVE: Final = Mode.OBSERVE


class Ask:
    """What a gate can read of the request that asks, and its way to note something about it."""

    __slots__ = ()

    def observe(self, what: str) -> None:
        """Note what a policy in mode observe would have done: ``policy.what``."""

    @property
    def client(self) -> str:
        """The peer's address."""
        raise NotImplementedError

    @property
    def method(self) -> str:
        raise NotImplementedError

    @property
    def tries(self) -> int:
        """Attempts so far, including one that is about to begin."""
        raise NotImplementedError

    def values(self, name: bytes) -> Sequence[bytes]:
        """The values of a header field; `name` in lower case."""
        raise NotImplementedError

    def joined(self, name: bytes) -> bytes:
        """The same with commas between them; b"": it is empty, or there is none."""
        return b",".join(self.values(name))

    def take_place(self) -> float:
        """Take one of the bulkhead's places to wait in, until `leave_place`.

        Returns the longest wait in seconds; 0: there is no place, and nothing was taken.
        """
        return 0.0

    def leave_place(self) -> None:
        """Return the place."""


class Answer:
    """A gate's answer: a Permit, a Wait or a Refusal.

    `granted`: it is a Permit. (Reading an attribute is cheaper than `isinstance`, which mypyc
    compiles to a call into Python for a class with several subclasses.)
    """

    __slots__ = ("granted",)

    def __init__(self, granted: bool) -> None:
        self.granted = granted


class Permit(Answer):
    """Permission to proceed. `settle` returns it to its gate.

    `observed`: what its gate would have done instead, if it did not only observe; else "".
    """

    __slots__ = ("observed",)

    def __init__(self, observed: str = "") -> None:
        super().__init__(True)
        self.observed = observed


class Wait(Answer):
    """A place in a gate's queue.

    `permit` is None until it is granted; then `on_granted` is called, within the call that freed
    the permit, so it must be quick and must not raise. The waiting exchange sets a timer for
    `deadline` (monotonic seconds) and abandons the wait then. At `turn`, if the wait has one, and
    after an `on_granted` without a permit, it calls `Gate.grant`.
    """

    __slots__ = ("deadline", "on_granted", "permit", "turn")

    def __init__(self, deadline: float) -> None:
        super().__init__(False)
        self.deadline = deadline
        self.turn = inf
        self.on_granted: Callable[[], object] | None = None
        self.permit: Permit | None = None

    def timeout(self) -> ProxyError:
        """The failure of a wait whose deadline expired."""
        raise NotImplementedError


class Refusal(Answer):
    """No permit. A subclass has the numbers for the sentence of `error`."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(False)

    def error(self) -> ProxyError:
        """The failure that the client gets."""
        raise NotImplementedError


class Snapshot:
    """The state of a gate at one moment.

    A subclass is a dataclass whose first field is `name`. Its fields are the members in the admin
    API and the fields of the metrics. A field is a number, a text, an enum member, None, or a
    mapping of label values to numbers or texts.
    """

    def not_shown(self) -> frozenset[str]:
        """Fields that the admin API omits."""
        return frozenset()


class Gate:
    """One policy's state for one name, which the admin API and the metrics show."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def admit(self, now: float, ask: Ask) -> Answer:
        """Ask to proceed. Only a gate that is asked once per request may answer Wait."""
        raise NotImplementedError

    def settle(self, permit: Permit, verdict: Verdict, seconds: float, now: float) -> None:
        """Take a permit back, exactly once.

        `seconds`: the time until the upstream's answer, without the time in which the client's
        body flowed.
        """
        raise NotImplementedError

    def grant(self, wait: Wait, now: float) -> None:
        """The `turn` of a wait may have come: set its permit, or its next `turn`."""

    def abandon(self, wait: Wait) -> None:
        """Leave the queue; a permit granted in the meantime goes to the next."""

    @property
    def has_places(self) -> bool:
        """Whether it refuses because other exchanges hold its permits."""
        return False

    def pause(self, permit: Permit, now: float) -> None:
        """The client's body flows: stop measuring the call's time."""

    def resume(self, permit: Permit, now: float) -> None:
        """The client's body has ended: measure again. No effect without a `pause`."""

    def allows_retry(self, now: float) -> bool:
        """Whether another attempt makes sense. Has no side effect."""
        return True

    def adopt(self, config: object) -> bool:
        """After a reload: continue with `config` and return True, or change nothing."""
        raise NotImplementedError

    def succeed(self, former: "Gate") -> None:
        """Take over the counters of the previous gate of this name: a counter never falls."""

    def idle(self, now: float) -> bool:
        """Whether it may be dropped when there are too many of its kind.

        Not while one of its permits is held, a request waits, or an operator's order is in effect.
        """
        raise NotImplementedError

    def snapshot(self, now: float) -> Snapshot:
        raise NotImplementedError


class Scope(Enum):
    """What one gate covers. The values are those of the configuration."""

    ROUTE = "route"  # one route and its upstream
    UPSTREAM = "upstream"  # an upstream and all routes that use the same policy towards it
    ENDPOINT = "endpoint"  # one endpoint of a route's upstream


@dataclass(frozen=True)
class Family:
    """A metric of each gate of a kind, with the gate's name as the label `owner`.

    `field` is a field of the snapshot. With `labels` its value is an enum member (1 for that one, 0
    for the others) or a mapping of the label's values to numbers; of several labels, of tuples.
    A counter never falls. `name`: the metric's name, if it is not ``proxy_<kind>_<field>``.
    """

    field: str
    text: str
    labels: tuple[str, ...] = ()
    counter: bool = False
    name: str = ""
    owner: str = "name"


class GateKind:
    """The description of a kind of gates: one line of `policies.catalogue`.

    `key`: its key in a policy, and its name in metrics. `setting`: the place of its settings in a
    policy, if it is not `key`. `default`: its default settings. `member`: its name in `/status`;
    the admin API shows the same at ``/`` and that name with dashes. `title`: for people. `make`:
    makes a gate from a name and settings.

    `scope_of`: what a gate with these settings covers; None: there is no gate. `outer`: whether,
    although it is a gate of attempts, it is asked once, around all attempts. `of_upstream`: it
    remembers an upstream's behaviour, so it is useless for another upstream. `whole_route`: there
    is one for a route, whatever the upstream. `shows_route`: the admin API shows its route and
    upstream. `aside`: these settings under the bypass. `of_arrival`: it is asked when a request
    arrives, so never for a stored one.
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
        whole_route: bool = False,
        aside: Callable[[Any], Any] = lambda config: config,
        shows_route: bool = False,
        of_arrival: bool = False,
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
        self.whole_route = whole_route
        self.aside = aside
        self.shows_route = shows_route
        self.of_arrival = of_arrival


class Decision:
    """What follows an attempt."""

    __slots__ = ()


class Tries:
    """What a decider gets about a request's attempts so far.

    `number`: the attempt that just ended, 1 for the first. `nested`: another layer retries: the
    request is made for one that is a repeat itself, or the response says so. `repeatable`: a retry
    is safe although a service may have seen the request. `body_whole`: the whole body read so far
    is still in memory. `gates_open`: the gates would admit another attempt. `time_left`: seconds of
    the request's deadline. `waited`: seconds before this attempt. `retry_after`: seconds from the
    response's Retry-After, or None. `pushback`: seconds that a gRPC service asks for instead of the
    backoff, negative if it forbids a retry, or None. `at_once`: another attempt needs no backoff.
    """

    __slots__ = (
        "at_once",
        "body_whole",
        "gates_open",
        "nested",
        "number",
        "pushback",
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
        pushback: float | None = None,
        at_once: bool = False,
        nested: bool = False,
    ) -> None:
        self.at_once = at_once
        self.nested = nested
        self.number = number
        self.repeatable = repeatable
        self.body_whole = body_whole
        self.gates_open = gates_open
        self.time_left = time_left
        self.waited = waited
        self.retry_after = retry_after
        self.pushback = pushback


class Decider:
    """Decides what follows an attempt."""

    __slots__ = ()

    def decide(self, tries: Tries, outcome: Outcome, now: float) -> Decision:
        """A retry is charged at once: ask for a decision once, and carry it out."""
        raise NotImplementedError


def pass_gates(gates: list[Gate], permits: list[Permit], now: float, ask: Ask) -> Answer | None:
    """Ask the remaining gates in order, and add their permits to `permits`.

    Returns the first answer that is not a permit, None if all admit the request. After a granted
    Wait the caller adds its permit and calls this again.
    """
    count = len(gates)
    at = len(permits)
    while at < count:
        answer = gates[at].admit(now, ask)
        if not answer.granted:
            return answer
        permit = cast(Permit, answer)
        if permit.observed:
            ask.observe(permit.observed)
        permits.append(permit)
        at += 1
    return None


def settle_gates(
    gates: list[Gate], permits: list[Permit], verdict: Verdict, seconds: float, now: float
) -> None:
    """Return the permits, the last one first. A second call has no effect."""
    at = len(permits)
    while at:
        at -= 1
        gates[at].settle(permits.pop(), verdict, seconds, now)


def pause_gates(gates: list[Gate], permits: list[Permit], now: float) -> None:
    """The client's body flows: pause all gates."""
    for at in range(len(permits)):
        gates[at].pause(permits[at], now)


def resume_gates(gates: list[Gate], permits: list[Permit], now: float) -> None:
    """The client's body or the attempt has ended: resume all gates."""
    for at in range(len(permits)):
        gates[at].resume(permits[at], now)
