"""What a reload takes, what it refuses and why, and when the watch has it made."""

import asyncio
import gc
import logging
import os
import sys
import threading
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace

import pytest

from proxy.admin.controls import Rejection
from proxy.config.loading import load
from proxy.reload import NO_FILE, STILL_READ, Reloader

FILE = """
service: {service}
listeners:
  outbound: {{address: 127.0.0.1:7070}}
upstreams:
  shop: {{endpoints: ["http://10.0.0.1:80"]}}
"""
SOON = 0.01


class Lifecycle:
    def __init__(self):
        self.outcomes = []

    def reloaded(self, outcome, trigger):
        self.outcomes.append((outcome.result, trigger))


class Bench:
    """A file, a reloader of it, and the configurations that it had adopted."""

    def __init__(self, path):
        self.path = path
        self.write("first")
        self.lifecycle = Lifecycle()
        self.adopted = []
        self.refusals = 0
        self.prepared_in = set()
        self.reloader = Reloader(load(path, {}), self.lifecycle, self.adopting, interval=SOON)

    def adopting(self, config):
        """Runs in a thread."""
        self.prepared_in.add(threading.current_thread())
        return partial(self.adopt, config)

    def adopt(self, config):
        if self.refusals:
            self.refusals -= 1
            return False
        self.adopted.append(config)
        return True

    def write(self, service, text=FILE):
        """As editors and Kubernetes do: all at once."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text.format(service=service))
        fresh.replace(self.path)

    @property
    def services(self):
        return [config.service for config in self.adopted]


@pytest.fixture
async def bench(tmp_path):
    return Bench(tmp_path / "proxy.yaml")


@asynccontextmanager
async def watching(bench):
    bench.reloader.start()
    try:
        yield
    finally:
        await bench.reloader.stop()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(SOON / 2)


async def test_an_exporter_that_cannot_be_had_changes_nothing(bench, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    bench.write("second", FILE + "tracing: {{exporter: otlp}}\n")
    outcome = await bench.reloader.reload("test")
    assert outcome.rejection is Rejection.INVALID
    (problem,) = outcome.problems
    assert problem.startswith("tracing.exporter: OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json'")
    assert bench.services == []


async def test_a_good_file_is_adopted(bench):
    bench.write("second")
    outcome = await bench.reloader.reload("test")
    assert outcome.applied
    assert bench.services == ["second"]
    assert bench.lifecycle.outcomes == [("applied", "test")]


async def test_where_values_come_from_is_as_new_as_the_configuration(bench):
    key = ("limits", "headers")
    bench.write("second", FILE + "limits: {{headers: none}}\n")
    await bench.reloader.reload("test")
    assert bench.reloader.sources.place(key) is None
    bench.write("second", FILE + "limits: {{headers: 7}}\n")
    await bench.reloader.reload("test")
    assert bench.reloader.sources.place(key) == f"{bench.path}:{FILE.count(chr(10)) + 1}"


async def test_every_problem_is_told_and_logged_and_nothing_adopted(bench, caplog):
    bench.write("second", FILE + "limits: {{connections: none}}\nroutes: [{{name: 1 2}}]\n")
    outcome = await bench.reloader.reload("test")
    assert outcome.rejection is Rejection.INVALID
    assert len(outcome.problems) >= 2
    assert all(problem.startswith(f"{bench.path}:") for problem in outcome.problems)
    assert set(outcome.problems) <= set(caplog.messages)
    assert bench.adopted == []
    assert bench.lifecycle.outcomes == [("rejected", "test")]


async def test_warnings_are_no_reason_to_reject(bench, caplog):
    caplog.set_level(logging.INFO, "proxy.reload")
    twice = "routes: [{{name: a, upstream: shop}}, {{name: b, upstream: shop}}]\n"
    bench.write("second", FILE + twice)
    outcome = await bench.reloader.reload("test")
    assert outcome.applied
    (warning,) = outcome.problems
    assert "warning: " in warning
    levels = {record.getMessage(): record.levelname for record in caplog.records}
    assert levels == {"configuration reloaded": "INFO", warning: "WARNING"}


async def test_a_file_that_is_gone(bench):
    bench.path.unlink()
    outcome = await bench.reloader.reload("test")
    assert outcome.rejection is Rejection.INVALID
    assert "cannot be read" in outcome.problems[0]


async def test_without_a_file_there_is_nothing_to_reload():
    lifecycle = Lifecycle()
    reloader = Reloader(load(None, {}), lifecycle, lambda config: pytest.fail, interval=SOON)
    reloader.start()
    outcome = await reloader.reload("test")
    await reloader.stop()
    assert (outcome.problems, outcome.rejection) == ((NO_FILE,), Rejection.NO_FILE)
    assert lifecycle.outcomes == [("rejected", "test")]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            "admin: {address: 127.0.0.1:9}",
            ":7: admin.address: 0.0.0.0:7072 cannot become 127.0.0.1:9 without a restart",
        ),
        (
            "  inbound: {address: 127.0.0.1:9}",
            ":7: listeners.inbound.address: 0.0.0.0:7071 cannot become 127.0.0.1:9 without a "
            "restart",
        ),
    ],
)
async def test_other_addresses_need_a_restart(bench, more, problem):
    lines = FILE.format(service="second").splitlines()
    lines.insert(4 if more.startswith(" ") else len(lines), more)
    bench.path.write_text("\n".join(lines))
    outcome = await bench.reloader.reload("test")
    line = 5 if more.startswith(" ") else 7
    assert outcome.rejection is Rejection.NEEDS_RESTART
    assert outcome.problems == (f"{bench.path}{problem.replace(':7:', f':{line}:')}",)
    assert bench.adopted == []


async def test_an_address_left_out_is_the_default_one(bench):
    bench.write("second", "service: s\nlisteners: {{outbound: {{address: 127.0.0.1:9}}}}\n")
    assert (await bench.reloader.reload("test")).rejection is Rejection.NEEDS_RESTART
    bench.write("second", "service: s\n")  # 127.0.0.1:7070 as before
    assert (await bench.reloader.reload("test")).applied


def _tls(directory, *, client_ca=False):
    ca = f", client_ca: {directory}/ca.crt" if client_ca else ""
    return f"{{{{cert: {directory}/tls.crt, key: {directory}/tls.key{ca}}}}}"


def _listening(tls):
    return FILE.replace("127.0.0.1:7070", f"127.0.0.1:7070, tls: {tls}")


@pytest.fixture
def no_openssl(monkeypatch, tmp_path):
    """The files of `_tls` are there, and what is asked of OpenSSL is only noted."""
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).touch()
    built = []
    monkeypatch.setattr("proxy.reload.ListenerContext", lambda key, tls: built.append(key))
    return built


async def test_turning_tls_on_or_off_needs_a_restart(bench, tmp_path, no_openssl):
    bench.write("second", _listening(_tls(tmp_path)))
    outcome = await bench.reloader.reload("test")
    assert outcome.rejection is Rejection.NEEDS_RESTART
    assert outcome.problems[0].endswith(
        "listeners.outbound.tls: off cannot become on without a restart"
    )
    bench.reloader = Reloader(load(bench.path, {}), bench.lifecycle, lambda config: pytest.fail)
    bench.write("second")
    (problem,) = (await bench.reloader.reload("test")).problems
    assert "listeners.outbound.tls: on cannot become off" in problem


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ("url: 'postgresql://p:a@db/d', timeout: 3s", ["timeout: 2s cannot become 3s"]),
        ("url: 'postgresql://p:a@db/e'",
         ["url: postgresql://p:***@db/d cannot become postgresql://p:***@db/e"]),
        ("url: 'postgresql://p:b@db/d'", ["url: its password cannot become another one"]),
        ("url: 'postgresql://p:a@db/d', connections: 5, schema: x",
         ["schema: resilience_proxy cannot become x", "connections: 2 cannot become 5"]),
        ("url: 'sqlite:/s.db'",
         ["url: postgresql://p:***@db/d cannot become sqlite:/s.db"]),
    ],
    ids=["timeout", "database", "password", "two", "engine"],
)  # fmt: skip
async def test_each_key_of_the_store_that_needs_a_restart_is_named(bench, after, told):
    bench.write("first", FILE + "store: {{url: 'postgresql://p:a@db/d'}}\n")
    bench.reloader = Reloader(load(bench.path, {}), bench.lifecycle, lambda config: pytest.fail)
    bench.write("first", FILE + "store: {{" + after + "}}\n")
    outcome = await bench.reloader.reload("test")
    assert outcome.rejection is Rejection.NEEDS_RESTART
    found = [problem.partition(": store.")[2] for problem in outcome.problems]
    assert set(found) >= {f"{one} without a restart" for one in told}


async def test_asking_clients_for_certificates_needs_one_too(bench, tmp_path, no_openssl):
    bench.write("second", _listening(_tls(tmp_path)))
    bench.reloader = Reloader(load(bench.path, {}), bench.lifecycle, lambda config: pytest.fail)
    bench.write("second", _listening(_tls(tmp_path, client_ca=True)))
    (problem,) = (await bench.reloader.reload("test")).problems
    assert "listeners.outbound.tls: on cannot become mutual" in problem


async def test_tls_files_that_cannot_be_used_change_nothing(bench, tmp_path):
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_text("no certificate")
    bench.write("second", _listening(_tls(tmp_path)))
    outcome = await bench.reloader.reload("test")
    assert outcome.rejection is Rejection.INVALID
    assert "listeners.outbound.tls: the certificate" in outcome.problems[0]


# --- a file system that does not answer ---------------------------------------------------------


class Hanging:
    """Takes the place of `_read`, and does not come back until it is let go."""

    def __init__(self):
        self.let_go = threading.Event()
        self.calls = 0

    def __call__(self, path, *_):
        self.calls += 1
        self.let_go.wait(5)
        return load(path, {})


async def test_a_reload_that_hangs_is_given_up_and_no_other_joins_it(bench, monkeypatch):
    hanging = Hanging()
    monkeypatch.setattr("proxy.reload._read", hanging)
    reloader = Reloader(load(bench.path, {}), bench.lifecycle, bench.adopting, within=SOON)
    first = await reloader.reload("test")
    second = await reloader.reload("test")
    assert "no answer within 0.01s" in first.problems[0]
    assert second.problems == (STILL_READ,)
    assert (hanging.calls, bench.adopted) == (1, [])
    hanging.let_go.set()
    await until(lambda: reloader._reading.done())
    reloader._within = 5.0  # a busy machine may read for longer than it takes to give up here
    assert (await reloader.reload("test")).applied


async def test_stopping_does_not_wait_for_it(bench, monkeypatch):
    hanging = Hanging()
    monkeypatch.setattr("proxy.reload._read", hanging)
    bench.reloader.on_signal()
    await until(lambda: hanging.calls)
    async with asyncio.timeout(1):
        await bench.reloader.stop()
    hanging.let_go.set()


async def test_the_loop_keeps_the_interpreter_while_a_file_is_read(bench, monkeypatch):
    seen = []

    def reading(origin, *_):
        seen.append((sys.getswitchinterval() < 0.001, gc.isenabled()))
        return load(origin, {})

    monkeypatch.setattr("proxy.reload._read", reading)
    before = sys.getswitchinterval()
    assert (await bench.reloader.reload("test")).applied
    assert seen == [(True, False)]
    assert (sys.getswitchinterval(), gc.isenabled()) == (before, True)


async def test_what_cannot_be_applied_as_it_was_prepared_is_prepared_again(bench):
    bench.write("second")
    bench.refusals = 2
    assert (await bench.reloader.reload("test")).applied
    assert bench.services == ["second"]


async def test_what_a_large_file_made_is_not_examined_afterwards(bench, monkeypatch):
    """Also where so many other objects are freed that the collector's own count is low."""
    freed = [[] for _ in range(40_000)]
    made = []

    def reading(origin, *_):
        made.extend([] for _ in range(30_000))
        freed.clear()
        return load(origin, {})

    monkeypatch.setattr("proxy.reload._read", reading)
    before = gc.get_freeze_count()
    try:
        assert (await bench.reloader.reload("test")).applied
        assert gc.get_freeze_count() - before > 30_000
    finally:
        gc.unfreeze()


