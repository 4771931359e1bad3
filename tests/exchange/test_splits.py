"""A route with several upstreams by weight: one for the whole request, each with its own gates."""

import pytest
from exchange.wires import request

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.config.summary import summary
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER
from proxy.routing.explain import describe_request, explain

TEXT = """
service: stage
upstreams:
  v1: {endpoints: ["http://10.0.0.1:80", "http://10.0.0.11:80"]}
  v2: {endpoints: ["http://10.0.0.2:80", "http://10.0.0.22:80"]}
policies:
  default:
    retry: {backoff: {initial: 100ms, jitter: none}}
    circuit_breaker: {minimum_calls: 2, window: {size: 2}}
routes:
  - {name: shop, upstream: {v1: 75, v2: 25}}
"""
STICKY = TEXT.replace("v2: 25}", "v2: 25}, split_by: {header: user-id}")
V1 = ("10.0.0.1", "10.0.0.11")
V2 = ("10.0.0.2", "10.0.0.22")


@pytest.fixture
def stage(make_stage):
    return make_stage(TEXT)


def fetch(stage, *fields):
    """The endpoint's address that a request goes to."""
    client = stage.ask(request("GET /x HTTP/1.1", *fields))
    server = stage.accept()
    server.answer()
    assert client.answer().status == 200
    server.close()
    return server.endpoint.ip


def test_chance_decides_by_the_weights(stage):
    for chance, expected in ((0.0, V1), (0.7499, V1), (0.75, V2), (0.9999, V2)):
        stage.chance = chance
        assert fetch(stage) in expected
    assert [one.upstream for one in stage.records] == ["v1", "v1", "v2", "v2"]
    assert stage.stats().attempts == {("v1", "2xx"): 2, ("v2", "2xx"): 2}


def test_retries_stay_with_their_upstream(stage):
    stage.chance = 0.9
    client = stage.ask(request())
    first = stage.accept()
    first.answer(503)
    stage.chance = 0.0
    stage.pass_time(0.2)
    second = stage.accept()
    second.answer()
    assert client.answer().status == 200
    assert {first.endpoint.ip, second.endpoint.ip} == set(V2)


def test_each_upstream_has_its_own_breaker(stage):
    stage.chance = 0.9
    for _ in range(2):
        client = stage.ask(request("POST /x HTTP/1.1", body=b"a"))
        stage.accept().answer(500, b"", "Connection: close")
        assert client.answer().status == 500
    assert stage.ask(request()).answer().reason == "circuit-open"
    stage.chance = 0.1
    assert fetch(stage) in V1
    assert stage.snapshot("shop:v2").state.value == "open"
    assert stage.snapshot("shop:v1").state.value == "closed"


def test_equal_values_go_to_the_same_upstream(make_stage):
    stage = make_stage(STICKY)
    found = {}
    for number in range(40):
        field = f"User-Id: u{number % 20}"
        stage.chance = number / 40
        place = "v1" if fetch(stage, field) in V1 else "v2"
        assert found.setdefault(field, place) == place
    assert set(found.values()) == {"v1", "v2"}


def test_without_the_value_chance_decides(make_stage):
    stage = make_stage(STICKY)
    stage.chance = 0.99
    assert fetch(stage) in V2
    stage.chance = 0.0
    assert fetch(stage, "User-Id:") in V1


def test_over_a_reload_breakers_stay_and_weights_change(stage):
    stage.chance = 0.9
    for _ in range(2):
        client = stage.ask(request("POST /x HTTP/1.1", body=b"a"))
        stage.accept().answer(500, b"", "Connection: close")
        client.answer()
    stage.reload(TEXT.replace("v1: 75, v2: 25", "v1: 5, v2: 95"))
    assert stage.snapshot("shop:v2").state.value == "open"
    stage.chance = 0.04
    assert fetch(stage) in V1
    stage.reload(TEXT.replace("{v1: 75, v2: 25}", "v1"))
    assert fetch(stage) in V1
    assert list(stage.bindings.gates.of(CIRCUIT_BREAKER)) == ["shop"]


def test_plain_http_after_a_connect_is_split_too(stage):
    stage.chance = 0.9
    client = stage.ask(b"CONNECT shop:8080 HTTP/1.1\r\nHost: shop:8080\r\n\r\n")
    assert client.answer().status == 200
    client.send(b"GET /x HTTP/1.1\r\nHost: shop:8080\r\n\r\n")
    server = stage.accept()
    server.answer()
    assert server.endpoint.ip in V2


def test_inbound(make_stage):
    stage = make_stage(TEXT.replace("name: shop,", "name: shop, listener: inbound,"))
    stage.chance = 0.9
    client = stage.ask(request(), listener=Listener.INBOUND)
    server = stage.accept()
    server.answer()
    assert client.answer().status == 200
    assert server.endpoint.ip in V2


# --- what commands say --------------------------------------------------------------------------


def explained(text, *headers):
    loaded = load_text(text, "f.yaml", {})
    return explain(loaded, Listener.OUTBOUND, describe_request("GET", "http://a/x", headers))


def test_check_and_explain_say_so():
    assert "-> 75% v1, 25% v2" in summary(load_text(TEXT, "f.yaml", {}))
    assert "25% v2, by header user-id" in summary(load_text(STICKY, "f.yaml", {}))
    told = explained(TEXT)
    assert "goes to one of these by chance\n  75% v1: http://10.0.0.1:80," in told.text()
    assert told.document()["destination"] == {
        "upstream": None,
        "split": {"v1": 0.75, "v2": 0.25},
    }
    assert "by chance, because it has no header user-id" in explained(STICKY).text()
    named = explained(STICKY, "user-id: u7")
    assert "as its header user-id decides" in named.text()
    assert named.document()["destination"]["upstream"] in ("v1", "v2")


def test_explain_and_the_proxy_agree(make_stage):
    stage = make_stage(STICKY)
    for number in range(10):
        place = "v1" if fetch(stage, f"User-Id: {number}") in V1 else "v2"
        told = explained(STICKY, f"user-id: {number}")
        assert told.document()["destination"]["upstream"] == place
