"""Kinds that contain others: records with fixed keys, lists, and mappings with users' keys."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

from proxy.config.advice import OFF_WORDS
from proxy.config.cursor import Cursor, Reported
from proxy.config.kinds import JsonSchema, Kind, Leaf
from proxy.config.problems import Path

T = TypeVar("T")

Given: TypeAlias = dict[str, Cursor]
Values: TypeAlias = dict[str, Any]

MOST_SHARED = 1_000
"""Parts of values that are remembered while many values are written back."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key. `attributes` of the record's class that its value sets, by default the one with the
    key's name; with several, the value is a tuple. `doc` is a sentence for the reference."""

    kind: Kind[Any]
    doc: str
    attributes: tuple[str, ...] = ()
    required: bool = False


class Record(Kind[T]):
    """A mapping with fixed keys that becomes `build(**attributes)`.

    With a base, missing keys keep the base's values recursively: this merges default, policy and
    route. `settle` may inspect the given keys, change the attributes before they are built, and
    report problems. `check` inspects the whole value. Both run only if every key was read without
    an error.
    `sparse`: keys at their default are not written back.
    """

    def __init__(
        self,
        build: Callable[..., T],
        keys: Mapping[str, Field],
        *,
        settle: Callable[[Values, Given, Cursor], None] | None = None,
        check: Callable[[T, Given, Cursor], None] | None = None,
        sparse: bool = False,
        definition: str | None = None,
    ) -> None:
        self.keys = {
            key: field if field.attributes else Field(field.kind, field.doc, (key,), field.required)
            for key, field in keys.items()
        }
        self.definition = definition
        self._build = build
        self._settle = settle
        self._check = check
        self._sparse = sparse

    @cached_property
    def _defaults(self) -> Values:
        return _defaults_of(self._build)

    def read(self, at: Cursor, base: T | None = None) -> T:
        return self.fill(at.entries(self.keys), at, base)

    def fill(self, given: Given, at: Cursor, base: T | None = None, **fixed: Any) -> T:
        """Build the value from a mapping's entries; `fixed` are attributes without a key."""
        values = dict(self._defaults) if base is None else self._values_of(base)
        values |= fixed
        whole = True
        for key, field in self.keys.items():
            if key in given:
                whole &= self._take(given[key], field, values)
            elif field.required and any(name not in values for name in field.attributes):
                at.error(f"'{key}' is missing")
                whole = False
        if whole and self._settle:
            self._settle(values, given, at)
        try:
            value = self._build(**values)
        except (TypeError, ValueError) as error:
            # A missing or unusable required key has been reported; a ValueError is an
            # invariant of the value itself.
            raise at.error(str(error)) if whole else Reported() from None
        if whole and self._check:
            self._check(value, given, at)
        return value

    def _take(self, at: Cursor, field: Field, values: Values) -> bool:
        """Read one key's value into its attributes; returns whether it was usable."""
        names = field.attributes
        base = values.get(names[0]) if len(names) == 1 else None
        try:
            found = field.kind.read(at, base)
        except Reported:
            return False
        at.reading.given[at.path] = at.mark
        values.update(zip(names, (found,) if len(names) == 1 else found, strict=True))
        return True

    def _values_of(self, value: T) -> Values:
        return {name: getattr(value, name) for name in _attribute_names(self._build)}

    def _member(self, value: Any, field: Field) -> Any:
        names = field.attributes
        if len(names) == 1:
            return getattr(value, names[0])
        return tuple(getattr(value, name) for name in names)

    def dump(self, value: T, reveal: bool) -> dict[str, Any]:
        return {
            key: dump_or_none(self.keys[key].kind, member, reveal)
            for key, member in self.members(value)
        }

    def members(self, value: T) -> Iterator[tuple[str, Any]]:
        """The keys that are written back, each with its value."""
        for key, field in self.keys.items():
            found = self._member(value, field)
            if not (self._sparse and found == self._default(field)):
                yield key, found

    def dump_all(self, values: Iterable[T], reveal: bool) -> Iterator[dict[str, Any]]:
        """`dump` of each in turn. What several values share is dumped once, and shared again."""
        shared: dict[tuple[str, int], tuple[Any, Any]] = {}
        for value in values:
            dumped = {}
            for key, member in self.members(value):
                # The member is kept with it, so that no other object takes its id.
                known = shared.get((key, id(member)))
                if known is None:
                    known = member, dump_or_none(self.keys[key].kind, member, reveal)
                    if len(shared) >= MOST_SHARED:
                        shared.clear()
                    shared[key, id(member)] = known
                dumped[key] = known[1]
            yield dumped

    def leaves(self, value: T, path: Path = ()) -> Iterator[tuple[Path, Any]]:
        """Every key that is not a record, and its value in the file's spelling."""
        for key, field in self.keys.items():
            found = self._member(value, field)
            if isinstance(field.kind, Record) and found is not None:
                yield from field.kind.leaves(found, (*path, key))
            else:
                yield (*path, key), dump_or_none(field.kind, found, True)

    def _default(self, field: Field) -> Any:
        found = tuple(self._defaults.get(name) for name in field.attributes)
        return found[0] if len(found) == 1 else found

    def schema(self) -> JsonSchema:
        return {"$ref": f"#/$defs/{self.definition}"} if self.definition else self.object_schema()

    def object_schema(self) -> JsonSchema:
        """The schema itself; `schema` may be a reference to it."""
        properties = {key: self._property(field) for key, field in self.keys.items()}
        required = [key for key, field in self.keys.items() if field.required]
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": properties,
            **({"required": required} if required else {}),
        }

    def _property(self, field: Field) -> JsonSchema:
        schema: JsonSchema = {"description": field.doc}
        if all(name in self._defaults for name in field.attributes):
            default = dump_or_none(field.kind, self._default(field), True)
            if default is not None and not isinstance(default, dict):
                schema["default"] = default
        shape = field.kind.schema()
        return schema | (shape if field.required else or_null(shape))