# --- the configuration in effect, applied again -------------------------------------------------


async def test_it_is_prepared_in_a_thread(bench):
    await bench.reloader.apply_again()
    assert bench.services == ["first"]
    assert threading.main_thread() not in bench.prepared_in
    assert bench.lifecycle.outcomes == []


async def test_it_does_not_wait_for_a_reload_that_hangs(bench, monkeypatch):
    hanging = Hanging()
    monkeypatch.setattr("proxy.reload._read", hanging)
    reloading = asyncio.create_task(bench.reloader.reload("test"))
    await until(lambda: hanging.calls)
    bench.write("second")
    await bench.reloader.apply_again()
    assert bench.services == ["first"]
    hanging.let_go.set()
    await reloading
    assert bench.services == ["first", "second"]


async def test_a_reload_meanwhile_is_not_undone(bench, monkeypatch):
    """What was prepared before the reload is prepared again."""
    bench.write("second")
    prepare, begun, go_on = bench.adopting, threading.Event(), threading.Event()

    def slow(config):
        if not begun.is_set():
            begun.set()
            go_on.wait(5)
        return prepare(config)

    bench.reloader._prepare = slow
    applying = asyncio.create_task(bench.reloader.apply_again())
    await until(begun.is_set)
    await bench.reloader.reload("test")
    go_on.set()
    await applying
    assert bench.services == ["second", "second"]


