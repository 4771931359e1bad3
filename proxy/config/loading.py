"""Loads files, flags and environment into a `Config`, or reports all their problems at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path as FilePath
from typing import Any

from proxy.config.address_checks import check_addresses
from proxy.config.checks import check_protocols, warn
from proxy.config.cursor import Cursor, Reading, Reported
from proxy.config.document import Mapping as MappingNode
from proxy.config.document import Unreadable
from proxy.config.keys import CONFIG, default_app, default_service, vocabulary
from proxy.config.merging import merge
from proxy.config.model import Config
from proxy.config.otel_environment import apply_environment
from proxy.config.outbox_checks import check_outbox
from proxy.config.overrides import overrides
from proxy.config.problems import ConfigError, Problem
from proxy.config.reading import STDIN, Files, shown_name
from proxy.config.saga_checks import check_sagas_have_store
from proxy.config.sources import Sources
from proxy.config.store_checks import check_store
from proxy.config.table_checks import check_tables
from proxy.file_watch import FileWatch

EMBEDDED = "default.yaml"
EMPTY = "the file is empty; write {} if that is intended"


@dataclass(frozen=True, slots=True)
class Origin:
    """The sources of a configuration. No files: the embedded default.

    A later file wins; `flags` (by name, without dashes) override all files.
    """

    files: tuple[FilePath, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration. `filename`: the files as given, None for the embedded default.
    `empty`: the empty files among them.

    `watch` took its first state before the files were read, so that no change is missed.
    """

    config: Config
    warnings: tuple[Problem, ...]
    sources: Sources
    filename: str | None
    watch: FileWatch | None = None
    origin: Origin = Origin()
    empty: tuple[str, ...] = ()


def load(
    given: Origin | FilePath | None, environ: Mapping[str, str], *, only: int | None = None
) -> Loaded:
    """Read files; None is the embedded default. Raises ConfigError with every problem.

    `only`: the number of the ConfigMap to use, if a manifest has several.
    """
    origin = given if isinstance(given, Origin) else Origin(() if given is None else (given,))
    files = Files()
    watched = [str(path) for path in origin.files if path != STDIN]
    watch = FileWatch(watched) if watched else None
    try:
        roots = [root for path in origin.files for root in files.roots(path, only)]
        filename = ":".join(map(shown_name, origin.files)) or None
        if not origin.files:
            text = FilePath(__file__).with_name(EMBEDDED).read_text("utf-8")
            roots.append(files.text(text, EMBEDDED))
        loaded = _load(files, roots, environ, filename, origin)
        return replace(loaded, watch=watch)
    except Unreadable:
        raise ConfigError(files.problems.sorted()) from None


def load_text(text: str, filename: str, environ: Mapping[str, str]) -> Loaded:
    """Read a text as the content of `filename`. Raises ConfigError with every problem."""
    files = Files()
    try:
        root = files.text(text, filename)
        return _load(files, [root], environ, filename, Origin((FilePath(filename),)))
    except Unreadable:
        raise ConfigError(files.problems.sorted()) from None


def _load(
    files: Files,
    roots: Sequence[MappingNode],
    environ: Mapping[str, str],
    filename: str | None,
    origin: Origin,
) -> Loaded:
    """Raises ConfigError and Unreadable."""
    problems = files.problems
    layers = [*roots, *map(files.layer, overrides(origin.flags, environ))]
    root = reduce(lambda lower, upper: merge(lower, upper, environ), layers)
    reading = Reading(problems, environ, vocabulary())
    at = Cursor(reading, root)
    try:
        config = CONFIG.fill(at.entries(CONFIG.keys), at, None, **_defaults(environ, at))
    except Reported:
        raise ConfigError(problems.sorted()) from None
    if not problems.any_below("listeners", "admin"):
        check_addresses(config, reading.given, problems)
        check_protocols(config, reading.given, problems)
    check_store(config, reading.given, problems)
    check_outbox(config, reading.given, problems)
    check_sagas_have_store(config, reading.given, problems)
    check_tables(config, reading.given, problems)
    problems.raise_errors()
    for mark in files.empty:
        problems.warning(mark, (), EMPTY)
    # The embedded default is not a user's file, so the environment overrides all of it.
    names: list[str | None] = list(problems.filenames)
    if filename is None:
        names[0] = None
    written = {path: mark for path, mark in reading.given.items() if names[mark.file]}
    config, variables = apply_environment(config, written, environ, problems)
    warn(config, reading.given, problems)
    sources = Sources(names, reading.given, config, variables)
    empty = tuple(problems.filenames[mark.file] for mark in files.empty)
    return Loaded(config, problems.sorted(), sources, filename, None, origin, empty)


def _defaults(environ: Mapping[str, str], at: Cursor) -> dict[str, Any]:
    """The environment's values for keys that the file does not set."""
    try:
        app = default_app(environ)
    except ValueError as error:
        raise at.error(str(error)) from None
    return {"service": default_service(environ), "upstreams": {app.name: app}}
