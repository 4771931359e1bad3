"""The configuration of the store, as typed, immutable values: what promises are kept in."""

from dataclasses import dataclass
from enum import Enum

from proxy.config.postgres_url import without_password


class StoreEngine(Enum):
    SQLITE = "sqlite"
    MEMORY = "memory"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """`text` as written, which may have a password; `shown` has none."""

    engine: StoreEngine
    text: str

    @property
    def shown(self) -> str:
        return without_password(self.text) if self.engine is StoreEngine.POSTGRESQL else self.text

    @property
    def path(self) -> str:
        """The file of a store with one."""
        return self.text.partition(":")[2]


class StoreSync(Enum):
    """FULL: a promise is on the disk before it is given."""

    FULL = "full"
    NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """`persistent`: the file's directory outlives the pod.

    `schema`, `connections` and `timeout` (of a statement) are PostgreSQL's.
    """

    url: StoreUrl
    sync: StoreSync = StoreSync.FULL
    persistent: bool = False
    max_bytes: int = 1 << 30
    record_bytes: int = 1 << 20
    schema: str = "resilience_proxy"
    connections: int = 2
    timeout: float = 2.0

    @property
    def dies_with_pod(self) -> bool:
        if self.shared:
            return False
        return self.url.engine is StoreEngine.MEMORY or not self.persistent

    @property
    def shared(self) -> bool:
        """Whether replicas use it together."""
        return self.url.engine is StoreEngine.POSTGRESQL
