"""Kinds for what a saga's step or a table's row sends: a path and header fields with templates."""

from collections.abc import Iterable

from proxy.config.cursor import Cursor
from proxy.config.hidden import HIDDEN
from proxy.config.names import PATH, WRITTEN_HEADER, check_header_value
from proxy.config.record import PairsOf
from proxy.config.template_kinds import TemplateText
from proxy.templates import Template


class PathTemplate(TemplateText):
    """A path with its query."""

    def __init__(self, example: str, words: Iterable[str]) -> None:
        super().__init__(f"a path such as {example}", words, _check_path)

    def read(self, at: Cursor, base: Template | None = None) -> Template:
        template = super().read(at, base)
        first = template.parts[0] if template.parts else ""
        if not isinstance(first, str) or not first.startswith("/"):
            raise at.error("must begin with '/': the upstream's address has no path")
        return template


def header_templates(words: Iterable[str]) -> PairsOf[Template]:
    """Header fields to send, in any case."""
    value = _HeaderTemplate("a header value", words, check_header_value)
    return PairsOf(WRITTEN_HEADER, value, any_case=True)


class _HeaderTemplate(TemplateText):
    """Its value may be a credential."""

    def dump(self, value: Template, reveal: bool) -> str:
        return super().dump(value, reveal) if reveal else HIDDEN


def _check_path(text: str) -> str:
    path, _, query = text.partition("?")
    PATH.parse(path)
    if query:
        PATH.parse("/" + query.replace("?", ""))
    return text
