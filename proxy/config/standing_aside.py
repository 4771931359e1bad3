"""A configuration under the bypass: without policies that may make an outage worse.

Protection stays: deadlines, limits, bulkheads, egress, own addresses, fallbacks.
"""

from dataclasses import replace

from proxy.config.model import Config, PolicyConfig, UpstreamConfig
from proxy.policies import catalogue
from proxy.policies.bulkhead import BulkheadLimit
from proxy.policies.circuit_breaker_config import BreakerMode
from proxy.policies.ejection_config import OnNone
from proxy.policies.gate import Mode
from proxy.policies.hedge import HedgeConfig


def standing_aside(config: Config) -> Config:
    """The configuration with one attempt per request, without mirrors, with circuit breakers and
    rate limits that refuse nothing, and outlier detection that ejects nothing.

    They still count, so that what they would have done is visible.
    """
    routes = tuple(
        replace(one, policies=_aside(one.policies), mirror=None) for one in config.routes
    )
    policies = {name: _aside(policy) for name, policy in config.policies.items()}
    upstreams = {name: _ejecting_none(one) for name, one in config.upstreams.items()}
    return replace(config, policies=policies, routes=routes, upstreams=upstreams)


def _ejecting_none(upstream: UpstreamConfig) -> UpstreamConfig:
    outliers = upstream.outlier_detection
    if outliers is None:
        return upstream
    aside = replace(outliers, mode=Mode.OBSERVE, on_none=OnNone.USE_ALL)
    return replace(upstream, outlier_detection=aside)


def _aside(policy: PolicyConfig) -> PolicyConfig:
    breaker = policy.circuit_breaker
    if breaker.mode is BreakerMode.ENFORCE:
        breaker = replace(breaker, mode=BreakerMode.OBSERVE)
    kinds = {kind.key: kind for kind in catalogue.kinds()}
    more = tuple((key, kinds[key].aside(settings)) for key, settings in policy.more)
    bulkhead = replace(policy.bulkhead, limit=BulkheadLimit.FIXED)
    once = replace(policy.retry, attempts=1)
    return replace(
        policy,
        retry=once,
        circuit_breaker=breaker,
        bulkhead=bulkhead,
        hedge=HedgeConfig(),
        faults=(),
        more=more,
    )
