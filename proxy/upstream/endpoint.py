"""One address of an upstream, with its pool."""

from proxy.upstream.address import Address
from proxy.upstream.pool import Pool


class Endpoint:
    """An address and the pool of connections to it.

    It stays the same object while look-ups return its address, so that its state (its pool, a
    breaker with its `label`) is kept.
    """

    __slots__ = ("address", "label", "pool", "where")

    def __init__(self, address: Address, pool: Pool) -> None:
        self.address = address
        self.label = address.label
        self.where = address.where
        self.pool = pool

    @property
    def scheme(self) -> str:
        return self.address.scheme

    @property
    def host(self) -> str:
        return self.address.host

    @property
    def port(self) -> int:
        return self.address.port

    @property
    def ip(self) -> str:
        return self.address.ip

    @property
    def active(self) -> int:
        """Exchanges that use or wait for one of its connections."""
        return self.pool.active

    @property
    def avoid_until(self) -> float:
        """Until then it is chosen only if no other endpoint is available."""
        return self.pool.avoid_until

    def __repr__(self) -> str:
        return f"<Endpoint {self.scheme} {self.where}>"
