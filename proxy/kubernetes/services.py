"""Services whose traffic is to go through the sidecars of the pods that they select.

A `targetPort` that is a name finds the sidecar by itself (`ports`). One that is a number leads past
it, straight to the service, until it names the sidecar's port.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.kubernetes.shape import items_of, mapping_of
from proxy.kubernetes.sidecar import INBOUND_PORT
from proxy.kubernetes.workloads import Item


@dataclass(frozen=True, slots=True)
class TakenOver:
    """Pods whose service listens on `port`, behind their sidecars."""

    namespace: str
    labels: dict[str, str]
    port: int


def is_service(item: Item) -> bool:
    return item.kind == "Service" and item.group == ""


def selects(service: Item, pods: TakenOver) -> bool:
    """Whether the Service has these pods behind it. Raises Malformed."""
    selector = mapping_of(mapping_of(service.object, "spec"), "selector")
    same = service.namespace == pods.namespace
    return bool(selector) and same and selector.items() <= pods.labels.items()


def redirect(service: Item, pods: Iterable[TakenOver]) -> None:
    """Lead the ports of a Service, in place, to the sidecars. Raises Malformed."""
    numbers = {taken.port for taken in pods if selects(service, taken)}
    for port in items_of(mapping_of(service.object, "spec"), "ports"):
        target = port.get("targetPort", port.get("port"))
        if port.get("protocol", "TCP") == "TCP" and target in numbers:
            port["targetPort"] = INBOUND_PORT
