"""Checks across keys: conflicts between sections, and settings without effect."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from proxy.config.model import (
    BUILT_IN_POLICIES,
    DEFAULT_POLICY,
    INBOUND_POLICY,
    Address,
    Config,
    Listener,
    PolicyConfig,
    RouteConfig,
    UpstreamProtocol,
    repeats_only_unseen,
)
from proxy.config.outbox_checks import warn_of_outbox
from proxy.config.policy_keys import POLICY, RETRY
from proxy.config.problems import Mark, Path, Problems, format_path
from proxy.config.reachability import Reachability
from proxy.config.store_checks import warn_of_store
from proxy.grpc_status import NO_GRPC, WORDS, of_http_answer
from proxy.outcome import GRPC_TERMS
from proxy.policies.backoff import BackoffConfig, JitterKind
from proxy.policies.circuit_breaker import BreakerCounts, SlowCallConfig, WindowType
from proxy.policies.gate import Mode
from proxy.units import format_duration

Given = Mapping[Path, Mark]


def check_addresses(config: Config, given: Given, problems: Problems) -> None:
    """Two listeners at one address are an error, reported at the later one in the file."""
    places: list[tuple[Path, Address]] = [
        (("listeners", listener.value, "address"), address)
        for listener in Listener
        for address in config.listeners.of(listener).addresses
    ]
    places.append((("admin", "address"), config.admin.address))
    for index, (path, address) in enumerate(places):
        for other_path, other in places[:index]:
            if path == other_path or not _clash(address, other):
                continue
            if path in given:
                _report_clash(path, other_path, other, given, problems)
            else:
                _report_clash(other_path, path, address, given, problems)


def check_protocols(config: Config, given: Given, problems: Problems) -> None:
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


def _report_clash(
    path: Path, taken_path: Path, taken: Address, given: Given, problems: Problems
) -> None:
    mark = given.get(path, Mark(1, 1))
    problems.error(mark, path, f"conflicts with {format_path(taken_path)}, which is {taken}")


def _clash(first: Address, second: Address) -> bool:
    if first.port != second.port or first.port == 0:
        return False
    hosts = {"127.0.0.1" if host == "localhost" else host for host in (first.host, second.host)}
    if len(hosts) == 1:
        return True
    # :: covers both families, 0.0.0.0 only IPv4; localhost is in both.
    one_family = len({":" in host for host in hosts}) == 1
    localhost = "localhost" in (first.host, second.host)
    return "::" in hosts or ("0.0.0.0" in hosts and (one_family or localhost))


def warn(config: Config, given: Given, problems: Problems) -> None:
    """Warn of settings that are valid but probably not intended."""
    for name, policies in config.policies.items():
        _warn_policy(_Layer(("policies", name), policies, given), problems)
    reachable = {listener: Reachability() for listener in Listener}
    for index, route in enumerate(config.routes):
        _warn_policy(_Layer(("routes", index), route.policies, given), problems)
        _warn_unreachable(reachable[route.listener], route, ("routes", index), given, problems)
        _warn_same_upstream(route, ("routes", index), given, problems)
        _warn_mirror(route, ("routes", index), given, problems)
        _warn_unreadable_fallback(route, ("routes", index), given, problems)
    _warn_unused(config, given, problems)
    _warn_inbound_policy(config, given, problems)
    _warn_loops(config, given, problems)
    _warn_open_proxy(config, given, problems)
    warn_of_store(config, given, problems)
    warn_of_outbox(config, given, problems)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A policy or a route: its effective values, and which of them it sets itself."""

    prefix: Path
    policies: PolicyConfig
    given: Given

    def gives(self, key: str) -> bool:
        return (*self.prefix, *key.split(".")) in self.given

    def warn(self, key: str, message: str, problems: Problems) -> None:
        path = (*self.prefix, *key.split("."))
        problems.warning(self.given[path], path, message)


def _attempt_beyond_request(p: PolicyConfig) -> str | None:
    attempt, request = p.timeouts.attempt, p.timeouts.request
    if attempt <= request or repeats_only_unseen(p.retry):
        return None
    return (
        f"attempt is {format_duration(attempt)} and request {format_duration(request)}: "
        "one attempt can use up all the time"
    )


def _connect_beyond_attempt(p: PolicyConfig) -> str | None:
    connect, attempt = p.timeouts.connect, p.timeouts.attempt
    if connect <= attempt:
        return None
    return (
        f"connect is {format_duration(connect)} and attempt {format_duration(attempt)}: a slow "
        "connection counts as timeout, which is retried only for idempotent requests, not as "
        f"connect-failure; set connect below {format_duration(attempt)}"
    )


