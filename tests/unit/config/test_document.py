"""YAML as text: what it would resolve, what it must not contain, and how it is bounded."""

import pytest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("routes: [", "1:10: not valid YAML: "),
        ("a: b: c", "1:5: not valid YAML: mapping values are not allowed here; is the indent"),
        ("drain:\n\tdelay: 1s", "2:1: not valid YAML: a tab cannot indent"),
        ("retry: {attempts: ${N}}", "1:20: not valid YAML: "),
        ("service: `a`", "1:10: not valid YAML: a text that begins with this character needs quot"),
        (
            "service: @a",
            "1:10: not valid YAML: a text that begins with this character needs quotes",
        ),
        (
            "routes:\n  - name: a\n   upstream: b",
            "3:4: not valid YAML: this line is indented other",
        ),
        ('service: "\\UFFFFFFFF"', "1:13: not valid YAML: an escape or number"),
        ("service: a\n---\nservice: b", "2:1: a second document begins here"),
        ("service: a\n---", "2:1: a second document begins here"),
        ("- a\n- b", "1:1: the file must be a mapping"),
        ("text", "1:1: the file must be a mapping"),
        ('service: "a\\ud83e"', "1:10: service: the escape \\ud83e is half of a character"),
        (
            'routes: [{name: a, respond: {body: "\\ud83e\\udd80\\udd80"}}]',
            "1:36: routes[0].respond.body: the escape \\udd80 is half of a character",
        ),
        ('"\\ud800": 1', "1:1: the escape \\ud800 is half of a character"),
        (
            'upstreams: {a: {endpoints: ["http://a"], hash: {query: "\\ud800"}}}',
            "1:56: upstreams.a.hash.query: the escape \\ud800 is half of a character",
        ),
        ("service: a\nservice: b", "2:1: service: duplicate key; line 1 has it too"),
        ("service: !!str a", "1:10: service: YAML tags are not allowed: !!str"),
        ("service: !x a", "1:10: service: YAML tags are not allowed: !x"),
        ("routes:\n  - !!map {name: a}", "2:5: routes[0]: YAML tags are not allowed: !!map"),
        ("? [a]\n: b", "1:3: a key must be plain text"),
        ("? {a: b}\n: b", "1:3: a key must be plain text"),
        ("service: *name", "1:10: *name is undefined"),
        ("routes: &r [*r]", "1:13: *r contains itself"),
        ("service: a\x07b", "1:11: the character U+0007 is not allowed in YAML"),
        ("routes:\n- " + "[" * 70 + "]" * 70, "2:65: nested more than 64 levels deep"),
    ],
)
def test_a_text_that_is_no_usable_yaml_is_one_problem_at_its_place(text, expected, errors):
    assert any(problem.startswith(expected) for problem in errors(text)), errors(text)


def test_a_character_may_be_two_escapes_as_json_writes_it(config):
    (route,) = config('{"routes": [{"name": "a", "respond": {"body": "\\ud83e\\udd80"}}]}').routes
    assert route.respond.body == "\N{CRAB}".encode()


@pytest.mark.parametrize("text", ["a: {b: 1\nc: 2", "a: [1,\n  2\nc: 2", "a: 'b\nc: 2"])
def test_what_is_not_closed_is_named_where_it_begins(text, errors):
    (problem,) = errors(text)
    assert problem.endswith("; is what begins at 1:4 closed?")


def test_a_pattern_with_a_dollar_sign_is_not_taken_for_a_variable(errors):
    (problem,) = errors("routes: [{name: a, match: {regex: '/(a$b'}}]")
    assert "is not replaced" not in problem


def test_a_reference_in_braces_without_quotes_is_told_what_it_needs(errors):
    (problem,) = errors("drain: {delay: ${D}}")
    assert "needs quotes" in problem


@pytest.mark.parametrize(
    "text", ["", "\n", "# nothing\n", "---\n", "~", "null", "{}", "---\n...\n"]
)
def test_a_file_without_content_is_all_defaults(text, config):
    assert config(text).routes == ()


def test_aliases_that_multiply_are_stopped_before_they_are_followed(errors):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert any("aliases expand this file" in problem for problem in errors("\n".join(lines)))


def test_a_long_chain_of_aliases_cannot_exhaust_the_stack(errors):
    lines = ["a0: &a0 {k: v}"] + [f"a{n}: &a{n} {{k: *a{n - 1}}}" for n in range(1, 400)]
    assert any("levels deep" in problem for problem in errors("\n".join(lines)))


def test_anchors_and_merge_keys_share_settings(config):
    routes = config("""
        routes:
          - name: a
            retry: &patient {attempts: 5, retry_after: 1m}
          - name: b
            retry: *patient
          - name: c
            retry: {<<: *patient, attempts: 2}
    """).routes
    assert [r.policies.retry.attempts for r in routes] == [5, 5, 2]
    assert [r.policies.retry.retry_after for r in routes] == [60, 60, 60]


def test_of_several_merged_mappings_the_earlier_wins(config):
    (route, *_) = config("""
        policies:
          a: {retry: &a {attempts: 5}}
          b: {retry: &b {attempts: 7, retry_after: 1m}}
        routes:
          - {name: r, retry: {<<: [*a, *b]}}
    """).routes
    assert (route.policies.retry.attempts, route.policies.retry.retry_after) == (5, 60)


def test_a_merge_key_takes_mappings_alone(errors):
    assert errors("drain: {<<: 5}") == ['1:9: drain["<<"]: << takes a mapping, or a list of them']


def test_words_that_yaml_takes_for_booleans_are_themselves(config):
    made = config("""
        service: on
        policies:
          default:
            retry: {on: [429]}
            circuit_breaker: {mode: off}
        routes:
          - name: no
            match: {hosts: [yes], headers: {x-a: off}, query: {n: 1:30, o: 010}}
    """)
    assert made.service == "on"
    assert made.policies["default"].retry.on.terms == ("429",)
    assert made.policies["default"].circuit_breaker.mode.value == "off"
    route = made.routes[0]
    assert route.name == "no"
    assert route.match.hosts == ("yes",)
    assert dict(route.match.headers)["x-a"].exact == "off"
    assert [value.exact for _, value in route.match.query] == ["1:30", "010"]


def test_a_bom_and_crlf_are_no_matter(config):
    assert config("service: a\r\ndrain:\r\n  delay: 1s\r\n").drain.delay == 1


@pytest.mark.parametrize("nothing", ["", " ~", " null", " ${EMPTY:-}"])
def test_a_key_without_a_value_is_as_good_as_none(nothing, config):
    made = config(f"drain:{nothing}\nlisteners:\n  outbound:\n    tls:{nothing}\n")
    assert made.drain.delay == 5
    assert made.listeners.outbound.tls is None
