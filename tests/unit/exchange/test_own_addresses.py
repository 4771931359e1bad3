"""Which authorities lead back to the proxy."""

import pytest

from proxy.exchange import own_addresses
from proxy.exchange.own_addresses import OwnAddresses


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(own_addresses, "_machine_addresses", lambda: {"box", "10.1.1.1"})


@pytest.fixture
def own():
    own = OwnAddresses()
    own.add("127.0.0.1", 7070)
    own.add("0.0.0.0", 7071)
    own.add("10.1.1.1", 7072)
    return own


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", 7070),
        ("localhost", 7070),
        ("x.localhost", 7070),
        ("127.0.0.2", 7070),
        ("::1", 7070),
        ("0.0.0.0", 7070),
        ("localhost", 7071),
        ("box", 7071),
        ("10.1.1.1", 7071),
        ("10.1.1.1", 7072),
    ],
)
def test_covered(own, host, port):
    assert own.covers(host, port)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", 80),
        ("shop", 7070),
        ("shop", 7071),
        ("box", 7070),
        ("10.1.1.1", 7070),
        ("localhost", 7072),
        ("10.1.1.2", 7072),
    ],
)
def test_not_covered(own, host, port):
    assert not own.covers(host, port)
