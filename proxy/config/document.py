"""A YAML file as a tree of texts with their places: nothing is resolved or constructed.

YAML 1.1 reads ``on`` as true, ``1:30`` as ninety and ``010`` as eight. Here a scalar is the text
that was written, and its key decides what it means. Keys are texts too, so ``retry.on`` works.

Anchors and aliases work, and so does ``<<`` (a mapping, or a list of mappings, whose entries count
if the mapping has no entry of its own). Tags, several documents in one file, keys that are not
plain text, duplicate keys, and aliases that contain themselves or expand too far are problems. The
tree is built from the parser's events without recursion, so that no nesting can exhaust the stack;
nesting beyond `MAX_DEPTH` is a problem.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from proxy.config.problems import Mark, Path, Problems

MAX_DEPTH = 64
MAX_NODES = 100_000
"""Maximum values with aliases expanded: far beyond any real file, and fast to walk."""


LARGE = 64 * 1024
"""Characters from which a file takes the Python parser a tenth of a second and more."""

# `size` counts a node and its descendants, aliases expanded; `depth` their levels.


@dataclass(slots=True, eq=False)
class Scalar:
    mark: Mark
    text: str
    quoted: bool
    size: int = 1
    depth: int = 1


@dataclass(slots=True, eq=False)
class Sequence:
    mark: Mark
    items: list["Node"] = field(default_factory=list)
    size: int = 1
    depth: int = 1


@dataclass(slots=True, eq=False)
class Mapping:
    """`entries` are unique by their key's text; `merged` are the sources of ``<<``."""

    mark: Mark
    entries: dict[str, tuple[Mark, "Node"]] = field(default_factory=dict)
    merged: list["Mapping"] = field(default_factory=list)
    size: int = 1
    depth: int = 1


Node: TypeAlias = Scalar | Sequence | Mapping

_NO_KEY = (
    "a key must be plain text; a text that begins with { or [ needs quotes, and the {{ }} of a "
    "template must be replaced first"
)
_HALF = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def is_null(node: Node) -> bool:
    """Whether this is YAML's null."""
    return isinstance(node, Scalar) and not node.quoted and node.text in _NULLS


class Unreadable(Exception):
    """The text could not be parsed; the problem has been reported."""


def parse(text: str, problems: Problems, file: int = 0) -> Mapping:
    """The root mapping of a file (an empty one for an empty file). Raises Unreadable.

    `file` is the number of the file in `problems`, for the marks.
    """
    return parse_root(text, problems, file) or Mapping(Mark(1, 1, file))


def parse_root(text: str, problems: Problems, file: int = 0) -> Mapping | None:
    """The same; None for a file that is empty (``{}`` is not). Raises Unreadable."""
    root = _Builder(text, problems, file).build()
    if root is None or is_null(root):
        return None
    if not isinstance(root, Mapping):
        problems.error(root.mark, (), "the file must be a mapping of keys such as 'routes:'")
        raise Unreadable
    return root


@dataclass(slots=True, eq=False)
class _Frame:
    """A collection that is being read, its place, and the key whose value is next."""

    node: Mapping | Sequence
    path: Path
    key: Scalar | None = None

    def next_path(self) -> Path:
        if isinstance(self.node, Sequence):
            return (*self.path, len(self.node.items))
        return (*self.path, self.key.text) if self.key else self.path


