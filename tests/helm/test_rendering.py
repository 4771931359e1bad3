"""The charts lint, render without a cluster, and the API server would take what they render."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.charts import CASES, CHARTS, HELM, NO_HELM, Case, Object, helm, objects_of, text_of

pytestmark = pytest.mark.skipif(HELM is None, reason=NO_HELM)

schema = pytest.importorskip(
    "helm.kubernetes_schema", reason="kubernetes-validate is not installed"
)

CUSTOM = {"PodMonitor", "PrometheusRule", "Certificate", "Issuer"}
"""Kinds that operators bring; Kubernetes has no schema of them."""

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.mark.parametrize("chart", sorted(CHARTS.iterdir()), ids=lambda chart: chart.name)
def test_lint(chart: Path) -> None:
    run = helm("lint", "--strict", str(chart))
    assert run.returncode == 0, run.stdout + run.stderr


@by_name
def test_objects_are_valid(case: Case) -> None:
    objects = objects_of(case)
    assert len(objects) >= 3
    for version in schema.versions():
        found = [
            problem
            for one in objects
            if one["kind"] not in CUSTOM
            for problem in schema.problems(one, version)
        ]
        assert not found, "\n".join(found)


def test_a_mistake_would_be_found() -> None:
    oldest, newest = schema.versions()
    (deployment,) = (one for one in objects_of(CASES[0]) if one["kind"] == "Deployment")
    wrong = {**deployment, "spec": {**deployment["spec"], "replicaz": 1}}
    for version in (oldest, newest):
        assert not list(schema.problems(deployment, version))
        assert list(schema.problems(wrong, version))


@by_name
def test_no_key_is_written_twice(case: Case) -> None:
    for document in yaml.compose_all(text_of(case), yaml.CSafeLoader):
        assert document is None or not list(_duplicates(document))


def _duplicates(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        yield from {key for key in keys if keys.count(key) > 1}
        for _, value in node.value:
            yield from _duplicates(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _duplicates(item)


@by_name
def test_every_object_says_where_it_belongs(case: Case) -> None:
    seen = set()
    for one in objects_of(case):
        metadata = one["metadata"]
        if one["kind"] != "MutatingWebhookConfiguration":
            assert metadata["namespace"]
        assert metadata["labels"]["app.kubernetes.io/instance"] == "shop"
        key = (one["kind"], metadata.get("namespace"), metadata["name"])
        assert key not in seen
        seen.add(key)


@by_name
def test_pods_meet_the_restricted_standard(case: Case) -> None:
    pods = [one["spec"]["template"] for one in objects_of(case) if one["kind"] == "Deployment"]
    assert pods
    for pod in pods:
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for container in _containers(spec):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert context["runAsUser"] == 65532
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container["resources"]["limits"]["memory"]


@by_name
def test_services_and_policies_find_their_pods(case: Case) -> None:
    objects = objects_of(case)
    pods = [one["spec"]["template"] for one in objects if one["kind"] == "Deployment"]
    for one in objects:
        if one["kind"] == "Service":
            (pod,) = (pod for pod in pods if _selects(one["spec"]["selector"], pod))
            names = {
                port["name"] for each in _containers(pod["spec"]) for port in each.get("ports", ())
            }
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= names
        elif one["kind"] in ("PodDisruptionBudget", "Deployment"):
            assert any(_selects(one["spec"]["selector"]["matchLabels"], pod) for pod in pods)
        elif one["kind"] == "NetworkPolicy":
            labels = one["spec"]["podSelector"]["matchLabels"]
            assert all(_selects(labels, pod) for pod in pods)


def _selects(labels: dict[str, str], pod: Object) -> bool:
    return labels.items() <= pod["metadata"]["labels"].items()


def _containers(spec: Object) -> list[Object]:
    return [*spec.get("initContainers", ()), *spec["containers"]]
