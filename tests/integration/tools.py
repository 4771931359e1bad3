"""Programs that some tests use and not every machine has."""

import shutil

import pytest


def curl() -> str:
    """Where curl is; without it the test that asks is skipped."""
    path = shutil.which("curl")
    if path is None:
        pytest.skip("curl is not installed")
    return path
