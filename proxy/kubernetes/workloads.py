"""Finds the pods inside Kubernetes objects."""

from collections.abc import Iterator
from dataclasses import dataclass

from proxy.kubernetes.shape import Malformed, items_of, mapping_of, text_of
from proxy.kubernetes.sidecar import Object

Path = tuple[str | int, ...]

_TEMPLATE: Path = ("spec", "template")
_WORKLOADS: dict[tuple[str, str], Path] = {
    ("", "Pod"): (),
    ("", "ReplicationController"): _TEMPLATE,
    ("apps", "DaemonSet"): _TEMPLATE,
    ("apps", "Deployment"): _TEMPLATE,
    ("apps", "ReplicaSet"): _TEMPLATE,
    ("apps", "StatefulSet"): _TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", *_TEMPLATE),
    ("batch", "Job"): _TEMPLATE,
}
"""API group and kind, and the path of the pod. Other groups have kinds with the same names."""


@dataclass(frozen=True, slots=True)
class Item:
    """An object of a document and its place, with its effective API version and kind."""

    path: Path
    object: Object
    api_version: str
    kind: str

    @property
    def group(self) -> str:
        """``apps`` of ``apps/v1``; the core group has no name."""
        return self.api_version.rpartition("/")[0]

    @property
    def metadata(self) -> Object:
        return mapping_of(self.object, "metadata")

    @property
    def name(self) -> str:
        return text_of(self.metadata, "name")

    @property
    def namespace(self) -> str:
        return text_of(self.metadata, "namespace")

    def __str__(self) -> str:
        """For messages: ``Deployment shop/orders``."""
        try:
            name = self.name or text_of(self.metadata, "generateName") or "without a name"
            return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{name}"
        except Malformed:
            return self.kind


def items_in(document: object, path: Path = ()) -> Iterator[Item]:
    """The objects of a document: itself, or the items of a list of any kind.

    Items of a list such as DeploymentList need not repeat their kind. A document that is not an
    object has none. Raises Malformed.
    """
    if not isinstance(document, dict):
        return
    api_version, kind = text_of(document, "apiVersion"), text_of(document, "kind")
    if not kind.endswith("List") or "items" not in document:
        yield Item(path, document, api_version, kind)
        return
    implied = kind.removesuffix("List")
    for index, item in enumerate(items_of(document, "items")):
        place = (*path, "items", index)
        if implied and "kind" not in item:
            yield Item(place, item, api_version, implied)
        else:
            yield from items_in(item, place)


def pod_of(item: Item) -> tuple[Path, Object] | None:
    """The path of an object's pod and the pod; None for objects without pods.

    Raises Malformed for a workload without one.
    """
    path = _WORKLOADS.get((item.group, item.kind))
    if path is None:
        return None
    pod = item.object
    for key in path:
        pod = mapping_of(pod, str(key))
        if not pod:
            raise Malformed(f"{key} is missing or empty")
    if not mapping_of(pod, "spec"):
        raise Malformed("spec is missing or empty")
    return path, pod
