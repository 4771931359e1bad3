"""What all tests share: `chaos` and `integration` can be imported from any of them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import proxy.exchange.exchange

# A machine with much else to do is slow to make up examples, and to try them: that says nothing.
settings.register_profile("default", suppress_health_check=[HealthCheck.too_slow], deadline=None)
# ``HYPOTHESIS_PROFILE=thorough``: many more examples, where a test does not give their number.
settings.register_profile("thorough", max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

COMPILED = not (proxy.exchange.exchange.__file__ or "").endswith(".py")

# Commands that tests start are those of the package that the tests import: not of the directory.
os.environ["PYTHONSAFEPATH"] = "1"

sys.path.append(str(Path(__file__).parent))

import postgres  # noqa: E402 - found by the line before

# The run ends with this process; with several workers it is the one that starts them.
os.environ.setdefault(postgres.RUN, str(os.getpid()))


@pytest.fixture(scope="session", autouse=True)
def bytecode_of_commands(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where Python is told to write no bytecode, the commands that tests start write it to a
    directory of this run: else each would compile all modules, which takes as long as starting.
    """
    if sys.dont_write_bytecode:
        base = tmp_path_factory.getbasetemp()
        shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
        os.environ["PYTHONPYCACHEPREFIX"] = str(shared / "bytecode")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases",
        action="append",
        default=[],
        metavar="FILE",
        help="run tests/oracle with this case file instead of tests/oracle/cases; repeatable",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes the place of a method is for the interpreted modules: compiled ones allow none."""
    skipped = pytest.mark.skip(reason="for the interpreted modules; these are compiled")
    for item in items:
        if COMPILED and item.get_closest_marker("interpreted"):
            item.add_marker(skipped)


def _need_postgres() -> None:
    if postgres.binaries() is None:
        assert postgres.NEEDED not in os.environ, postgres.MISSING
        pytest.skip(postgres.MISSING)


@pytest.fixture(scope="session")
def shared_postgres() -> postgres.Shared:
    """The server of this run. It is never stopped or changed: other tests use it."""
    _need_postgres()
    return postgres.shared_server()


@pytest.fixture
def postgres_url(shared_postgres: postgres.Shared) -> Iterator[str]:
    """An empty database on the shared server."""
    server = shared_postgres.server
    name = server.new_database()
    yield server.url(name)
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def pooled_url(postgres_url: str) -> Iterator[str]:
    """The database of `postgres_url` through PgBouncer, which lends server processes."""
    if not postgres.has_pooler():
        assert postgres.NEEDED not in os.environ, postgres.POOLER_MISSING
        pytest.skip(postgres.POOLER_MISSING)
    with postgres.pooled(postgres_url) as url:
        yield url


@pytest.fixture
def own_postgres(shared_postgres: postgres.Shared) -> Iterator[postgres.Server]:
    """A server of this test's own, running; to stop, restart, freeze or kill."""
    with postgres.new_server(shared_postgres.template) as server:
        yield server