def _duration_below_request(p: PolicyConfig) -> str | None:
    most, request = p.timeouts.max_duration, p.timeouts.request
    if not most or most >= request:
        return None
    return (
        f"max_duration is {format_duration(most)} and request {format_duration(request)}: "
        "max_duration ends the request first"
    )


def _waits_beyond_request(p: PolicyConfig) -> str | None:
    waited = 0.0
    for retry in range(1, min(p.retry.attempts, 100)):
        waited += _shortest_wait(p.retry.backoff, retry)
        if waited >= p.timeouts.request:
            return (
                f"the waits alone use up request ({format_duration(p.timeouts.request)}): "
                f"attempt {retry + 1} can never begin"
            )
    return None


def _shortest_wait(backoff: BackoffConfig, retry: int) -> float:
    wait = min(backoff.max, backoff.initial * min(backoff.multiplier ** min(retry - 1, 64), 1e9))
    match backoff.jitter.kind:
        case JitterKind.FULL:
            return 0.0
        case JitterKind.EQUAL:
            return wait / 2
        case JitterKind.RATIO:
            return wait * (1 - backoff.jitter.ratio)
        case JitterKind.DECORRELATED:
            return min(backoff.max, backoff.initial)
        case JitterKind.NONE:
            return wait


def _never_slow(p: PolicyConfig) -> str | None:
    slow, attempt = p.circuit_breaker.slow_call.duration, p.timeouts.attempt
    if slow == SlowCallConfig().duration:  # the default: nothing is slow
        return None
    if p.timeouts.mode is Mode.OBSERVE:
        return None
    if p.circuit_breaker.counts is not BreakerCounts.ATTEMPTS or slow < attempt:
        return None
    return f"no attempt takes that long: timeouts.attempt is {format_duration(attempt)}"


def _minimum_beyond_window(p: PolicyConfig) -> str | None:
    window, minimum = p.circuit_breaker.window, p.circuit_breaker.minimum_calls
    if window.type is not WindowType.COUNT or minimum <= window.size:
        return None
    return f"has the effect of {window.size}, the size of the window"


def _nobody_queues(p: PolicyConfig) -> str | None:
    queue, wait = p.bulkhead.max_queue, p.bulkhead.queue_timeout
    if bool(queue) == bool(wait):
        return None
    return "has no effect: " + ("max_queue is 0" if wait else "queue_timeout is 0s")


def _no_call_is_repeated(p: PolicyConfig) -> str | None:
    """A gRPC call is a POST, and only few callers give one an idempotency key."""
    methods, listed = p.retry.methods, [term for term in p.retry.on.terms if term in GRPC_TERMS]
    if not listed or methods.any or "POST" in methods.names or p.retry.attempts == 1:
        return None
    how = "idempotent" if methods.keyed else "its list"
    return (
        f"{listed[0]} is listed, but methods: {how} lets no gRPC call be repeated; say methods: any"
    )


def _no_hedge(p: PolicyConfig) -> str | None:
    if not p.hedge.delay:
        return None
    if p.retry.attempts == 1:
        return "has no effect: a hedge counts in retry.attempts, which is 1"
    if p.hedge.delay >= p.timeouts.attempt:
        attempt = format_duration(p.timeouts.attempt)
        return f"has no effect: timeouts.attempt ends an attempt after {attempt}"
    return None


# A rule warns only if the layer sets one of its keys itself; the first such key is the place of
# the warning.
_RULES: tuple[tuple[tuple[str, ...], Callable[[PolicyConfig], str | None]], ...] = (
    (("timeouts.attempt", "timeouts.request"), _attempt_beyond_request),
    (("timeouts.connect", "timeouts.attempt"), _connect_beyond_attempt),
    (("timeouts.max_duration",), _duration_below_request),
    (
        ("retry.backoff.initial", "retry.backoff.jitter", "retry.backoff.multiplier",
         "retry.backoff.max", "retry.attempts", "timeouts.request"),
        _waits_beyond_request,
    ),
    (("retry.on", "retry.methods"), _no_call_is_repeated),
    (("circuit_breaker.slow_call.duration",), _never_slow),
    (("circuit_breaker.minimum_calls",), _minimum_beyond_window),
    (("bulkhead.max_queue", "bulkhead.queue_timeout"), _nobody_queues),
    (("hedge.delay", "retry.attempts", "timeouts.attempt"), _no_hedge),
)  # fmt: skip


