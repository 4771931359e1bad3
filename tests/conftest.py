"""What all tests share: `chaos` and `integration` can be imported from any of them."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases",
        action="append",
        default=[],
        metavar="FILE",
        help="run tests/oracle with this case file instead of tests/oracle/cases; repeatable",
    )
