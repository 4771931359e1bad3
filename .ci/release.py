"""Cuts a release, and writes its notes. docs/releasing.md says when each command is used.

    python .ci/release.py cut VERSION [--date YYYY-MM-DD]
        the version and CHANGELOG.md, in this tree
    python .ci/release.py notes VERSION [--image NAME@sha256:…] [FILE…]
        its notes, on stdout

`cut` changes files and nothing else: you look at them, commit and tag. `notes` are the version's
section of CHANGELOG.md, then how to get it; FILEs (wheels, charts, the bill of materials) are
listed with their SHA-256 sums.
"""

import argparse
import datetime
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = "CHANGELOG.md"
NUMBER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)((a|b|rc)[1-9]\d*)?")
DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")

PLACES = (
    ("pyproject.toml", 'version = "{}"'),
    ("proxy/__init__.py", '__version__ = "{}"'),
    ("helm/resilience-proxy/Chart.yaml", "version: {}"),
    ("helm/resilience-proxy/Chart.yaml", 'appVersion: "{}"'),
    ("helm/resilience-proxy-lib/Chart.yaml", "version: {}"),
    ("helm/resilience-proxy-lib/Chart.yaml", 'appVersion: "{}"'),
    ("helm/resilience-proxy-lib/README.md", "  - {{name: resilience-proxy-lib, version: {},"),
    ("helm/order-service/Chart.yaml", "version: {}"),
    ("helm/order-service/Chart.yaml", 'appVersion: "{}"'),
    ("helm/order-service/Chart.yaml", "    version: {}"),
)
"""Files, and the beginning of the one line in which each names the version."""
EXAMPLES = (
    "docs/kubernetes.md",
    "helm/resilience-proxy-lib/README.md",
    "helm/resilience-proxy-lib/templates/_settings.tpl",
)
"""Files that name the image ``resilience-proxy:VERSION``."""


class Refused(Exception):
    """The sentence says what to change."""


def cut(root: Path, version: str, date: str) -> list[str]:
    """Set the version everywhere, and give [Unreleased] its number and date. The changed files."""
    if not NUMBER.fullmatch(version):
        raise Refused(f"{version} is no version: write MAJOR.MINOR.PATCH, for example 0.2.0")
    changed = {CHANGELOG: released(text_of(root, CHANGELOG), version, date)}
    before = present(root)
    for file, line in PLACES:
        text = changed.get(file) or text_of(root, file)
        old, new = line.format(before), line.format(version)
        changed[file], times = re.subn(rf"(?m)^{re.escape(old)}", new, text)
        if times != 1:
            raise Refused(f"{file}: {times} lines begin with '{old}', not one")
    for file in EXAMPLES:
        text = changed.get(file) or text_of(root, file)
        changed[file] = text.replace(f"resilience-proxy:{before}", f"resilience-proxy:{version}")
    for file, text in changed.items():
        (root / file).write_text(text, encoding="utf-8")
    return list(changed)


def present(root: Path) -> str:
    found = re.search(r'^__version__ = "(.+)"$', text_of(root, "proxy/__init__.py"), re.MULTILINE)
    if found is None:
        raise Refused("proxy/__init__.py has no __version__")
    return found[1]


def released(changelog: str, version: str, date: str) -> str:
    """CHANGELOG.md with a new, empty [Unreleased] above the version's section."""
    if section(changelog, version) is not None:
        raise Refused(f"{CHANGELOG} already has a section [{version}]")
    if not section(changelog, "Unreleased"):
        raise Refused(f"{CHANGELOG}: [Unreleased] is empty, so there is nothing to release")
    heading = f"## [Unreleased]\n\n## [{version}] - {date}\n"
    return changelog.replace("## [Unreleased]\n", heading, 1)


def section(changelog: str, name: str) -> str | None:
    """The text below ``## [name]``; None without that heading."""
    found = re.search(
        rf"^## \[{re.escape(name)}\][^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    return None if found is None else found[1].strip()


def notes(root: Path, version: str, image: str | None, files: list[Path]) -> Iterator[str]:
    """The release notes, in Markdown."""
    changes = section(text_of(root, CHANGELOG), version)
    if changes is None:
        raise Refused(f"{CHANGELOG} has no section [{version}]: cut the release first")
    if image is not None and not DIGEST.fullmatch(image):
        raise Refused(f"--image {image}: name it by digest, NAME@sha256: and 64 digits")
    yield f"# Resilience Proxy {version}"
    yield changes
    yield "## Get it"
    yield f"```sh\npip install resilience-proxy=={version}\n```"
    if image is not None:
        yield (
            "The image by its digest, which never changes, and what is in it (CycloneDX):\n\n"
            f"```sh\ndocker pull {image}\n"
            f"docker run --rm --entrypoint cat {image} /opt/resilience-proxy/sbom.cdx.json\n```\n\n"
            "Its signature:\n\n"
            f"```sh\ncosign verify --key cosign.pub {image}\n```"
        )
    if files:
        rows = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files]
        yield "SHA-256 sums:\n\n```text\n" + "\n".join(rows) + "\n```"


def text_of(root: Path, file: str) -> str:
    return (root / file).read_text(encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    cutting = commands.add_parser("cut", help="set the version and date CHANGELOG.md")
    cutting.add_argument("version")
    cutting.add_argument("--date", default=datetime.date.today().isoformat())
    telling = commands.add_parser("notes", help="print the release notes")
    telling.add_argument("version")
    telling.add_argument("--image", help="the pushed image, NAME@sha256:…")
    telling.add_argument("files", nargs="*", type=Path, help="what is published, for the sums")
    given = parser.parse_args()
    try:
        if given.command == "cut":
            print("\n".join(cut(ROOT, given.version, given.date)))
        else:
            print("\n\n".join(notes(ROOT, given.version, given.image, given.files)))
    except (Refused, OSError) as error:
        sys.exit(f"release.py: {error}")


if __name__ == "__main__":
    main()
