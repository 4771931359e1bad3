"""The summary of a valid file, for `check`."""

from collections.abc import Iterable

from proxy.config.loading import Loaded
from proxy.config.match import MatchConfig, ValueMatch
from proxy.config.model import (
    APP_UPSTREAM,
    DEFAULT_INBOUND,
    DEFAULT_OUTBOUND,
    DEFAULT_POLICY,
    INBOUND_POLICY,
    Config,
    Listener,
    LoadBalancing,
    PolicyConfig,
    RouteConfig,
    UpstreamConfig,
    repeats_only_unseen,
)
from proxy.config.promised import promises_of
from proxy.config.sources import Sources
from proxy.config.store_model import StoreConfig, StoreEngine
from proxy.config.table_summary import describe_rules, describe_source, describe_target
from proxy.http.hash_key import HashKey
from proxy.policies.bulkhead import BulkheadConfig, BulkheadLimit
from proxy.policies.circuit_breaker_config import BreakerMode, WindowType
from proxy.policies.gate import Mode
from proxy.policies.hedge import P95
from proxy.policies.idempotency import IdempotencyMode
from proxy.policies.mirror import MirrorConfig
from proxy.policies.outbox import OutboxMode
from proxy.policies.rate_limits import RATE_LIMITS
from proxy.policies.retry import RetryConfig
from proxy.policies.split import Split
from proxy.units import format_duration, format_ratio, format_size


def summary(loaded: Loaded) -> str:
    """The listeners, and for every route its match, upstream and policy."""
    config = loaded.config
    counts = [
        _count(len(config.routes), "route"),
        _count(len(config.upstreams), "upstream"),
        _count(len(config.policies), "policy", "policies"),
    ]
    if loaded.warnings:
        counts.append(_count(len(loaded.warnings), "warning"))
    lines = [f"{loaded.filename or 'embedded default'}: valid; {', '.join(counts)}"]
    for listener in Listener:
        lines += ["", f"{listener.value}  {_listener(config, listener)}"]
        if listener is Listener.INBOUND and _seems_to_change_inbound(loaded.sources):
            lines.append("  (policies.default does not apply here; policies.inbound does)")
        rows = [_row(route, config) for route in config.routes if route.listener is listener]
        rows.append(_row(config.default_route(listener), config))
        lines += _columns(rows)
    lines += ["", f"admin  {config.admin.address}"]
    if config.store is not None:
        lines.append(f"store  {describe_store(config.store)}")
    for table in config.outbox_tables.values():
        lines.append(f"outbox table {table.name}  {describe_source(table, config)}")
        lines.append(f"  -> {describe_target(table)}, {describe_rules(table)}")
    return "\n".join(lines)


def describe_match(match: MatchConfig) -> str:
    """``POST inventory /api/*, x-tenant: gold``; everything, for an empty match."""
    where = " ".join(
        filter(
            None,
            (
                "|".join(sorted(match.methods)),
                "|".join(match.hosts),
                "gRPC" if match.grpc is not None else "",
                _path(match),
            ),
        )
    )
    values = [f"{name}: {_value(value)}" for name, value in match.headers]
    values += [f"?{name}={_value(value)}" for name, value in match.query]
    return ", ".join(filter(None, (where, *values))) or "everything"


def describe_upstream(upstream: UpstreamConfig) -> str:
    endpoints = [
        f"{one} weight {one.weight}" if one.weight != 1 else str(one) for one in upstream.endpoints
    ]
    more = []
    if upstream.load_balancing is not LoadBalancing.LEAST_REQUEST:
        more.append(f", {upstream.load_balancing.value}")
    if upstream.outlier_detection is not None and upstream.outlier_detection.judges:
        more.append(f", ejects{_observes(upstream.outlier_detection.mode)}")
    if upstream.health_check is not None:
        more.append(", checked")
    return f"{upstream.name} ({', '.join(endpoints)}{''.join(more)})"


def describe_split(route: RouteConfig) -> str:
    """``95% v1, 5% v2, by header user-id``."""
    split = Split(route.split)
    parts = [
        f"{100 * share:.3g}% {name}" for name, share in zip(split.names, split.shares, strict=True)
    ]
    if route.split_by is not None:
        parts.append(f"by {describe_key(route.split_by)}")
    return ", ".join(parts)


def describe_mirror(mirror: MirrorConfig) -> str:
    return f"mirrors {format_ratio(mirror.share)} to {mirror.upstream}"


def describe_key(key: HashKey) -> str:
    """``header user-id``, or ``client``."""
    return f"{key.source.value} {key.name}".rstrip()


def describe_store(store: StoreConfig) -> str:
    if store.url.engine is StoreEngine.POSTGRESQL:
        return f"{store.url.shown}, schema {store.schema}, {store.connections} connections, shared"
    words = [store.url.text, f"at most {format_size(store.max_bytes)}"]
    if store.url.engine is StoreEngine.SQLITE:
        words.insert(1, f"sync {store.sync.value}")
        if store.dies_with_pod:
            words.append("gone with the pod")
    return ", ".join(words)


