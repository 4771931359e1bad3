"""What the documents show is true: files load, commands exist, links resolve, indexes are full."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from documents.blocks import DOCUMENTS, ROOT, Block, blocks, commands
from proxy.command_line.parser import make_parser
from proxy.config import load_text

README = ROOT / "README.md"
DOCS = ROOT / "docs"
RUN_IT = "pip install . && resilience-proxy demo"
TEST_IT = "pip install '.[test]' && pytest"


def _all(language: str) -> list[Block]:
    return [block for file in DOCUMENTS for block in blocks(file, language)]


def _is_manifest(block: Block) -> bool:
    return "containers:" in block.text or "apiVersion:" in block.text


CONFIGURATIONS = [block for block in _all("yaml") if "apiVersion:" not in block.text]


def _typed(block: Block) -> list[str]:
    if block.language == "console":
        return [command.text for command in commands(block)]
    return [line for line in block.text.splitlines() if line and not line.startswith("#")]


TYPED = [
    pytest.param(line, id=f"{block.id}:{line[:40]}")
    for language in ("sh", "console")
    for block in _all(language)
    for line in _typed(block)
]


def test_the_two_commands_are_spelled_as_everywhere() -> None:
    lines = [line for block in blocks(README, "sh") for line in _typed(block)]
    assert lines[:2] == [RUN_IT, TEST_IT]


def test_what_the_two_commands_need_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"resilience-proxy": "proxy.cli:main"}
    wanted = {re.split(r"[<>=]", one)[0] for one in project["optional-dependencies"]["test"]}
    assert {"pytest", "pytest-xdist", "hypothesis"} <= wanted


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=lambda block: block.id)
def test_configurations_load(block: Block) -> None:
    loaded = load_text(block.text, block.id, {})
    assert not loaded.warnings


@pytest.mark.parametrize("line", TYPED)
def test_commands_exist(line: str) -> None:
    for part in re.split(r"&&|\|", line):
        words = shlex.split(part)
        if words[:1] == ["resilience-proxy"]:
            make_parser().parse_args(words[1:])
        elif words[:1] == ["make"]:
            targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(words[1:]) <= set(targets)
        elif words[:1] == ["bash"]:
            assert (ROOT / words[1]).is_file()


def test_make_docs_renews_all_that_is_generated() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    renewed = re.findall(r"python -m (\S+)", makefile.partition("\ndocs:")[2].partition("\n\n")[0])
    told = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        told |= set(re.findall(r'"run: python -m ([\w.]+)"', file.read_text(encoding="utf-8")))
    assert set(renewed) == told


def test_every_command_is_in_the_table() -> None:
    """And no other: `test_commands_exist` parses the commands of the blocks."""
    table = (DOCS / "commands.md").read_text(encoding="utf-8").partition("\n## ")[0]
    told = re.findall(r"^\| `resilience-proxy (\w+)", table, re.MULTILINE)
    listed = re.findall(r"^    (\w+)(?: |$)", make_parser().format_help(), re.MULTILINE)
    assert sorted(told) == sorted(listed)


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        there = (file.parent / path) if path else file
        assert there.exists(), target
        if anchor:
            assert anchor in _anchors(there), target


def test_the_index_lists_every_page() -> None:
    index = DOCS / "README.md"
    linked = re.findall(
        r"^\| \[[^\]]+\]\(([^)]+)\)", index.read_text(encoding="utf-8"), re.MULTILINE
    )
    listed = {path for path in linked if "/" not in path}
    assert listed == {page.name for page in DOCS.glob("*.md")} - {index.name}


def test_the_list_of_decisions_names_every_decision() -> None:
    directory = DOCS / "adr"
    listed = (directory / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| \[(.*)\]\((.*)\) \|$", listed, re.MULTILINE)
    titles = {name: f"# {number}. {title}\n" for number, title, name in rows}
    files = {page.name: page.read_text(encoding="utf-8") for page in directory.glob("0*.md")}
    assert titles == {name: text[: text.index("\n") + 1] for name, text in files.items()}
    for name, text in files.items():
        sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert sections == ["Context", "Decision", "Consequences"], name


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def test_the_image_listens_where_the_defaults_do() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "EXPOSE 7070-7072\n" in dockerfile
    (health,) = re.findall("^HEALTHCHECK .*", dockerfile, re.MULTILINE)
    assert "127.0.0.1:7072" in health
    assert "/health/ready" in health
    assert "/etc/resilience-proxy" in dockerfile
    assert "/etc/resilience-proxy/config/proxy.yaml" in README.read_text(encoding="utf-8")
