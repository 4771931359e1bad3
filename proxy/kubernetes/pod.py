"""Adds the sidecar to a pod: the container, and the changes to the rest of the pod.

A pod is an object with ``metadata`` and ``spec``: a Pod or a workload's template. A sidecar that
was injected before is taken out first, so that injecting twice is the same as once, and a newer
version, or other settings, replace what an older one had made.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from proxy import __version__
from proxy.kubernetes import sidecar
from proxy.kubernetes.environment import set_proxy, unset_proxy
from proxy.kubernetes.ports import Ports
from proxy.kubernetes.settings import (
    INJECTED,
    PREFIX,
    InvalidSetting,
    Mistakes,
    Settings,
    unknown,
)
from proxy.kubernetes.shape import (
    Malformed,
    check_text,
    copied,
    items_of,
    mapping_of,
    text_map_of,
    text_of,
)
from proxy.kubernetes.sidecar import NAME, Object

DEFAULT_GRACE = 30
"""Seconds; Kubernetes' default of `terminationGracePeriodSeconds`."""

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"

OTHER_SIDECARS = frozenset(
    {
        "cloud-sql-proxy",
        "consul-dataplane",
        "daprd",
        "istio-init",
        "istio-proxy",
        "istio-validation",
        "kuma-init",
        "kuma-sidecar",
        "linkerd-init",
        "linkerd-network-validator",
        "linkerd-proxy",
        "vault-agent",
        "vault-agent-init",
    }
)
"""Containers injected by other tools: not the service, and HTTP_PROXY would break some."""


class Unsuitable(Exception):
    """A pod that requires a sidecar and cannot have one; the text says why."""


@dataclass(slots=True)
class Injection:
    """The result for a pod. `skipped`: why it is unchanged, None if it has its sidecar.

    `app_port`: the service's own port, if inbound traffic goes through the sidecar.
    """

    skipped: str | None = None
    app_port: int | None = None
    warnings: list[str] = field(default_factory=list)


def inject(
    pod: Object,
    settings: Settings,
    *,
    drain_timeout: float = 0.0,
    above: Mapping[str, str] | None = None,
) -> Injection:
    """Add the sidecar to `pod` in place, unless it opts out or cannot have one.

    `drain_timeout`, in seconds, is the known one of its configuration; `above` are the annotations
    of its workload. Raises Malformed for an object that is not a pod, and Mistakes with all of
    them; the pod is then unchanged.
    """
    annotations = text_map_of(mapping_of(pod, "metadata"), "annotations")
    spec = mapping_of(pod, "spec")
    _check_shape(spec)
    said = {**(above or {}), **annotations}
    settings, wrong = settings.override(said)
    mistakes: list[Exception] = [*wrong]
    if not settings.inject:
        if mistakes:
            raise Mistakes(mistakes)
        return Injection("it was not requested")
    done = Injection(warnings=list(unknown(said)))
    obstacles = list(_obstacles(spec, annotations, settings))
    insists = said.get(PREFIX + "inject") == "enabled"
    if insists:
        mistakes += map(Unsuitable, obstacles)
    changed = copied(pod)
    if INJECTED in annotations:
        _take_out(changed)
        items_of(changed["spec"], "containers", required=True)
    if insists or not obstacles:
        mistakes += settings.contradictions()
        mistakes += _misfits(changed["spec"], settings)
    if mistakes:
        raise Mistakes(mistakes)
    if obstacles:
        done.skipped = "; ".join(obstacles)
        done.warnings += [f"left without sidecar: {obstacle}" for obstacle in obstacles]
        return done
    timeout = max(settings.drain_timeout, drain_timeout)
    done.app_port = _put_in(changed, settings, timeout, done.warnings)
    pod.clear()
    pod.update(changed)
    return done


def _check_shape(spec: Object) -> None:
    """Raises Malformed where what is read below is not of Kubernetes' types."""
    items_of(spec, "containers", required=True)
    items_of(spec, "volumes")
    for container in _all_containers(spec):
        check_text(container, "name")
        mapping_of(container, "lifecycle")
        for variable in items_of(container, "env"):
            check_text(variable, "name")
        for port in items_of(container, "ports"):
            check_text(port, "name")
            number = port.get("containerPort")
            if number is not None and type(number) is not int:
                raise Malformed("containerPort is not a number")


def _obstacles(spec: Object, annotations: dict[str, str], settings: Settings) -> Iterator[str]:
    """Why this pod cannot have a sidecar, or None."""
    operating_system = spec.get("os")
    selector = spec.get("nodeSelector")
    names = [operating_system.get("name")] if isinstance(operating_system, dict) else []
    if isinstance(selector, dict):
        names += [selector.get("kubernetes.io/os"), selector.get("beta.kubernetes.io/os")]
    if "windows" in names:
        yield "it runs on Windows, and the sidecar needs Linux"
    if spec.get("hostNetwork") is True:
        yield (
            "it has hostNetwork: the sidecar's ports 7070 to 7072 would be the node's, where "
            "only one process can use each"
        )
    if settings.legacy and _ends(spec):
        yield (
            "it should end (restartPolicy is not Always), and a legacy sidecar would keep it "
            "from ending; a native one (without --legacy, Kubernetes 1.29 and later) ends with it"
        )
    if INJECTED not in annotations and any(c.get("name") == NAME for c in _all_containers(spec)):
        yield f"it already has a container {NAME} that was not injected"
    for container in _all_containers(spec):
        if container.get("name") == NAME:
            continue
        for port in items_of(container, "ports"):
            if port.get("containerPort") in sidecar.PORTS:
                yield (
                    f"its container {container.get('name')} has the port {port['containerPort']}, "
                    "which is one of the sidecar's"
                )