def describe_policy(policies: PolicyConfig) -> str:
    """The most important values of a policy."""
    timeouts, retry, bulkhead = policies.timeouts, policies.retry, policies.bulkhead
    parts = [
        f"request {format_duration(timeouts.request)}",
        f"attempt {format_duration(timeouts.attempt)}{_observes(timeouts.mode)}",
        _attempts(retry) + _observes(retry.mode),
        _breaker(policies),
        f"bulkhead {_limit(bulkhead)}"
        + (f"+{bulkhead.max_queue} queued" if bulkhead.max_queue else "")
        + _observes(bulkhead.mode),
    ]
    parts += [f"limit {one}" for one in policies.settings(RATE_LIMITS)]
    parts += _more(policies)
    if policies.faults:
        parts.append(_count(len(policies.faults), "fault"))
    if policies.fallback:
        to = f" to {policies.fallback.upstream}" if policies.fallback.upstream else ""
        parts.append(f"fallback{to} on {', '.join(policies.fallback.terms)}")
    return ", ".join(parts)


def _more(policies: PolicyConfig) -> list[str]:
    """Policies that are off unless a file turns them on."""
    delay, parts = policies.hedge.delay, []
    if delay:
        parts.append(f"hedge after {'p95' if delay == P95 else format_duration(delay)}")
    if policies.idempotency.mode is not IdempotencyMode.OFF:
        parts.append(f"idempotency {policies.idempotency.mode.value}")
    if policies.outbox.mode is not OutboxMode.OFF:
        lanes = policies.outbox.order_by
        parts.append(f"outbox {policies.outbox.mode.value}" + f" by {lanes}" * (lanes != "none"))
    return parts


def _limit(bulkhead: BulkheadConfig) -> str:
    if bulkhead.limit is BulkheadLimit.FIXED:
        return str(bulkhead.max_concurrent)
    return f"{bulkhead.min} to {bulkhead.max_concurrent} (learned)"


def _attempts(retry: RetryConfig) -> str:
    if retry.attempts == 1:
        return "no retry"
    attempts = _count(retry.attempts, "attempt")
    if not repeats_only_unseen(retry):
        return attempts
    return f"{attempts} only for {' and '.join(retry.on.terms) or 'nothing'}"


def _breaker(policies: PolicyConfig) -> str:
    breaker = policies.circuit_breaker
    if breaker.mode is BreakerMode.OFF:
        return "breaker off"
    timed = breaker.window.type is WindowType.TIME
    size = format_duration(breaker.window.size) if timed else str(breaker.window.size)
    observes = _observes(Mode(breaker.mode.value))
    return f"breaker {format_ratio(breaker.failure_rate)} of {size}{observes}"


def _observes(mode: Mode) -> str:
    return " (observes)" if mode is Mode.OBSERVE else ""


def _seems_to_change_inbound(sources: Sources) -> bool:
    """Whether the file configures the inbound listener but only changes the outbound policy."""
    about_inbound = (
        ("listeners", Listener.INBOUND.value),
        ("upstreams", APP_UPSTREAM.name, "endpoints"),
    )
    return (
        sources.place(("policies", DEFAULT_POLICY)) is not None
        and sources.place(("policies", INBOUND_POLICY)) is None
        and any(sources.place(path) for path in about_inbound)
    )


def _listener(config: Config, listener: Listener) -> str:
    of = config.listeners.outbound if listener is Listener.OUTBOUND else config.listeners.inbound
    addresses = ", ".join(map(str, of.addresses))
    if of.tls is None:
        return addresses
    return f"{addresses} ({'mutual TLS' if of.tls.client_ca else 'TLS'})"


def _row(route: RouteConfig, config: Config) -> tuple[str, ...]:
    target = "the authority asked for"
    if route.respond is not None:
        target = f"answers {route.respond.status}"
    elif route.saga is not None:
        target = f"starts saga {route.saga}"
    elif route.split:
        target = describe_split(route)
    elif route.upstream is not None:
        target = describe_upstream(config.upstreams[route.upstream])
    elif config.egress.allow != ("*",):
        target += f", if egress allows it ({', '.join(config.egress.allow) or 'nothing'})"
    if route.mirror is not None:
        target += f", {describe_mirror(route.mirror)}"
    takes = describe_match(route.match)
    if route.name in (DEFAULT_OUTBOUND, DEFAULT_INBOUND):
        takes = "everything else" if config.routes else takes
    policy = f"[{route.policy}] {describe_policy(route.policies)}"
    promises = [f"promises: {promise}" for promise in promises_of(route, config)]
    return route.name, takes, f"-> {target}", policy, *promises


def _columns(rows: list[tuple[str, ...]]) -> Iterable[str]:
    """Name, match and target in columns, policy and promises on separate lines."""
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, takes, target, *more in rows:
        yield f"  {name:{widths[0]}}  {takes:{widths[1]}}  {target}"
        for line in more:
            yield f"  {'':{widths[0]}}  {line}"


def _path(match: MatchConfig) -> str:
    if match.prefix is not None:
        return match.prefix.rstrip("/") + "/*"
    if match.regex is not None:
        return f"~{match.regex}"
    if match.grpc is not None and match.grpc.service:
        return f"{match.grpc.service}/{match.grpc.method or '*'}"
    return match.path or ""


def _value(match: ValueMatch) -> str:
    if match.exact is not None:
        return match.exact
    if match.regex is not None:
        return f"~{match.regex}"
    return "present" if match.present else "absent"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