class _Builder:
    """Builds one document from the parser's events."""

    def __init__(self, text: str, problems: Problems, file: int) -> None:
        self._text = text
        self._problems = problems
        self._file = file
        self._anchors: dict[str, Node] = {}
        self._open: list[_Frame] = []
        self._root: Node | None = None

    def build(self) -> Node | None:
        import yaml  # not at the top: users of the typed model alone should not import it

        try:
            loader: Any = (yaml.CSafeLoader if self._fast() else yaml.SafeLoader)(self._text)
        except yaml.reader.ReaderError as error:
            place = place_of(self._text, error.position)
            self._fail(
                place,
                f"the character U+{ord(self._text[error.position]):04X} is not allowed in YAML",
            )
        try:
            while loader.check_event():
                self._take(loader.get_event())
        except yaml.MarkedYAMLError as error:
            place = _place(error.problem_mark or error.context_mark)
            begin = _place(error.context_mark or error.problem_mark)
            self._fail(place, _syntax_message(str(error.problem), self._text, begin, place))
        except (ValueError, OverflowError, IndexError):
            # PyYAML raises this for the escape \\UFFFFFFFF and for invalid %YAML versions.
            self._fail(
                _place(loader.get_mark()), "not valid YAML: an escape or number is out of range"
            )
        finally:
            loader.dispose()
        return self._root

    def _fast(self) -> bool:
        """Whether libyaml reads it: a twentieth of the time, and it holds up no other thread.

        Only for large files without a mistake in their syntax. For all others the Python parser's
        places and messages are the same on every platform, and it takes milliseconds.
        """
        import yaml

        if len(self._text) < LARGE or "\t" in self._text or not yaml.__with_libyaml__:
            return False
        try:
            loader = yaml.CSafeLoader(self._text)
            try:
                while loader.check_event():
                    loader.get_event()
            finally:
                loader.dispose()
        except (yaml.YAMLError, ValueError, OverflowError):
            return False
        return True

    def _fail(self, mark: Mark, message: str) -> NoReturn:
        self._problems.error(mark._replace(file=self._file), (), message)
        raise Unreadable

    def _take(self, event: Any) -> None:
        mark = _place(event.start_mark, self._file)
        match type(event).__name__:
            case "DocumentStartEvent" if self._root is not None:
                self._fail(mark, "a second document begins here; a file has only one")
            case "ScalarEvent":
                node = Scalar(mark, self._characters(event.value, mark), bool(event.style))
                self._announce(node, event)
                self._finish(node, mark)
            case "AliasEvent":
                self._finish(self._resolve(event.anchor, mark), mark)
            case "MappingStartEvent":
                self._begin(Mapping(mark), event)
            case "SequenceStartEvent":
                self._begin(Sequence(mark), event)
            case "MappingEndEvent" | "SequenceEndEvent":
                closed = self._open.pop().node
                self._finish(closed, closed.mark)

    def _characters(self, text: str, mark: Mark) -> str:
        """The text whose characters beyond U+FFFF may be two escapes each, as JSON writes them."""
        if text.isascii() or not _HALF.search(text):
            return text
        units = text.encode("utf-16-le", "surrogatepass")
        try:
            return units.decode("utf-16-le")
        except UnicodeDecodeError:
            path = self._open[-1].next_path() if self._open else ()
            half = ord(_HALF.findall(_PAIR.sub("", text))[0])
            self._problems.error(mark, path, f"the escape \\u{half:04x} is half of a character")
            return units.decode("utf-16-le", "replace")

    def _begin(self, node: Mapping | Sequence, event: Any) -> None:
        self._announce(node, event)
        frame = self._open[-1] if self._open else None
        if frame and isinstance(frame.node, Mapping) and frame.key is None:
            self._fail(node.mark, _NO_KEY)
        if len(self._open) >= MAX_DEPTH:
            self._fail(node.mark, f"nested more than {MAX_DEPTH} levels deep")
        self._open.append(_Frame(node, frame.next_path() if frame else ()))

    def _announce(self, node: Node, event: Any) -> None:
        """Register the anchor, report the tag."""
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if event.tag is not None:
            path = self._open[-1].next_path() if self._open else ()
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._problems.error(node.mark, path, f"YAML tags are not allowed: {tag}")

    def _resolve(self, anchor: str, mark: Mark) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            self._fail(mark, f"*{anchor} is undefined: there is no &{anchor} before it")
        if any(node is frame.node for frame in self._open):
            self._fail(mark, f"*{anchor} contains itself")
        if len(self._open) + node.depth > MAX_DEPTH:
            self._fail(mark, f"*{anchor} makes this nested more than {MAX_DEPTH} levels deep")
        if node.size + sum(frame.node.size for frame in self._open) > MAX_NODES:
            self._fail(mark, f"aliases expand this file to more than {MAX_NODES} values")
        return node

    def _finish(self, node: Node, mark: Mark) -> None:
        """Add a complete node to its collection."""
        if not self._open:
            self._root = node
            return
        frame = self._open[-1]
        parent = frame.node
        parent.size += node.size
        parent.depth = max(parent.depth, node.depth + 1)
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif frame.key is None:
            if not isinstance(node, Scalar):
                self._fail(mark, _NO_KEY)
            frame.key = Scalar(mark, node.text, node.quoted)
        else:
            self._enter(parent, frame.key, node, frame.next_path())
            frame.key = None

    def _enter(self, parent: Mapping, key: Scalar, node: Node, path: Path) -> None:
        if key.text == "<<" and not key.quoted:
            for source in node.items if isinstance(node, Sequence) else [node]:
                if isinstance(source, Mapping):
                    parent.merged.append(source)
                else:
                    self._problems.error(key.mark, path, "<< takes a mapping, or a list of them")
        elif key.text in parent.entries:
            first = parent.entries[key.text][0]
            self._problems.error(key.mark, path, f"duplicate key; line {first.line} has it too")
        else:
            parent.entries[key.text] = (key.mark, node)


def merged_entries(mapping: Mapping) -> dict[str, tuple[Mark, Node]]:
    """The mapping's own entries, then those of ``<<``; the earlier source wins."""
    entries = dict(mapping.entries)
    for source in mapping.merged:
        for key, entry in merged_entries(source).items():
            entries.setdefault(key, entry)
    return entries


def place_of(text: str, index: int) -> Mark:
    """Line and column of the character at `index`."""
    before = text[:index]
    return Mark(before.count("\n") + 1, index - before.rfind("\n"))


def _place(mark: Any, file: int = 0) -> Mark:
    return Mark(mark.line + 1, mark.column + 1, file) if mark else Mark(1, 1, file)


def _character(text: str, place: Mark) -> str:
    lines = text.split("\n")
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    return line[place.column - 1 : place.column]


def _syntax_message(problem: str, text: str, begin: Mark, place: Mark) -> str:
    """PyYAML's message, with a hint for common mistakes.

    `begin`: where the construct begins that was being read at `place`.
    """
    line = (text.splitlines() or [""])[min(place.line, len(text.splitlines())) - 1]
    if "\t" in problem or "\\t" in problem:
        return "not valid YAML: a tab cannot indent; use spaces"
    hint = ""
    if "${" in line:
        hint = "; inside { } and [ ] a value with ${...} needs quotes"
    elif problem.startswith("mapping values are not allowed"):
        hint = "; is the indentation right, or does a value with a colon need quotes?"
    elif problem.startswith("found character"):
        return "not valid YAML: a text that begins with this character needs quotes"
    elif "<block end>" in problem:
        return "not valid YAML: this line is indented otherwise than the ones that it belongs to"
    elif begin.line < place.line and _character(text, begin) in ("{", "[", "'", '"'):
        hint = f"; is what begins at {begin.line}:{begin.column} closed?"
    return f"not valid YAML: {problem}{hint}"
