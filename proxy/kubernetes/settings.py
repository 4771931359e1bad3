"""What can be set about a pod's sidecar: one table for options, annotations and documentation.

``--cpu-request 50m`` of `inject` and `webhook` says it for every pod, and the annotation
``resilience-proxy/cpu-request: 50m`` of a pod for this one. `inject` also takes it from a workload,
for the pods of its template; the template's own annotations come first.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from proxy import __version__
from proxy.units import UnitError, parse_duration

PREFIX = "resilience-proxy/"
INJECTED = PREFIX + "injected"
"""The annotation that says which version's sidecar a pod has."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(rf"{_NAME.pattern}(\.{_NAME.pattern})*", re.ASCII)
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(m|[kMGTPE]|[KMGTPE]i)?", re.ASCII)


class InvalidSetting(Exception):
    """A value that cannot be used: the setting's name, and what would be right."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.annotation = PREFIX + name


class Mistakes(Exception):
    """All that is wrong about one pod's sidecar; `found` has an exception for each."""

    def __init__(self, found: Iterable[Exception]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(map(str, self.found)))


@dataclass(frozen=True, slots=True)
class Settings:
    """The value of every setting; None is ``none``."""

    inject: bool = True
    legacy: bool = False
    image: str = f"resilience-proxy:{__version__}"
    image_pull_policy: str = "IfNotPresent"
    config_map: str | None = None
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
        """These settings with what a pod's annotations say, and each annotation that is wrong.

        What is wrong is left out of the settings.
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
    """One row: `read` makes its value of a text, or raises ValueError that says what is wanted.

    `takes` is shown where a value stands: ``--image IMAGE``.
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
        """As it would be written."""
        value = getattr(Settings(), self.attribute)
        if value is None or value == ():
            return "none"
        if isinstance(value, bool):
            return ("disabled", "enabled")[value] if self.name == "inject" else str(value).lower()
        return f"{value:g}s" if isinstance(value, float) else str(value)


def unknown(annotations: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each annotation that looks like a setting and is none."""
    from proxy.config.suggestions import did_you_mean  # not for everybody who only shows options

    names = [setting.name for setting in SETTINGS]
    for annotation in annotations:
        if not annotation.startswith(PREFIX) or annotation == INJECTED:
            continue
        name = annotation.removeprefix(PREFIX)
        if name not in names:
            yield f"the annotation {annotation} means nothing{did_you_mean(name, names)}"


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
        raise ValueError(f"{text!r} is no name of an image")
    return text


def _pull_policy(text: str) -> str:
    if text not in ("Always", "IfNotPresent", "Never"):
        raise ValueError(f"{text!r} is none of Always, IfNotPresent, Never")
    return text


def _config_map(text: str) -> str | None:
    if text == "none":
        return None
    if not _SUBDOMAIN.fullmatch(text) or len(text) > 253:
        raise ValueError(f"{text!r} is no name of a ConfigMap")
    return text


def _port(text: str) -> int | str | None:
    if text == "none":
        return None
    if text.isascii() and text.isdigit():
        if 1 <= int(text) <= 65535:
            return int(text)
    elif _NAME.fullmatch(text) and len(text) <= 15 and any(c.isalpha() for c in text):
        return text
    raise ValueError(f"{text!r} is neither a port (1 to 65535) nor the name of one")


def _service(text: str) -> str | None:
    if text == "none":
        return None
    if not text or len(text) > 128 or not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r} is no name: 1 to 128 printable ASCII characters")
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
        raise ValueError(f"{text!r} is no quantity such as 100m, 0.5 or 64Mi")
    return text


def amount(quantity: str) -> Fraction:
    """The number that a quantity stands for: cores, or bytes."""
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
        "Whether pods get the sidecar. `enabled` on a pod insists: if it cannot have one, that is "
        "an error. With the option at `disabled`, only pods that say `enabled` get it.",
    ),
    Setting(
        "legacy",
        "true|false",
        _boolean,
        "A plain container that stands first, instead of a native sidecar: for Kubernetes before "
        "1.29.",
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
        "app-port",
        "PORT",
        _port,
        "The port on which the service listens, or its name. Inbound traffic then goes through the "
        "sidecar; without it, none does.",
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
    Setting("no-proxy", "HOST,...", _list, "What `NO_PROXY` has in addition."),
    Setting(
        "containers",
        "NAME,...",
        _list,
        "The containers that are the service; without it all but those of service meshes and other "
        "sidecars.",
    ),
    Setting(
        "pre-stop",
        "true|false",
        _boolean,
        "Whether the service's containers, those that have no preStop hook, get one that holds "
        "SIGTERM back until no more requests can arrive.",
    ),
    Setting(
        "drain-timeout",
        "DURATION",
        _duration,
        "The configuration's `drain.timeout`: `terminationGracePeriodSeconds` is raised to this "
        "and 5 seconds more.",
    ),
    Setting("cpu-request", "QUANTITY", _quantity, "CPU that is set aside; `none` for none."),
    Setting("memory-request", "QUANTITY", _quantity, "Memory that is set aside; `none` for none."),
    Setting("cpu-limit", "QUANTITY", _quantity, "The most CPU; `none` for no limit."),
    Setting("memory-limit", "QUANTITY", _quantity, "The most memory; `none` for no limit."),
)
