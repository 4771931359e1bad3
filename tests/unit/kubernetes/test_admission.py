"""What the API server gets to hear about a pod."""

import base64
import json
from copy import deepcopy

import pytest
from unit.kubernetes.reviews import POD, UID, annotated, review

from proxy.kubernetes import admission
from proxy.kubernetes.admission import NoReview, Result
from proxy.kubernetes.pod import inject
from proxy.kubernetes.settings import Settings

NATIVE = Settings()


def ask(document, settings=NATIVE):
    answer = admission.review(json.dumps(document).encode(), settings)
    assert answer.document["apiVersion"] == "admission.k8s.io/v1"
    assert answer.document["kind"] == "AdmissionReview"
    response = answer.document["response"]
    assert response["uid"] == UID
    assert response["allowed"] is (answer.result is not Result.REFUSED)
    assert ("patch" in response) is (answer.result is Result.INJECTED)
    return answer, response


def patch_of(response):
    assert response["patchType"] == "JSONPatch"
    return json.loads(base64.b64decode(response["patch"]))


@pytest.mark.parametrize(
    ("pod", "settings"),
    [
        (POD, NATIVE),
        (POD, Settings(legacy=True, app_port=8080)),
        (annotated(app_port="http", config_map="policies", drain_timeout="40s"), NATIVE),
        (annotated(inject="enabled"), Settings(inject=False)),
    ],
)
def test_the_patch_makes_what_inject_makes(pod, settings):
    jsonpatch = pytest.importorskip("jsonpatch", reason="needs jsonpatch, of the extra test")
    _, response = ask(review(pod), settings)
    expected = deepcopy(pod)
    inject(expected, settings)
    assert jsonpatch.JsonPatch(patch_of(response)).apply(pod) == expected


def test_the_patch_touches_no_more_than_it_must():
    _, response = ask(review())
    assert [(operation["op"], operation["path"]) for operation in patch_of(response)] == [
        ("add", "/metadata/annotations"),
        ("add", "/spec/containers/0/env"),
        ("add", "/spec/containers/0/lifecycle"),
        ("replace", "/spec/terminationGracePeriodSeconds"),
        ("add", "/spec/initContainers"),
    ]


def test_never_twice():
    jsonpatch = pytest.importorskip("jsonpatch", reason="needs jsonpatch, of the extra test")
    _, response = ask(review())
    injected = jsonpatch.JsonPatch(patch_of(response)).apply(POD)
    answer, _ = ask(review(injected))
    assert answer.result is Result.UNCHANGED


def test_a_pod_of_a_workload_has_no_name_yet():
    answer, _ = ask(review())
    assert answer.pod == "shop/orders-7d4f9c-"


@pytest.mark.parametrize(
    ("pod", "settings"),
    [(annotated(inject="disabled"), NATIVE), (POD, Settings(inject=False))],
)
def test_opting_out(pod, settings):
    answer, response = ask(review(pod), settings)
    assert answer.result is Result.UNCHANGED
    assert "warnings" not in response


def test_who_cannot_have_one_is_let_in_with_a_warning():
    pod = deepcopy(POD)
    pod["spec"]["hostNetwork"] = True
    answer, response = ask(review(pod))
    assert answer.result is Result.UNCHANGED
    (warning,) = response["warnings"]
    assert "hostNetwork" in warning
    assert len(warning) <= 256


def test_who_insists_and_cannot_have_one_is_refused():
    pod = annotated(inject="enabled")
    pod["spec"]["hostNetwork"] = True
    _, response = ask(review(pod))
    assert "hostNetwork" in response["status"]["message"]


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        (annotated(app_port="nobody"), "app-port"),
        (annotated(legacy="perhaps"), "neither true nor false"),
        ({"metadata": {}, "spec": {"containers": []}}, "containers is missing"),
        ({}, "containers is missing"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_to_mend(pod, told):
    _, response = ask(review(pod))
    assert told in response["status"]["message"]
    assert "resilience-proxy/inject: disabled" in response["status"]["message"]


@pytest.mark.parametrize(
    "request_",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"subResource": "ephemeralcontainers"},
        {"kind": {"group": "", "version": "v1", "kind": "Service"}},
        {"kind": {"group": "example.test", "version": "v1", "kind": "Pod"}},
        {"kind": None},
        {"object": {"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}},
    ],
)
def test_what_is_no_new_pod_is_let_be(request_):
    answer, _ = ask(review(**request_))
    assert answer.result is Result.UNCHANGED


def test_a_dry_run_is_like_any_other():
    assert ask(review(dryRun=True))[1] == ask(review())[1]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "not an object"),
        (b"{}", "it is a None of None"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}', "v1beta1"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}', "request"),
        (json.dumps(review(uid="")).encode(), "uid"),
        (json.dumps(review(uid=7)).encode(), "uid"),
        (json.dumps(review() | {"request": []}).encode(), "request"),
    ],
)
def test_what_is_no_review(body, told):
    with pytest.raises(NoReview, match=told):
        admission.review(body, NATIVE)


def test_a_pod_that_is_nested_without_end_is_none():
    deep = b'{"a":' * 800 + b"1" + b"}" * 800
    body = json.dumps(review({"spec": {"containers": [{}]}, "x": "DEEP"})).encode()
    with pytest.raises(NoReview, match="nested"):
        admission.review(body.replace(b'"DEEP"', deep), NATIVE)


def places(value, path=()):
    """The path of everything within."""
    if path:
        yield path
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from places(inner, (*path, key))


WHOLE = deepcopy(POD)
WHOLE["metadata"]["annotations"] = {"resilience-proxy/app-port": "http"}
WHOLE["spec"] |= {"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "linux"}}
WHOLE["spec"]["initContainers"] = [{"name": "first", "restartPolicy": "Always"}]
WHOLE["spec"]["containers"][0] |= {
    "env": [{"name": "NO_PROXY", "value": "a.test"}],
    "lifecycle": {"postStart": {"httpGet": {"port": "http"}}},
    "livenessProbe": {"tcpSocket": {"port": 8080}},
}
INJECTED = deepcopy(WHOLE)
inject(INJECTED, Settings(legacy=True))


@pytest.mark.parametrize("wrong", [None, 7.5, ["x"], {"x": []}], ids=repr)
@pytest.mark.parametrize("pod", [WHOLE, INJECTED], ids=["new", "injected"])
@pytest.mark.parametrize("settings", [NATIVE, Settings(legacy=True)], ids=["native", "legacy"])
def test_a_value_of_any_type_anywhere_is_answered(pod, settings, wrong):
    for path in places(pod):
        changed = deepcopy(pod)
        within = changed
        for key in path[:-1]:
            within = within[key]
        within[path[-1]] = wrong
        ask(review(changed), settings)
