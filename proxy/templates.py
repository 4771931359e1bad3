"""Templates: texts and JSON values that take parts from documents of a stored request.

    ${id}                     the id of the outbox entry or saga
    ${body./items/0/sku}      a value of the request's body, by JSON pointer (RFC 6901)
    ${input./total}           a value of a saga's input
    ${steps.pay./id}          a value of a step's answer; ${steps.pay.key}: its Idempotency-Key

There are no expressions, loops or defaults. A JSON value that is one reference alone keeps its
type. A value that is missing or does not fit fails the whole rendering with `Unusable`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import quote

ID: Final = "id"
INPUT: Final = "input"
BODY: Final = "body"
STEPS: Final = "steps"
WORDS: Final = (ID, INPUT, BODY, STEPS)
"""How a reference begins; these are never names of the environment."""

_STEP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_HALF: Final = "a value has half of a surrogate pair, which is not text"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DOT_SEGMENT: Final = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")


class Unusable(ValueError):
    """A reference has no value, or one that does not fit. The text names the reference."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The documents that references read. `keys`: each step's Idempotency-Key."""

    id: str
    body: Any = None
    input: Any = None
    steps: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reference:
    """``${text}``. `pointer`: the tokens of the JSON pointer. `key`: the step's key is meant."""

    text: str
    word: str
    step: str = ""
    pointer: tuple[str, ...] = ()
    key: bool = False

    def value(self, scope: Scope) -> Any:
        """Its value. Raises Unusable if there is none."""
        if self.word == ID:
            return scope.id
        if self.word == STEPS:
            known: Mapping[str, Any] = scope.keys if self.key else scope.steps
            if self.step not in known:
                raise Unusable(f"${{{self.text}}} has no value: there is no answer of that step")
            value = known[self.step]
        else:
            value = scope.body if self.word == BODY else scope.input
        for token in self.pointer:
            value = self._below(value, token)
        return value

    def _below(self, value: Any, token: str) -> Any:
        if isinstance(value, dict) and token in value:
            return value[token]
        if isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
            return value[int(token)]
        raise Unusable(f"${{{self.text}}} has no value")

    def as_text(self, scope: Scope) -> str:
        """Its value inside a longer text. Raises Unusable for null, a list, an object, or half of a
        surrogate pair."""
        value = self.value(scope)
        if isinstance(value, str):
            if _SURROGATE.search(value):
                raise Unusable(_HALF)
            return value
        if isinstance(value, bool | int | float):
            return json.dumps(value)
        kind = "null" if value is None else "an object" if isinstance(value, dict) else "a list"
        raise Unusable(f"${{{self.text}}} is {kind}; a text needs a string, number or boolean")


def parse_reference(text: str) -> Reference | None:
    """The reference in ``${text}``; None if it does not begin with one of `WORDS`.

    Raises ValueError for one that begins so and is malformed.
    """
    word, dot, rest = text.partition(".")
    if word not in WORDS:
        if text.partition(":-")[0] in WORDS:
            raise ValueError(f"${{{text}}}: a template has no default")
        return None
    if word == ID:
        if dot:
            raise ValueError(f"${{{text}}} is malformed; write ${{id}}")
        return Reference(text, ID)
    if word == STEPS:
        step, dot, rest = rest.partition(".")
        if not _STEP.fullmatch(step):
            raise ValueError(
                f"${{{text}}} is malformed; write ${{steps.NAME./pointer}} or ${{steps.NAME.key}}"
            )
        if rest == "key":
            return Reference(text, STEPS, step, key=True)
        return Reference(text, STEPS, step, _pointer(text, rest, given=bool(dot)))
    return Reference(text, word, pointer=_pointer(text, rest, given=bool(dot)))


def _pointer(text: str, pointer: str, *, given: bool) -> tuple[str, ...]:
    if not given:
        return ()
    if not pointer.startswith("/"):
        raise ValueError(f"${{{text}}} is malformed: a JSON pointer such as ./name must follow")
    return parse_pointer(pointer)


def parse_pointer(pointer: str) -> tuple[str, ...]:
    """The tokens of a JSON pointer (RFC 6901), which must begin with a slash. Raises ValueError."""
    if not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is not a JSON pointer such as /orderId")
    if _BAD_ESCAPE.search(pointer):
        raise ValueError(f"{pointer!r}: in a JSON pointer ~ is written ~0, and / is written ~1")
    tokens = pointer[1:].split("/")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in tokens)


def at_pointer(document: Any, pointer: tuple[str, ...]) -> Any:
    """The value at a pointer. Raises Unusable."""
    return Reference("", BODY, pointer=pointer).value(Scope("", document))


@dataclass(frozen=True, slots=True)
class Template:
    """Literal texts and references, in order; no two literal texts follow each other."""

    parts: tuple[str | Reference, ...]

    @property
    def references(self) -> Iterator[Reference]:
        return (part for part in self.parts if isinstance(part, Reference))

    @property
    def written(self) -> str:
        """As in the file."""
        return "".join(
            part.replace("${", "$${") if isinstance(part, str) else f"${{{part.text}}}"
            for part in self.parts
        )

    def text(self, scope: Scope) -> str:
        """Rendered as text. Raises Unusable."""
        return "".join(
            part if isinstance(part, str) else part.as_text(scope) for part in self.parts
        )

    def value(self, scope: Scope) -> Any:
        """Rendered as a JSON value: one reference alone keeps its type. Raises Unusable."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Reference):
            return self.parts[0].value(scope)
        return self.text(scope)

    def path(self, scope: Scope) -> str:
        """Rendered as a path with its query, the values percent-encoded (RFC 3986 section 2.1).

        Raises Unusable, also for values that would make a segment ``.`` or ``..``.
        """
        rendered = "".join(
            part if isinstance(part, str) else quote(part.as_text(scope), safe="")
            for part in self.parts
        )
        if _DOT_SEGMENT.search(rendered.partition("?")[0]):
            raise Unusable(f"the path {self.written} would have a segment that is . or ..")
        return rendered

    def header(self, scope: Scope) -> bytes:
        """Rendered as a field's value. Raises Unusable for one with control characters."""
        text = self.text(scope).strip(" \t")
        if _CONTROL.search(text):
            raise Unusable(f"the header value {self.written} would have a control character")
        return text.encode()


Tree: TypeAlias = Any
"""JSON data with `Template` objects instead of texts that have references."""


def render(tree: Tree, scope: Scope) -> Any:
    """The data of a tree. Raises Unusable."""
    if isinstance(tree, Template):
        return tree.value(scope)
    if isinstance(tree, dict):
        return {key: render(value, scope) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [render(value, scope) for value in tree]
    return tree


def references(tree: Tree) -> Iterator[Reference]:
    """All references of a tree."""
    if isinstance(tree, Template):
        yield from tree.references
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from references(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from references(value)


def render_json(tree: Tree, scope: Scope) -> bytes:
    """The data of a tree as compact JSON. Raises Unusable."""
    try:
        data = json.dumps(
            render(tree, scope), ensure_ascii=False, separators=(",", ":"), allow_nan=False
        )
        return data.encode()
    except UnicodeEncodeError:
        raise Unusable(_HALF) from None
    except RecursionError:
        raise Unusable("a value is nested too deeply") from None


def read_document(data: bytes) -> Any:
    """A JSON document, for a `Scope`. Raises Unusable if it is not JSON."""
    try:
        return json.loads(data, parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise Unusable("the JSON is nested too deeply") from None
    except ValueError:
        raise Unusable("the body is not JSON") from None


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large")
    return value
