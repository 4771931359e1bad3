"""YAML with comments and formatting: a thin layer over ruamel.yaml's round trip.

YAML 1.2, as Kubernetes' own reader mostly uses it: ``yes`` and ``on`` stay texts, and are written
back unchanged.
"""

import re
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scalarbool import ScalarBoolean
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from ruamel.yaml.timestamp import TimeStamp
from yaml import ScalarNode
from yaml.resolver import Resolver

from proxy.kubernetes.workloads import Path

_YAML_1_1 = Resolver()
_TEXT = "tag:yaml.org,2002:str"

MAX_NODES = 200_000
"""Maximum values with aliases expanded, far above any real manifest."""

_LIKE_A_NUMBER = re.compile(r"[-+.]?[0-9][-+.,:_0-9a-fA-FxXoO]*")

_KEY_THEN_LIST = re.compile(r"^( *)(?:- )?[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n( *)- ", re.MULTILINE)
_KEY_THEN_KEY = re.compile(r"^[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n( +)[^\s#-]", re.MULTILINE)


class NotYaml(Exception):
    """`line` counts from 0."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def _yaml() -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = 1 << 16  # do not fold lines
    return yaml


def load(text: str) -> Any:
    """One document as a tree with comments. Raises NotYaml."""
    try:
        return _yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NotYaml(mark.line if mark else 0, f"not valid YAML: {error.problem}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position)
        raise NotYaml(line, "not valid YAML: a character that is not allowed") from None
    except RecursionError:
        raise NotYaml(0, "not valid YAML: nested too deeply") from None
    except (YAMLError, ValueError, TypeError, OverflowError) as error:
        raise NotYaml(0, f"not valid YAML: {error}") from None


def dump(tree: Any, *, like: str) -> str:
    """A tree as text, with the indentation and line ends of `like`."""
    yaml = _yaml()
    keys = _KEY_THEN_KEY.search(like)
    lists = _KEY_THEN_LIST.search(like)
    offset = max(len(lists[2]) - len(lists[1]), 0) if lists else 0
    yaml.indent(mapping=len(keys[1]) if keys else 2, sequence=offset + 2, offset=offset)
    out = StringIO()
    yaml.dump(tree, out)
    text = out.getvalue()
    return text.replace("\n", "\r\n") if "\r\n" in like else text


def plain(tree: Any) -> Any:
    """A tree as JSON's own types, aliases and merges expanded. Raises NotYaml."""
    left = MAX_NODES

    def convert(node: Any, above: tuple[int, ...]) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise NotYaml(0, f"aliases expand this to more than {MAX_NODES} values")
        if id(node) in above:
            raise NotYaml(0, "an alias contains itself")
        if isinstance(node, dict):
            inside = (*above, id(node))
            return {_key(key): convert(value, inside) for key, value in node.items()}
        if isinstance(node, list):
            inside = (*above, id(node))
            return [convert(value, inside) for value in node]
        return _scalar(node)

    try:
        return convert(tree, ())
    except RecursionError:
        raise NotYaml(0, "nested too deeply") from None


def _key(key: Any) -> Any:
    scalar = _scalar(key)
    return scalar if isinstance(scalar, str) else key


def _scalar(node: Any) -> Any:
    """The value without ruamel.yaml's spelling information."""
    if isinstance(node, ScalarBoolean):
        return bool(node)
    if isinstance(node, TimeStamp):
        return str(node)
    for kind in (bool, str, int, float):
        if isinstance(node, kind):
            return kind(node)
    return node


def expanded(tree: Any) -> Any:
    """A copy without aliases; scalars keep their spelling, comments are lost."""
    if isinstance(tree, dict):
        copy = CommentedMap()
        for key, value in tree.items():
            copy[key] = expanded(value)
        return copy
    if isinstance(tree, list):
        return CommentedSeq(expanded(value) for value in tree)
    return _without_anchor(tree)


def _without_anchor(scalar: Any) -> Any:
    if not getattr(getattr(scalar, "anchor", None), "value", None):
        return scalar
    return DoubleQuotedScalarString(scalar) if isinstance(scalar, str) else _scalar(scalar)


def quoted(value: Any) -> Any:
    """Plain data for insertion into a tree, with quotes where needed.

    Quotes are needed where YAML 1.1, which many readers use, would not read a text, and where some
    reader would read a number: Go's reads ``0899`` and ``1e3`` as numbers.
    """
    if isinstance(value, dict):
        return {quoted(key): quoted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [quoted(inner) for inner in value]
    if isinstance(value, str):
        tag = _YAML_1_1.resolve(ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]  # ruamel
        plain = tag == _TEXT and not _LIKE_A_NUMBER.fullmatch(value)
        return value if plain else DoubleQuotedScalarString(value)
    return value


def line_of(tree: Any, path: Path) -> int:
    """The line (from 0) of the value at `path`, or of the last existing one on that path."""
    line = 0
    node = tree
    for part in path:
        try:
            place = node.lc.key(part) if isinstance(node, CommentedMap) else node.lc.item(part)
            line = place[0]
            node = node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line
