"""A place in the file that is being read: the node, its path, and where to report problems."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from proxy.config.advice import Vocabulary, no_mapping, one_value, unknown_key
from proxy.config.document import Mapping as MappingNode
from proxy.config.document import Node, Scalar, Sequence, is_null, merged_entries
from proxy.config.environment import pieces, substitute
from proxy.config.model import APP_UPSTREAM, BUILT_IN_POLICIES, PolicyConfig
from proxy.config.problems import Mark, Path, Problems
from proxy.templates import Reference, Template, parse_reference

T = TypeVar("T")


class Reported(Exception):
    """The value is unusable, and the problem has been reported."""


@dataclass(slots=True)
class Reading:
    """Shared state while a configuration is read.

    `vocabulary` is for hints.
    `given`: every key in the file with the place of its value, for `Sources`. `upstreams`,
    `policies` and `sagas`: the names that others can use; they are complete before the first use,
    because the root's keys are read in that order.
    """

    problems: Problems
    environ: Mapping[str, str]
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    given: dict[Path, Mark] = field(default_factory=dict)
    upstreams: Collection[str] = (APP_UPSTREAM.name,)
    policies: dict[str, PolicyConfig] = field(default_factory=lambda: dict(BUILT_IN_POLICIES))
    sagas: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Cursor:
    """One node and its path. `error` reports a problem and returns the exception to raise.

    `templated`: here and below, the words of templates are no names of the environment.
    """

    reading: Reading
    node: Node
    path: Path = ()
    templated: bool = False

    @property
    def mark(self) -> Mark:
        return self.node.mark

    def error(self, message: str) -> Reported:
        self.reading.problems.error(self.mark, self.path, message)
        return Reported(message)

    def warning(self, message: str) -> None:
        self.reading.problems.warning(self.mark, self.path, message)

    def text(self) -> tuple[str, bool] | None:
        """A scalar's text with the environment inserted, and whether it was quoted.

        After a ``${...}`` was replaced, quotes have no meaning: YAML requires them inside braces.
        None for a mapping or a list. Raises Reported for a reference that cannot be resolved.
        """
        if not isinstance(self.node, Scalar):
            return None
        template = self.template() if self.templated else None
        try:
            text = (
                template.written if template else substitute(self.node.text, self.reading.environ)
            )
        except ValueError as error:
            raise self.error(str(error)) from None
        return text, self.node.quoted and text == self.node.text

    def template(self) -> Template | None:
        """A scalar with its references and the environment inserted; None without a reference
        of a template. Raises Reported for a malformed reference.
        """
        if not isinstance(self.node, Scalar) or "${" not in self.node.text:
            return None
        try:
            parts = pieces(self.node.text, self.reading.environ, parse_reference)
        except ValueError as error:
            raise self.error(str(error)) from None
        template = Template(_joined(parts))
        return template if any(template.references) else None

    def with_templates(self) -> "Cursor":
        """The same place, where texts may be templates."""
        return replace(self, templated=True)

    def absent(self) -> bool:
        """Whether the value is empty (``key:``, ``~`` or ``null``), which counts as no key."""
        if not isinstance(self.node, Scalar):
            return False
        found = self.text()
        return found is not None and is_null(Scalar(self.mark, found[0], self.node.quoted))

    def items(self) -> Iterator["Cursor"] | None:
        """The items of a list, None for anything else."""
        if not isinstance(self.node, Sequence):
            return None
        return (
            Cursor(self.reading, item, (*self.path, index), self.templated)
            for index, item in enumerate(self.node.items)
        )

    def members(self) -> dict[str, tuple[Mark, "Cursor"]] | None:
        """The values of a mapping and the places of their keys, None for anything else."""
        if not isinstance(self.node, MappingNode):
            return None
        return {
            key: (mark, Cursor(self.reading, node, (*self.path, key), self.templated))
            for key, (mark, node) in merged_entries(self.node).items()
        }

    def child(self, key: str) -> "Cursor":
        """The value at a key, or this place if there is none."""
        return (self.members() or {}).get(key, (self.mark, self))[1]

    def entries(self, known: Collection[str]) -> dict[str, "Cursor"]:
        """The given known keys; each unknown one is reported.

        Raises Reported for anything but a mapping.
        """
        if self.absent():
            return {}
        members = self.members()
        if members is None:
            raise self.error(self._no_mapping(known))
        entries = {}
        for written, (mark, cursor) in members.items():
            key = written
            if written.lower() == "true" and "on" in known and "on" not in members:
                key, cursor = "on", Cursor(self.reading, cursor.node, (*self.path, "on"))
                self.reading.problems.warning(
                    mark, cursor.path, f"'{written}' is how a YAML 1.1 writer spells 'on'"
                )
            if key not in known:
                self._report_unknown(key, mark, known, cursor)
                continue
            try:
                if not cursor.absent():
                    entries[key] = cursor
            except Reported:
                continue
        return entries

    def _no_mapping(self, known: Collection[str]) -> str:
        if isinstance(self.node, Scalar):
            advice = one_value(self.path, self.node.text)
        else:
            advice = no_mapping(self.path, self.reading.vocabulary)
        such = "" if advice else f" with keys such as '{next(iter(known))}'"
        return f"must be a mapping{such}{advice}"

    def _report_unknown(
        self, key: str, mark: Mark, known: Collection[str], value: "Cursor"
    ) -> None:
        text = value.node.text if isinstance(value.node, Scalar) else None
        advice = unknown_key(value.path, known, text, self.reading.vocabulary)
        self.reading.problems.error(mark, value.path, f"unknown key{advice}")


def read_all(cursors: Iterable[Cursor], read: Callable[[Cursor], T]) -> list[T]:
    """The values of these places. Raises Reported after the last one if any was unusable."""
    found = []
    whole = True
    for cursor in cursors:
        try:
            found.append(read(cursor))
        except Reported:
            whole = False
    if not whole:
        raise Reported
    return found


def _joined(parts: list[str | Reference]) -> tuple[str | Reference, ...]:
    joined: list[str | Reference] = []
    for part in parts:
        if isinstance(part, Reference) or not joined or isinstance(joined[-1], Reference):
            if part:
                joined.append(part)
        else:
            joined[-1] += part
    return tuple(joined)
