"""Large files are read by libyaml, and read the same."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml

from proxy.config import document
from proxy.config.document import Mapping, Node, Scalar, Sequence, Unreadable, parse_root
from proxy.config.loading import load_text
from proxy.config.problems import Problems

ROOT = Path(__file__).parents[3]
FILES = sorted(
    path for where in ("config", "proxy/config", "tests/oracle") for path in
    (ROOT / where).rglob("*.yaml")
)  # fmt: skip

pytestmark = pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML without libyaml")


def read(text: str, large: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    monkeypatch.setattr(document, "LARGE", large)
    problems = Problems("file")
    try:
        root = parse_root(text, problems)
    except Unreadable:
        root = None
    return (None if root is None else shape(root)), list(map(str, problems.sorted()))


def shape(node: Node) -> Any:
    match node:
        case Scalar():
            return node.mark, node.text, node.quoted
        case Sequence():
            return node.mark, [shape(item) for item in node.items]
        case Mapping():
            entries = {key: (mark, shape(value)) for key, (mark, value) in node.entries.items()}
            return node.mark, entries, [shape(source) for source in node.merged]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_they_are_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = path.read_text("utf-8")
    assert read(text, 0, monkeypatch) == read(text, 10**9, monkeypatch)


@pytest.mark.parametrize(
    "mistake",
    ["a: [1, 2\n", "a: b: c\n", "\ta: 1\n", "a: *nobody\n", "a: !tag 1\n", '"\\U0FFFFFFF"'],
)
def test_a_mistake_is_told_as_in_a_small_one(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"x-{number}: 1\n" for number in range(20)) + mistake
    fast = read(text, 0, monkeypatch)
    assert fast == read(text, 10**9, monkeypatch)
    assert fast[1]


def test_libyaml_reads_large_ones_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    read_by: list[str] = []

    class Python(yaml.SafeLoader):
        def __init__(self, text: str) -> None:
            read_by.append("python")
            super().__init__(text)

    monkeypatch.setattr(yaml, "SafeLoader", Python)
    problems = Problems("file")
    parse_root("a: 1\n" * 1, problems)
    parse_root("".join(f"key-{number}: 1\n" for number in range(8000)), problems)
    assert read_by == ["python"]


def steps_of_the_checks(routes: int) -> int:
    """Instructions that the checks of a file of so many routes and policies take."""
    parts = ["store: {url: 'memory:'}\nupstreams:\n"]
    parts += [f"  u{n}: {{endpoints: ['http://127.0.0.1:{n + 1}']}}\n" for n in range(routes)]
    parts += ["policies:\n"]
    parts += [f"  p{n}: {{idempotency: {{mode: optional}}}}\n" for n in range(routes)]
    parts += ["routes:\n"]
    parts += [
        f"  - {{name: r{n}, match: {{hosts: [h{n}.test]}}, upstream: u{n}, policy: p{n},"
        f" retry: {{attempts: 2}}, outbox: {{mode: always}}}}\n"
        for n in range(routes)
    ]
    steps = 0

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal steps
        steps += event == "opcode"
        return count

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        if "check" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        return count

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        load_text("".join(parts), "large.yaml", {})
    finally:
        sys.settrace(before)
    return steps


def test_the_checks_grow_with_the_file_and_not_with_its_square() -> None:
    """A file of 5,000 routes took a minute: each route looked through all keys of the file."""
    assert steps_of_the_checks(90) < 4 * steps_of_the_checks(30)
