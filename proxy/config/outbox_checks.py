"""Problems and warnings of outboxes."""

from collections.abc import Iterator, Sequence

from proxy.config.model import Config, Listener, PolicyConfig, RouteConfig
from proxy.config.problems import Marks, Path, Problems
from proxy.config.store_checks import sections_of_routes, warn_of_section
from proxy.policies.outbox import OnDead


def needs_outbox(config: Config) -> bool:
    """Whether a route accepts anything."""
    routes = [*config.routes, *(config.default_route(listener) for listener in Listener)]
    return any(route.stores for route in routes)


def check_outbox(config: Config, given: Marks, problems: Problems) -> None:
    """An outbox needs a store."""
    for place in _places(config, given) if config.store is None else ():
        problems.error(
            given[place],
            place,
            "needs a store: write store: {url: sqlite:/path/to/store.db}",
        )


def warn_of_outbox(config: Config, given: Marks, problems: Problems) -> None:
    """Warn of promises that are smaller than they look, and of settings without effect."""
    store = config.store
    for place in _places(config, given) if store is not None and store.dies_with_pod else ():
        problems.warning(
            given[place],
            place,
            "what was accepted is lost with the pod (store.persistent is false)",
        )
    sections = sections_of_routes("outbox", given)
    for index, route in enumerate(config.routes):
        if route.stores and route.match.grpc is not None:
            path: Path = ("routes", index, "name")
            problems.warning(given[path], path, "gRPC calls take no part in the outbox")
        if not route.stores:
            _warn_without_effect(route, sections.get(index, ()), given, problems)
        block = ("routes", index, "outbox", "on_dead")
        settings = route.policies.outbox
        if block in given and settings.on_dead is OnDead.BLOCK and settings.order_by == "none":
            problems.warning(given[block], block, "has no effect without order_by")


def _warn_without_effect(
    route: RouteConfig, section: Sequence[Path], given: Marks, problems: Problems
) -> None:
    """A route says how its outbox works, and it has none."""
    if route.respond is not None:
        warn_of_section(section, "'respond' answers all requests", given, problems)
    elif route.saga is not None:
        warn_of_section(section, "each request starts a saga", given, problems)
    else:
        warn_of_section(section, "outbox.mode is off", given, problems, is_off=True)


def _places(config: Config, given: Marks) -> Iterator[Path]:
    """Where the file turns an outbox on."""
    layers: list[tuple[Path, PolicyConfig]] = [
        (("policies", name), policies) for name, policies in config.policies.items()
    ]
    layers += [(("routes", index), route.policies) for index, route in enumerate(config.routes)]
    for path, policies in layers:
        if policies.stores:
            for keys in (("outbox", "mode"), ("fallback", "outbox")):
                if (*path, *keys) in given:
                    yield (*path, *keys)
