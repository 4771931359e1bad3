"""`tap`: what it prints of a stream, and how it ends."""

import json
from contextlib import contextmanager
from urllib.error import HTTPError

import pytest

from proxy.admin import tap
from proxy.admin.asking import NoAnswer

RECORD = {
    "time": "2026-11-29T18:09:07.970Z",
    "listener": "outbound",
    "method": "GET",
    "host": "inventory",
    "path": "/api/7",
    "route": "stock",
    "status": 200,
    "reason": "",
    "duration_ms": 2.125,
    "attempts": [{}],
}


def event(name, data):
    return [f"event: {name}\n".encode(), f"data: {json.dumps(data)}\n".encode(), b"\n"]


@pytest.fixture
def streamed(monkeypatch):
    """What the proxy streams, and the path that it was asked for."""
    asked = []

    def give(lines):
        @contextmanager
        def stream(url, path, timeout):
            asked.append(path)
            yield iter(lines)

        monkeypatch.setattr(tap, "stream", stream)
        return asked

    return give


def test_lines(streamed, capsys):
    more = {
        "status": 503,
        "reason": "circuit-open",
        "attempts": [{}, {}],
        "fallback": True,
        "listener": "inbound",
        "route": "",
        "path": "/\x1b[2J",
    }
    call = {"method": "POST", "path": "/shop.v1.Stock/Deduct", "grpc_status": "UNAVAILABLE"}
    entry, step = {"outbox_id": "rows/\x1b7"}, {"saga": "8e4d"}
    traffic = {"attempts": [{}, {}], "hedged": 1, "fault": "delay", "observed": ["retry.reset"]}
    more_records = [RECORD | one for one in (more, call, entry, step, traffic)]
    records = [RECORD, *more_records]
    asked = streamed([b": hello\n", *(line for one in records for line in event("request", one))])
    assert tap.tap("http://h:1", {"route": "stock", "status": ""}, 6, as_json=False) == 0
    assert asked == ["/events?requests=1&route=stock"]
    assert capsys.readouterr().out.splitlines() == [
        "18:09:07.970  200  GET      inventory/api/7  stock  2.1ms",
        "18:09:07.970  503  GET      inventory/\\x1b[2J  no route  2.1ms  attempts=2  fallback  "
        "circuit-open  (inbound)",
        "18:09:07.970  200  POST     inventory/shop.v1.Stock/Deduct  stock  2.1ms  UNAVAILABLE",
        "18:09:07.970  200  GET      inventory/api/7  stock  2.1ms  outbox rows/\\x1b7",
        "18:09:07.970  200  GET      inventory/api/7  stock  2.1ms  saga 8e4d",
        "18:09:07.970  200  GET      inventory/api/7  stock  2.1ms  attempts=2  hedged  "
        "fault=delay  observed=retry.reset",
    ]


def test_lost_lines_and_the_end_are_told_on_stderr(streamed, capsys):
    streamed([*event("lost", {"lines": 7}), *event("request", RECORD)])
    assert tap.tap("http://h:1", {}, None, as_json=True) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == RECORD
    assert shown.err.splitlines() == [
        "tap: 7 lines lost: this reader is too slow",
        "tap: the proxy has ended",
    ]


def test_ctrl_c_is_its_ordinary_end(streamed):
    def lines():
        yield from event("request", RECORD)
        raise KeyboardInterrupt

    streamed(lines())
    assert tap.tap("http://h:1", {}, None, as_json=False) == 0


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NoAnswer("no proxy answers at http://h:1: refused"), "no proxy answers at http://h:1"),
        (HTTPError("http://h:1", 400, "", {}, None), "http://h:1 refuses: status 400"),
    ],
)
def test_a_refusal(error, told, monkeypatch, capsys):
    def stream(*given):
        raise error

    monkeypatch.setattr(tap, "stream", stream)
    assert tap.tap("http://h:1", {}, None, as_json=False) == 1
    assert told in capsys.readouterr().err


def test_what_is_no_proxy(streamed, capsys):
    streamed(event("request", {"other": 1}))
    assert tap.tap("http://h:1", {}, None, as_json=False) == 1
    assert "is not a resilience proxy" in capsys.readouterr().err
