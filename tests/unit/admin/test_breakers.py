"""`breaker NAME ORDER`, asked of an admin address that answers as the proxy does."""

import pytest

from proxy.admin import breakers
from proxy.admin.asking import NoAnswer


@pytest.fixture
def asked(monkeypatch):
    """The orders given so far; the proxy has two breakers."""
    orders = []

    def ask(url, path, timeout, *, method="GET"):
        if path == "/circuit-breakers":
            return {"circuit_breakers": [{"name": "stock"}, {"name": "a:b/c"}]}
        orders.append((method, path))
        return {"state": "forced_open", "mode": "observe" if "stock" in path else "enforce"}

    monkeypatch.setattr(breakers, "ask", ask)
    return orders


def test_one(asked, capsys):
    assert breakers.order("http://h:1", "stock", "force-open") == 0
    assert asked == [("POST", "/circuit-breakers/stock/force-open")]
    assert capsys.readouterr().out == "stock: forced open (mode observe)\n"


def test_all(asked, capsys):
    assert breakers.order("http://h:1", "all", "reset") == 0
    assert [path for _, path in asked] == [
        "/circuit-breakers/stock/reset",
        "/circuit-breakers/a%3Ab%2Fc/reset",
    ]
    assert capsys.readouterr().out.splitlines()[1] == "a:b/c: forced open"


def test_one_that_is_not_there(asked, capsys):
    assert breakers.order("http://h:1", "stok", "reset") == 1
    assert breakers.order("http://h:1", "zzz", "reset") == 1
    assert asked == []
    assert capsys.readouterr().err.splitlines() == [
        "breaker: there is no breaker 'stok'; did you mean 'stock'?",
        "breaker: there is no breaker 'zzz'; there are a:b/c, stock, and 'all'",
    ]


@pytest.mark.parametrize("name", ["all", "stock"])
def test_none_yet(name, monkeypatch, capsys):
    monkeypatch.setattr(breakers, "ask", lambda *_: {"circuit_breakers": []})
    assert breakers.order("http://h:1", name, "reset") == 1
    assert "created with the first request of its route" in capsys.readouterr().err


def test_no_proxy(monkeypatch, capsys):
    def nobody(*given):
        raise NoAnswer("no proxy answers at http://h:1: Connection refused")

    monkeypatch.setattr(breakers, "ask", nobody)
    assert breakers.order("http://h:1", "all", "reset") == 1
    monkeypatch.setattr(breakers, "ask", lambda *_: {"other": 1})
    assert breakers.order("http://h:1", "all", "reset") == 1
    assert capsys.readouterr().err.splitlines() == [
        "breaker: no proxy answers at http://h:1: Connection refused",
        "breaker: http://h:1 answers, but is not a resilience proxy",
    ]
