"""Sets of objects: which have pods, which Services lead to them, and what is told."""

from copy import deepcopy

import pytest

from proxy.kubernetes.inject import Injector
from proxy.kubernetes.settings import Settings
from proxy.kubernetes.workloads import items_in, pod_of

TAKES_OVER = Settings(app_port=8080)


def workload(kind, pod, api_version="apps/v1"):
    made = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "orders"}}
    spec = {"template": pod}
    if kind == "CronJob":
        spec = {"schedule": "@daily", "jobTemplate": {"spec": spec}}
    return made | (pod if kind == "Pod" else {"spec": spec})


def service(target, **more):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "orders"},
        "spec": {"selector": {"app": "orders"}, "ports": [{"port": 80, "targetPort": target}]},
    } | more


def run(*documents, settings=TAKES_OVER, environ=None):
    injector = Injector(settings, environ or {})
    injector.run(documents)
    return injector.notes


def sidecars(document):
    found = [pod_of(item) for item in items_in(document)]
    pods = [pair[1] for pair in found if pair]
    return [
        container["name"]
        for pod in pods
        for container in pod["spec"].get("initContainers", [])
        if container["name"] == "resilience-proxy"
    ]


KINDS = [
    ("Deployment", "apps/v1"),
    ("StatefulSet", "apps/v1"),
    ("DaemonSet", "apps/v1"),
    ("ReplicaSet", "apps/v1"),
    ("ReplicationController", "v1"),
    ("Job", "batch/v1"),
    ("CronJob", "batch/v1"),
    ("Pod", "v1"),
]


@pytest.mark.parametrize(("kind", "api_version"), KINDS)
def test_every_kind_of_workload(pod, kind, api_version):
    document = workload(kind, pod, api_version)
    run(document)
    assert len(sidecars(document)) == 1


@pytest.mark.parametrize(("kind", "api_version"), KINDS)
@pytest.mark.parametrize("repeated", [True, False])
def test_lists_of_every_kind(pod, kind, api_version, repeated):
    item = workload(kind, pod, api_version)
    if not repeated:
        item = {key: value for key, value in item.items() if key not in ("kind", "apiVersion")}
    document = {"apiVersion": api_version, "kind": f"{kind}List", "items": [item]}
    run(document)
    assert len(sidecars(document)) == 1
    assert ("kind" in document["items"][0]) is repeated


def test_a_list_of_all_sorts(pod):
    document = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [workload("Deployment", pod), service(8080)],
    }
    assert run(document) == []
    assert len(sidecars(document)) == 1
    assert document["items"][1]["spec"]["ports"][0]["targetPort"] == 7071


@pytest.mark.parametrize(
    "document",
    [
        None,
        "text",
        [1],
        {},
        {"kind": "Deployment"},
        {"apiVersion": "example.test/v1", "kind": "Deployment", "spec": {"template": {}}},
        {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "spec": 1},
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}},
        {"kind": "List", "items": []},
        {"apiVersion": "v1", "kind": "ConfigMapList", "items": [{"data": {}}]},
    ],
)
def test_anything_else_stays(document):
    before = deepcopy(document)
    assert run(document) == []
    assert document == before


# --- Services -----------------------------------------------------------------------------------


def test_a_number_is_changed(pod):
    document = service(8080)
    assert run(document, workload("Deployment", pod)) == []
    assert document["spec"]["ports"][0]["targetPort"] == 7071


def test_a_port_without_target_leads_to_itself(pod):
    document = service(8080)
    document["spec"]["ports"] = [{"port": 8080}, {"port": 9000}]
    run(document, workload("Deployment", pod))
    assert document["spec"]["ports"] == [{"port": 8080, "targetPort": 7071}, {"port": 9000}]


@pytest.mark.parametrize(
    "document",
    [
        service("http"),
        service(9000),
        service(8080, spec={"selector": {"app": "x"}, "ports": [{"port": 8080}]}),
        service(8080, spec={"ports": [{"port": 8080}]}),
        service(8080, metadata={"name": "orders", "namespace": "elsewhere"}),
        service(
            8080,
            spec={"selector": {"app": "orders"}, "ports": [{"port": 8080, "protocol": "UDP"}]},
        ),
    ],
)
def test_what_leads_elsewhere_or_by_name_stays(pod, document):
    before = deepcopy(document)
    run(document, workload("Deployment", pod))
    assert document == before


def test_it_is_told_what_to_change_where_no_service_is_at_hand(pod):
    (note,) = run(workload("Deployment", pod))
    assert not note.error
    assert "8080" in note.text
    assert "7071" in note.text


