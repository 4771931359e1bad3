"""Imports aiohttp and prometheus_client with less memory: they only serve the admin address.

aiohttp's client and prometheus_client's exposition, which the proxy does not use, and
typing_extensions would take 3.5 MiB, and a tenth of the time until the proxy is ready.
"""

import importlib
import os
import re
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_VARIABLES: Final = {
    # aiohttp's client, if it is imported after all, loads the system's CAs: 2 MiB.
    "SSL_CERT_FILE": os.devnull,
    "SSL_CERT_DIR": os.devnull,
    # The C parts of three small packages (one of which loads the C++ library) take 1.2 MiB for
    # speed that is not needed here.
    "FROZENLIST_NO_EXTENSIONS": "1",
    "PROPCACHE_NO_EXTENSIONS": "1",
    "YARL_NO_EXTENSIONS": "1",
}
_PACKAGES: Final = ("aiohttp", "prometheus_client")
_VERSION: Final = re.compile(r"""^__version__ *=.*?["'](.+)["']""", re.MULTILINE)


class _Package(ModuleType):
    """A package that runs its own code only when a name is missing; submodules do not need it.

    `__version__` is read from its text, because submodules ask for it.
    """

    __version__: str

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return importlib.import_module(f"{self.__name__}.{name}")
        except ModuleNotFoundError:
            pass
        self.__class__ = ModuleType  # type: ignore[assignment]  # an ordinary package from now on
        spec = self.__spec__
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module(self)
        return getattr(self, name)


def _defer(name: str) -> None:
    """Let submodules of a package be imported without the package's own code."""
    if name in sys.modules:
        return
    spec = find_spec(name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return
    found = _VERSION.search(Path(spec.origin).read_text("utf-8"))
    package = _Package(name)
    package.__spec__ = spec
    package.__loader__ = spec.loader
    package.__file__ = spec.origin
    package.__package__ = name
    package.__path__ = list(spec.submodule_search_locations or ())
    package.__version__ = found[1] if found else ""
    sys.modules[name] = package


class _TypingExtensions(ModuleType):
    """The names of typing_extensions that aiohttp needs, from the standard library.

    Defaults are left out, which only type checkers read. Any other name gets the real module, which
    would take 0.5 MiB.
    """

    Unpack = typing.Unpack

    @staticmethod
    def TypeVar(name: str, *constraints: Any, default: object = None, **more: Any) -> Any:  # noqa: N802
        return typing.TypeVar(name, *constraints, **more)

    @staticmethod
    def TypeVarTuple(name: str, *, default: object = None) -> Any:  # noqa: N802
        return typing.TypeVarTuple(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import the two packages for the admin address alone while the block runs."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(_VARIABLES)
    for name in _PACKAGES:
        _defer(name)
    typing_extensions = _TypingExtensions("typing_extensions")
    sys.modules.setdefault("typing_extensions", typing_extensions)
    try:
        yield
    finally:
        if sys.modules["typing_extensions"] is typing_extensions:
            del sys.modules["typing_extensions"]
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
