"""The proxy's own addresses: a request for one of them would come back to it."""

import socket
from contextlib import suppress
from functools import cache
from ipaddress import ip_address

_ANY = frozenset({"0.0.0.0", "::"})


class OwnAddresses:
    """Where the listeners are bound, once they are."""

    def __init__(self) -> None:
        self._bound: dict[int, set[str]] = {}

    def add(self, host: str, port: int) -> None:
        """A listener is bound there; 0.0.0.0 and :: stand for every address of this machine."""
        self._bound.setdefault(port, set()).add(host)

    def covers(self, host: str, port: int) -> bool:
        """Whether `host` (a name or an address, lower case) and `port` lead back to the proxy."""
        hosts = self._bound.get(port)
        if hosts is None:
            return False
        if host in hosts or host in _ANY:
            return True
        if _is_loopback(host):
            return any(bound in _ANY or _is_loopback(bound) for bound in hosts)
        return not hosts.isdisjoint(_ANY) and host in _machine_addresses()


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@cache
def _machine_addresses() -> frozenset[str]:
    """This machine's names and the addresses they have; looked up once, at the first need."""
    name = socket.gethostname().lower()
    found = {name}
    with suppress(OSError):  # a machine that does not know its own name has no address by it
        found.update(str(entry[4][0]) for entry in socket.getaddrinfo(name, None))
    return frozenset(found)
