"""What all tests share: `chaos` and `integration` can be imported from any of them."""

import os
import sys
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
