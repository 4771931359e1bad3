"""Shorthand of these tests: a text in, a configuration or its problems out."""

from collections.abc import Callable
from textwrap import dedent

import pytest

from proxy.config import Config, ConfigError, Loaded, load_text

NAME = "f.yaml"


def _loaded(text: str, **environ: str) -> Loaded:
    return load_text(dedent(text), NAME, environ)


def _config(text: str, **environ: str) -> Config:
    return _loaded(text, **environ).config


def _errors(text: str, **environ: str) -> list[str]:
    try:
        _loaded(text, **environ)
    except ConfigError as error:
        return [str(problem).removeprefix(f"{NAME}:") for problem in error.problems]
    return []


def _warnings(text: str) -> list[str]:
    return [str(problem).removeprefix(f"{NAME}:") for problem in _loaded(text).warnings]


@pytest.fixture
def loaded() -> Callable[..., Loaded]:
    return _loaded


@pytest.fixture
def config() -> Callable[..., Config]:
    """The configuration of a text; keywords are the environment."""
    return _config


@pytest.fixture
def errors() -> Callable[..., list[str]]:
    """Every problem as it is shown, without the file's name; none for a valid text."""
    return _errors


@pytest.fixture
def warned() -> Callable[[str], list[str]]:
    """The warnings of a valid text."""
    return _warnings
