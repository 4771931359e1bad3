"""Manifests as text: read into plain data, and written back with as few changes as possible.

An unchanged document is passed on as its original text. A changed one is written from a tree that
keeps comments, quotes and the order of keys, with only the differences inserted. JSON stays JSON.
"""

import contextlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from proxy.kubernetes import json_patch
from proxy.kubernetes.workloads import Path

_MARKER = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_BLANK = re.compile(r"\s*(#.*)?")
_BLANK_OR_DIRECTIVE = re.compile(r"\s*(#.*)?|%.*")


class Unreadable(Exception):
    """A text that is not YAML; `line` counts from 1."""

    def __init__(self, document: int, line: int, problem: str) -> None:
        super().__init__(problem)
        self.document = document
        self.line = line


@dataclass(slots=True)
class Document(ABC):
    """One document: its original `text` with its ``---``, starting at line `line` (from 1).

    `value` is plain data, None if there are only comments.
    """

    text: str
    line: int
    value: Any

    def write(self, after: Any) -> str:
        """The text with `after` as its value."""
        operations = list(json_patch.diff(self.value, after))
        return self._rewrite(after, operations) if operations else self.text

    @abstractmethod
    def _rewrite(self, after: Any, operations: list[json_patch.Operation]) -> str: ...

    @abstractmethod
    def line_of(self, path: Path) -> int:
        """The approximate line of a path in the whole input."""


def read(text: str) -> list[Document]:
    """All documents of a text, JSON or YAML. Raises Unreadable."""
    if text.lstrip().startswith("{"):
        try:
            return [JsonDocument(text, 1, json.loads(text))]
        except ValueError:
            pass  # YAML in braces, or JSON with a mistake, which the other reader reports
    from proxy.kubernetes import yaml_text

    documents: list[Document] = []
    for number, (line, piece) in enumerate(_pieces(text)):
        head, body = _head_and_body(piece)
        try:
            documents.append(YamlDocument(piece, line, yaml_text.plain(yaml_text.load(body))))
        except yaml_text.NotYaml as error:
            line += head.count("\n") + error.line
            raise Unreadable(number, line, str(error)) from None
    return documents


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """The text split before each ``---``, with the line (from 1) where each piece begins.

    Three dashes at the beginning of a line are always a marker, even within a multi-line text
    (YAML 1.2.2, section 9.1.2). Blank lines before the first belong to its document.
    """
    starts = [match.start() for match in _MARKER.finditer(text)]
    before = text[: starts[0]].splitlines() if starts else []
    if not starts or not all(_BLANK_OR_DIRECTIVE.fullmatch(row) for row in before):
        starts.insert(0, 0)
    else:
        starts[0] = 0
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield text.count("\n", 0, start) + 1, text[start:end]


class JsonDocument(Document):
    """The value as JSON with the original indentation."""

    __slots__ = ()

    def _rewrite(self, after: Any, operations: list[json_patch.Operation]) -> str:
        rows = self.text.strip().splitlines()
        indent = len(rows[1]) - len(rows[1].lstrip()) if len(rows) > 1 else None
        compact = indent is None and '": ' not in self.text
        written = json.dumps(
            after,
            indent=indent,
            separators=(",", ":") if compact else None,
            ensure_ascii=self.text.isascii(),
        )
        return written + self.text[len(self.text.rstrip()) :]

    def line_of(self, path: Path) -> int:
        return self.line


class YamlDocument(Document):
    """The text with the differences inserted; comments, quotes and order stay."""

    __slots__ = ()

    def _rewrite(self, after: Any, operations: list[json_patch.Operation]) -> str:
        from proxy.kubernetes import yaml_text

        head, body = _head_and_body(self.text)
        if head and not head.endswith("\n"):  # it begins beside its marker
            head, body = head + "\n", body.lstrip(" \t")
        # An aliased value cannot be changed in only one of its places. Such a document would read
        # differently, so it is written with aliases expanded.
        for tree in (yaml_text.load(body), yaml_text.expanded(yaml_text.load(body))):
            json_patch.apply(tree, yaml_text.quoted(deepcopy(operations)))
            written = yaml_text.dump(tree, like=body)
            with contextlib.suppress(yaml_text.NotYaml):
                if yaml_text.plain(yaml_text.load(written)) == after:
                    return head + written
        raise AssertionError("the output would not read as the intended data")

    def line_of(self, path: Path) -> int:
        from proxy.kubernetes import yaml_text

        head, body = _head_and_body(self.text)
        return self.line + head.count("\n") + yaml_text.line_of(yaml_text.load(body), path)


def _head_and_body(text: str) -> tuple[str, str]:
    """A document's text up to its ``---`` with blanks after it, and the rest."""
    marker = _MARKER.search(text)
    if marker is None:
        return "", text
    end = text.find("\n", marker.end()) + 1 or len(text)
    beside = text[marker.end() : end].rstrip("\r\n")
    cut = end if _BLANK.fullmatch(beside) else marker.end()
    return text[:cut], text[cut:]
