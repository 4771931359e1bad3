"""Imports point downwards, and the floors without sockets know neither time nor chance."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import proxy

ROOT = Path(proxy.__file__).parent

FLOORS = {
    "clock": 0,
    "errors": 0,
    "file_watch": 0,
    "grpc_status": 0,
    "outcome": 0,
    "templates": 0,
    "units": 0,
    "policies": 1,
    "http": 1,
    "config": 2,
    "routing": 2,
    "wire": 3,
    "store": 3,
    "upstream": 4,
    "exchange": 5,
    "delivery": 6,
    "telemetry": 6,
    "admin": 7,
    "kubernetes": 7,
    "cli": 8,
    "command_line": 8,
    "commands": 8,
    "completion": 8,
    "__main__": 8,
    "app": 8,
    "bypass": 8,
    "lifecycle": 8,
    "lean_imports": 8,
    "listening": 8,
    "outbox_tables": 8,
    "promises": 8,
    "reload": 8,
    "startup": 8,
    "tls_renewal": 8,
    "webhook_server": 8,
    "demo": 8,
    "simulation": 8,
    "top": 8,
}
TOP = 8
# Neighbours that may be imported; on the lowest floor and on the top one all may.
NEIGHBOURS = {("routing", "config")}
# Stands beside the floors: it reads configuration and nothing else.
HIGHEST_FOR = {"kubernetes": 2}

PURE_UP_TO = 2
IMPURE = {"asyncio", "time", "random", "threading", "socket", "secrets", "sched", "uvloop"}


ORDER = {
    "exchange": (
        "events stats labels heads forwarded script pace promise claim lease gates binding "
        "bindings record marks timing body lineage terms request throttle attempt_clocks reaching "
        "attempt grpc_attempt answers carrier relay grpc_relay tunnel watching committing "
        "queueing faults one_attempt hedging retrying fallback mirroring gathering keeping "
        "lost_client exchange holding stored_answer promised held_key idempotency well_known gate "
        "gateway"
    ),
    "upstream": (
        "address tasks time_limit leases shortages threads local_address tls_sessions resolver tls "
        "negotiation connector discovery session_book pool endpoint dialing balancing standings "
        "choice health upstream registry"
    ),
    "telemetry": (
        "observed timestamps percentiles line_writer span_counts direct_session transitions "
        "exposition sieves exemplars access_log tap flight_recorder history records process_log "
        "spans span_export tracing families route_families outbox_families saga_families "
        "store_families metrics"
    ),
}
"""The files of a floor, the lowest first: each imports only those before it."""


def unit_of(module: str) -> str:
    """``proxy.http.head`` → ``http``; the package itself has no unit."""
    return module.split(".")[1] if "." in module else ""


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Every module named by an import anywhere in a file, those inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            if base == "proxy":  # from proxy import errors
                yield from (f"proxy.{alias.name}" for alias in node.names)
            else:
                yield base


def problem(module: str, imported: str) -> str | None:
    """Why this import may not be, or None."""
    unit, other = unit_of(module), imported.split(".")[0]
    if unit and unit not in FLOORS:
        return f"{module}: no floor; say in FLOORS where it stands"
    if other != "proxy":
        impure = FLOORS.get(unit, 0) <= PURE_UP_TO and other in IMPURE
        return f"{module} imports {other}: floors 0 to 2 are pure" if impure else None
    other = unit_of(imported)
    if other in ("", "__version__") or other == unit:
        return None
    if other not in FLOORS:
        return f"{module} imports {imported}, which has no floor"
    if not unit:
        return f"{module} imports {imported}: the package itself imports nothing"
    floor, below = FLOORS[unit], FLOORS[other]
    if below == floor and floor not in (0, TOP) and (unit, other) not in NEIGHBOURS:
        return f"{module} imports {imported}: neighbours stay apart"
    if below > HIGHEST_FOR.get(unit, floor):
        return f"{module} (floor {floor}) imports {imported} (floor {below})"
    return None


def module_name(file: Path) -> str:
    parts = ("proxy", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_imports_point_downwards() -> None:
    files = sorted(ROOT.rglob("*.py"))
    assert len(files) > 20
    found = []
    for file in files:
        module = module_name(file)
        tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
        named = ["", *imports(tree, module, file.name == "__init__.py")]
        found += [complaint for name in named if (complaint := problem(module, name))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("proxy.policies.retry", "from proxy.config.model import Config"),
        ("proxy.policies.retry", "from proxy.http import framing"),
        ("proxy.http.head", "def f():\n    from proxy import wire"),
        ("proxy.config.load", "from proxy.routing.table import Table"),
        ("proxy.config.load", "from ..routing import table"),
        ("proxy.http.head", "import time"),
        ("proxy.routing.table", "from random import random"),
        ("proxy.outcome", "import asyncio.events"),
        ("proxy.telemetry.log", "import proxy.admin"),
        ("proxy.wire.socket", "import proxy.mystery"),
        ("proxy.mystery", "import os"),
        ("proxy", "from proxy import errors"),
        ("proxy.kubernetes.inject", "from proxy.wire import downstream"),
        ("proxy.admin.page", "from proxy.kubernetes import inject"),
    ],
)
def test_what_is_found(module: str, line: str) -> None:
    named = imports(ast.parse(line), module, False)
    assert any(problem(module, name) for name in named)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("proxy.routing.table", "from proxy.config.model import Config"),
        ("proxy.errors", "from proxy.outcome import Condition"),
        ("proxy.policies.retry", "from .budget import RetryBudget"),
        ("proxy.wire.h1.downstream", "import asyncio\nimport time"),
        ("proxy.telemetry.metrics", "from proxy import __version__"),
        ("proxy.cli", "from proxy.app import run\nfrom proxy.demo import show"),
    ],
)
def test_what_is_allowed(module: str, line: str) -> None:
    named = imports(ast.parse(line), module, False)
    assert not [name for name in named if problem(module, name)]


def graph_of(files: list[Path]) -> dict[str, set[str]]:
    """Which modules each one imports, for types alone included."""
    known = {module_name(file): file for file in files}
    graph: dict[str, set[str]] = {}
    for module, file in known.items():
        graph[module] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
            if isinstance(node, ast.ImportFrom):
                base = node.module or ""
                named = [f"{base}.{alias.name}" for alias in node.names]
                graph[module] |= {name if name in known else base for name in named}
            elif isinstance(node, ast.Import):
                graph[module] |= {alias.name for alias in node.names}
        graph[module] &= known.keys() - {module}
    return graph


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other, one after the other; none where there is no circle."""
    done: set[str] = set()
    way: list[str] = []

    def walk(module: str) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        way.append(module)
        for other in sorted(graph[module]):
            if found := walk(other):
                return found
        done.add(way.pop())
        return []

    return next((found for module in sorted(graph) if (found := walk(module))), [])


def test_no_modules_import_each_other() -> None:
    assert not circle_in(graph_of(sorted(ROOT.rglob("*.py"))))


def test_a_circle_is_found() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


@pytest.mark.parametrize("unit", ORDER)
def test_the_files_of_a_floor_have_an_order(unit: str) -> None:
    graph = graph_of(sorted((ROOT / unit).glob("*.py")))
    order = [f"proxy.{unit}", *(f"proxy.{unit}.{name}" for name in ORDER[unit].split())]
    assert sorted(order) == sorted(graph), "a file has no place in ORDER"
    for module, imported in graph.items():
        below = set(order[: order.index(module)])
        assert imported <= below, f"{module} imports {sorted(imported - below)}"


def test_exchanges_know_no_wire_format() -> None:
    """No line end, no header line, no chunk: how a message looks is for the streams to know."""
    line = re.compile(r"\r|\n\Z|^[A-Za-z-]+: |: \Z|HTTP/1|^%x")
    for file in sorted((ROOT / "exchange").glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                text = node.value.decode("latin-1")
                assert not line.search(text), f"{file.name}:{node.lineno}: {node.value!r}"
