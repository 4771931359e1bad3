"""The proxy's own addresses: a request for one of them would come back to it.

Addresses are checked, not names: the proxy never looks a name up only to compare it. A literal in
any notation and localhost are recognised before a look-up; any other name is checked when the
connection is made, by its address.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from proxy.http.authority import literal_address

_ANY = frozenset({"0.0.0.0", "::"})
_LOOPBACK = "127.0.0.1"


class OwnAddresses:
    """The addresses of the listeners, after they were bound.

    `is_local`: whether a non-loopback address belongs to this machine. It is called only for ports
    of the proxy.
    """

    def __init__(self, is_local: Callable[[str], bool]) -> None:
        self._is_local = is_local
        self._bound: dict[int, set[str]] = {}

    def add(self, host: str, port: int) -> None:
        """Add a listener's address; 0.0.0.0 and :: mean every address of this machine."""
        host = _LOOPBACK if _is_localhost(host) else host
        self._bound.setdefault(port, set()).add(host)

    def named(self, host: str, port: int) -> bool:
        """Whether `host`, as a caller writes it (lower case, without brackets), is an own address.

        False for a name other than localhost: only its addresses can decide.
        """
        bound = self._bound.get(port)
        if bound is None:
            return False
        if host in bound:
            return True
        address = _LOOPBACK if _is_localhost(host) else literal_address(host)
        return address is not None and self.covers(address, port)

    def covers(self, address: str, port: int) -> bool:
        """Whether a connection to this IP address and port would reach the proxy."""
        bound = self._bound.get(port)
        if bound is None:
            return False
        ip = _unmapped(address)
        # The kernel connects 0.0.0.0 and :: to the loopback address.
        if ip.is_loopback or ip.is_unspecified:
            return any(_takes_loopback(host) for host in bound)
        text = str(ip)
        return text in bound or (not bound.isdisjoint(_ANY) and self._is_local(text))


def _is_localhost(host: str) -> bool:
    """RFC 6761 section 6.3: localhost and every name below it are loopback."""
    return host == "localhost" or host.endswith(".localhost")


def _takes_loopback(bound: str) -> bool:
    """Whether a listener bound there can be reached at loopback. A file may name its host."""
    address = literal_address(bound)
    return bound in _ANY or (address is not None and ip_address(address).is_loopback)


def _unmapped(address: str) -> IPv4Address | IPv6Address:
    """The address; an IPv4-mapped one (RFC 4291 section 2.5.5.2) is the IPv4 address in it."""
    ip = ip_address(address)
    return (ip.version == 6 and ip.ipv4_mapped) or ip
