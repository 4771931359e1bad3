"""Default, named policy and route: what wins, and where it is said to come from."""

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
    assert "a window of type count needs a 'size' as well" in problem


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
