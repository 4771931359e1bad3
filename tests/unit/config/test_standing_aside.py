"""Under the bypass retries, breakers and rate limits stand aside, and nothing else does."""

from dataclasses import replace

from proxy.config.loading import load_text
from proxy.config.standing_aside import standing_aside
from proxy.policies.bulkhead import BulkheadLimit
from proxy.policies.circuit_breaker_config import BreakerMode
from proxy.policies.gate import OBSERVE, Mode
from proxy.policies.rate_limits import RATE_LIMITS

TEXT = """
policies:
  default:
    retry: {attempts: 4}
    hedge: {delay: 50ms}
    faults: [{share: 1%, abort: 503}]
    timeouts: {request: 3s}
    bulkhead: {max_concurrent: 5, limit: gradient}
    fallback: {when: [timeout], response: {status: 200}}
    rate_limits: [{rate: 5/s}, {key: client, rate: 1/s, mode: observe}]
  quiet: {circuit_breaker: {mode: "off"}}
routes:
  - {name: a, match: {prefix: /a}, retry: {attempts: 2}, mirror: {upstream: app}}
  - {name: b, match: {prefix: /b}, policy: quiet}
"""


def test_one_attempt_and_breakers_that_only_watch() -> None:
    config = load_text(TEXT, "f.yaml", {}).config
    aside = standing_aside(config)
    policies = [*aside.policies.values(), *(route.policies for route in aside.routes)]
    assert {policy.retry.attempts for policy in policies} == {1}
    modes = [policy.circuit_breaker.mode for policy in policies]
    assert BreakerMode.ENFORCE not in modes
    assert aside.policies["quiet"].circuit_breaker.mode is BreakerMode.OFF


def test_all_else_is_as_it_was() -> None:
    config = load_text(TEXT, "f.yaml", {}).config
    aside = standing_aside(config)
    for name, policy in config.policies.items():
        after = aside.policies[name]
        assert policy == replace(
            after,
            retry=replace(after.retry, attempts=policy.retry.attempts),
            circuit_breaker=policy.circuit_breaker,
            bulkhead=policy.bulkhead,
            hedge=policy.hedge,
            faults=policy.faults,
            more=policy.more,
        )
        assert not after.hedge.delay
        assert not after.faults
        assert after.bulkhead == replace(policy.bulkhead, limit=BulkheadLimit.FIXED)
        limits = [replace(one, mode=Mode.ENFORCE) for one in policy.settings(RATE_LIMITS)]
        assert [replace(one, mode=Mode.ENFORCE) for one in after.settings(RATE_LIMITS)] == limits
        assert not limits or {one.mode for one in after.settings(RATE_LIMITS)} == {OBSERVE}
    assert config == replace(aside, policies=config.policies, routes=config.routes)
    assert [route.mirror for route in aside.routes] == [None, None]


def test_twice_is_the_same_as_once() -> None:
    aside = standing_aside(load_text(TEXT, "f.yaml", {}).config)
    assert standing_aside(aside) == aside
