"""docs/kubernetes.md: its manifests are valid and get their sidecars, its table is current."""

from typing import Any

import pytest
import yaml

from documents.blocks import Block, blocks
from documents.sidecar_settings import DOCUMENT, render
from proxy.config import load_text
from proxy.kubernetes.command_line import injected
from proxy.kubernetes.settings import Settings

MANIFESTS = [block for block in blocks(DOCUMENT, "yaml") if "apiVersion:" in block.text]

by_line = pytest.mark.parametrize("block", MANIFESTS, ids=lambda block: block.id)


def test_the_table_is_as_the_code_would_write_it() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    assert page == render(page), "run: python -m tests.documents.sidecar_settings"


def test_there_is_something_of_each_kind() -> None:
    kinds = [yaml.safe_load(block.text)["kind"] for block in MANIFESTS]
    assert sorted(kinds) == ["ConfigMap", "CronJob", "Deployment", "Service"]


def _problems(text: str) -> list[str]:
    schema = pytest.importorskip("helm.kubernetes_schema", reason="no kubernetes-validate")
    return [
        problem
        for document in yaml.safe_load_all(text)
        for version in schema.versions()
        for problem in schema.problems(document, version)
    ]


@by_line
def test_manifests_are_valid(block: Block) -> None:
    assert not _problems(block.text)


@by_line
def test_policies_in_them_load(block: Block) -> None:
    document: dict[str, Any] = yaml.safe_load(block.text)
    for text in document.get("data", {}).values():
        assert not load_text(text, block.id, {}).warnings


@by_line
def test_they_get_their_sidecars(block: Block) -> None:
    text, failed = injected([(block.id, block.text)], Settings(), {})
    assert not failed
    assert ("name: resilience-proxy\n" in text) == ("containers:" in block.text)
    assert not _problems(text)


def test_together_they_are_one_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """The Deployment's port, its Service and its ConfigMap fit together."""
    text, failed = injected([("page", "---\n".join(b.text for b in MANIFESTS))], Settings(), {})
    assert not failed
    assert capsys.readouterr().err == ""  # which would report a Service that bypasses the sidecar
    found = {one["kind"]: one for one in yaml.safe_load_all(text)}
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (sidecar,) = pod["initContainers"]
    target = found["Service"]["spec"]["ports"][0]["targetPort"]
    assert sidecar["ports"][0] == {"name": target, "containerPort": 7071, "protocol": "TCP"}
    assert pod["volumes"][0]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]
