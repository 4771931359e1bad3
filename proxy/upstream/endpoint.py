"""One address that an upstream can be reached at."""

from proxy.upstream.address import Address
from proxy.upstream.pool import Pool


class Endpoint:
    """An address and the pool of connections to it.

    The same object for as long as look-ups keep giving the address, so that what hangs on it (its
    pool, a breaker known by `label`) lives through them.
    """

    __slots__ = ("address", "label", "pool", "removed", "where")

    def __init__(self, address: Address, pool: Pool) -> None:
        self.address = address
        self.label = address.label
        self.where = address.where
        self.pool = pool
        self.removed = False

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
        """Exchanges that hold one of its connections, or wait for one."""
        return self.pool.active

    @property
    def avoid_until(self) -> float:
        """Until then it is picked only where no other endpoint will do."""
        return self.pool.avoid_until

    def __repr__(self) -> str:
        return f"<Endpoint {self.scheme} {self.where}>"
