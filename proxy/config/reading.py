"""Reads the texts of a configuration: files, directories, manifests, standard input."""

import sys
from functools import cache
from pathlib import Path
from typing import NoReturn

from proxy.config.document import Mapping, Unreadable, merged_entries, parse_root, place_of
from proxy.config.file_bytes import CannotRead, read_bytes
from proxy.config.manifest import config_maps
from proxy.config.overrides import Override
from proxy.config.problems import Mark, Problems
from proxy.config.suggestions import did_you_mean

MAX_FILE_BYTES = 4 * 1024 * 1024
STDIN = Path("-")
PATTERN = "*.yaml"


class Files:
    """Reads files into trees, with the numbers that `problems` uses.

    `empty`: files without content, often because they are being written.
    """

    def __init__(self) -> None:
        self.problems = Problems()
        self.empty: list[Mark] = []

    def roots(self, path: Path, only: int | None = None) -> list[Mapping]:
        """The trees of a file, a directory (its ``*.yaml``) or a manifest; a later one wins.

        `only`: the number of the manifest's ConfigMap. Raises Unreadable.
        """
        if path != STDIN and path.is_dir():
            files = sorted(path.glob(PATTERN))
            if not files:
                message = "is a directory without a file that ends in .yaml"
                self._fail(Mark(1, 1, self._number(str(path))), message)
            return [root for file in files for root in self._file(file, only)]
        return self._file(path, only)

    def text(self, text: str, name: str) -> Mapping:
        """The tree of a text as the content of file `name`. Raises Unreadable."""
        return self._parse(text, self._number(name))

    def layer(self, override: Override) -> Mapping:
        """The tree of a flag or a variable. Raises Unreadable."""
        number = self._number(override.source)
        try:
            return override.layer(number)
        except ValueError as error:
            self._fail(Mark(0, 0, number), str(error))

    def _number(self, name: str) -> int:
        self.problems.filenames.append(name)
        return len(self.problems.filenames) - 1

    def _fail(self, mark: Mark, message: str) -> NoReturn:
        self.problems.error(mark, (), message)
        raise Unreadable

    def _file(self, path: Path, only: int | None) -> list[Mapping]:
        number = self._number(shown_name(path))
        text = _read(path, self.problems, number)
        maps = config_maps(text, self.problems, number)
        if not maps:
            return [self._parse(text, number)]
        if len(maps) > 1 and only is None:
            self._fail(maps[1].mark, "a second ConfigMap: it is not clear which one to use")
        chosen = maps[only or 0]
        if not chosen.texts:
            self._fail(chosen.mark, "the ConfigMap has no entry whose name ends in .yaml")
        return [self._parse(entry, number) for entry in chosen.texts.values()]

    def _parse(self, text: str, number: int) -> Mapping:
        root = parse_root(text, self.problems, number)
        if root is None:
            root = Mapping(Mark(1, 1, number))
            self.empty.append(root.mark)
        # Root keys that begin with x- are for anchors.
        entries = merged_entries(root).items()
        return Mapping(root.mark, {k: v for k, v in entries if not k.startswith("x-")})


def shown_name(path: Path) -> str:
    return "<stdin>" if path == STDIN else str(path)


def count_config_maps(path: Path) -> int:
    """How many configurations a manifest contains; 0: the file is not a manifest, or a pipe,
    which can be read only once.
    """
    if path != STDIN and not path.is_file():
        return 0
    problems = Problems(shown_name(path))
    try:
        return len(config_maps(_read(path, problems, 0), problems, 0))
    except Unreadable:
        return 0


def _read(path: Path, problems: Problems, number: int) -> str:
    def fail(mark: Mark, message: str) -> None:
        problems.error(mark._replace(file=number), (), message)

    try:
        content = _stdin() if path == STDIN else read_bytes(str(path), MAX_FILE_BYTES)
    except CannotRead as error:
        fail(Mark(1, 1), f"{error}{_beside(path)}")
        raise Unreadable from None
    if len(content) > MAX_FILE_BYTES:
        fail(Mark(1, 1), f"is larger than {MAX_FILE_BYTES // 2**20}MiB")
        raise Unreadable
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        byte = content[error.start]
        fail(place_of(before, len(before)), f"not UTF-8: the byte 0x{byte:02x}")
        raise Unreadable from None


def _beside(path: Path) -> str:
    """An existing file with a similar name."""
    if path == STDIN or path.exists() or not path.parent.is_dir():
        return ""
    return did_you_mean(path.name, [file.name for file in path.parent.glob("*.y*ml")])


@cache
def _stdin() -> bytes:
    """Whether it can be read only once; `check` reads twice."""
    return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
