"""What of a configuration can be played from a log, which has no header fields and no queries."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from proxy.config.model import Config, PolicyConfig
from proxy.policies.rate_limit import RateLimitConfig
from proxy.policies.rate_limits import RATE_LIMITS
from proxy.simulation.recording import RecordedRequest

_HEADER = "header:"
_UNSAFE = ("POST", "PATCH")


@dataclass(frozen=True, slots=True)
class Playable:
    """`config`: without health checks, mirrors, and rate limits that count by a header.

    `left_out`: the names of these limits by route; the routes of the listeners, which no file
    names, are "".
    """

    config: Config
    left_out: Mapping[str, frozenset[str]]

    def refused(self, request: RecordedRequest) -> bool:
        """Whether the log says that one of these limits refused the request."""
        if not request.limit:
            return False
        return request.limit in self.left_out.get(request.route, self.left_out[""])


def playable(config: Config) -> Playable:
    """The log has no endpoint's answer to a health check, and no copy of a request."""
    left_out = {one.name: _by_header(one.policies) for one in config.routes}
    listeners = (_by_header(policy) for policy in config.policies.values())
    left_out[""] = frozenset().union(*listeners)
    return Playable(
        replace(
            config,
            upstreams={n: replace(one, health_check=None) for n, one in config.upstreams.items()},
            policies={name: _without(policy) for name, policy in config.policies.items()},
            routes=tuple(
                replace(one, mirror=None, policies=_without(one.policies)) for one in config.routes
            ),
        ),
        left_out,
    )


def _by_header(policy: PolicyConfig) -> frozenset[str]:
    limits: tuple[RateLimitConfig, ...] = policy.settings(RATE_LIMITS)
    return frozenset(one.name for one in limits if _counts_by_header(one))


def _without(policy: PolicyConfig) -> PolicyConfig:
    limits: tuple[RateLimitConfig, ...] = policy.settings(RATE_LIMITS)
    kept = tuple(one for one in limits if not _counts_by_header(one))
    more = tuple((key, kept if key == RATE_LIMITS.key else found) for key, found in policy.more)
    return replace(policy, more=more)


def _counts_by_header(limit: RateLimitConfig) -> bool:
    return limit.key.startswith(_HEADER)


class Keys:
    """Which requests had an idempotency key: a log tells only of those that were to be retried.

    The others of a route and method are taken to be like these.
    """

    def __init__(self, requests: Iterable[RecordedRequest], configs: Iterable[Config] = ()) -> None:
        """`configs`: those under which the log may have been recorded. Where one of them repeats a
        method without a key, a retry says nothing.
        """
        self._plain = {
            (route.name, method)
            for config in configs
            for route in config.routes
            for method in _UNSAFE
            if _repeats(route.policies, method)
        }
        counts: dict[tuple[str, str], int] = {}
        for request in requests:
            if request.keyed is not None:
                kind = (request.route, request.method)
                counts[kind] = counts.get(kind, 0) + (1 if request.keyed else -1)
        self.assumed = {
            kind for kind, more in counts.items() if more > 0 and kind not in self._plain
        }

    def of(self, request: RecordedRequest) -> bool:
        kind = (request.route, request.method)
        if request.keyed is None or kind in self._plain:
            return kind in self.assumed
        return request.keyed


def _repeats(policy: PolicyConfig, method: str) -> bool:
    """Whether it repeats the method without a key."""
    methods = policy.retry.methods
    return methods.any or method in methods.names
