"""Default, named policy and route: what wins, and where it is said to come from."""

from proxy.config.model import Listener, PolicyConfig
from proxy.policies.circuit_breaker_config import BreakerMode
from proxy.policies.deadline import TimeoutsConfig

FILE = """
    policies:
      default:
        timeouts: {request: 20s}
        retry: {on: [429, timeout], backoff: {initial: 50ms}}
      gold:
        retry: {attempts: 5, backoff: {max: 2s}}
    routes:
      - name: a
        policy: gold
        retry: {backoff: {multiplier: 3}, on: [5xx]}
      - name: b
"""


def test_keys_merge_deep_and_lists_replace(config):
    a, b = config(FILE).routes
    assert a.policies.timeouts.request == b.policies.timeouts.request == 20
    assert a.policies.retry.attempts == 5
    assert b.policies.retry.attempts == 3
    backoff = a.policies.retry.backoff
    assert (backoff.initial, backoff.multiplier, backoff.max) == (0.05, 3, 2)
    assert a.policies.retry.on.terms == ("5xx",)
    assert b.policies.retry.on.terms == ("429", "timeout")


def test_the_order_of_policies_in_the_file_is_no_matter(config):
    made = config("""
        policies:
          gold: {retry: {attempts: 5}}
          default: {timeouts: {request: 20s}}
        """)
    assert made.policies["gold"].timeouts.request == 20
    assert made.policies["gold"].retry.attempts == 5


def test_an_empty_policy_is_the_default_one(config):
    made = config("policies: {gold: , default: {retry: {attempts: 2}}}")
    assert made.policies["gold"] == made.policies["default"]
    assert made.policies["gold"].retry.attempts == 2


def test_each_value_knows_where_it_comes_from(loaded):
    found = loaded(FILE)
    a, b = found.config.routes
    sources = {setting.key: setting.source for setting in found.sources.settings(a)}
    assert sources["retry.backoff.multiplier"] == "f.yaml:11 (route a)"
    assert sources["retry.on"] == "f.yaml:11 (route a)"
    assert sources["retry.attempts"] == "f.yaml:7 (policy gold)"
    assert sources["retry.backoff.initial"] == "f.yaml:5 (policy default)"
    assert sources["timeouts.request"] == "f.yaml:4 (policy default)"
    assert sources["timeouts.attempt"] == "built-in default"
    sources = {setting.key: setting.source for setting in found.sources.settings(b)}
    assert sources["retry.attempts"] == "built-in default"
    assert sources["retry.on"] == "f.yaml:5 (policy default)"
    assert found.sources.route(a) == "f.yaml:9"
    assert found.sources.of(("policies", "gold", "retry", "attempts")) == "f.yaml:7"


def test_every_setting_has_a_value_in_the_files_spelling(loaded):
    found = loaded(FILE)
    texts = {s.key: s.text for s in found.sources.settings(found.config.routes[0])}
    assert texts["timeouts.request"] == "20s"
    assert texts["retry.on"] == "[5xx]"
    assert texts["retry.budget.ratio"] == "20%"
    assert texts["circuit_breaker.window.size"] == "100"
    assert texts["timeouts.propagate"] == "true"
    assert texts["fallback"] == "none"


def test_a_window_of_time_can_be_inherited_and_resized(config, errors):
    file = """
        policies: {{default: {{circuit_breaker: {{window: {{type: time, size: 60s}}}}}}}}
        routes: [{{name: a, circuit_breaker: {{window: {{size: {size}}}}}}}]
        """
    route = config(file.format(size="30s")).routes[0]
    assert route.policies.circuit_breaker.window.size == 30
    (problem,) = errors(file.format(size="30"))
    assert "the window's type is time" in problem
    assert not errors(file.format(size="30s, type: time"))


def test_a_window_that_changes_its_type_needs_a_size(errors, config):
    file = """
        policies: {{default: {{circuit_breaker: {{window: {{type: time, size: 60s}}}}}}}}
        routes: [{{name: a, circuit_breaker: {{window: {{type: {type}}}}}}}]
        """
    assert config(file.format(type="time")).routes[0].policies.circuit_breaker.window.size == 60
    (problem,) = errors(file.format(type="count"))
    assert "a window of type count also needs a 'size'" in problem


def test_the_share_of_probes_can_be_taken_back(config):
    route = config("""
        policies: {default: {circuit_breaker: {half_open: {failure_rate: 50%}}}}
        routes: [{name: a, circuit_breaker: {half_open: {failure_rate: none}}}]
        """).routes[0]
    assert route.policies.circuit_breaker.half_open.failure_rate is None


def test_a_bad_policy_does_not_make_its_name_unknown(errors):
    (problem,) = errors("""
        policies: {gold: {retry: {attempts: 0}}}
        routes: [{name: a, policy: gold}]
        """)
    assert "must be at least 1" in problem


INBOUND = """
    policies:
      default:
        timeouts: {request: 20s}
        bulkhead: {max_concurrent: 7}
      inbound:
        timeouts: {request: 30s}
      gold: {}
    routes:
      - {name: a, listener: inbound, retry: {attempts: 2}}
      - {name: b, listener: inbound, policy: default}
      - {name: c, listener: inbound, policy: gold}
      - {name: d}
    """


def test_inbound_routes_have_a_policy_that_is_safe_for_their_own_service(config):
    policies = config("").policies["inbound"]
    assert (policies.timeouts.attempt, policies.timeouts.request) == (60, 60)
    assert policies.timeouts.idle == TimeoutsConfig().idle
    assert policies.retry.on.terms == ("connect-failure", "refused-stream")
    assert policies.circuit_breaker.mode is BreakerMode.OFF
    assert policies.bulkhead.max_concurrent == 1024
    assert config("").default_route(Listener.INBOUND).policies == policies
    assert config("").default_route(Listener.OUTBOUND).policies == PolicyConfig()


def test_the_inbound_policy_takes_nothing_from_the_default_one(config):
    made = config(INBOUND)
    a, b, c, d = made.routes
    assert [route.policy for route in made.routes] == ["inbound", "default", "gold", "default"]
    assert (a.policies.timeouts.request, a.policies.timeouts.attempt) == (30, 60)
    assert (a.policies.bulkhead.max_concurrent, a.policies.retry.attempts) == (1024, 2)
    for route in (b, c, d):
        assert route.policies.timeouts.request == 20
        assert route.policies.bulkhead.max_concurrent == 7
    default = made.default_route(Listener.INBOUND)
    assert (default.policy, default.policies) == ("inbound", made.policies["inbound"])


def test_a_value_of_the_inbound_policy_says_so(loaded):
    found = loaded(INBOUND)
    sources = {s.key: s.source for s in found.sources.settings(found.config.routes[0])}
    assert sources["timeouts.request"] == "f.yaml:7 (policy inbound)"
    assert sources["bulkhead.max_concurrent"] == "built-in default (policy inbound)"
    assert sources["retry.attempts"] == "f.yaml:10 (route a)"
    default = found.config.default_route(Listener.INBOUND)
    sources = {s.key: s.source for s in found.sources.settings(default)}
    assert sources["timeouts.request"] == "f.yaml:7 (policy inbound)"
    assert found.sources.policy("inbound", ("timeouts", "idle")) == (
        "built-in default (policy inbound)"
    )


def test_a_bad_listener_is_told_once(errors):
    (problem,) = errors("routes: [{name: a, listener: inward}]")
    assert "must be one of outbound, inbound" in problem
