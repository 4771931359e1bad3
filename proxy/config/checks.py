"""Checks across keys: conflicts between sections, and settings without effect."""

from proxy.config.address_checks import warn_of_addresses
from proxy.config.client_checks import warn_of_clients
from proxy.config.model import (
    BUILT_IN_POLICIES,
    DEFAULT_POLICY,
    INBOUND_POLICY,
    Config,
    Listener,
    RouteConfig,
    UpstreamProtocol,
)
from proxy.config.outbox_checks import warn_of_outbox
from proxy.config.policy_checks import warn_of_policy
from proxy.config.policy_keys import POLICY
from proxy.config.problems import Mark, Marks, Path, Problems
from proxy.config.reachability import Reachability
from proxy.config.store_checks import warn_of_store
from proxy.config.table_checks import warn_of_tables
from proxy.grpc_status import NO_GRPC, WORDS, of_http_answer
from proxy.policies.mirror import MirrorConfig
from proxy.units import format_ratio


def check_protocols(config: Config, given: Marks, problems: Problems) -> None:
    """gRPC needs HTTP/2: a route for it to an upstream that speaks only HTTP/1.1 is an error."""
    for index, route in enumerate(config.routes):
        if route.match.grpc is None:
            continue
        mirror = (route.mirror.upstream,) if route.mirror is not None else ()
        for name in (*route.upstreams, *mirror):
            if config.upstreams[name].protocol is not UpstreamProtocol.HTTP1:
                continue
            key = ("upstream",) if name in route.upstreams else ("mirror", "upstream")
            path: Path = ("routes", index, *key)
            mark = given.get(path, given.get(("routes", index, "name"), Mark(1, 1)))
            problems.error(
                mark,
                path,
                f"gRPC needs HTTP/2, and upstream {name!r} has protocol: http1; use auto or http2",
            )


def warn(config: Config, given: Marks, problems: Problems) -> None:
    """Warn of settings that are valid but probably not intended."""
    for name, policies in config.policies.items():
        warn_of_policy(("policies", name), policies, given, problems)
    reachable = {listener: Reachability() for listener in Listener}
    for index, route in enumerate(config.routes):
        warn_of_policy(("routes", index), route.policies, given, problems)
        _warn_unreachable(reachable[route.listener], route, ("routes", index), given, problems)
        _warn_same_upstream(route, ("routes", index), given, problems)
        _warn_mirror(config, route, ("routes", index), given, problems)
        _warn_useless(route, ("routes", index), given, problems)
        _warn_unreadable_fallback(route, ("routes", index), given, problems)
    _warn_unused(config, given, problems)
    _warn_inbound_policy(config, given, problems)
    warn_of_addresses(config, given, problems)
    warn_of_clients(config, given, problems)
    warn_of_store(config, given, problems)
    warn_of_outbox(config, given, problems)
    warn_of_tables(config, given, problems)


def _warn_unreadable_fallback(
    route: RouteConfig, path: Path, given: Marks, problems: Problems
) -> None:
    """A fixed answer that says nothing to the gRPC callers of its route."""
    fallback = route.policies.fallback
    if route.match.grpc is None or fallback is None or fallback.response is None:
        return
    response = fallback.response
    if response.grpc != NO_GRPC or not response.body:
        return
    place = (*path, "fallback", "response")
    word = WORDS[of_http_answer(response.status)]
    problems.warning(
        given.get(place, given.get((*path, "name"), Mark(1, 1))),
        place,
        "gRPC callers cannot read its body and get the status "
        f"{word}; give them one with grpc: {{status: ...}}",
    )


def _warn_unreachable(
    earlier: Reachability, route: RouteConfig, path: Path, given: Marks, problems: Problems
) -> None:
    other = earlier.add(route)
    if other is not None:
        mark = given.get((*path, "name"), Mark(1, 1))
        problems.warning(
            mark,
            path,
            f"can never match: the earlier route {other.name!r} takes all of its requests",
        )


def _warn_same_upstream(route: RouteConfig, path: Path, given: Marks, problems: Problems) -> None:
    fallback = route.policies.fallback
    if fallback and fallback.upstream is not None and [*route.shares] == [fallback.upstream]:
        mark = given.get((*path, "fallback"), given.get((*path, "name"), Mark(1, 1)))
        problems.warning(
            mark, (*path, "fallback"), f"goes to {fallback.upstream!r}, as the route does"
        )


