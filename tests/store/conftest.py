"""One suite for every engine: `store` is each of them in turn, `open_store` opens another."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from proxy.store.postgres.connection import PostgresConfig
from proxy.store.postgres.engine import PostgresStore
from proxy.store.sqlite.connection import MEMORY, SqliteConfig
from proxy.store.sqlite.engine import SqliteStore
from proxy.store.store import Store


@dataclass
class Clock:
    """Unix seconds that stand still until a test moves them."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


OpenStore: TypeAlias = Callable[..., Awaitable[SqliteStore]]


@pytest.fixture
async def open_store(tmp_path: Path, clock: Clock) -> AsyncIterator[OpenStore]:
    opened: list[SqliteStore] = []

    async def open_one(path: str = str(tmp_path / "store.db"), **settings: Any) -> SqliteStore:
        migrations = settings.pop("migrations", None)
        options = {} if migrations is None else {"migrations": migrations}
        store = SqliteStore(SqliteConfig(path, **settings), clock=clock, **options)
        opened.append(store)
        await store.open(0.0)
        return store

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
async def store(
    request: pytest.FixtureRequest, open_store: OpenStore, clock: Clock
) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield await open_store(MEMORY)
    elif request.param == "sqlite":
        yield await open_store()
    else:
        url = request.getfixturevalue("postgres_url")
        store = PostgresStore(PostgresConfig(url, url), clock=clock)
        await store.open(0.0)
        yield store
        await store.close()
