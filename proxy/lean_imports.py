"""Imports aiohttp, prometheus_client and uvloop without what the proxy does not use of them.

aiohttp and prometheus_client only serve the admin address. aiohttp's client, prometheus_client's
exposition and typing_extensions would take 3.5 MiB, and a tenth of the time until the proxy is
ready. What aiohttp imports for a few functions that it seldom or never calls here would take
2.7 MiB. uvloop gets no dictionary of its transports (`wire/untracked.py`): it costs each connection
time.
"""

import importlib
import os
import re
import sys
import typing
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from proxy.wire.untracked import Untracked

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
_LATER: Final = {
    "aiohttp.web_fileresponse": ("FileResponse",),
    "email.policy": ("HTTP",),
    "html": ("escape",),
    "idna": (),
    "tempfile": ("SpooledTemporaryFile",),
    "unicodedata": (),
    "urllib.request": ("getproxies", "proxy_bypass"),
    "uuid": (),
}
"""Modules that are imported with the first use, and what aiohttp and yarl import from them."""
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


class _StandIn(ModuleType):
    """Stands for a module while aiohttp is imported. A name that it lacks loads the module."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._module(), name)

    def _module(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return importlib.import_module(self.__name__)


class _Later:
    """A function or an object of a module that is imported with its first use."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._found()(*args, **kwargs)

    def _found(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)


class _TypingExtensions(_StandIn):
    """The names of typing_extensions that aiohttp needs, from the standard library.

    Defaults are left out, which only type checkers read. The real module would take 0.5 MiB.
    """

    Unpack = typing.Unpack

    @staticmethod
    def TypeVar(name: str, *constraints: Any, default: object = None, **more: Any) -> Any:  # noqa: N802 - a name of typing
        return typing.TypeVar(name, *constraints, **more)

    @staticmethod
    def TypeVarTuple(name: str, *, default: object = None) -> Any:  # noqa: N802 - a name of typing
        return typing.TypeVarTuple(name)


class _Attr(_StandIn):
    """The decorator of attr as aiohttp's web server uses it. attr takes 0.8 MiB."""

    def s(self, cls: type | None = None, **options: Any) -> Any:
        repr_too = options.pop("repr", True)
        if cls is None and options == {"auto_attribs": True, "frozen": True, "slots": True}:
            return dataclass(frozen=True, slots=True, repr=repr_too)
        return self._module().s(cls, repr=repr_too, **options)


def _stand_ins() -> list[_StandIn]:
    made: list[_StandIn] = [_TypingExtensions("typing_extensions"), _Attr("attr")]
    for module, names in _LATER.items():
        stand_in = _StandIn(module)
        for name in names:
            setattr(stand_in, name, _Later(module, name))
        made.append(stand_in)
    return made


def _import_uvloop() -> None:
    """Import uvloop without its weak dictionary of transports."""
    import asyncio  # noqa: F401 - else it would be imported with uvloop

    tracked = weakref.WeakValueDictionary
    weakref.WeakValueDictionary = Untracked  # type: ignore[assignment, misc]
    try:
        import uvloop  # noqa: F401
    finally:
        weakref.WeakValueDictionary = tracked  # type: ignore[misc]


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import the two packages for the admin address alone while the block runs."""
    _import_uvloop()
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(_VARIABLES)
    for name in _PACKAGES:
        _defer(name)
    stand_ins = _stand_ins()
    for stand_in in stand_ins:
        sys.modules.setdefault(stand_in.__name__, stand_in)
    try:
        yield
    finally:
        for stand_in in stand_ins:
            if sys.modules.get(stand_in.__name__) is stand_in:
                del sys.modules[stand_in.__name__]
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