async def test_threads_at_the_same_time_leave_the_interpreter_as_it_was(bench, monkeypatch):
    hanging = Hanging()
    monkeypatch.setattr("proxy.reload._read", hanging)
    before = sys.getswitchinterval()
    reloading = asyncio.create_task(bench.reloader.reload("test"))
    await until(lambda: hanging.calls)
    applying = asyncio.create_task(bench.reloader.apply_again())
    await asyncio.sleep(0)
    hanging.let_go.set()
    await asyncio.gather(reloading, applying)
    assert (sys.getswitchinterval(), gc.isenabled()) == (before, True)


# --- the watch ----------------------------------------------------------------------------------


async def test_a_changed_file_is_reloaded_once(bench):
    async with watching(bench):
        bench.write("second")
        await until(lambda: bench.services == ["second"])
        await asyncio.sleep(5 * SOON)
    assert bench.lifecycle.outcomes == [("applied", "the file changed")]


async def test_a_file_that_is_left_alone_is_not(bench):
    async with watching(bench):
        await asyncio.sleep(5 * SOON)
    assert bench.lifecycle.outcomes == []


async def test_a_swapped_directory_link_is_seen(tmp_path):
    """What Kubernetes does to a ConfigMap: file -> ..data/file, ..data -> a directory."""
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "proxy.yaml").write_text(f"service: s{number}\n")
    (tmp_path / "..data").symlink_to("..1")
    path = tmp_path / "proxy.yaml"
    path.symlink_to("..data/proxy.yaml")
    adopted = []

    def adopting(config):
        return lambda: adopted.append(config) is None

    reloader = Reloader(load(path, {}), Lifecycle(), adopting, interval=SOON)
    bench = SimpleNamespace(reloader=reloader)
    async with watching(bench):
        (tmp_path / "..data_tmp").symlink_to("..2")
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
        await until(lambda: adopted)
    assert adopted[0].service == "s2"


