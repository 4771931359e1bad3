"""A release is cut and described by one command, which refuses what would be wrong."""

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from documents.blocks import ROOT
from proxy import __version__


def script(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


RELEASE = script("release")
SBOM = script("sbom")
CHANGES = (
    "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- Observe.\n\n"
    "## [0.0.1] - 2026-01-01\n\n- Old.\n"
)
IMAGE = f"registry.example/resilience-proxy@sha256:{'a1' * 32}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for file in {file for file, _ in RELEASE.PLACES} | set(RELEASE.EXAMPLES):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "CHANGELOG.md").write_text(CHANGES)
    return tmp_path


def test_the_version_is_set_everywhere(tree: Path) -> None:
    changed = RELEASE.cut(tree, "9.8.7", "2026-12-24")
    assert len(changed) == len(set(changed))
    for file in changed:
        text = (tree / file).read_text()
        assert "9.8.7" in text, file
        assert not re.search(rf"(?<![\d.]){re.escape(__version__)}(?![\d.])", text), file
    log = (tree / "CHANGELOG.md").read_text()
    assert "## [Unreleased]\n\n## [9.8.7] - 2026-12-24\n\n### Added\n\n- Observe.\n" in log
    assert RELEASE.section(log, "Unreleased") == ""


def test_no_file_names_the_version_beside_those_that_are_set() -> None:
    own = {file for file, _ in RELEASE.PLACES} | set(RELEASE.EXAMPLES)
    looked_at = [*ROOT.glob("helm/**/*"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    told = re.compile(rf"(resilience-proxy:|[vV]ersion: \"?){re.escape(__version__)}")
    for path in looked_at:
        if path.is_file() and told.search(path.read_text(encoding="utf-8")):
            assert str(path.relative_to(ROOT)) in own


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("v1.0", "is no version"),
        ("1.0", "is no version"),
        ("01.0.0", "is no version"),
        ("0.0.1", "already has a section"),
    ],
)
def test_a_wrong_version_changes_nothing(tree: Path, version: str, says: str) -> None:
    with pytest.raises(RELEASE.Refused, match=says):
        RELEASE.cut(tree, version, "2026-12-24")
    assert (tree / "CHANGELOG.md").read_text() == CHANGES


def test_there_must_be_something_to_release(tree: Path) -> None:
    RELEASE.cut(tree, "9.8.7", "2026-12-24")
    with pytest.raises(RELEASE.Refused, match="nothing to release"):
        RELEASE.cut(tree, "9.8.8", "2026-12-25")


def test_notes_have_the_changes_the_digest_and_the_sums(tree: Path) -> None:
    RELEASE.cut(tree, "9.8.7", "2026-12-24")
    wheel = tree / "resilience_proxy-9.8.7.whl"
    wheel.write_bytes(b"")
    text = "\n\n".join(RELEASE.notes(tree, "9.8.7", IMAGE, [wheel]))
    assert text.startswith("# Resilience Proxy 9.8.7\n\n### Added\n\n- Observe.\n\n## Get it\n")
    assert "Old" not in text
    assert f"docker pull {IMAGE}\n" in text
    assert "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  resil" in text
    with pytest.raises(RELEASE.Refused, match="by digest"):
        list(RELEASE.notes(tree, "9.8.7", "resilience-proxy:9.8.7", []))
    with pytest.raises(RELEASE.Refused, match="cut the release first"):
        list(RELEASE.notes(tree, "9.9.9", None, []))


def test_the_page_shows_the_commands_as_they_are() -> None:
    page = (ROOT / "docs" / "releasing.md").read_text(encoding="utf-8")
    for command in ("release.py cut", "release.py notes", "sbom.py"):
        assert command in page


# --- the bill of materials ------------------------------------------------------------------------


class Distribution:
    def __init__(self, name: str, metadata: dict[str, str], requires: list[str]) -> None:
        self.name, self.version, self.files = name, "1.2", []
        self.requires = requires
        self._metadata = metadata
        self.metadata = self

    def get(self, name: str, default: str | None = None) -> str | None:
        return self._metadata.get(name, default)

    def get_all(self, name: str, default: list[str]) -> list[str]:
        return [self._metadata[name]] if name in self._metadata else default


def test_the_bill_names_each_package_its_licence_and_what_needs_it(tmp_path: Path) -> None:
    wheel = tmp_path / "Some_Parser-1.2-py3-none-any.whl"
    wheel.write_bytes(b"")
    found = [
        Distribution(
            "resilience-proxy", {}, ["Some.Parser>=1; python_version > '3'", "x; extra == 'y'"]
        ),
        Distribution("Some_Parser", {"License-Expression": "MIT"}, []),
        Distribution("x", {"Classifier": "License :: OSI Approved :: BSD License"}, []),
    ]
    told = SBOM.document(found, tmp_path)
    parser, x, python = told["components"]
    assert (parser["name"], parser["purl"]) == ("some-parser", "pkg:pypi/some-parser@1.2")
    assert parser["licenses"] == [{"expression": "MIT"}]
    assert parser["hashes"][0]["content"].startswith("e3b0c44298fc1c149afbf4c8996fb924")
    assert x["licenses"] == [{"license": {"name": "BSD License"}}]
    assert python["type"] == "platform"
    needs = {one["ref"]: one["dependsOn"] for one in told["dependencies"]}
    assert needs["pkg:pypi/resilience-proxy@1.2"] == [parser["bom-ref"], python["bom-ref"]]
    assert needs.keys() == {
        one["bom-ref"] for one in (*told["components"], told["metadata"]["component"])
    }
    assert SBOM.document(found, tmp_path) == told


def test_without_the_proxy_there_is_no_bill() -> None:
    with pytest.raises(SystemExit, match="resilience-proxy is not installed"):
        SBOM.document([Distribution("x", {}, [])], None)