def test_without_inbound_traffic_no_service_is_touched(pod):
    document = service(8080)
    assert run(document, workload("Deployment", pod), settings=Settings()) == []
    assert document == service(8080)


# --- the configuration in the same input --------------------------------------------------------


def config_map(text):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "policies"},
        "data": {"proxy.yaml": text},
    }


def grace(pod):
    return pod["spec"].get("terminationGracePeriodSeconds")


def test_its_drain_makes_the_grace_period(pod):
    run(
        workload("Deployment", pod),
        config_map("drain: {timeout: 50s}"),
        settings=Settings(config_map="policies"),
    )
    assert grace(pod) == 55


def test_a_configuration_with_problems_is_told(pod):
    (note,) = run(
        workload("Deployment", pod),
        workload("StatefulSet", deepcopy(pod)),
        config_map("drain: {timeout: soon}"),
        settings=Settings(config_map="policies"),
    )
    assert (note.document, note.error) == (2, False)
    assert "drain.timeout" in note.text
    assert grace(pod) is None


def test_a_config_map_without_the_file_is_told(pod):
    source = config_map("")
    source["data"] = {"other.yaml": ""}
    (note,) = run(workload("Deployment", pod), source, settings=Settings(config_map="policies"))
    assert "proxy.yaml" in note.text


def test_a_config_map_of_another_name_is_not_looked_at(pod):
    source = config_map("drain: {timeout: 50s}")
    run(workload("Deployment", pod), source, settings=Settings(config_map="other"))
    assert grace(pod) is None


# --- mistakes -----------------------------------------------------------------------------------


def test_an_annotation_is_pointed_at(pod):
    pod["metadata"]["annotations"] = {"resilience-proxy/legacy": "maybe"}
    (note,) = run({}, workload("Deployment", pod))
    assert note.error
    assert note.document == 1
    assert note.path == (
        "spec",
        "template",
        "metadata",
        "annotations",
        "resilience-proxy/legacy",
    )
    assert note.text == "Deployment orders: legacy: 'maybe' is neither true nor false"


def test_every_mistake_is_pointed_at(pod):
    pod["metadata"]["annotations"] = {"resilience-proxy/legacy": "maybe"}
    document = workload("Deployment", pod)
    document["metadata"]["annotations"] = {
        "resilience-proxy/app-port": "web",
        "resilience-proxy/legacy": "no matter",
    }
    notes = run(document)
    where = [(note.path[:-1], note.path[-1].partition("/")[2]) for note in notes]
    assert where == [
        (("spec", "template", "metadata", "annotations"), "legacy"),
        (("metadata", "annotations"), "app-port"),
    ]
    assert all(note.error for note in notes)


@pytest.mark.parametrize(
    ("kind", "api_version", "level"),
    [
        ("Deployment", "apps/v1", ()),
        ("CronJob", "batch/v1", ()),
        ("CronJob", "batch/v1", ("spec", "jobTemplate")),
    ],
)
def test_annotations_of_the_workload_itself_are_honoured(pod, kind, api_version, level):
    document = workload(kind, pod, api_version)
    node = document
    for key in level:
        node = node[key]
    node.setdefault("metadata", {})["annotations"] = {"resilience-proxy/service": "shop"}
    assert run(document, settings=Settings()) == []
    (found,) = pod["spec"]["initContainers"]
    assert {"name": "OTEL_SERVICE_NAME", "value": "shop"} in found["env"]


@pytest.mark.parametrize(
    "document",
    [
        {"apiVersion": "apps/v1", "kind": "Deployment"},
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": None}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": []},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": "x"},
        {"apiVersion": "v1", "kind": "Pod", "spec": {}},
        {"apiVersion": "v1", "kind": "Service", "spec": {"ports": {}}},
        {"apiVersion": "v1", "kind": "List", "items": {}},
        {"apiVersion": "v1", "kind": "List", "items": ["x"]},
    ],
)
def test_what_is_not_what_it_says(document):
    (note,) = run(document)
    assert note.error


def test_all_annotations_that_are_no_texts_are_told_at_once():
    pod = workload("Pod", {"spec": {"containers": [{"name": "orders"}]}}, "v1")
    pod["metadata"]["annotations"] = {
        "resilience-proxy/app-port": 3000,
        "other": "text",
        "resilience-proxy/legacy": True,
    }
    injector = Injector(Settings(), {})
    injector.run([pod])
    assert [note.text for note in injector.notes] == [
        "Pod orders: annotations.resilience-proxy/app-port, annotations.resilience-proxy/legacy "
        "are not texts: put them in quotes"
    ]