async def test_a_change_between_the_first_reading_and_the_watch_is_seen(bench):
    bench.write("second")
    async with watching(bench):
        await until(lambda: bench.services == ["second"])


async def test_a_bad_file_is_rejected_once_and_a_mended_one_taken(bench):
    async with watching(bench):
        bench.write("second", "service: [")
        await until(lambda: bench.lifecycle.outcomes)
        await asyncio.sleep(5 * SOON)
        assert [result for result, _ in bench.lifecycle.outcomes] == ["rejected"]
        bench.write("third")
        await until(lambda: bench.services == ["third"])


async def test_what_was_asked_for_is_not_found_again_by_the_watch(bench):
    async with watching(bench):
        bench.write("second")
        await bench.reloader.reload("test")
        await asyncio.sleep(5 * SOON)
    assert bench.lifecycle.outcomes == [("applied", "test")]


async def test_signals_during_a_reload_make_one_more(bench):
    for _ in range(5):
        bench.reloader.on_signal()
    await asyncio.sleep(0)  # the first is under way
    for _ in range(5):
        bench.reloader.on_signal()
    await until(lambda: len(bench.lifecycle.outcomes) == 2)
    await bench.reloader.stop()
    assert bench.lifecycle.outcomes == [("applied", "SIGHUP")] * 2


async def test_reloads_are_made_one_at_a_time(bench, monkeypatch):
    under_way, most = 0, 0

    async def read(*_):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return load(bench.path, {}), partial(bench.adopt, None)

    monkeypatch.setattr(asyncio, "to_thread", read)
    await asyncio.gather(*(bench.reloader.reload("test") for _ in range(4)))
    assert (most, len(bench.adopted)) == (1, 4)


async def test_a_bug_does_not_end_the_reloads_to_come(bench, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr("proxy.reload._read", broken)
        bench.reloader.on_signal()
        await until(lambda: "bug: a reload failed" in caplog.messages)
    bench.reloader.on_signal()
    await until(lambda: bench.services == ["first"])
    await bench.reloader.stop()
