"""From a file to a `Config`, or to all of its problems at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path as FilePath
from typing import Any

from proxy.config.checks import check_addresses, warn
from proxy.config.cursor import Cursor, Reading, Reported
from proxy.config.document import Unreadable, parse, place_of
from proxy.config.file_bytes import CannotRead, read_bytes
from proxy.config.keys import CONFIG, default_app, default_service, sections
from proxy.config.model import Config
from proxy.config.otel_environment import apply_environment
from proxy.config.problems import ConfigError, Mark, Problem, Problems
from proxy.config.sources import Sources
from proxy.file_watch import FileWatch

MAX_FILE_BYTES = 4 * 1024 * 1024
EMBEDDED = "default.yaml"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration. `filename` is as it was given, None for the embedded default.

    `watch` had its first look before the file was read, so that no change is missed.
    """

    config: Config
    warnings: tuple[Problem, ...]
    sources: Sources
    filename: str | None
    watch: FileWatch | None = None


def load(path: FilePath | None, environ: Mapping[str, str]) -> Loaded:
    """Read a file; None is the embedded default. Raises ConfigError with every problem."""
    if path is None:
        text = resources.files("proxy.config").joinpath(EMBEDDED).read_text("utf-8")
        return _load(text, EMBEDDED, environ, embedded=True)
    problems = Problems(str(path))
    watch = FileWatch((str(path),))
    try:
        loaded = load_text(_read(path, problems), str(path), environ)
        return replace(loaded, watch=watch)
    except Unreadable:
        raise ConfigError(problems.sorted()) from None


def load_text(text: str, filename: str, environ: Mapping[str, str]) -> Loaded:
    """Read a text as if it stood in `filename`. Raises ConfigError with every problem."""
    return _load(text, filename, environ, embedded=False)


def _read(path: FilePath, problems: Problems) -> str:
    try:
        content = read_bytes(str(path), MAX_FILE_BYTES)
    except CannotRead as error:
        problems.error(Mark(1, 1), (), str(error))
        raise Unreadable from None
    if len(content) > MAX_FILE_BYTES:
        problems.error(Mark(1, 1), (), f"is larger than {MAX_FILE_BYTES // 2**20}MiB")
        raise Unreadable
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        byte = content[error.start]
        problems.error(place_of(before, len(before)), (), f"not UTF-8: the byte 0x{byte:02x}")
        raise Unreadable from None


def _load(text: str, filename: str, environ: Mapping[str, str], *, embedded: bool) -> Loaded:
    problems = Problems(filename)
    try:
        root = parse(text, problems)
    except Unreadable:
        raise ConfigError(problems.sorted()) from None
    reading = Reading(problems, environ, sections())
    at = Cursor(reading, root)
    try:
        config = CONFIG.fill(at.entries(CONFIG.keys), at, None, **_defaults(environ, at))
    except Reported:
        raise ConfigError(problems.sorted()) from None
    if not problems.any_below("listeners", "admin"):
        check_addresses(config, reading.given, problems)
    problems.raise_errors()
    # The embedded default was written by nobody: the environment comes before all of it.
    written = {} if embedded else reading.given
    config, variables = apply_environment(config, written, environ, problems)
    warn(config, reading.given, problems)
    sources = Sources(None if embedded else filename, reading.given, config, variables)
    return Loaded(config, problems.sorted(), sources, None if embedded else filename)


def _defaults(environ: Mapping[str, str], at: Cursor) -> dict[str, Any]:
    """What the environment says where the file says nothing."""
    try:
        app = default_app(environ)
    except ValueError as error:
        raise at.error(str(error)) from None
    return {"service": default_service(environ), "upstreams": {app.name: app}}