def _warn_policy(layer: _Layer, problems: Problems) -> None:
    for keys, rule in _RULES:
        key = next(filter(layer.gives, keys), None)
        message = rule(layer.policies) if key else None
        if key and message:
            layer.warn(key, message, problems)
    once = layer.gives("retry.attempts") and layer.policies.retry.attempts == 1
    if once and any(layer.gives(f"retry.{key}") for key in RETRY.keys if key != "attempts"):
        message = "nothing is retried: the other keys have no effect"
        layer.warn("retry.attempts", message, problems)


def _warn_unreadable_fallback(
    route: RouteConfig, path: Path, given: Given, problems: Problems
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
    earlier: Reachability, route: RouteConfig, path: Path, given: Given, problems: Problems
) -> None:
    other = earlier.add(route)
    if other is not None:
        mark = given.get((*path, "name"), Mark(1, 1))
        problems.warning(
            mark,
            path,
            f"can never match: the earlier route {other.name!r} takes all of its requests",
        )


def _warn_same_upstream(route: RouteConfig, path: Path, given: Given, problems: Problems) -> None:
    fallback = route.policies.fallback
    if fallback and fallback.upstream is not None and route.upstreams == (fallback.upstream,):
        mark = given.get((*path, "fallback"), given.get((*path, "name"), Mark(1, 1)))
        problems.warning(
            mark, (*path, "fallback"), f"goes to {route.upstream!r}, as the route does"
        )


def _warn_mirror(route: RouteConfig, path: Path, given: Given, problems: Problems) -> None:
    if route.mirror is None or route.mirror.upstream not in route.upstreams:
        return
    place = (*path, "mirror", "upstream")
    problems.warning(
        given.get(place, given.get((*path, "name"), Mark(1, 1))),
        place,
        f"{route.mirror.upstream!r} is where the requests go: it gets each of them twice",
    )


def _warn_unused(config: Config, given: Given, problems: Problems) -> None:
    bundles = [*config.policies.values(), *(route.policies for route in config.routes)]
    used = {name for route in config.routes for name in route.upstreams} | {"app"}
    used |= {route.mirror.upstream for route in config.routes if route.mirror}
    used |= {bundle.fallback.upstream or "" for bundle in bundles if bundle.fallback}
    requests = [pair for saga in config.sagas.values() for pair in saga.requests]
    used |= {request.upstream for _, request in requests}
    used |= {saga.result.upstream for saga in config.sagas.values() if saga.result}
    unused = [name for name in config.upstreams if name not in used]
    _warn_named("upstreams", unused, given, problems)
    policies = {route.policy for route in config.routes} | BUILT_IN_POLICIES.keys()
    policies |= {step.policy for step, _ in requests}
    unused = [name for name in config.policies if name not in policies]
    _warn_named("policies", unused, given, problems)
    sagas = {route.saga for route in config.routes}
    unused = [name for name in config.sagas if name not in sagas]
    _warn_named("sagas", unused, given, problems)


def _warn_named(section: str, unused: list[str], given: Given, problems: Problems) -> None:
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


def _warn_inbound_policy(config: Config, given: Given, problems: Problems) -> None:
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


def _warn_loops(config: Config, given: Given, problems: Problems) -> None:
    """Report an upstream that is this proxy itself."""
    own = list(_own_addresses(config))
    for name, upstream in config.upstreams.items():
        for endpoint in upstream.endpoints:
            for label, address in own:
                if _clash(Address(endpoint.host, endpoint.port), address) and (
                    endpoint.host in ("localhost", "127.0.0.1", "::1")
                ):
                    path = ("upstreams", name, "endpoints")
                    mark = given.get(path, Mark(1, 1))
                    problems.warning(mark, path, f"{endpoint} is this proxy's own {label} address")


def _warn_open_proxy(config: Config, given: Given, problems: Problems) -> None:
    path = ("listeners", "outbound", "address")
    hosts = [address.host for address in config.listeners.outbound.addresses]
    loopback = all(host in ("localhost", "::1") or host.startswith("127.") for host in hosts)
    if path in given and not loopback and "*" in config.egress.allow:
        problems.warning(
            given[path],
            path,
            "every client that reaches it can reach anything through it: egress.allow is *",
        )


def _own_addresses(config: Config) -> Iterator[tuple[str, Address]]:
    for listener in Listener:
        for address in config.listeners.of(listener).addresses:
            yield listener.value, address
    yield "admin", config.admin.address
