"""Makes the store that a configuration names. Only the engine of the configuration is imported."""

from proxy.config.store_model import StoreConfig, StoreEngine, StoreSync
from proxy.store.store import Store


def make_store(config: StoreConfig) -> Store:
    """The store, not yet open. Raises CannotOpen if what it needs is not installed."""
    if config.url.engine is StoreEngine.POSTGRESQL:
        return _postgres(config)
    from proxy.store.sqlite.connection import MEMORY, SqliteConfig
    from proxy.store.sqlite.engine import SqliteStore

    path = MEMORY if config.url.engine is StoreEngine.MEMORY else config.url.path
    full_sync = config.sync is StoreSync.FULL
    return SqliteStore(
        SqliteConfig(path, full_sync, config.max_bytes), dies_with_pod=config.dies_with_pod
    )


def _postgres(config: StoreConfig) -> Store:
    from proxy.store.postgres.connection import PostgresConfig
    from proxy.store.postgres.engine import PostgresStore

    url = config.url
    return PostgresStore(
        PostgresConfig(url.text, url.shown, config.schema, config.connections, config.timeout)
    )
