"""Writes the software bill of materials of an environment: CycloneDX 1.6, JSON.

    PYTHON .ci/sbom.py [--wheels DIRECTORY] [--output FILE]

PYTHON is the environment's interpreter. It needs no package and no network: names, versions,
licences and dependencies come from the installed metadata, SHA-256 sums from the wheels that were
installed. The same environment gives the same bytes: there is no time in it, unless
$SOURCE_DATE_EPOCH has one. What the base image adds (Debian's packages) is not part of it.
"""

import argparse
import datetime
import hashlib
import json
import os
import platform
import re
import sys
import uuid
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

ROOT = "resilience-proxy"
_VENDORED = re.compile(r"https://github\.com/([\w-]+)/([\w-]+) \(v([\w.]+)\)")
_NOT_A_LICENCE = {"", "UNKNOWN"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheels", type=Path, help="where the installed wheels are")
    parser.add_argument("--output", type=Path, help="the file to write; default: standard output")
    arguments = parser.parse_args()
    text = json.dumps(document(distributions(), arguments.wheels), indent=2) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")


def document(found: Iterable[Distribution], wheels: Path | None) -> dict[str, Any]:
    """The whole document. Exits if the proxy itself is not among the distributions."""
    installed = {normal(one.name): one for one in found}
    if ROOT not in installed:
        sys.exit(f"sbom.py: {ROOT} is not installed for {sys.executable}")
    sums = dict(sums_of(wheels)) if wheels is not None else {}
    own = installed.pop(ROOT)
    packages = [component(one, "library", sums) for _, one in sorted(installed.items())]
    vendored = sorted(vendored_in(own), key=lambda one: str(one["purl"]))
    whole = [*packages, *vendored, interpreter()]
    root = component(own, "application", sums)
    body = {"root": root, "components": whole}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, digest).urn,
        "version": 1,
        "metadata": {**moment(), "component": root},
        "components": whole,
        "dependencies": list(dependencies(own, installed, vendored)),
    }


def component(one: Distribution, kind: str, sums: dict[str, str]) -> dict[str, Any]:
    """A Python distribution."""
    name = normal(one.name)
    told: dict[str, Any] = {
        "type": kind,
        "bom-ref": purl(one),
        "name": name,
        "version": one.version,
        "purl": purl(one),
    }
    summary = one.metadata.get("Summary")
    if summary:
        told["description"] = summary
    if f"{name} {one.version}" in sums:
        told["hashes"] = [{"alg": "SHA-256", "content": sums[f"{name} {one.version}"]}]
    licences = list(licences_of(one))
    if licences:
        told["licenses"] = licences
    return told


def licences_of(one: Distribution) -> Iterator[dict[str, Any]]:
    """The licence expression (PEP 639), else the field or the classifiers before it."""
    expression = one.metadata.get("License-Expression")
    if expression:
        yield {"expression": expression}
        return
    named = one.metadata.get("License", "").strip()
    if named not in _NOT_A_LICENCE and len(named) < 64:
        yield {"license": {"name": named}}
        return
    for line in one.metadata.get_all("Classifier", []):
        if line.startswith("License ::"):
            yield {"license": {"name": line.rpartition(" :: ")[2]}}


def vendored_in(own: Distribution) -> Iterator[dict[str, Any]]:
    """The JavaScript that the package carries: its name and version stand in its first line."""
    for file in own.files or ():
        if file.match("vendor/*.js"):
            path = Path(str(own.locate_file(file)))
            content = path.read_bytes()
            found = _VENDORED.search(content[:300].decode("utf-8", "replace"))
            if found is None:
                sys.exit(f"sbom.py: the first line of {file} does not name its version")
            _, name, version = found.groups()
            reference = f"pkg:npm/{name.lower()}@{version}"
            yield {
                "type": "library",
                "bom-ref": reference,
                "name": name.lower(),
                "version": version,
                "purl": reference,
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}],
            }


def interpreter() -> dict[str, Any]:
    version = platform.python_version()
    return {
        "type": "platform",
        "bom-ref": f"pkg:generic/python@{version}",
        "name": "python",
        "version": version,
        "purl": f"pkg:generic/python@{version}",
    }


def dependencies(
    own: Distribution, installed: dict[str, Distribution], vendored: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for one in (own, *installed.values()):
        needs = {normal(name) for name in required_by(one)}
        on = sorted(purl(installed[name]) for name in needs if name in installed)
        if one is own:
            on += [other["bom-ref"] for other in vendored] + [interpreter()["bom-ref"]]
        yield {"ref": purl(one), "dependsOn": on}
    for other in (*vendored, interpreter()):
        yield {"ref": other["bom-ref"], "dependsOn": []}


def required_by(one: Distribution) -> Iterator[str]:
    """The names that it requires. Extras are left out: nothing asked for them."""
    for line in one.requires or ():
        requirement, _, marker = line.partition(";")
        found = re.match(r"[\w.-]+", requirement)
        if found is not None and not re.search(r"\bextra\b", marker):
            yield found[0]


def sums_of(wheels: Path) -> Iterator[tuple[str, str]]:
    """``name version`` and SHA-256 of each wheel."""
    for wheel in sorted(wheels.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        yield f"{normal(name)} {version}", hashlib.sha256(wheel.read_bytes()).hexdigest()


def moment() -> dict[str, str]:
    """The time that $SOURCE_DATE_EPOCH names; nothing without it."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if not seconds:
        return {}
    at = datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
    return {"timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ")}


def normal(name: str) -> str:
    """The name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def purl(one: Distribution) -> str:
    return f"pkg:pypi/{normal(one.name)}@{one.version}"


if __name__ == "__main__":
    main()
