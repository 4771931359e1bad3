"""Problems and warnings of the store, and of what needs it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxy.config.extras import warn_without_postgres
from proxy.config.model import Config, Listener, PolicyConfig, RouteConfig
from proxy.config.problems import Marks, Path, Problems
from proxy.config.store_model import StoreEngine
from proxy.policies.idempotency import IdempotencyMode
from proxy.policies.outbox import OutboxMode
from proxy.units import format_duration, format_size

_REQUESTS: float = 50.0
_RECORD_BYTES: float = 1300.0
"""What `max_bytes` is compared with: requests per second that leave a record of this size."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """A policy or a route that writes a part of `policies` itself, and where it is used."""

    path: Path
    policies: PolicyConfig
    listeners: frozenset[Listener]
    grpc: bool

    def place(self, given: Marks, *keys: str) -> Path | None:
        """The place of the first of these keys that it writes."""
        paths = [(*self.path, *key.split(".")) for key in keys]
        return next((path for path in paths if path in given), None)


def check_store(config: Config, given: Marks, problems: Problems) -> None:
    """What keeps promises needs a store."""
    if config.store is not None:
        return
    for layer in _layers(config):
        place = layer.place(given, "idempotency.mode")
        if layer.policies.idempotency.on and place is not None:
            problems.error(
                given[place], place, "needs a store: write store: {url: sqlite:/path/to/store.db}"
            )


def warn_of_store(config: Config, given: Marks, problems: Problems) -> None:
    """Warn of promises that are smaller than they look."""
    store = config.store
    if store is None:
        return
    path: Path = ("store", "url")
    if store.url.engine is StoreEngine.MEMORY:
        problems.warning(given[path], path, "what is promised is gone when the process ends")
    if store.url.engine is StoreEngine.POSTGRESQL:
        warn_without_postgres(given[path], path, problems)
    keys, entries = 0.0, 0.0
    for layer in _layers(config):
        settings = layer.policies.idempotency
        if settings.on:
            keys = max(keys, settings.keep)
            _warn_layer(layer, store.shared, given, problems)
        if layer.policies.outbox.mode is not OutboxMode.OFF:
            entries = max(entries, layer.policies.outbox.keep_done)
    sections = sections_of_routes("idempotency", given)
    for index, section in sections.items():
        route = config.routes[index]
        if route.respond is not None:
            warn_of_section(section, "'respond' answers all requests", given, problems)
        elif not route.policies.idempotency.on:
            warn_of_section(section, "idempotency.mode is off", given, problems, is_off=True)
    if store.url.engine is not StoreEngine.POSTGRESQL:
        _warn_of_room(store.max_bytes, keys, "idempotency.keep", "with a key", given, problems)
        where = "outbox.keep_done", "that would be accepted"
        _warn_of_room(store.max_bytes, entries, *where, given, problems)


def _warn_of_room(
    most: int, keep: float, key: str, refused: str, given: Marks, problems: Problems
) -> None:
    needed = int(keep * _REQUESTS * _RECORD_BYTES)
    if needed <= most:
        return
    path: Path = ("store", "max_bytes")
    problems.warning(
        given.get(path, given[("store", "url")]),
        path,
        f"{format_size(most)} is less than about {format_size(_rounded(needed))}, "
        f"which {_REQUESTS:g} requests a second leave in {format_duration(keep)} "
        f"({key}); when it is full, requests {refused} are refused",
    )


def all_inbound_needs_store(config: Config) -> bool:
    """Whether every inbound request needs the store, so that without it the proxy is not ready."""
    inbound = [route for route in config.routes if route.listener is Listener.INBOUND]
    return all(map(_needs_store, [*inbound, config.default_route(Listener.INBOUND)]))


def _needs_store(route: RouteConfig) -> bool:
    if not route.forwards:
        return route.saga is not None
    keys, outbox = route.policies.idempotency.mode, route.policies.outbox.mode
    return keys is IdempotencyMode.REQUIRED or outbox is OutboxMode.ALWAYS


def _warn_layer(layer: _Layer, shared: bool, given: Marks, problems: Problems) -> None:
    settings = layer.policies.idempotency
    inbound = Listener.INBOUND in layer.listeners
    mode = layer.place(given, "idempotency.mode")
    if mode is not None and inbound and not shared:
        problems.warning(
            given[mode],
            mode,
            "each pod has its own store: a repeat that reaches another pod is executed again",
        )
    if mode is not None and inbound and not settings.scope:
        problems.warning(
            given[mode],
            mode,
            "there is no scope: two callers that use one key see each other's answers; "
            "write scope: [header:NAME] or [client-certificate]",
        )
    if layer.grpc and layer.place(given, "name", "idempotency.mode") is not None:
        path = (*layer.path, "idempotency")
        mark = given[layer.place(given, "idempotency.mode", "name") or path]
        problems.warning(mark, path, "gRPC calls take no part")
    mint = layer.place(given, "idempotency.mint")
    if mint is not None and settings.mint and inbound:
        problems.warning(given[mint], mint, "has no effect on inbound routes")


def _layers(config: Config) -> Iterator[_Layer]:
    users: dict[str, set[Listener]] = {}
    for route in config.routes:
        users.setdefault(route.policy, set()).add(route.listener)
    for name, policies in config.policies.items():
        yield _Layer(("policies", name), policies, frozenset(users.get(name, ())), False)
    for index, route in enumerate(config.routes):
        grpc = route.match.grpc is not None
        yield _Layer(("routes", index), route.policies, frozenset({route.listener}), grpc)


def sections_of_routes(name: str, given: Marks) -> dict[int, list[Path]]:
    """The keys of section `name` that each route has, by the route's number.

    One pass over the file for all routes: one for each made 5,000 routes take minutes.
    """
    sections: dict[int, list[Path]] = {}
    for path in given:
        match path:
            case ("routes", int(index), key, _) if key == name:
                sections.setdefault(index, []).append(path)
    return sections


def warn_of_section(
    section: Sequence[Path], why: str, given: Marks, problems: Problems, *, is_off: bool = False
) -> None:
    """Warn at the first of a section's keys that it has no effect.

    `is_off`: not at `mode`, which may turn off what the policy turns on.
    """
    keys = [path for path in section if not is_off or path[-1] != "mode"]
    if keys:
        first = min(keys, key=given.__getitem__)
        problems.warning(given[first], first, f"has no effect: {why}")


def _rounded(size: int) -> int:
    """To whole MiB, or GiB from 10 of them on: an exact number would claim too much."""
    unit = 1 << 30 if size >= 10 << 30 else 1 << 20
    return -(-size // unit) * unit
