"""Adds sidecars to a set of objects: first to pods, then to the Services in front of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.config import ConfigError, load_text
from proxy.kubernetes.pod import inject as inject_pod
from proxy.kubernetes.services import TakenOver, is_service, redirect, selects
from proxy.kubernetes.settings import INJECTED, PREFIX, InvalidSetting, Mistakes, Settings
from proxy.kubernetes.shape import Malformed, mapping_of, text_map_of
from proxy.kubernetes.sidecar import CONFIG_FILE, INBOUND_PORT
from proxy.kubernetes.workloads import Item, Path, items_in, pod_of

_KEY = CONFIG_FILE.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Note:
    """A message about a document (from 0) and a place in it, and whether it is an error."""

    document: int
    path: Path
    text: str
    error: bool = False


_Placed = tuple[int, Item]
_Level = tuple[Path, Mapping[str, str]]
"""An object that contains the pod, or the pod: its place in the document, and its annotations."""


def _levels(item: Item, below: Path) -> Iterator[_Level]:
    """The levels with metadata from the workload down to the pod at `below`. Raises Malformed."""
    node = item.object
    yield item.path, text_map_of(item.metadata, "annotations")
    for depth, key in enumerate(below, 1):
        node = mapping_of(node, str(key))
        if key != "spec":
            path = (*item.path, *below[:depth])
            yield path, text_map_of(mapping_of(node, "metadata"), "annotations")


def _place(mistake: Exception, levels: Sequence[_Level], pod: Path) -> Path:
    """The place of a mistake: the effective annotation, if there is one."""
    if isinstance(mistake, InvalidSetting):
        for path, annotations in reversed(levels):
            if mistake.annotation in annotations:
                return (*path, "metadata", "annotations", mistake.annotation)
        return (*pod, "metadata", "annotations", mistake.annotation)
    return pod


class Injector:
    """One run over documents that belong together, with its `notes`.

    Documents are changed in place. If one of the notes is an error, do not use them.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """`environ`: for environment references in a ConfigMap's configuration."""
        self._settings = settings
        self._environ = environ
        self.notes: list[Note] = []

    def run(self, documents: Sequence[Any]) -> None:
        items = list(self._items(documents))
        configurations = {
            (item.namespace, item.name): (number, item)
            for number, item in items
            if item.kind == "ConfigMap"
        }
        taken: list[tuple[_Placed, TakenOver]] = []
        for number, item in items:
            found = self._pod(number, item, configurations)
            if found is not None:
                taken.append(((number, item), found))
        self._services(items, taken)

    def _items(self, documents: Sequence[Any]) -> Iterator[_Placed]:
        for number, document in enumerate(documents):
            try:
                for item in items_in(document):
                    if self._try(number, item, lambda item: item.metadata):
                        yield number, item
            except Malformed as error:
                self._error(number, (), str(error))

    # --- pods ---------------------------------------------------------------------------------

    def _pod(
        self, number: int, item: Item, configurations: Mapping[tuple[str, str], _Placed]
    ) -> TakenOver | None:
        """Inject into the item's pod, if it has one; returns the traffic of its sidecar."""
        path = item.path
        levels: list[_Level] = []
        try:
            found = pod_of(item)
            if found is None:
                return None
            below, pod = found
            path += below
            levels += _levels(item, below)
            above = {
                name: text
                for _, annotations in levels[:-1]
                for name, text in annotations.items()
                if name.startswith(PREFIX) and name != INJECTED
            }
            drain_timeout = self._drain_timeout(item, {**above, **levels[-1][1]}, configurations)
            done = inject_pod(pod, self._settings, drain_timeout=drain_timeout, above=above)
            labels = text_map_of(mapping_of(pod, "metadata"), "labels")
        except Mistakes as error:
            for mistake in error.found:
                self._error(number, _place(mistake, levels, path), f"{item}: {mistake}")
            return None
        except Malformed as error:
            self._error(number, path, f"{item}: {error}")
            return None
        for warning in done.warnings:
            self.notes.append(Note(number, path, f"{item}: {warning}"))
        if done.app_port is None:
            return None
        return TakenOver(item.namespace, labels, done.app_port)

    def _drain_timeout(
        self,
        item: Item,
        annotations: Mapping[str, str],
        configurations: Mapping[tuple[str, str], _Placed],
    ) -> float:
        """The drain timeout of the pod's configuration in seconds; 0 if it is unknown."""
        name = self._settings.override(annotations)[0].config_map
        found = configurations.get((item.namespace, name or ""))
        if found is None:
            return 0.0
        number, source = found
        text = mapping_of(source.object, "data").get(_KEY)
        if not isinstance(text, str):
            problem = f"has no {_KEY}"
        else:
            try:
                return load_text(text, _KEY, self._environ).config.drain.timeout
            except ConfigError as error:
                problem = str(error).splitlines()[0]
        note = Note(number, source.path, f"{source}: {problem}")
        if note not in self.notes:
            self.notes.append(note)
        return 0.0

    # --- Services -----------------------------------------------------------------------------

    def _services(
        self, items: Sequence[_Placed], taken: Sequence[tuple[_Placed, TakenOver]]
    ) -> None:
        pods = [found for _, found in taken]
        services = [
            item
            for number, item in items
            if is_service(item) and self._try(number, item, lambda item: redirect(item, pods))
        ]
        for (number, item), found in taken:
            if not any(selects(service, found) for service in services):
                text = (
                    f"{item}: no Service of this input leads to it; a Service with the targetPort "
                    f"{found.port} bypasses the sidecar until it is {INBOUND_PORT}"
                )
                self.notes.append(Note(number, item.path, text))

    # --- notes --------------------------------------------------------------------------------

    def _try(self, number: int, item: Item, action: Callable[[Item], object]) -> bool:
        try:
            action(item)
        except Malformed as error:
            self._error(number, item.path, f"{item}: {error}")
            return False
        return True

    def _error(self, document: int, path: Path, text: str) -> None:
        self.notes.append(Note(document, path, text, error=True))
