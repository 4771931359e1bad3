"""The settings of a pod's sidecar: one table for options, annotations and documentation.

``--cpu-request 50m`` of `inject` and `webhook` applies to every pod, and the annotation
``resilience-proxy/cpu-request: 50m`` of a pod to this one. `inject` also reads it from a workload,
for the pods of its template; the template's own annotations have priority.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from proxy import __version__
from proxy.units import UnitError, parse_duration

PREFIX = "resilience-proxy/"
EMPTY_DIR = "emptyDir"
"""A value of `store-volume`: a volume of its own that is lost with the pod."""
INJECTED = PREFIX + "injected"
"""The annotation with the version of a pod's sidecar."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(rf"{_NAME.pattern}(\.{_NAME.pattern})*", re.ASCII)
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(m|[kMGTPE]|[KMGTPE]i)?", re.ASCII)


class InvalidSetting(Exception):
    """An invalid value: the setting's name, and what is expected."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.annotation = PREFIX + name


class Mistakes(Exception):
    """All mistakes for one pod's sidecar; `found` has an exception for each."""

    def __init__(self, found: Iterable[Exception]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(map(str, self.found)))


@dataclass(frozen=True, slots=True)
class Settings:
    """The value of every setting; None means ``none``."""

    inject: bool = True
    legacy: bool = False
    image: str = f"resilience-proxy:{__version__}"
    image_pull_policy: str = "IfNotPresent"
    config_map: str | None = None
    store_volume: str | None = None
    secret: str | None = None
    app_port: int | str | None = None
    service: str | None = None
    http_proxy: bool = True
    no_proxy: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    pre_stop: bool = True
    drain_timeout: float = 25.0
    cpu_request: str | None = "100m"
    memory_request: str | None = "64Mi"
    cpu_limit: str | None = None
    memory_limit: str | None = "192Mi"

    def override(self, annotations: Mapping[str, str]) -> "tuple[Settings, list[InvalidSetting]]":
        """These settings overridden by a pod's annotations, and each invalid annotation.

        Invalid values are not applied.
        """
        values: dict[str, Any] = {}
        wrong = []
        for setting in SETTINGS:
            text = annotations.get(setting.annotation)
            if text is None:
                continue
            try:
                values[setting.attribute] = setting.read(text)
            except ValueError as error:
                wrong.append(InvalidSetting(setting.name, str(error)))
        return replace(self, **values), wrong

    def contradictions(self) -> Iterator[InvalidSetting]:
        """Requests above their limits: the API server would refuse the pod."""
        pairs = (
            ("cpu", self.cpu_request, self.cpu_limit),
            ("memory", self.memory_request, self.memory_limit),
        )
        for what, request, limit in pairs:
            if request is not None and limit is not None and amount(request) > amount(limit):
                problem = f"{request} is more than the {what}-limit, which is {limit}"
                yield InvalidSetting(f"{what}-request", problem)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: `read` parses its value, or raises ValueError that says what is expected.

    `takes` is the placeholder: ``--image IMAGE``.
    """

    name: str
    takes: str
    read: Callable[[str], Any]
    doc: str

    @property
    def attribute(self) -> str:
        return self.name.replace("-", "_")

    @property
    def annotation(self) -> str:
        return PREFIX + self.name

    @property
    def default(self) -> str:
        """The default as written."""
        value = getattr(Settings(), self.attribute)
        if value is None or value == ():
            return "none"
        if isinstance(value, bool):
            return ("disabled", "enabled")[value] if self.name == "inject" else str(value).lower()
        return f"{value:g}s" if isinstance(value, float) else str(value)


MAX_UNKNOWN = 10
"""Unknown annotations that are told: to find what was meant takes long, and a Pod may have
thousands."""
_LONGEST_MEANT = 60


def unknown(annotations: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each annotation that looks like a setting and is not one."""
    from proxy.config.suggestions import did_you_mean  # not imported just to show options

    names = [setting.name for setting in SETTINGS]
    known = {PREFIX + name for name in names} | {INJECTED}
    found = [one for one in annotations if one.startswith(PREFIX) and one not in known]
    for annotation in found[:MAX_UNKNOWN]:
        name = annotation.removeprefix(PREFIX)
        hint = did_you_mean(name, names) if len(name) <= _LONGEST_MEANT else ""
        yield f"the annotation {annotation} is unknown{hint}"
    if len(found) > MAX_UNKNOWN:
        yield f"{len(found) - MAX_UNKNOWN} more annotations are unknown"


# --- texts to values ---------------------------------------------------------------------------


def _switch(text: str) -> bool:
    if text not in ("enabled", "disabled"):
        raise ValueError(f"{text!r} is neither enabled nor disabled")
    return text == "enabled"


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def _image(text: str) -> str:
    if not text or any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError(f"{text!r} is not the name of an image")
    return text


def _pull_policy(text: str) -> str:
    if text not in ("Always", "IfNotPresent", "Never"):
        raise ValueError(f"{text!r} is not one of Always, IfNotPresent, Never")
    return text


