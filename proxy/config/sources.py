"""Where each value comes from: a line of a file, a flag, a variable, or a default."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from proxy.config.model import DEFAULT_POLICY, INBOUND_POLICY, Config, RouteConfig
from proxy.config.policy_keys import POLICY
from proxy.config.problems import Mark, Path, format_path

BUILT_IN = "built-in default"
BUILT_IN_INBOUND = f"{BUILT_IN} (policy {INBOUND_POLICY})"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of a policy: `value` in the file's spelling, `source` for people."""

    key: str
    value: Any
    source: str

    @property
    def text(self) -> str:
        if isinstance(self.value, list) and not any(isinstance(v, dict) for v in self.value):
            return f"[{', '.join(map(str, self.value))}]"
        return self.value if isinstance(self.value, str) else json.dumps(self.value)


class Sources:
    """The sources of one loaded configuration.

    `names`: the files that `Mark.file` counts; None is the embedded default.
    `variables`: the values that came from the environment, by the variable's name.
    """

    def __init__(
        self,
        names: Sequence[str | None],
        given: Mapping[Path, Mark],
        config: Config,
        variables: Mapping[Path, str] = MappingProxyType({}),
    ) -> None:
        self._names = names
        self._given = given
        self._variables = variables
        self._indices = {route.name: index for index, route in enumerate(config.routes)}

    def of(self, path: Path) -> str:
        """``file:line`` of the key at this path, a variable, or that it is a built-in default."""
        return self._variables.get(path) or self.place(path) or BUILT_IN

    def place(self, path: Path) -> str | None:
        """``file:line`` of the key at this path, or the flag or variable that sets it.

        None for a default.
        """
        mark = self._given.get(path)
        name = None if mark is None else self._names[mark.file]
        if mark is None or name is None:
            return None
        return f"{name}:{mark.line}" if mark.line else name

    def route(self, route: RouteConfig) -> str:
        """``file:line`` of the route itself."""
        index = self._indices.get(route.name)
        return BUILT_IN if index is None else self.of(("routes", index, "name"))

    def settings(self, route: RouteConfig) -> list[Setting]:
        """Every value of a route's effective policy, in the reference's order."""
        return [
            Setting(format_path(path), value, self.in_route(route, path))
            for path, value in POLICY.leaves(route.policies)
        ]

    def in_route(self, route: RouteConfig, path: Path) -> str:
        """The source of a key of a route's effective policy: the innermost layer that sets it.

        That is the route, its policy, or the default policy.
        """
        index = self._indices.get(route.name)
        if index is not None and self.place(("routes", index, *path)):
            return f"{self.of(('routes', index, *path))} (route {route.name})"
        return self.policy(route.policy, path)

    def policy(self, name: str, path: Path) -> str:
        """The source of a key of a named policy: that policy, or the default one."""
        return self._innermost(_policy_layers(name), path) or _built_in(name)

    def _innermost(self, layers: list[tuple[str, Path]], path: Path) -> str | None:
        for label, prefix in layers:
            if self.place((*prefix, *path)):
                return f"{self.of((*prefix, *path))} ({label})"
        return None


def _policy_layers(name: str) -> list[tuple[str, Path]]:
    """A policy and its base. ``inbound`` takes nothing from ``default``."""
    names = (name,) if name == INBOUND_POLICY else dict.fromkeys((name, DEFAULT_POLICY))
    return [(f"policy {each}", ("policies", each)) for each in names]


def _built_in(policy: str) -> str:
    return BUILT_IN_INBOUND if policy == INBOUND_POLICY else BUILT_IN
