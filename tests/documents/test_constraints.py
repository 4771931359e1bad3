"""`.ci/constraints.txt` pins all that the image is built from, as pyproject.toml asks for it."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from documents.blocks import ROOT

TEXT = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ASKED = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]


def pinned() -> dict[str, str]:
    """Version by name."""
    return {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", TEXT, re.MULTILINE)
    }


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_for_is_pinned_in_a_version_that_will_do(asked: str) -> None:
    requirement = Requirement(asked)
    version = pinned().get(canonicalize_name(requirement.name))
    assert version is not None, "run `make constraints`"
    assert requirement.specifier.contains(version, prereleases=True), "run `make constraints`"


def test_every_package_has_hashes_and_no_place() -> None:
    blocks = re.split(r"^(?=[\w.-]+==)", TEXT, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pinned()) > 20
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
    assert "://" not in TEXT
