"""Sends a Service's traffic through the sidecars of its pods.

A `targetPort` that is a name finds the sidecar's port (`ports`). A number bypasses the sidecar, so
it is replaced by the sidecar's port.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.kubernetes.shape import items_of, mapping_of
from proxy.kubernetes.sidecar import INBOUND_PORT
from proxy.kubernetes.workloads import Item


@dataclass(frozen=True, slots=True)
class TakenOver:
    """Pods with sidecars whose service listens on `port`."""

    namespace: str
    labels: dict[str, str]
    port: int


def is_service(item: Item) -> bool:
    return item.kind == "Service" and item.group == ""


def selects(service: Item, pods: TakenOver) -> bool:
    """Whether the Service selects these pods. Raises Malformed."""
    selector = mapping_of(mapping_of(service.object, "spec"), "selector")
    same = service.namespace == pods.namespace
    return bool(selector) and same and selector.items() <= pods.labels.items()


def redirect(service: Item, pods: Iterable[TakenOver]) -> None:
    """Change the ports of a Service in place to the sidecars'. Raises Malformed."""
    numbers = {taken.port for taken in pods if selects(service, taken)}
    for port in items_of(mapping_of(service.object, "spec"), "ports"):
        target = port.get("targetPort", port.get("port"))
        if port.get("protocol", "TCP") == "TCP" and target in numbers:
            port["targetPort"] = INBOUND_PORT
