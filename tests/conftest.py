"""What all tests share: `chaos` and `integration` can be imported from any of them."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# ``HYPOTHESIS_PROFILE=thorough``: many more examples, where a test does not give their number.
settings.register_profile("thorough", max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

sys.path.append(str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases",
        action="append",
        default=[],
        metavar="FILE",
        help="run tests/oracle with this case file instead of tests/oracle/cases; repeatable",
    )
