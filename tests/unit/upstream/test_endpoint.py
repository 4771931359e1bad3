import pytest

from proxy.upstream.address import Address


@pytest.mark.parametrize(
    ("host", "ip", "label", "where"),
    [
        ("inventory", "10.0.0.1", "10.0.0.1:80", "10.0.0.1:80 (inventory)"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1:80", "10.0.0.1:80"),
        ("::1", "::1", "[::1]:80", "[::1]:80"),
        ("localhost", "::1", "[::1]:80", "[::1]:80 (localhost)"),
    ],
)
def test_names(host, ip, label, where):
    address = Address("http", host, 80, ip)
    assert (address.label, address.where) == (label, where)
