"""Routes with a fixed answer (`respond`): no upstream, but the limits of requests."""

import pytest
from exchange.wires import request

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.config.summary import summary
from proxy.routing.explain import describe_request, explain

TEXT = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
routes:
  - name: old
    match: {prefix: /old}
    respond: {status: 410, headers: {x-since: "2024"}, json: {error: gone}}
    rate_limits: [{rate: 1/m, burst: 3}]
    fallback: {when: [rate-limited], upstream: shop}
  - {name: blocked, match: {hosts: [evil.example]}, respond: {status: 403, body: "no"}}
  - {name: fine, match: {hosts: [fine.example]}, respond: {status: 200}}
  - {name: in, listener: inbound, match: {path: /robots.txt}, respond: {body: "User-agent: *"}}
"""


@pytest.fixture
def stage(make_stage):
    return make_stage(TEXT)


def test_the_answer(stage):
    client = stage.ask(request("GET /old/x HTTP/1.1"))
    answer = client.answer()
    assert (answer.status, answer.body) == (410, b'{"error":"gone"}')
    assert answer.get("x-since") == "2024"
    assert answer.get("content-type") == "application/json"
    assert answer.get("x-request-id")
    assert answer.get("proxy-status") is None, "it is no failure"
    record = stage.records[-1]
    assert (record.route, record.upstream, record.status, record.reason) == ("old", "", 410, "")
    assert record.attempts == []
    client.send(request("GET /old/y HTTP/1.1"))
    assert client.answer().status == 410, "the connection is kept"


def test_fields_of_the_answer_are_there_once_as_configured(make_stage):
    fields = "{date: never, X-Request-ID: mine, Content-Type: text/csv}"
    stage = make_stage(
        f"service: stage\nroutes: [{{name: a, respond: {{body: x, headers: {fields}}}}}]"
    )
    answer = stage.ask(request("GET /x HTTP/1.1")).answer()
    told = {name: answer.all(name) for name in ("date", "x-request-id", "content-type")}
    assert told == {"date": ["never"], "x-request-id": ["mine"], "content-type": ["text/csv"]}


def test_head_and_a_body_that_nobody_wants(stage):
    assert stage.ask(request("HEAD /old HTTP/1.1")).answer().body == b""
    client = stage.ask(request("POST /old HTTP/1.1", body=b"hello" * 100))
    assert client.answer().status == 410


def test_limits_hold_and_a_fallback_may_answer(stage):
    for _ in range(3):
        assert stage.ask(request("GET /old HTTP/1.1")).answer().status == 410
    client = stage.ask(request("GET /old HTTP/1.1"))
    stage.accept().answer(200, b"spare")
    assert client.answer().body == b"spare"


def test_a_tunnel_to_it_is_refused(stage):
    connect = "CONNECT {0}:443 HTTP/1.1\r\nHost: {0}:443\r\n\r\n"
    assert stage.ask(connect.format("evil.example").encode()).answer().status == 403
    answer = stage.ask(connect.format("fine.example").encode()).answer()
    assert (answer.status, answer.reason) == (403, "egress-denied")


def test_inbound(stage):
    answer = stage.ask(request("GET /robots.txt HTTP/1.1"), listener=Listener.INBOUND).answer()
    assert (answer.status, answer.body) == (200, b"User-agent: *")


def test_over_a_reload(stage):
    assert stage.ask(request("GET /old HTTP/1.1")).answer().status == 410
    stage.reload(TEXT.replace("410", "404"))
    assert stage.ask(request("GET /old HTTP/1.1")).answer().status == 404
    stage.reload(
        TEXT.replace(
            'respond: {status: 410, headers: {x-since: "2024"}, json: {error: gone}}',
            "upstream: shop",
        )
    )
    client = stage.ask(request("GET /old HTTP/1.1"))
    stage.accept().answer()
    assert client.answer().status == 200


def test_check_and_explain_say_so():
    loaded = load_text(TEXT, "f.yaml", {})
    assert "-> answers 410" in summary(loaded)
    told = explain(loaded, Listener.OUTBOUND, describe_request("GET", "http://a/old", []))
    assert "answers 410: the route has a fixed answer (respond)" in told.text()
    assert told.document()["destination"] == {"respond": 410}


def test_the_routes_header_rules_are_the_last_word(make_stage):
    rules = "headers: {response: {set: {x-since: later, x-team: shop}, remove: [x-request-id]}}"
    stage = make_stage(TEXT.replace("    rate_limits:", f"    {rules}\n    rate_limits:"))
    answer = stage.ask(request("GET /old/x HTTP/1.1")).answer()
    assert (answer.status, answer.body) == (410, b'{"error":"gone"}')
    assert (answer.get("x-since"), answer.get("x-team")) == ("later", "shop")
    assert answer.get("x-request-id") is None
