"""Every module, file and name that docs/architecture.md mentions exists."""

import ast
import re
from functools import cache
from pathlib import Path

from unit.test_floors import FLOORS

import proxy

PACKAGE = Path(proxy.__file__).parent
TOP = Path(__file__).parents[2]
OTHERS = {"asyncio", "limits"}
"""Not modules or classes of the package: the standard library, keys of the configuration."""
TEXT = (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")


@cache
def names_by_owner() -> dict[str, set[str]]:
    """What each module (by its last name) and each class has at its top."""
    found: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found.setdefault(file.stem, set()).update(top_names(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(top_names(node))
    return found


def top_names(owner: ast.Module | ast.ClassDef) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(owner):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return names


def test_files_exist() -> None:
    mentioned = re.findall(r"`([a-z0-9_/]+(?:\.py|/))`", TEXT)
    assert len(mentioned) > 15
    missing = [
        name for name in mentioned if not ((PACKAGE / name).exists() or (TOP / name).exists())
    ]
    assert not missing


def test_names_exist() -> None:
    owners = names_by_owner()
    mentioned = re.findall(r"`(?:[a-z_]+/)*([A-Za-z_]+)\.([A-Za-z_]+)(?:\(.*?\))?`", TEXT)
    files = ("py", "md", "yaml")
    mentioned = [one for one in mentioned if one[0] not in OTHERS and one[1] not in files]
    assert len(mentioned) > 2
    missing = [
        f"{owner}.{name}" for owner, name in mentioned if name not in owners.get(owner, set())
    ]
    assert not missing


def test_the_picture_names_what_exists() -> None:
    picture = TEXT.partition("## The way of one request")[2].partition("```text")[2]
    picture = picture.partition("```")[0]
    modules = set(re.findall(r"\b((?:exchange|wire|http|upstream)(?:/[a-z0-9_]+)+)", picture))
    assert len(modules) > 5
    assert not [one for one in modules if not (PACKAGE / f"{one}.py").exists()]
    owners = names_by_owner()
    for owner, name in re.findall(r"\b([A-Z][A-Za-z]+)\.(_?[a-z_]+)", picture):
        assert name in owners[owner], f"{owner}.{name}"


def test_the_floors_name_every_package_where_it_stands() -> None:
    picture = TEXT.partition("## Floors")[2].partition("```text")[2].partition("```")[0]
    named: dict[str, int] = {}
    floor = -1
    for line in picture.splitlines():
        number = re.match(r"\d", line)
        floor = int(number[0]) if number else floor
        for package in re.findall(r"\b([a-z]\w*)/", line):
            named.setdefault(package, floor)
    packages = [file.parent.name for file in PACKAGE.glob("*/__init__.py")]
    beside = ["kubernetes"]
    wanted = {name: FLOORS[name] for name in packages if name not in beside}
    assert {name: named.get(name) for name in wanted} == wanted
