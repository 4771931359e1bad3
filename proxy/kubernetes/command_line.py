"""`inject` and `webhook` on the command line: their options are the table of settings."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy.kubernetes.settings import SETTINGS, Setting, Settings

OK, USAGE = 0, 2


def add_settings(command: argparse.ArgumentParser) -> None:
    """An option for every setting."""
    group = command.add_argument_group(
        "the sidecar", "An annotation resilience-proxy/NAME of a pod overrides the option --NAME."
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
    """Manifests in, manifests with sidecars out; the exit status.

    Nothing goes to stdout unless all of it can. OSError: the file cannot be read.
    """
    source = "stdin" if options.file is None else str(options.file)
    data = sys.stdin.buffer.read() if options.file is None else options.file.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _fail(f"{source}: line {line}: not UTF-8")
    text, failed = injected(text, source, settings_of(options), os.environ)
    if failed:
        return USAGE
    sys.stdout.buffer.write(text.encode("utf-8"))
    return OK


def injected(
    text: str, source: str, settings: Settings, environ: Mapping[str, str]
) -> tuple[str, bool]:
    """The text with sidecars, and whether that failed. What there is to say goes to stderr."""
    from copy import deepcopy

    from proxy.kubernetes.inject import Injector
    from proxy.kubernetes.manifests import Unreadable, read

    mark, text = text[: text.startswith("\ufeff")], text.removeprefix("\ufeff")
    try:
        documents = read(text)
    except Unreadable as error:
        _fail(f"{source}: document {error.document + 1}, line {error.line}: {error}")
        return "", True
    values = [deepcopy(document.value) for document in documents]
    injector = Injector(settings, environ)
    injector.run(values)
    failed = any(note.error for note in injector.notes)
    for note in injector.notes:
        if note.error or not failed:
            line = documents[note.document].line_of(note.path)
            kind = "" if note.error else "note: "
            _fail(f"{source}: document {note.document + 1}, line {line}: {kind}{note.text}")
    if failed:
        return "", True
    pairs = zip(documents, values, strict=True)
    return mark + "".join(document.write(after) for document, after in pairs), False


def _fail(message: str) -> int:
    print(f"resilience-proxy: {message}", file=sys.stderr)
    return USAGE


def file_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-f", "--file", type=_file, metavar="FILE", help="instead of stdin; - is stdin"
    )


def _file(text: str) -> Path | None:
    return None if text == "-" else Path(text)
