"""The servers of `tests/postgres.py`: a database for each test, and a server that can die."""

import asyncpg
import pytest
from postgres import Server


async def answer(url: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT current_database()")
    finally:
        await connection.close()


async def test_each_test_has_its_own_database(postgres_url: str) -> None:
    assert await answer(postgres_url) == postgres_url.rpartition("/")[2]


async def test_a_server_that_was_killed_starts_again_with_its_rows(own_postgres: Server) -> None:
    own_postgres.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
    own_postgres.kill()
    with pytest.raises(OSError, match="Connect call failed"):
        await answer(own_postgres.url())
    own_postgres.start()
    assert own_postgres.sql("SELECT n FROM kept") == "1"
    own_postgres.restart()
    assert await answer(own_postgres.url()) == "postgres"