def _config_map(text: str) -> str | None:
    if text == "none":
        return None
    if not _SUBDOMAIN.fullmatch(text) or len(text) > 253:
        raise ValueError(f"{text!r} is not the name of a ConfigMap")
    return text


def _secret(text: str) -> str | None:
    if text == "none":
        return None
    if not _SUBDOMAIN.fullmatch(text) or len(text) > 253:
        raise ValueError(f"{text!r} is not the name of a Secret")
    return text


def _volume(text: str) -> str | None:
    if text == "none":
        return None
    if text != EMPTY_DIR and (not _NAME.fullmatch(text) or len(text) > 63):
        raise ValueError(f"{text!r} is neither emptyDir nor the name of a volume")
    return text


def _port(text: str) -> int | str | None:
    if text == "none":
        return None
    if text.isascii() and text.isdigit():
        if 1 <= int(text) <= 65535:
            return int(text)
    elif _NAME.fullmatch(text) and len(text) <= 15 and any(c.isalpha() for c in text):
        return text
    raise ValueError(f"{text!r} is neither a port (1 to 65535) nor a port's name")


def _service(text: str) -> str | None:
    if text == "none":
        return None
    if not text or len(text) > 128 or not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r} is not a name: 1 to 128 printable ASCII characters")
    return text


def _list(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(item.strip() for item in text.split(",") if item.strip())


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except UnitError as error:
        raise ValueError(str(error)) from None


def _quantity(text: str) -> str | None:
    if text == "none":
        return None
    if not _QUANTITY.fullmatch(text):
        raise ValueError(f"{text!r} is not a quantity such as 100m, 0.5 or 64Mi")
    return text


def amount(quantity: str) -> Fraction:
    """A quantity as a number: cores or bytes."""
    match = _QUANTITY.fullmatch(quantity)
    assert match is not None, quantity
    suffix = match[2] or ""
    if suffix == "m":
        return Fraction(match[1]) / 1000
    power = "KMGTPE".find(suffix[:1].upper()) + 1 if suffix else 0
    factor: int = (1024 if suffix.endswith("i") else 1000) ** power
    return Fraction(match[1]) * factor


SETTINGS = (
    Setting(
        "inject",
        "enabled|disabled",
        _switch,
        "Whether pods get the sidecar. With `enabled` on a pod it is an error if the pod cannot "
        "have one. With the option `disabled`, only pods with `enabled` get it.",
    ),
    Setting(
        "legacy",
        "true|false",
        _boolean,
        "A plain first container instead of a native sidecar, for Kubernetes before 1.29.",
    ),
    Setting("image", "IMAGE", _image, "The sidecar's image."),
    Setting("image-pull-policy", "POLICY", _pull_policy, "`Always`, `IfNotPresent` or `Never`."),
    Setting(
        "config-map",
        "NAME",
        _config_map,
        "The ConfigMap whose key `proxy.yaml` is the configuration; without one the built-in "
        "defaults apply.",
    ),
    Setting(
        "store-volume",
        "NAME",
        _volume,
        "The volume at `/var/lib/resilience-proxy`, for the configuration's `store`: `emptyDir`, "
        "which is lost with the pod, or the name of one of the pod's volumes, such as a claim "
        "template of its StatefulSet.",
    ),
    Setting(
        "secret",
        "NAME",
        _secret,
        "The Secret whose keys are variables of the sidecar's environment, such as `PGPASSWORD` "
        "for a `store` on PostgreSQL. The service does not get them.",
    ),
    Setting(
        "app-port",
        "PORT",
        _port,
        "The service's port, or its name. With it, inbound traffic goes through the sidecar; "
        "without it, none does.",
    ),
    Setting(
        "service",
        "NAME",
        _service,
        "The service's name in traces, metrics and `Proxy-Status`, unless the configuration has "
        "one; without it the pod's label `app.kubernetes.io/name`, else `app`.",
    ),
    Setting(
        "http-proxy",
        "true|false",
        _boolean,
        "Whether the service's containers get `HTTP_PROXY` and `NO_PROXY`, in both spellings.",
    ),
    Setting("no-proxy", "HOST,...", _list, "Additional hosts in `NO_PROXY`."),
    Setting(
        "containers",
        "NAME,...",
        _list,
        "The service's containers; without it all except those of service meshes and other "
        "sidecars.",
    ),
    Setting(
        "pre-stop",
        "true|false",
        _boolean,
        "Whether the service's containers without a preStop hook get one that delays SIGTERM until "
        "no more requests can arrive.",
    ),
    Setting(
        "drain-timeout",
        "DURATION",
        _duration,
        "The configuration's `drain.timeout`: `terminationGracePeriodSeconds` is raised to 5 "
        "seconds more.",
    ),
    Setting("cpu-request", "QUANTITY", _quantity, "CPU request; `none` for no request."),
    Setting("memory-request", "QUANTITY", _quantity, "Memory request; `none` for no request."),
    Setting("cpu-limit", "QUANTITY", _quantity, "CPU limit; `none` for no limit."),
    Setting("memory-limit", "QUANTITY", _quantity, "Memory limit; `none` for no limit."),
)