class Optional(Kind[T | None]):
    """A kind, or ``none``, which also removes an inherited value."""

    def __init__(self, kind: Kind[T]) -> None:
        self.kind = kind

    def read(self, at: Cursor, base: T | None = None) -> T | None:
        found = at.text()
        return None if found is not None and found[0] == "none" else self.kind.read(at, base)

    def dump(self, value: T | None, reveal: bool) -> Any:
        return "none" if value is None else self.kind.dump(value, reveal)

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"const": "none"}, self.kind.schema()]}


class ListOf(Kind[tuple[T, ...]]):
    """A list, which replaces an inherited one. A repeated item is a warning."""

    def __init__(self, item: Kind[T], what: str, *, minimum: int = 0) -> None:
        self._item = item
        self._what = what
        self._minimum = minimum

    def read(self, at: Cursor, base: tuple[T, ...] | None = None) -> tuple[T, ...]:
        cursors = at.items()
        if cursors is None:
            found = at.text()
            hint = f": [{found[0]}]" if found and found[0].isprintable() and found[0] else ""
            if found and found[0] in OFF_WORDS:
                hint = "; [] is none"
            elif at.members():
                hint = "; put '- ' before its first key, or [ ] around it"
            raise at.error(f"must be a list of {self._what}{hint}")
        values: list[T] = []
        whole = True
        for cursor in cursors:
            try:
                value = self._item.read(cursor)
            except Reported:
                whole = False
                continue
            if value in values:
                cursor.warning("is already in this list")
            values.append(value)
        if whole and len(values) < self._minimum:
            raise at.error(f"must name at least one of {self._what}")
        if not whole:
            raise Reported
        return tuple(values)

    def dump(self, value: tuple[T, ...], reveal: bool) -> list[Any]:
        return [self._item.dump(item, reveal) for item in value]

    def schema(self) -> JsonSchema:
        bounds = {"minItems": self._minimum} if self._minimum else {}
        return {"type": "array", "items": self._item.schema(), **bounds}


