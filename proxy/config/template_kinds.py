"""Kinds of values that are templates: texts, and JSON data."""

from collections.abc import Callable, Iterable
from typing import Any

from proxy.config.cursor import Cursor, read_all
from proxy.config.fallback_keys import Json
from proxy.config.kinds import JsonSchema, Kind
from proxy.config.suggestions import did_you_mean
from proxy.templates import Template, Tree, references


class TemplateText(Kind[Template]):
    """A text with references. `wants` completes the sentence "must be ...".

    `check` gets a text without references and returns it; it raises ValueError for a bad one.
    """

    def __init__(self, wants: str, words: Iterable[str], check: Callable[[str], str] = str) -> None:
        self.wants = wants
        self._words = tuple(words)
        self._check = check

    def read(self, at: Cursor, base: Template | None = None) -> Template:
        at = at.with_templates()
        template = at.template()
        if template is not None:
            check_words(template, self._words, at)
            return template
        found = at.text()
        if found is None:
            raise at.error(f"must be {self.wants}")
        try:
            return Template((self._check(found[0]),))
        except ValueError as error:
            raise at.error(str(error)) from None

    def dump(self, value: Template, reveal: bool) -> str:
        return value.written

    def schema(self) -> JsonSchema:
        return {"type": ["string", "number", "boolean"]}


class TemplateJson(Kind[Tree]):
    """Any data; texts may have references. One reference alone keeps the type of its value."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = tuple(words)
        self._plain = Json()

    def read(self, at: Cursor, base: Any = None) -> Tree:
        at = at.with_templates()
        items, members = at.items(), at.members()
        if items is not None:
            return read_all(items, self.read)
        if members is not None:
            values = read_all((value for _, value in members.values()), self.read)
            return dict(zip(members, values, strict=True))
        template = at.template()
        if template is not None:
            check_words(template, self._words, at)
            return template
        return self._plain.read(at)

    def dump(self, value: Tree, reveal: bool) -> Any:
        if isinstance(value, Template):
            return value.written
        if isinstance(value, dict):
            return {key: self.dump(item, reveal) for key, item in value.items()}
        if isinstance(value, list):
            return [self.dump(item, reveal) for item in value]
        return value.replace("${", "$${") if isinstance(value, str) else value

    def schema(self) -> JsonSchema:
        return {}


def check_words(tree: Tree, words: Iterable[str], at: Cursor) -> None:
    """Report the first reference that begins with another word. Raises Reported."""
    known = tuple(words)
    for one in references(tree):
        if one.word not in known:
            hint = did_you_mean(one.word, known)
            listed = ", ".join(f"${{{word}}}" for word in known)
            raise at.error(f"${{{one.text}}} has no value here; there are {listed}{hint}")
