"""Makes the store that a configuration names."""

from proxy.config.model import StoreConfig, StoreEngine, StoreSync
from proxy.store.sqlite.connection import MEMORY, SqliteConfig
from proxy.store.sqlite.engine import SqliteStore
from proxy.store.store import Store


def make_store(config: StoreConfig) -> Store:
    """The store, not yet open."""
    path = MEMORY if config.url.engine is StoreEngine.MEMORY else config.url.path
    full_sync = config.sync is StoreSync.FULL
    return SqliteStore(
        SqliteConfig(path, full_sync, config.max_bytes), dies_with_pod=config.dies_with_pod
    )
