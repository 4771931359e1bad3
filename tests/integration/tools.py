"""Programs that some tests use and not every machine has."""

import shutil

import pytest


def curl() -> str:
    """Where curl is; without it the test that asks is skipped."""
    path = shutil.which("curl")
    if path is None:
        pytest.skip("curl is not installed")
    return path


def program(name: str) -> str:
    """Where a program is; without it the test that asks is skipped."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path
