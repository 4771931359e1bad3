"""The sidecar's container, its volume, and their numbers.

This is everything that the API server sees of the proxy. It complies with the restricted Pod
Security Standard.
"""

from typing import Any

from proxy.kubernetes.settings import EMPTY_DIR, Settings

Object = dict[str, Any]
"""A Kubernetes object, or a part of one, as JSON data."""

NAME = "resilience-proxy"

OUTBOUND_PORT, INBOUND_PORT, ADMIN_PORT = 7070, 7071, 7072
PORTS = (OUTBOUND_PORT, INBOUND_PORT, ADMIN_PORT)
INBOUND_PORT_NAME, ADMIN_PORT_NAME = "proxy-in", "proxy-admin"

CONFIG_VOLUME = "resilience-proxy-config"
CONFIG_DIRECTORY = "/etc/resilience-proxy/config"
CONFIG_FILE = f"{CONFIG_DIRECTORY}/proxy.yaml"

STORE_VOLUME = "resilience-proxy-store"
STORE_DIRECTORY = "/var/lib/resilience-proxy"

USER = 65532
"""The image's user, without a name or rights."""

GRACE = 5
"""Seconds of a pod after `drain.timeout`, to cut what is left and to flush logs."""

START_WITHIN = 60
"""Seconds until a proxy that is not ready is restarted. It needs about one, on a busy node."""


def container(
    settings: Settings,
    *,
    inbound_port_name: str = INBOUND_PORT_NAME,
    app_port: int | None = None,
    service: str | None = None,
) -> Object:
    """The container: of `initContainers` for a native sidecar, of `containers` for a legacy one.

    `inbound_port_name` is the name of the inbound port, for Services.
    """
    run = ["run", "--config", CONFIG_FILE] if settings.config_map else ["run"]
    made: Object = {
        "name": NAME,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": run,
    }
    if not settings.legacy:
        made["restartPolicy"] = "Always"  # in an init container: what makes it a native sidecar
    environment = _environment(app_port, service)
    if environment:
        made["env"] = environment
    if settings.secret is not None:
        made["envFrom"] = [{"secretRef": {"name": settings.secret}}]
    made["ports"] = [
        {"name": inbound_port_name, "containerPort": INBOUND_PORT, "protocol": "TCP"},
        {"name": ADMIN_PORT_NAME, "containerPort": ADMIN_PORT, "protocol": "TCP"},
    ]
    mounts = _mounts(settings)
    if mounts:
        made["volumeMounts"] = mounts
    made |= _probes()
    made["lifecycle"] = _lifecycle(settings)
    resources = _resources(settings)
    if resources:
        made["resources"] = resources
    made["securityContext"] = _security()
    return made


def _mounts(settings: Settings) -> list[Object]:
    mounts: list[Object] = []
    if settings.config_map:
        # The directory, not the file by subPath, which would never see the ConfigMap change.
        mounts.append({"name": CONFIG_VOLUME, "mountPath": CONFIG_DIRECTORY, "readOnly": True})
    if settings.store_volume:
        own = settings.store_volume == EMPTY_DIR
        name = STORE_VOLUME if own else settings.store_volume
        mounts.append({"name": name, "mountPath": STORE_DIRECTORY})
    return mounts


def volumes(settings: Settings) -> list[Object]:
    """The volumes that the pod gets: the configuration's ConfigMap, and an own one of the store.

    The ConfigMap is not optional: a pod whose ConfigMap is missing waits for it, and says so in its
    events, instead of running with the wrong policies.
    """
    found: list[Object] = []
    if settings.config_map is not None:
        found.append({"name": CONFIG_VOLUME, "configMap": {"name": settings.config_map}})
    if settings.store_volume == EMPTY_DIR:
        found.append({"name": STORE_VOLUME, "emptyDir": {}})
    return found


def _environment(app_port: int | None, service: str | None) -> list[Object]:
    pairs = {
        "OTEL_SERVICE_NAME": service,
        "RESILIENCE_PROXY_APP_PORT": None if app_port is None else str(app_port),
    }
    return [{"name": name, "value": value} for name, value in pairs.items() if value is not None]


def _probes() -> Object:
    """The startup probe delays the containers after a native sidecar, so it runs often."""
    ready, live = _get("/health/ready"), _get("/health/live")
    return {
        "startupProbe": {"httpGet": ready, "periodSeconds": 1, "failureThreshold": START_WITHIN},
        "readinessProbe": {
            "httpGet": ready,
            "periodSeconds": 5,
            "timeoutSeconds": 2,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": live,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
    }


def _get(path: str) -> Object:
    return {"path": path, "port": ADMIN_PORT}


def _lifecycle(settings: Settings) -> Object:
    hooks: Object = {"preStop": {"exec": {"command": [NAME, "drain"]}}}
    if settings.legacy:
        # Containers start in order, and the next one only after this hook has ended.
        wait = [NAME, "ready", "--timeout", f"{START_WITHIN}s"]
        hooks["postStart"] = {"exec": {"command": wait}}
    return hooks


def _security() -> Object:
    """What the `restricted` Pod Security Standard asks for, and a read-only file system."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsGroup": USER,
        "runAsNonRoot": True,
        "runAsUser": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def service_pre_stop() -> Object:
    """The preStop hook of the service's containers: answered when no more requests can arrive.

    The kubelet sends it, so the service's image needs nothing for it. Without a proxy to answer it
    fails, and the pod continues to end.
    """
    return {"httpGet": _get("/health/inbound-drained")}


def _resources(settings: Settings) -> Object:
    """Measured: 46 MiB when idle, 150 MiB bound by 10,000 open connections.

    No CPU limit by default: a throttled proxy delays everything that the service does.
    """
    pairs = {
        "requests": {"cpu": settings.cpu_request, "memory": settings.memory_request},
        "limits": {"cpu": settings.cpu_limit, "memory": settings.memory_limit},
    }
    resources = {
        name: {what: amount for what, amount in amounts.items() if amount is not None}
        for name, amounts in pairs.items()
    }
    return {name: amounts for name, amounts in resources.items() if amounts}
