"""One sentence about what happens now, from the observed trouble, breakers and orders."""

from proxy.demo.observation import CLOSED, HALF_OPEN, OPEN
from proxy.demo.orders import Fate
from proxy.demo.scene import Dependency, Trouble
from proxy.demo.show import Show


def headline(show: Show) -> str:
    """The headline, without numbers that change all the time."""
    return _tell(show)[0]


def narrate(show: Show) -> str:
    """The headline and, if there is one, the present number."""
    return " ".join(part for part in _tell(show) if part)


def _tell(show: Show) -> tuple[str, str]:
    now = show.now()
    if show.scene.faults:
        return _faults(show, now)
    for dependency in Dependency:
        act = show.scene.act(dependency, now)
        state = show.breaker(dependency).state
        if act is not None:
            return _in_trouble(show, dependency, act.trouble, state)
        if state != CLOSED:
            return _recovering(show, dependency, state)
    return "All is well: every order is priced, reserved, paid and shipped.", ""


def _faults(show: Show, now: float) -> tuple[str, str]:
    if show.scene.rush(now):
        return (
            "Three times as many orders: shipping's rate limit refuses what is too much, and the "
            "fallback defers those parcels.",
            "",
        )
    sick = show.scene.act(Dependency.INVENTORY, now) is not None
    if show.observer.ejected[Dependency.INVENTORY.value]:
        why = "fails" if sick else "works again"
        return (
            f"One of three replicas of inventory {why}: it was ejected, and after a while a "
            "single request decides whether it returns.",
            "",
        )
    if sick:
        return "One of three replicas of inventory answers 503 to everything.", ""
    return (
        "The proxy injects faults into a share of all calls: hedges outrun delays, retries replace "
        "aborts and resets.",
        "",
    )


def _in_trouble(
    show: Show, dependency: Dependency, trouble: Trouble, state: str
) -> tuple[str, str]:
    name = dependency.value
    if state == HALF_OPEN:
        return f"{name}: the breaker is half-open, three probes decide.", ""
    if state == OPEN:
        return _shielded(show, dependency, trouble)
    match trouble:
        case Trouble.UNAVAILABLE:
            said = "UNAVAILABLE by gRPC" if dependency.over_grpc else "503"
            return (
                f"{name} answers {said} in short bursts: the proxy waits a little and retries.",
                "",
            )
        case Trouble.SLOW if dependency.over_grpc:
            return (
                f"{name} takes longer than the caller's gRPC deadline, in short bursts: the proxy "
                "ends such an attempt early and retries.",
                "",
            )
        case Trouble.LOSES_ANSWERS:
            return (
                f"{name} charges and then loses its answers: the proxy retries with the same "
                "idempotency key, so no order is charged twice.",
                "",
            )
        case Trouble.DOWN:
            return f"{name} refuses connections: the proxy retries, and its breaker counts.", ""
        case _:
            return (
                f"{name} answers too late: after two attempts the fallback DEFERRED replaces the "
                "answer, and the order succeeds.",
                "",
            )


def _shielded(show: Show, dependency: Dependency, trouble: Trouble) -> tuple[str, str]:
    name = dependency.value
    fate = Fate.DEFERRED if dependency is Dependency.SHIPPING else Fate.FAILED
    order = show.last(fate, dependency)
    took = f" in {order.step_seconds * 1000:.0f} ms" if order is not None else ""
    if fate is Fate.DEFERRED:
        head = f"{name} is {trouble.value}: its breaker opened, orders are deferred at once."
        return head, f"The last one{took}." if took else ""
    head = f"{name} is {trouble.value}: its breaker opened, orders fail at once without a call."
    return head, f"The last one failed{took}." if took else ""


def _recovering(show: Show, dependency: Dependency, state: str) -> tuple[str, str]:
    name = dependency.value
    if state == HALF_OPEN:
        return f"{name}: the breaker is half-open, three probes decide.", ""
    probe = show.breaker(dependency).next_probe
    head = f"{name} works again; the breaker's next probe will notice"
    return f"{head}.", f"That is in {probe:.1f} s." if probe is not None else ""
