"""AdmissionReview v1: the API server asks about a new pod, and gets a patch.

A pod that should have a sidecar and cannot is refused with the reason, never admitted without one:
otherwise the missing sidecar would be noticed too late. There are no side effects (`sideEffects:
None`), so a dry run is a review like any other.
"""

import json
import re
from base64 import b64encode
from dataclasses import dataclass
from enum import Enum
from typing import Any

from proxy.kubernetes.json_patch import diff
from proxy.kubernetes.pod import inject as inject_pod
from proxy.kubernetes.settings import Mistakes, Settings
from proxy.kubernetes.shape import Malformed, text_of
from proxy.kubernetes.sidecar import Object

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"

MIRROR = "kubernetes.io/config.mirror"
"""Annotation of static pods, which the kubelet runs by itself; the API server has only a mirror."""

_MAX_WARNING = 256
"""Maximum characters of a warning that kubectl shows."""


MAX_VALUES = 150_000
"""Maximum values of a review; a list or mapping counts twice. A pod with 8,000 variables has 25,000
values; 3 MiB of ``[],`` would have a million and take 250 MiB."""

_STRING_OR_VALUE = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{,]', re.DOTALL)


class NoReview(Exception):
    """The body is not an AdmissionReview; the text says what is wrong."""


class Result(Enum):
    """The result of a review: a label of the metric."""

    INJECTED = "injected"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """`document` is the AdmissionReview to return; `pod` and `reason` are for the log."""

    document: Object
    result: Result
    pod: str
    reason: str | None


def review(body: bytes, settings: Settings) -> Answer:
    """Answer an AdmissionReview. Raises NoReview.

    Takes memory for `MAX_VALUES` values at most, for any body.
    """
    if _values_in(body) > MAX_VALUES:
        raise NoReview(f"the body has more than {MAX_VALUES} values")
    try:
        return _answer(_request_of(json.loads(body)), settings)
    except ValueError as error:
        raise NoReview(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise NoReview("the body is nested too deeply") from None


def _values_in(body: bytes) -> int:
    """The approximate number of values; counting stops beyond `MAX_VALUES`."""
    marks = body.count(b",") + body.count(b"[") + body.count(b"{")
    if marks <= MAX_VALUES:
        return marks
    found = 0  # commas in texts do not count
    for match in _STRING_OR_VALUE.finditer(body):
        found += match[0][:1] != b'"'
        if found > MAX_VALUES:
            break
    return found


def _answer(request: Object, settings: Settings) -> Answer:
    uid = text_of(request, "uid")
    if not uid:
        raise NoReview("request.uid is missing")
    name = _name_of(request)
    pod = request.get("object")
    if not _is_new_pod(request) or not isinstance(pod, dict):
        return Answer(_response(uid), Result.UNCHANGED, name, "it is not a new pod")
    after = dict(pod)  # parts are copied before they are changed
    try:
        done = inject_pod(after, settings)
    except (Malformed, Mistakes) as error:
        return Answer(_refusal(uid, str(error)), Result.REFUSED, name, str(error))
    warnings = [f"resilience-proxy: {text}"[:_MAX_WARNING] for text in done.warnings]
    operations = list(diff(pod, after))
    result = Result.INJECTED if operations else Result.UNCHANGED
    return Answer(_response(uid, warnings, operations), result, name, done.skipped)


def _request_of(document: Any) -> Object:
    if not isinstance(document, dict):
        raise NoReview("the body is not an object")
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind != KIND or version != API_VERSION:
        raise NoReview(f"it is a {kind} of {version}, not an {KIND} of {API_VERSION}")
    request = document.get("request")
    if not isinstance(request, dict):
        raise NoReview("request is missing, or not an object")
    return request


def _is_new_pod(request: Object) -> bool:
    """Whether it creates a pod: not an update, a subresource or a kubelet's static pod."""
    kind = request.get("kind")
    if not isinstance(kind, dict) or (kind.get("group"), kind.get("kind")) != ("", "Pod"):
        return False
    if request.get("operation") != "CREATE" or request.get("subResource"):
        return False
    pod = request.get("object")
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return not (isinstance(annotations, dict) and MIRROR in annotations)


def _name_of(request: Object) -> str:
    """``shop/orders-7d4f-``: a workload's pod has only the beginning of its name yet."""
    pod = request.get("object")
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    name = text_of(request, "name")
    if not name and isinstance(metadata, dict):
        name = text_of(metadata, "name") or text_of(metadata, "generateName")
    return f"{text_of(request, 'namespace')}/{name}"


def _response(
    uid: str, warnings: list[str] | None = None, operations: list[Object] | None = None
) -> Object:
    response: Object = {"uid": uid, "allowed": True}
    if warnings:
        response["warnings"] = warnings
    if operations:
        patch = json.dumps(operations, separators=(",", ":")).encode()
        response |= {"patchType": "JSONPatch", "patch": b64encode(patch).decode("ascii")}
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def _refusal(uid: str, reason: str) -> Object:
    message = (
        f"this pod cannot get a sidecar: {reason}. Correct that, or opt out with the "
        "annotation resilience-proxy/inject: disabled"
    )
    status = {"code": 422, "reason": "Invalid", "message": message}
    response = {"uid": uid, "allowed": False, "status": status}
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}
