"""Which addresses and authorities lead back to the proxy."""

import pytest

from proxy.routing.own_addresses import OwnAddresses

MACHINE = {"10.1.1.1", "fd00::1"}


@pytest.fixture
def own():
    own = OwnAddresses(MACHINE.__contains__)
    own.add("127.0.0.1", 7070)
    own.add("0.0.0.0", 7071)
    own.add("10.1.1.1", 7072)
    own.add("localhost", 7073)
    return own


ADDRESSES = [
    ("127.0.0.1", 7070),
    ("127.0.0.2", 7070),
    ("::1", 7070),
    ("::ffff:127.0.0.1", 7070),
    ("0.0.0.0", 7070),
    ("::", 7070),
    ("10.1.1.1", 7071),
    ("::ffff:10.1.1.1", 7071),
    ("fd00::1", 7071),
    ("127.0.0.1", 7071),
    ("10.1.1.1", 7072),
    ("127.0.0.1", 7073),
]
OTHERS = [
    ("127.0.0.1", 80),
    ("10.1.1.1", 7070),
    ("127.0.0.1", 7072),
    ("10.1.1.2", 7071),
    ("10.1.1.2", 7072),
    ("fd00::2", 7071),
]


@pytest.mark.parametrize(("address", "port"), ADDRESSES)
def test_own_addresses(own, address, port):
    assert own.covers(address, port)
    assert own.named(address, port)


@pytest.mark.parametrize(("address", "port"), OTHERS)
def test_addresses_of_others(own, address, port):
    assert not own.covers(address, port)
    assert not own.named(address, port)


@pytest.mark.parametrize(
    "host",
    ["localhost", "x.localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0x7f000001", "0"],
)
def test_other_spellings(own, host):
    assert own.named(host, 7070)
    assert own.named(host, 7071)
    assert not own.named(host, 7072)
    assert not own.named(host, 80)


@pytest.mark.parametrize("host", ["shop", "localhost.shop", "1.shop", "127.0.0.1.5", "0x7g.1"])
def test_names_are_judged_by_their_addresses(own, host):
    assert not own.named(host, 7071)


def test_a_listener_may_be_bound_to_a_name():
    own = OwnAddresses(MACHINE.__contains__)
    own.add("proxy.test", 7070)
    assert own.named("proxy.test", 7070)
    assert not own.named("127.0.0.1", 7070)
    assert not own.covers("10.1.1.1", 7070)
