"""Which addresses are the machine's own: loopback and documentation addresses are certain."""

import pytest

from proxy.upstream import local_address
from proxy.upstream.local_address import is_local_address


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9"])
def test_its_own(address):
    assert is_local_address(address)


@pytest.mark.parametrize("address", ["192.0.2.7", "198.51.100.1", "2001:db8::7"])
def test_not_its_own(address):
    assert not is_local_address(address)


def test_a_machine_that_may_bind_any_address(monkeypatch):
    monkeypatch.setattr(local_address, "_binds", lambda family, address: True)
    assert is_local_address("127.0.0.1")
    assert not is_local_address("192.0.2.7")