def _misfits(spec: Object, settings: Settings) -> Iterator[InvalidSetting]:
    """Errors of settings that name something that this pod does not have."""
    try:
        _service_containers(spec, settings)
    except InvalidSetting as error:
        yield error
    try:
        if settings.app_port is not None:
            Ports(spec).number_of(settings.app_port)
    except InvalidSetting as error:
        yield error


def _put_in(
    pod: Object, settings: Settings, drain_timeout: float, warnings: list[str]
) -> int | None:
    """Add everything; returns the service's own port, if it was taken over."""
    metadata, spec = mapping_of(pod, "metadata"), mapping_of(pod, "spec")
    service = _service_containers(spec, settings)
    ports = Ports(spec)
    app_port = None if settings.app_port is None else ports.number_of(settings.app_port)
    port_name = None if app_port is None else ports.take_over(app_port)
    made = sidecar.container(
        settings,
        inbound_port_name=port_name or sidecar.INBOUND_PORT_NAME,
        app_port=app_port,
        service=settings.service or _name_of(metadata),
    )
    if settings.http_proxy:
        for container in service:
            warning = set_proxy(container, settings.no_proxy)
            if warning is not None:
                warnings.append(warning)
    if settings.pre_stop and not _ends(spec):
        running = [c.get("name") for c in items_of(spec, "containers")]
        for container in service:
            if container.get("name") in running:
                _hold_back(container)
    # First, so that everything that starts after it can use it, init containers included.
    _items_to_change(spec, "containers" if settings.legacy else "initContainers").insert(0, made)
    volumes = sidecar.volumes(settings)
    if volumes:
        _items_to_change(spec, "volumes").extend(volumes)
    _raise_grace(spec, drain_timeout)
    if metadata.get("annotations") is None:
        metadata["annotations"] = {}
    metadata["annotations"][INJECTED] = __version__
    if settings.legacy:  # otherwise kubectl logs and exec would use the first container
        first = text_of(items_of(spec, "containers")[1], "name")
        if first:
            metadata["annotations"].setdefault(DEFAULT_CONTAINER, first)
    pod["metadata"] = metadata
    return app_port


_OWN_VOLUMES = (sidecar.CONFIG_VOLUME, sidecar.STORE_VOLUME)


def _take_out(pod: Object) -> None:
    """Undo `_put_in` of any version; a raised grace period stays."""
    metadata, spec = pod["metadata"], pod["spec"]
    del metadata["annotations"][INJECTED]
    for key in ("initContainers", "containers", "volumes"):
        names = _OWN_VOLUMES if key == "volumes" else (NAME,)
        items = items_of(spec, key)
        for old in [item for item in items if item.get("name") in names]:
            Ports(spec).give_back(old)
            items.remove(old)
            if not items:
                del spec[key]
    for container in _all_containers(spec):
        unset_proxy(container)
        lifecycle = container.get("lifecycle")
        if lifecycle and lifecycle.get("preStop") == sidecar.service_pre_stop():
            del lifecycle["preStop"]
            if not lifecycle:
                del container["lifecycle"]


def _service_containers(spec: Object, settings: Settings) -> list[Object]:
    """The containers whose calls use the sidecar. Raises InvalidSetting.

    They include init containers if the sidecar runs before them, but not other sidecars.
    """
    candidates = items_of(spec, "containers")
    if not settings.legacy:
        candidates = [*items_of(spec, "initContainers"), *candidates]
    names = [container.get("name") for container in candidates]
    missing = [name for name in settings.containers if name not in names]
    if missing:
        raise InvalidSetting("containers", f"there is no container {' or '.join(missing)}")
    if settings.containers:
        return [c for c in candidates if c.get("name") in settings.containers]
    return [
        container
        for container in candidates
        if container.get("restartPolicy") != "Always"
        and container.get("name") not in OTHER_SIDECARS
    ]


def _hold_back(container: Object) -> None:
    """Delay the service's SIGTERM until no more requests can arrive."""
    lifecycle = mapping_of(container, "lifecycle")
    if not lifecycle.get("preStop"):
        lifecycle["preStop"] = sidecar.service_pre_stop()
        container["lifecycle"] = lifecycle


def _raise_grace(spec: Object, drain_timeout: float) -> None:
    needed = math.ceil(drain_timeout) + sidecar.GRACE
    current = spec.get("terminationGracePeriodSeconds")
    if current is None:
        current = DEFAULT_GRACE
    if not isinstance(current, int) or isinstance(current, bool):
        raise Malformed("spec.terminationGracePeriodSeconds is not a number of seconds")
    if current < needed:
        spec["terminationGracePeriodSeconds"] = needed


def _name_of(metadata: Object) -> str | None:
    labels = text_map_of(metadata, "labels")
    return labels.get("app.kubernetes.io/name") or labels.get("app") or None


def _ends(spec: Object) -> bool:
    return (spec.get("restartPolicy") or "Always") != "Always"


def _all_containers(spec: Object) -> list[Object]:
    return [*items_of(spec, "initContainers"), *items_of(spec, "containers")]


def _items_to_change(spec: Object, key: str) -> list[Object]:
    """The list at `key`, created if missing."""
    items = spec[key] = items_of(spec, key)
    return items
