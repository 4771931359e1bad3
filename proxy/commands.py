"""The commands: each returns an exit status for its parsed options.

Each imports its dependencies when it is called, so that ``check`` loads no event loop.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from proxy import startup

if TYPE_CHECKING:
    from proxy.config import Loaded
    from proxy.config.loading import Origin
    from proxy.config.report import Judged
    from proxy.routing.explain import Explanation

OK, FAILED, USAGE = 0, 1, 2

CONFIG_VARIABLE = "RESILIENCE_PROXY_CONFIG"
DEFAULT_FILE = Path("config/proxy.yaml")


def fail(message: str, status: int) -> int:
    print(f"resilience-proxy: {message}", file=sys.stderr)
    return status


def _load(origin: "Origin") -> "Loaded | None":
    """The configuration, with warnings on stderr; None after printing its problems."""
    from proxy.config import ConfigError, load

    try:
        loaded = load(origin, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    return loaded


def run(options: argparse.Namespace) -> int:
    from proxy.config.loading import Origin
    from proxy.config.overrides import FLAGS

    files = config_files(options.config)
    if Path("-") in files:
        return fail("run reads its configuration again when it changes: give a file, not -", USAGE)
    flags = {flag: given for flag in FLAGS if (given := getattr(options, f"{flag}_flag"))}
    loaded = _load(Origin(files, flags))
    if loaded is None:
        if not options.config and os.environ.get(CONFIG_VARIABLE):
            return fail(f"${CONFIG_VARIABLE} names this file", USAGE)
        return USAGE
    from proxy.lean_imports import lean_imports

    with lean_imports():
        from proxy import app

    return app.run(loaded)


def config_files(given: Sequence[Path]) -> tuple[Path, ...]:
    """The files to run: the given ones, the environment's, ``config/proxy.yaml`` if it exists,
    else none, for the embedded default."""
    if given:
        return tuple(given)
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return tuple(Path(part) for part in named.split(":") if part)
    return (DEFAULT_FILE,) if DEFAULT_FILE.exists() else ()


def simulate(options: argparse.Namespace) -> int:
    from proxy.config.loading import Origin

    given = [(options.config, _load(Origin(tuple(options.config))))]
    if options.against is not None:
        given.append(([options.against], _load(Origin((options.against,)))))
    configs = [
        (":".join(file.name for file in files), loaded.config)
        for files, loaded in given
        if loaded is not None
    ]
    if len(configs) < len(given):
        return USAGE
    if len({name for name, _ in configs}) < len(configs):
        configs[1] = (f"{configs[1][0]} (--against)", configs[1][1])
    from proxy.simulation import command

    try:
        recording = command.read(options.log)
        result = command.simulate(recording, configs, options.seed)
        command.show(result, options.format, options.html)
    except OSError as error:
        return fail(f"{error.filename} cannot be used: {error.strerror}", FAILED)
    except command.Unusable as error:
        return fail(str(error), FAILED)
    return OK


def check(options: argparse.Namespace) -> int:
    if bool(options.files) == bool(options.config):
        message = "check takes FILEs, each checked alone, or --config FILE (repeated), as one"
        options.misused(f"{message}: not both" if options.files else message)
    from proxy.config import report

    judged = list(_judge(options.files, options.config))
    if options.format == report.JSON:
        print(report.as_json(judged))
    elif options.format == report.GITHUB:
        if any(one.problems for one in judged):
            print(report.as_github(judged))
    else:
        _show(judged)
    if not all(one.valid for one in judged):
        return USAGE
    warnings = sum(len(one.problems) for one in judged)
    if options.strict and warnings:
        return fail(f"{warnings} warning{'s' * (warnings > 1)} (--strict)", USAGE)
    return OK


def _judge(alone: Sequence[Path], together: Sequence[Path]) -> "Iterator[Judged]":
    """Every configuration alone: a file, a directory, each ConfigMap of a manifest."""
    from proxy.config import ConfigError, load
    from proxy.config.loading import Origin
    from proxy.config.reading import count_config_maps, shown_name
    from proxy.config.report import Judged

    given: list[tuple[Path, ...]] = [(file,) for file in alone] or [tuple(together)]
    for files in given:
        name = ":".join(map(shown_name, files))
        several = len(files) == 1 and count_config_maps(files[0])
        for number in range(several or 1):
            found: Loaded | ConfigError
            try:
                found = load(Origin(files), os.environ, only=number if several else None)
            except ConfigError as error:
                found = error
            yield Judged(name, found)


def _show(judged: "Sequence[Judged]") -> None:
    from proxy.config import Loaded
    from proxy.config.summary import summary

    for number, one in enumerate(judged):
        for problem in one.problems:
            print(problem, file=sys.stderr)
        if isinstance(one.found, Loaded):
            print(f"{'' if not number else chr(10)}{summary(one.found)}")


def explain(options: argparse.Namespace) -> int:
    if options.request_id is not None:
        if options.method is not None or options.config:
            return fail("explain takes FILE METHOD URL or --request-id ID, not both", USAGE)
        from proxy.admin.past import explain_request

        return explain_request(options.admin, options.request_id)
    from proxy.config.loading import Origin
    from proxy.config.model import Listener
    from proxy.routing import explain as routes
    from proxy.routing.explain_table import PREFIX

    if options.url.startswith(PREFIX):
        return _explain_table(options, options.url.removeprefix(PREFIX))
    try:
        request = routes.describe_request(options.method, options.url, options.header)
    except ValueError as error:
        return fail(str(error), USAGE)
    loaded = _load(Origin(tuple(options.config or (options.file,))))
    if loaded is None:
        return USAGE
    explanation = routes.explain(loaded, Listener(options.listener), request)
    as_json = options.format == "json"
    if options.admin_named:
        return _explain_now(explanation, options.admin, as_json=as_json)
    print(json.dumps(explanation.document(), indent=2) if as_json else explanation.text())
    return OK


def _explain_table(options: argparse.Namespace, name: str) -> int:
    from proxy.config.loading import Origin
    from proxy.routing.explain_table import TableExplanation

    loaded = _load(Origin(tuple(options.config or (options.file,))))
    if loaded is None:
        return USAGE
    try:
        explanation = TableExplanation(loaded, name)
    except ValueError as error:
        return fail(str(error), USAGE)
    as_json = options.format == "json"
    print(json.dumps(explanation.document(), indent=2) if as_json else explanation.text())
    return OK


def _explain_now(explanation: "Explanation", url: str, *, as_json: bool) -> int:
    """With what the proxy at this admin address says of the endpoints."""
    from proxy.admin.asking import NoAnswer
    from proxy.admin.standing import endpoints_now, now_document, now_lines

    placings = explanation.placings
    try:
        found = endpoints_now(url)
        if as_json:
            now = now_document(placings, found)
            print(json.dumps({**explanation.document(), "now": now}, indent=2))
        else:
            print(explanation.text(list(now_lines(url, placings, found))))
    except NoAnswer as error:
        return fail(str(error), FAILED)
    except (KeyError, TypeError, ValueError):
        return fail(f"{url} answers, but is not a resilience proxy", FAILED)
    return OK


def demo(options: argparse.Namespace) -> int:
    startup.fill_standard_streams()
    from proxy import demo

    return demo.run(options.duration, faults=options.faults, saga=options.saga)


def drain(options: argparse.Namespace) -> int:
    from proxy.admin import client

    return client.drain(options.admin)


def ready(options: argparse.Namespace) -> int:
    from proxy.admin import client

    return client.ready(options.admin, options.timeout)


def top(options: argparse.Namespace) -> int:
    from proxy import top

    iterations = 1 if options.once else options.iterations
    return top.run(options.admin, options.interval, iterations, as_json=options.format == "json")


def tap(options: argparse.Namespace) -> int:
    from proxy.admin import tap

    wants = {"route": options.route, "status": options.status, "path": options.path}
    return tap.tap(options.admin, wants, options.count, as_json=options.format == "json")


def breaker(options: argparse.Namespace) -> int:
    from proxy.admin import breakers

    return breakers.order(options.admin, options.name, options.order)


def outbox(options: argparse.Namespace) -> int:
    from proxy.admin import outbox_orders

    as_json = options.format == "json"
    if not options.id:
        return outbox_orders.show(
            options.admin,
            route=options.route,
            state=options.state,
            limit=options.limit,
            as_json=as_json,
        )
    if options.order == "show":
        return outbox_orders.show_entry(options.admin, options.id, as_json=as_json)
    return outbox_orders.order(options.admin, options.id, options.order, as_json=as_json)


def sagas(options: argparse.Namespace) -> int:
    from proxy.admin import sagas as client

    as_json = options.format == "json"
    if options.action == "list":
        if options.id is not None:
            return fail("sagas list takes no ID; show has one", USAGE)
        return client.rows(
            options.admin, options.saga, options.state, options.limit, as_json=as_json
        )
    if options.id is None:
        return fail(f"sagas {options.action} needs the ID of a saga", USAGE)
    if options.action == "show":
        return client.show(options.admin, options.id, as_json=as_json)
    return client.order(options.admin, options.id, options.action)


def inject(options: argparse.Namespace) -> int:
    from proxy.kubernetes import command_line

    return command_line.inject(options)


def webhook(options: argparse.Namespace) -> int:
    startup.fill_standard_streams()
    from proxy import webhook_server
    from proxy.config.server_model import ListenerTls
    from proxy.kubernetes import command_line

    tls = ListenerTls(str(options.tls_cert), str(options.tls_key))
    settings = command_line.settings_of(options)
    for contradiction in settings.contradictions():
        return fail(f"--{contradiction}", USAGE)
    return webhook_server.run(
        webhook_server.Options(options.address, tls, options.drain_delay, settings)
    )


def schema(options: argparse.Namespace) -> int:
    from proxy.config import json_schema

    print(json.dumps(json_schema(), indent=2))
    return OK


def store(options: argparse.Namespace) -> int:
    import sqlite3

    from proxy.store.sqlite import inspection
    from proxy.store.store import CannotOpen

    try:
        db = inspection.open_unused(str(options.file))
    except CannotOpen as error:
        return fail(str(error), FAILED)
    try:
        if options.what == "export":
            for line in inspection.export(db):
                print(line)
            return OK
        damage = inspection.check(db)
        if damage:
            return fail(f"{options.file} is damaged: {'; '.join(damage[:10])}", FAILED)
        told = ", ".join(f"{number} {kind}" for kind, number in inspection.counts(db).items())
        print(f"{options.file}: sound; {told}")
        return OK
    except sqlite3.DatabaseError as error:
        return fail(f"{options.file} is damaged: {error}", FAILED)
    finally:
        db.close()