class SetOf(Kind[frozenset[T]]):
    """A list whose order has no meaning."""

    def __init__(self, item: Kind[T], what: str, *, minimum: int = 0) -> None:
        self._list = ListOf(item, what, minimum=minimum)

    def read(self, at: Cursor, base: frozenset[T] | None = None) -> frozenset[T]:
        return frozenset(self._list.read(at))

    def dump(self, value: frozenset[T], reveal: bool) -> list[Any]:
        return sorted(self._list.dump(tuple(value), reveal))

    def schema(self) -> JsonSchema:
        return self._list.schema()


class PairsOf(Kind[tuple[tuple[str, T], ...]]):
    """A mapping with users' keys, in the file's order; `name` is the kind of the keys.

    `any_case`: keys that differ in case alone are the same key.
    """

    def __init__(self, name: Leaf[str], value: Kind[T], *, any_case: bool = False) -> None:
        self._name = name
        self._value = value
        self._any_case = any_case

    def read(
        self, at: Cursor, base: tuple[tuple[str, T], ...] | None = None
    ) -> tuple[tuple[str, T], ...]:
        pairs: dict[str, T] = {}
        known: set[str] = set()
        whole = True
        for key, cursor in self.named(at):
            try:
                value = self._value.read(cursor)
            except Reported:
                whole = False
                continue
            same = key.lower() if self._any_case else key
            if same in known:
                cursor.error(f"'{key}' is already here in another spelling")
            known.add(same)
            pairs[key] = value
        if not whole:
            raise Reported
        return tuple(pairs.items())

    def named(self, at: Cursor) -> Iterator[tuple[str, Cursor]]:
        """The entries whose key is valid; each other one is reported at its key."""
        if at.absent():
            return
        members = at.members()
        if members is None:
            raise at.error(f"must be a mapping; each key must be {self._name.wants}")
        for key, (mark, cursor) in members.items():
            try:
                yield self._name.take(key), cursor
            except ValueError as error:
                at.reading.problems.error(mark, cursor.path, str(error))

    def dump(self, value: tuple[tuple[str, T], ...], reveal: bool) -> dict[str, Any]:
        return {key: self._value.dump(item, reveal) for key, item in value}

    def schema(self) -> JsonSchema:
        return {"type": "object", "additionalProperties": or_null(self._value.schema())}


class NamedRecords(Kind[dict[str, T]]):
    """Records by name, which is an attribute without a key. One with mistakes is left out."""

    def __init__(self, name: Leaf[str], record: Record[T]) -> None:
        self._record = record
        self._pairs = PairsOf(name, record)

    def read(self, at: Cursor, base: dict[str, T] | None = None) -> dict[str, T]:
        below = base or {}
        named = dict(self._pairs.named(at))
        self._announce(at, tuple(named))
        found = {}
        for name, cursor in named.items():
            try:
                given = cursor.entries(self._record.keys)
                found[name] = self._record.fill(given, cursor, below.get(name), name=name)
            except Reported:
                continue
        return below | found

    def _announce(self, at: Cursor, names: tuple[str, ...]) -> None:
        """Note the names for kinds that refer to them, before any record is read."""

    def dump(self, value: dict[str, T], reveal: bool) -> dict[str, Any]:
        return self._pairs.dump(tuple(value.items()), reveal)

    def schema(self) -> JsonSchema:
        return self._pairs.schema()


def dump_or_none(kind: Kind[Any], value: Any, reveal: bool) -> Any:
    """None stays None, unless the kind has a word for it."""
    return None if value is None and not isinstance(kind, Optional) else kind.dump(value, reveal)


def or_null(schema: JsonSchema) -> JsonSchema:
    """The schema, or null: a key without a value counts as missing."""
    if "anyOf" in schema:
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}


def _attribute_names(build: Callable[..., Any]) -> list[str]:
    return [f.name for f in fields(build)] if is_dataclass(build) else []


def _defaults_of(build: Callable[..., Any]) -> Values:
    """The defaults of a dataclass's attributes, used without a value in file and base."""
    defaults: Values = {}
    for attribute in fields(build) if is_dataclass(build) else ():
        if attribute.default is not MISSING:
            defaults[attribute.name] = attribute.default
        elif attribute.default_factory is not MISSING:
            defaults[attribute.name] = attribute.default_factory()
    return defaults
