"""Predicts for a request what its route promises, and where the promise is kept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.config.model import Config, Listener, PolicyConfig, RouteConfig
from proxy.config.promised import kept_in, saga_promise
from proxy.config.saga_model import SagaConfig
from proxy.config.store_model import StoreConfig
from proxy.policies.idempotency import IdempotencyMode
from proxy.policies.idempotency_keys import KeyInvalid, parse_key
from proxy.routing.outlook import what_is_stored
from proxy.units import format_duration

MINTED: Final = "gets an idempotency key, the same for all its attempts (idempotency.mint)"


@dataclass(frozen=True, slots=True)
class Promised:
    """`key`: what becomes of the request's idempotency key; `stored`: what the outbox does with it;
    "" for nothing."""

    key: str = ""
    stored: str = ""
    saga: SagaConfig | None = None
    store: StoreConfig | None = None

    @classmethod
    def of(
        cls, method: str, headers: Mapping[str, str], route: RouteConfig, config: Config
    ) -> "Promised":
        """`headers` by lower-case name."""
        if route.saga is not None:
            return cls(saga=config.sagas[route.saga], store=config.store)
        if route.respond is not None:
            return cls()
        outbound = route.listener is Listener.OUTBOUND
        key = what_the_key_does(method, headers, route.policies, outbound=outbound)
        return cls(key, what_is_stored(method, headers, route), store=config.store)

    def lines(self) -> Iterator[str]:
        if self.saga is not None:
            yield f"promises: {saga_promise(self.saga)}"
        yield from filter(None, (self.key, self.stored))
        if self.store is not None and (self.saga is not None or self.key or self.stored):
            yield kept_in(self.store)


def what_the_key_does(
    method: str, headers: Mapping[str, str], policies: PolicyConfig, *, outbound: bool
) -> str:
    """What becomes of such a request's idempotency key, as a sentence; "" without the policy.

    `headers` by lower-case name.
    """
    config = policies.idempotency
    if not config.on:
        return ""
    if "upgrade" in headers:
        return "without idempotency: upgrades take no part"
    if "application/grpc" in headers.get("content-type", ""):
        return "without idempotency: gRPC calls take no part"
    if method not in config.methods:
        return f"without idempotency: {method} is not in idempotency.methods"
    given = [headers[name] for name in config.headers if name in headers]
    try:
        key = parse_key([one.encode("latin-1", "replace") for one in given])
    except KeyInvalid as error:
        return f"refused: 400 idempotency-key-invalid: {error}"
    if key is None:
        if config.mint and outbound:
            return MINTED
        if config.mode is IdempotencyMode.REQUIRED:
            return "refused: 400 idempotency-key-missing (idempotency.mode: required)"
        return f"without idempotency: it has no {' or '.join(config.headers)}"
    return (
        "its idempotency key is claimed before anything goes upstream; a repeat within "
        f"{format_duration(config.keep)} (idempotency.keep) gets the same answer, and another "
        "request with the key is refused"
    )