def _warn_mirror(
    config: Config, route: RouteConfig, path: Path, given: Marks, problems: Problems
) -> None:
    mirror = route.mirror
    if mirror is None:
        return
    key, message = "upstream", ""
    if not mirror.share:
        key, message = "share", "copies nothing: it is 0%"
    elif mirror.upstream in route.shares:
        message = _copied_to_itself(mirror, route.shares[mirror.upstream])
    else:
        copies = set(_places(config, mirror.upstream))
        for name in route.shares:
            both = copies.intersection(_places(config, name))
            if both:
                message = f"{min(both)} is an endpoint of {name!r} too: it gets requests twice"
                break
    if message:
        place = (*path, "mirror", key)
        mark = given.get(place, given.get((*path, "name"), Mark(1, 1)))
        problems.warning(mark, place, message)


def _copied_to_itself(mirror: MirrorConfig, share: float) -> str:
    """`share`: of the requests, that the mirror's upstream gets itself."""
    requests = "the requests" if share == 1 else f"{100 * share:.3g}% of the requests"
    copied = "each" if mirror.share == 1 else format_ratio(mirror.share)
    return f"{mirror.upstream!r} is where {requests} go: it gets {copied} of them twice"


_OF_UPSTREAMS: tuple[Path, ...] = (
    ("retry",),
    ("hedge",),
    ("circuit_breaker",),
    ("faults",),
    ("rewrite",),
    ("headers", "request"),
)
"""What a route has for the upstream: one that asks none has no use for it."""


def _warn_useless(route: RouteConfig, path: Path, given: Marks, problems: Problems) -> None:
    """What the route itself sets, and cannot use. What its policy has is for others too."""
    if not route.forwards:
        saga = "each request starts a saga, and its steps have policies of their own"
        why = saga if route.respond is None else "the route answers by itself (respond)"
        for key in _OF_UPSTREAMS:
            place = (*path, *key)
            if place in given:
                problems.warning(given[place], place, f"has no effect: {why}")
    inherit = (*path, "timeouts", "inherit")
    if route.listener is Listener.INBOUND and inherit in given:
        problems.warning(given[inherit], inherit, "has no effect: only outbound calls inherit")


def _places(config: Config, upstream: str) -> list[str]:
    """The addresses of an upstream's endpoints, whatever their weights."""
    return [str(one) for one in config.upstreams[upstream].endpoints]


def _warn_unused(config: Config, given: Marks, problems: Problems) -> None:
    bundles = [*config.policies.values(), *(route.policies for route in config.routes)]
    used = {name for route in config.routes for name in route.upstreams} | {"app"}
    used |= {route.mirror.upstream for route in config.routes if route.mirror}
    used |= {bundle.fallback.upstream or "" for bundle in bundles if bundle.fallback}
    requests = [pair for saga in config.sagas.values() for pair in saga.requests]
    used |= {request.upstream for _, request in requests}
    used |= {saga.result.upstream for saga in config.sagas.values() if saga.result}
    targets = [table.to for table in config.outbox_tables.values()]
    used |= {target.upstream or "" for target in targets}
    unused = [name for name in config.upstreams if name not in used]
    _warn_named("upstreams", unused, given, problems)
    policies = {route.policy for route in config.routes} | BUILT_IN_POLICIES.keys()
    policies |= {step.policy for step, _ in requests}
    policies |= {target.policy for target in targets}
    unused = [name for name in config.policies if name not in policies]
    _warn_named("policies", unused, given, problems)
    sagas = {route.saga for route in config.routes} | {target.saga for target in targets}
    unused = [name for name in config.sagas if name not in sagas]
    _warn_named("sagas", unused, given, problems)


def _warn_named(section: str, unused: list[str], given: Marks, problems: Problems) -> None:
    """Warn at the first place below each name."""
    if not unused:
        return
    marks: dict[object, Mark] = {}
    for path, mark in given.items():
        if path[0] == section and len(path) > 1:
            marks[path[1]] = min(mark, marks.get(path[1], mark))
    for name in unused:
        mark = marks.get(name, given[(section,)])
        problems.warning(mark, (section, name), "no route uses it")


def _warn_inbound_policy(config: Config, given: Marks, problems: Problems) -> None:
    """Warn of inbound routes that seem to rely on `policies.default`.

    There is no warning if the file has `policies.inbound`.
    """
    if ("policies", INBOUND_POLICY) in given:
        return
    changed = [
        path
        for path, _ in POLICY.leaves(config.policies[DEFAULT_POLICY])
        if ("policies", DEFAULT_POLICY, *path) in given
    ]
    concerned = [
        ("routes", index)
        for index, route in enumerate(config.routes)
        if route.listener is Listener.INBOUND
        and ("routes", index, "policy") not in given
        and any(("routes", index, *path) not in given for path in changed)
    ]
    if not concerned:
        return
    path, *others = concerned
    names = ", ".join(repr(config.routes[index].name) for _, index in others)
    problems.warning(
        given[*path, "name"],
        path,
        "names no policy, so 'inbound' applies, which takes nothing from policies.default: write "
        "'policy: default' for its values, or change policies.inbound"
        + (f"; the same applies to {names}" if names else ""),
    )
