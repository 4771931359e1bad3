"""What goes wrong in the proxy itself: one request's bug is one request's, and all is settled."""

import logging

import pytest
from exchange.wires import request, response

from proxy.exchange.attempt import Attempt
from proxy.exchange.exchange import Exchange
from proxy.exchange.relay import Relay

PROBED = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies:
  default:
    retry: {attempts: 1}
    circuit_breaker:
      {minimum_calls: 1, window: {size: 1}, open_for: {initial: 1s}, half_open: {calls: 1}}
routes: [{name: shop, upstream: shop}]
"""

HEDGED = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]}}
policies: {default: {hedge: {delay: 100ms}}}
routes: [{name: shop, upstream: shop}]
"""


def broken(*_args, **_keywords):
    raise RuntimeError("a bug")


@pytest.fixture
def tracebacks(caplog):
    """Tracebacks that were logged."""
    caplog.set_level(logging.ERROR)
    return lambda: [record.exc_info[0] for record in caplog.records if record.exc_info]


@pytest.mark.interpreted
@pytest.mark.parametrize(
    ("where", "name"), [(Attempt, "_own_fields"), (Attempt, "_choose"), (Exchange, "_enter")]
)
def test_a_bug_is_answered_with_500(make_stage, monkeypatch, tracebacks, where, name):
    stage = make_stage()
    monkeypatch.setattr(where, name, broken)
    client = stage.ask(request())
    if stage.connects:
        stage.accept()
    answer = client.answer()
    assert (answer.status, answer.reason) == (500, "internal")
    assert RuntimeError in tracebacks()
    assert {record.reason for record in stage.records} == {"internal"}
    assert stage.stats().answers == {(500, "internal"): 1}
    stage.assert_at_rest()


@pytest.mark.interpreted
def test_a_bug_in_a_probe_gives_the_probes_permit_back(make_stage, monkeypatch):
    stage = make_stage(PROBED)
    client = stage.ask(request())
    stage.accept().answer(500)
    client.received()
    stage.pass_time(1.01)
    with monkeypatch.context() as patch:
        patch.setattr(Attempt, "_own_fields", broken)
        client.send(request())
        assert client.answer().reason == "internal"
    client.send(request())
    stage.accept().answer()
    assert client.answer().status == 200
    assert stage.snapshot().state.value == "closed"


@pytest.mark.interpreted
def test_a_bug_in_a_hedge_ends_the_request_at_once(make_stage, monkeypatch, tracebacks):
    stage = make_stage(HEDGED)
    client = stage.ask(request())
    first = stage.accept()
    monkeypatch.setattr(Attempt, "_own_fields", broken)
    stage.pass_time(0.11)
    stage.accept()
    assert client.answer().reason == "internal"
    assert first.closed
    assert RuntimeError in tracebacks()
    stage.assert_at_rest()


@pytest.mark.interpreted
def test_a_bug_behind_the_commit_never_looks_whole(make_stage, monkeypatch, tracebacks):
    stage = make_stage()
    client = stage.ask(request())
    server = stage.accept()
    server.send(response(200, b"12", "Content-Length: 5"))
    monkeypatch.setattr(Relay, "_end", broken)
    server.send(b"345")
    assert client.closed
    assert server.closed
    assert tracebacks() == [RuntimeError]
    assert stage.records[0].reason == "internal"


def test_a_bug_in_an_observer_costs_no_exchange(make_stage, tracebacks):
    stage = make_stage()
    stage.gateway.observers.insert(0, broken)
    client = stage.ask(request())
    server = stage.accept()
    server.answer(200, b"one")
    assert client.answer().body == b"one"
    client.send(request())
    server.answer(200, b"two")
    assert client.answer().body == b"two"
    assert len(stage.records) == 2
    assert tracebacks() == [RuntimeError, RuntimeError]


def test_nor_what_never_became_one(make_stage, tracebacks):
    stage = make_stage()
    stage.gateway.observers.insert(0, broken)
    client = stage.ask(b"BAD\r\n\r\n")
    assert client.answer().status == 400
    stage.pass_time(2)
    assert client.gone
    assert len(stage.records) == 1
    assert tracebacks() == [RuntimeError]
