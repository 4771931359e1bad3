"""What each route promises, in sentences: for `check` and `explain`."""

from collections.abc import Iterator

from proxy.config.model import Config, Listener, PolicyConfig, RouteConfig
from proxy.config.saga_model import SagaConfig
from proxy.config.store_model import StoreConfig
from proxy.policies.idempotency import IdempotencyConfig, IdempotencyMode, OnUnknown
from proxy.policies.outbox import OnDead, OutboxConfig, OutboxMode
from proxy.units import format_duration

_OPENINGS = {
    OutboxMode.ALWAYS: "",
    OutboxMode.PREFER: "with Prefer: respond-async ",
}


def promises_of(route: RouteConfig, config: Config) -> list[str]:
    """The promises of a route; empty if it keeps nothing."""
    found: list[str] = []
    if route.saga is not None:
        found.append(saga_promise(config.sagas[route.saga]))
    elif route.respond is None and route.match.grpc is None:  # calls take no part
        found += _of_keys(route.policies.idempotency, route.listener)
        found += _of_outbox(route.policies)
    return found


def saga_promise(saga: SagaConfig) -> str:
    """``answered 202 after the commit; then reserve, pay and ship; …``"""
    names = [step.name for step in saga.steps]
    steps = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    told = f"answered {saga.answer.status} after the commit; then {steps}"
    if any(step.undo is not None for step in saga.steps):
        told += "; if a step fails, those before it are undone in reverse"
    if saga.pivot is not None:
        told += f"; after {saga.pivot} nothing is undone, the rest is tried until it works"
    return told


def kept_in(store: StoreConfig) -> str:
    """Where the promises are kept, and what they outlive."""
    outlives = (
        "lost with the pod (store.persistent)" if store.dies_with_pod else "which outlives the pod"
    )
    return f"kept in {store.url.text}, {outlives}"


def _of_keys(config: IdempotencyConfig, listener: Listener) -> Iterator[str]:
    if config.on:
        must = ", which each request must have" * (config.mode is IdempotencyMode.REQUIRED)
        scope = f" of one {' and '.join(config.scope)}" if config.scope else ""
        doubt = "executed again" if config.on_unknown is OnUnknown.EXECUTE else "refused"
        yield (
            f"one answer for each idempotency key{scope}{must}, for {format_duration(config.keep)} "
            f"({' and '.join(config.methods)}); where it is not known what became of the first "
            f"request, a repeat is {doubt}"
        )
    if config.on and config.mint and listener is Listener.OUTBOUND:
        yield "a request without an idempotency key gets one, the same for all its attempts"


def _of_outbox(policies: PolicyConfig) -> Iterator[str]:
    outbox, fallback = policies.outbox, policies.fallback
    opening = _OPENINGS.get(outbox.mode)
    if opening is None and outbox.mode is OutboxMode.ON_FAILURE:
        opening = f"after {', '.join(outbox.terms)} "
    if opening is not None:
        yield f"{opening}answered {outbox.answer.status} after the commit; then {_delivery(outbox)}"
    if fallback is not None and fallback.outbox:
        status = fallback.response.status if fallback.response is not None else 202
        yield (
            f"after {', '.join(fallback.terms)} answered {status} after the commit; "
            f"then {_delivery(outbox)}"
        )


def _delivery(outbox: OutboxConfig) -> str:
    order = f" in order of {outbox.order_by}" if outbox.order_by != "none" else ""
    most = f" or {outbox.attempts} tries" if outbox.attempts else ""
    ends = "dead"
    if outbox.on_dead is OnDead.BLOCK and order:
        ends = "parked, and its lane waits for an operator"
    within = format_duration(outbox.max_age)
    return f"delivered at least once{order}, within {within}{most}, else {ends}"
