"""`inject` and `webhook` on the command line; their options come from the table of settings."""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.kubernetes.settings import SETTINGS, Setting, Settings

if TYPE_CHECKING:
    from proxy.kubernetes.manifests import Document

OK, USAGE = 0, 2

_MARKER = re.compile(r"---(?=\s|\Z)")


def add_settings(command: argparse.ArgumentParser) -> None:
    """An option for every setting."""
    group = command.add_argument_group(
        "the sidecar",
        "An annotation resilience-proxy/NAME of a pod or workload overrides the option --NAME.",
    )
    for setting in SETTINGS:
        text = f"{setting.doc.replace('`', '')} Default: {setting.default}.".replace("%", "%%")
        if setting.takes == "true|false":
            group.add_argument(
                f"--{setting.name}", action=argparse.BooleanOptionalAction, help=text
            )
        else:
            group.add_argument(
                f"--{setting.name}", type=_reader(setting), metavar=setting.takes, help=text
            )


def _reader(setting: Setting) -> Any:
    def read(text: str) -> tuple[Any]:
        try:
            return (setting.read(text),)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def settings_of(options: argparse.Namespace) -> Settings:
    values = {}
    for setting in SETTINGS:
        given = getattr(options, setting.attribute)
        if given is not None:
            values[setting.attribute] = given[0] if isinstance(given, tuple) else given
    return Settings(**values)


def inject(options: argparse.Namespace) -> int:
    """Read manifests and print them with sidecars; returns the exit status.

    All files are one input: a Service in one leads to pods in another. stdout gets everything or
    nothing. Raises OSError if a file cannot be read.
    """
    settings = settings_of(options)
    wrong = [f"--{error}" for error in settings.contradictions()]
    if wrong:
        return _fail("; ".join(wrong))
    sources = []
    for path in [*options.file, *options.files] or [None]:
        source = "stdin" if path is None else str(path)
        data = sys.stdin.buffer.read() if path is None else path.read_bytes()
        try:
            sources.append((source, data.decode("utf-8")))
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            return _fail(f"{source}: line {line}: not UTF-8")
    text, failed = injected(sources, settings, os.environ)
    if failed:
        return USAGE
    sys.stdout.buffer.write(text.encode("utf-8"))
    return OK


def injected(
    sources: Sequence[tuple[str, str]], settings: Settings, environ: Mapping[str, str]
) -> tuple[str, bool]:
    """The named texts joined and with sidecars, and whether that failed.

    Notes go to stderr.
    """
    from copy import deepcopy

    from proxy.kubernetes.inject import Injector

    inputs = [_Input(name, text) for name, text in sources]
    unreadable = [one for one in inputs if not one.read()]
    if unreadable:
        return "", True
    places = [(one, number) for one in inputs for number in range(len(one.documents))]
    values = [deepcopy(one.documents[number].value) for one, number in places]
    injector = Injector(settings, environ)
    injector.run(values)
    failed = any(note.error for note in injector.notes)
    for note in injector.notes:
        if note.error or not failed:
            one, number = places[note.document]
            line = one.documents[number].line_of(note.path)
            kind = "" if note.error else "note: "
            _fail(f"{one.name}: document {number + 1}, line {line}: {kind}{note.text}")
    if failed:
        return "", True
    after = iter(values)
    return _joined([one.write(after) for one in inputs]), False


class _Input:
    """One text of the input, with its documents after reading."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._mark, self._text = text[: text.startswith("\ufeff")], text.removeprefix("\ufeff")
        self.documents: list[Document] = []

    def read(self) -> bool:
        """Read it; False: that failed, and stderr has the reason."""
        from proxy.kubernetes.manifests import Unreadable, read

        try:
            self.documents = read(self._text)
        except Unreadable as error:
            _fail(f"{self.name}: document {error.document + 1}, line {error.line}: {error}")
            return False
        return True

    def write(self, values: Iterator[Any]) -> str:
        """The text with the next values, one for each of its documents."""
        return self._mark + "".join(document.write(next(values)) for document in self.documents)


def _joined(texts: Sequence[str]) -> str:
    """Join texts: each one without a marker at its beginning gets one."""
    whole = texts[0]
    for text in texts[1:]:
        text = text.removeprefix("\ufeff")
        if whole and not whole.endswith("\n"):
            whole += "\n"
        begun = any(_MARKER.match(line) for line in _first_lines(text))
        whole += text if begun else f"---\n{text}"
    return whole


def _first_lines(text: str) -> Iterator[str]:
    """The lines before the first one with content."""
    for line in text.splitlines():
        yield line
        if line.strip() and not line.lstrip().startswith(("#", "%")):
            return


def _fail(message: str) -> int:
    print(f"resilience-proxy: {message}", file=sys.stderr)
    return USAGE


def file_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-f",
        "--file",
        type=_file,
        metavar="FILE",
        action="append",
        default=[],
        help="a file of manifests, - is stdin; may be given several times",
    )
    command.add_argument(
        "files", type=_file, metavar="FILE", nargs="*", help="as -f; without any: stdin"
    )


def _file(text: str) -> Path | None:
    return None if text == "-" else Path(text)
