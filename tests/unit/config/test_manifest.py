"""A configuration inside of Kubernetes manifests: what it holds, at the manifest's lines."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.config import ConfigError, load, reading
from proxy.config.reading import count_config_maps

TWO = """\
apiVersion: v1
kind: Service
metadata: {name: a}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: one
data:
  nginx.conf: |
    not: [yaml
  proxy.yaml: |
    ---
    # a comment

    drain:
      delay: 5
      note: |
        kept: text
  values: x
---
kind: ConfigMap
data:
  proxy.yaml: |2
      service: second
      drain: {timeout: 7s}
"""


@pytest.fixture
def manifest(tmp_path):
    def write(text):
        path = tmp_path / "manifest.yaml"
        path.write_text(text)
        return path

    return write


def problems(path, only=None):
    with pytest.raises(ConfigError) as raised:
        load(path, {}, only=only)
    return [str(problem).removeprefix(f"{path}:") for problem in raised.value.problems]


def test_lines_and_columns_are_the_manifests(manifest):
    path = manifest(TWO)
    assert count_config_maps(path) == 2
    assert problems(path, 0) == [
        "17:14: drain.delay: 5 has no unit; did you mean 5us or 5ms or 5s or 5m or 5h or 5d?",
        "18:7: drain.note: unknown key",
    ]
    second = load(path, {}, only=1)
    assert second.config.drain.timeout == 7
    assert second.sources.of(("drain", "timeout")) == f"{path}:26"


def test_of_several_one_must_be_meant(manifest):
    assert problems(manifest(TWO)) == ["22:1: a second ConfigMap: it is not clear which one to use"]


def test_the_usual_name_wins_over_other_files(manifest):
    other = "---\nkind: ConfigMap\ndata:\n  prometheus.yaml: |\n    scrape: 1\n"
    assert (
        load(
            manifest(
                TWO.rpartition("---")[0]
                .replace("delay: 5", "")
                .replace("      note: |\n        kept: text\n", "")
                + other
            ),
            {},
        ).config.drain.delay
        == 5
    )


@pytest.mark.parametrize("text", [
    "kind: ConfigMap\ndata:\n  a.yaml: |\n    service: a\n  b.yaml: |\n    service: b",
    "kind: ConfigMap\ndata:\n  b.yaml: |-\n    service: b\n  a.yml: 'service: a'\n",
    '{"kind": "List", "items": [{"kind": "ConfigMap", "data": {"a.yaml": "service: b\\n"}}]}',
    'kind: ConfigMap\ndata: {a.yaml: "service: b\\n"}\n',
])  # fmt: skip
def test_its_entries_are_layers_by_name(manifest, text):
    assert load(manifest(text), {}).config.service == "b"


def test_a_quoted_entry_is_told_where_it_begins(manifest):
    path = manifest('kind: ConfigMap\ndata:\n  a.yaml: "drain: {delay: 5}\\n"\n')
    assert problems(path)[0].startswith("3:")


def test_what_holds_no_configuration(manifest):
    told = ["1:1: the ConfigMap has no entry whose name ends in .yaml"]
    assert problems(manifest("kind: ConfigMap\ndata: {a: b}\n")) == told
    assert problems(manifest("kind: ConfigMap\n")) == told


def test_a_manifest_that_is_no_yaml(manifest):
    (found,) = problems(manifest("kind: ConfigMap\ndata: {\n"))
    assert found.startswith("3:1: not valid YAML: ")


def test_a_configuration_that_speaks_of_config_maps_is_none(manifest):
    text = "service: a\nx-note: |\n  kind: ConfigMap\n"
    path = manifest(text)
    assert count_config_maps(path) == 0
    assert load(path, {}).config.service == "a"


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"drain: {delay: 5}")))
    reading._stdin.cache_clear()
    with pytest.raises(ConfigError, match=r"^<stdin>:1:16: drain.delay: 5 has no unit"):
        load(Path("-"), {})
    reading._stdin.cache_clear()
