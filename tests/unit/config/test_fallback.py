"""Fallback: which answer, when, and how an inherited one is changed or removed."""

import pytest


def fallback(text: str) -> str:
    return f"routes: [{{name: a, fallback: {text}}}]"


@pytest.mark.parametrize(
    ("text", "status", "headers", "body"),
    [
        ("{json: {a: 1, b: [x, null]}}", 200, {"content-type": "application/json"},
         b'{"a":1,"b":["x",null]}'),
        ("{json: null}", 200, {"content-type": "application/json"}, b"null"),
        ("{json: [no, 007, 1.5, -3, true, '1', 1e2, .inf, 0x10, ü]}", 200,
         {"content-type": "application/json"},
         '["no","007",1.5,-3,true,"1",100.0,".inf","0x10","ü"]'.encode()),
        ("{status: 503, body: sorry}", 503, {"content-type": "text/plain; charset=utf-8"},
         b"sorry"),
        ("{body: '<p>', headers: {Content-Type: text/html}}", 200, {"Content-Type": "text/html"},
         b"<p>"),
        ("{status: 204}", 204, {}, b""),
        ("{body: 5}", 200, {"content-type": "text/plain; charset=utf-8"}, b"5"),
    ],
)  # fmt: skip
def test_responses(text, status, headers, body, config):
    made = config(fallback(f"{{when: [timeout], response: {text}}}")).routes[0].policies.fallback
    assert made.response.status == status
    assert dict(made.response.headers) == headers
    assert made.response.body == body


def test_when_names_reasons_groups_and_statuses(config):
    made = config(fallback("{when: [circuit-open, timeout, 503], upstream: app}")).routes[0]
    found = made.policies.fallback
    assert found.terms == ("circuit-open", "timeout", "503")
    assert {"circuit-open", "attempt-timeout", "request-timeout"} <= found.reasons
    assert set(found.outcomes.statuses) == {503}
    assert found.upstream == "app"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{response: {status: 200}}", "fallback: 'when' is missing"),
        ("{when: [timeout]}", "fallback: needs a 'response' or an 'upstream'"),
        ("{when: [timeout], response: {}, upstream: app}", "give either 'response' or 'upstream'"),
        ("{when: [timeout], grpc: {status: ok}, upstream: app}", "either 'grpc' or 'upstream'"),
        (
            "{when: [timeout], grpc: {status: ok}, response: {grpc: {status: ok}}}",
            "'response' has it already",
        ),
        ("{when: [], response: {}}", "must name at least one of reasons"),
        ("{when: timeout, response: {}}", "must be a list of reasons and statuses: [timeout]"),
        ("{when: [circuit_open], response: {}}", "did you mean 'circuit-open'?"),
        (
            "{when: [draining], response: {}}",
            "is neither a status nor a reason that a fallback can",
        ),
        ("{when: [timeout], upstream: apq}", "there is no upstream 'apq'; did you mean 'app'?"),
        ("{when: [timeout], response: {status: 199}}", "must be at least 200, not 199"),
        (
            "{when: [timeout], response: {json: {a: [1e400]}}}",
            "response.json.a[0]: 1e400 is beyond the numbers of JSON; in quotes it is a text",
        ),
        (
            "{when: [timeout], response: {headers: {x-a: 1, X-A: 2}}}",
            "response.headers.X-A: 'X-A' is already here in another spelling",
        ),
        ("{when: [timeout], response: {json: {}, body: x}}", "give either 'json' or 'body'"),
        ("{when: [timeout], response: {json: null, body: x}}", "give either 'json' or 'body'"),
        (
            "{when: [timeout], response: {status: 204, body: x}}",
            "with status 204 cannot have a body",
        ),
        ("{when: [timeout], response: {headers: {a b: c}}}", "'a b' is not a header name"),
        ("{when: [timeout], response: {headers: {content-length: 1}}}", "cannot be changed"),
        ('{when: [timeout], response: {headers: {x: "a\\nb"}}}', "not usable as a header value"),
        ("5", "must be a mapping with keys such as 'when'"),
    ],
)
def test_bad_ones(text, message, errors):
    found = errors(fallback(text))
    assert len(found) == 1
    assert message in found[0]


INHERITED = """
    upstreams: {{spare: {{endpoints: [http://s]}}}}
    policies:
      default:
        fallback: {{when: [timeout], response: {{status: 202, body: later}}}}
    routes: [{{name: a, fallback: {own}}}]
"""


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        ("{when: [timeout], grpc: {status: unavailable}}", 503, b""),
        ("{when: [timeout], grpc: {status: UNAVAILABLE}, response: {body: x}}", 200, b"x"),
    ],
)
def test_grpc_is_short_for_that_of_the_response(text, status, body, config):
    made = config(fallback(text)).routes[0].policies.fallback.response
    assert (made.status, made.body, made.grpc) == (status, body, 14)


def test_an_inherited_one_is_removed_by_the_word_none(config):
    assert config(INHERITED.format(own="none")).routes[0].policies.fallback is None
    assert config(INHERITED.format(own="")).routes[0].policies.fallback.response.status == 202


def test_an_upstream_takes_the_place_of_an_inherited_response(config):
    found = config(INHERITED.format(own="{upstream: spare}")).routes[0].policies.fallback
    assert (found.terms, found.response, found.upstream) == (("timeout",), None, "spare")


def test_a_response_replaces_an_inherited_one_as_a_whole(config):
    found = config(INHERITED.format(own="{response: {json: {}}}")).routes[0].policies.fallback
    assert (found.response.status, found.response.body) == (200, b"{}")


def test_when_alone_keeps_the_inherited_answer(config):
    found = config(INHERITED.format(own="{when: [503]}")).routes[0].policies.fallback
    assert (set(found.outcomes.statuses), found.reasons, found.response.status) == (
        {503},
        frozenset(),
        202,
    )
