"""Real PostgreSQL servers for tests: Debian's, on a free port of 127.0.0.1, gone after the run.

    postgres_url    (fixture) an empty database on the server that all processes of a run share
    own_postgres    (fixture) a server of the test's own, to stop, restart, freeze or kill
    pooled_url      (fixture) the database of postgres_url, through PgBouncer

They are skipped where PostgreSQL is not installed; with $NEEDS_POSTGRESQL they fail instead. As
root the server runs as `postgres` or `nobody`: it refuses to be root. `fsync` is off: a test kills
processes, not machines.

A *keeper* process owns the shared server. It ends all servers of the test run and removes their
files when the run has ended, however it ended.
"""

import fcntl
import json
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent))

from integration.ports import free_port

NEEDED = "NEEDS_POSTGRESQL"
MISSING = "PostgreSQL is not installed (Debian: postgresql)"
RUN = "TESTS_POSTGRES_RUN"
"""The process whose end is the end of the run: `pytest` itself, not one of its workers."""
STARTS_IN = 60.0
SUPERUSER = "postgres"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "autovacuum": "off",
    "timezone": "UTC",
}


@cache
def binaries() -> Path | None:
    """The directory with `initdb` and `postgres`; None if there is none."""
    by_version = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name)
    )
    candidates = [str(path) for path in by_version]
    if shutil.which("pg_config"):
        told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True)
        candidates.append(told.stdout.strip())
    if on_path := shutil.which("initdb"):
        candidates.append(str(Path(on_path).resolve().parent))
    for candidate in candidates:
        if candidate and (Path(candidate) / "initdb").exists():
            return Path(candidate)
    return None


def program(name: str) -> str:
    found = binaries()
    if found is None:
        raise FileNotFoundError(MISSING)
    return str(found / name)


@cache
def _account() -> pwd.struct_passwd | None:
    """The account of the server's processes; None: that of the tests."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError("PostgreSQL does not run as root, and there is no other account")


def _as_account(arguments: list[str], **options: object) -> "subprocess.Popen[bytes]":
    account = _account()
    if account is not None:
        options |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, **options)


def _make_directory(prefix: str, parent: Path = Path("/tmp")) -> Path:
    # Not below pytest's directory: nobody but its owner may look into that one.
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    _give(directory)
    return directory


def _give(path: Path) -> None:
    account = _account()
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def initdb(data: Path) -> None:
    """Make an empty cluster whose users need no password."""
    command = [program("initdb"), "-D", str(data), "-A", "trust", "-U", SUPERUSER]
    made = _as_account(
        [*command, "-E", "UTF8", "--locale=C", "--no-sync"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=str(data.parent),
    )
    output, _ = made.communicate()
    if made.returncode != 0:
        raise RuntimeError(f"initdb failed: {output.decode()}")


def run_sql(url: str, statement: str) -> str:
    """Run SQL; returns the rows, `|` between columns."""
    asked = subprocess.run(
        [program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", url],
        input=statement,
        capture_output=True,
        text=True,
    )
    if asked.returncode != 0:
        raise RuntimeError(asked.stderr.strip())
    return asked.stdout.strip()


class Server:
    """A server on its data directory. `settings`: of postgresql.conf, beside SETTINGS."""

    _databases = count()

    def __init__(
        self,
        directory: Path,
        settings: dict[str, str] | None = None,
        port: int = 0,
        hba: str | None = None,
    ) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = port or free_port()
        self.settings = {**SETTINGS, "unix_socket_directories": str(directory)} | (settings or {})
        self.hba = hba
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def url(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run SQL as the superuser; returns the rows, `|` between columns."""
        return run_sql(self.url(database), statement)

    def new_database(self) -> str:
        """Make an empty database; its name."""
        name = f"test_{os.getpid()}_{next(self._databases)}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def start(self) -> None:
        """Start it, or start it again after any end; returns when it takes connections."""
        if self.hba is not None:
            (self.data / "pg_hba.conf").write_text(self.hba)
        command = [program("postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        until = time.monotonic() + STARTS_IN
        while time.monotonic() < until:
            with self.log.open("ab") as log:
                self.process = _as_account(command, stdout=log, stderr=log, cwd=str(self.directory))
            if self._has_started(until):
                return
            # Killed before: its children hold the shared memory until they have noticed that.
            time.sleep(0.05)
        raise TimeoutError(f"PostgreSQL does not start:\n{self.log.read_text()[-2000:]}")

    def _has_started(self, until: float) -> bool:
        assert self.process is not None
        state = self.data / "postmaster.pid"
        while time.monotonic() < until and self.process.poll() is None:
            try:
                lines = state.read_text().splitlines()
            except OSError:
                lines = []
            if lines[:1] == [str(self.process.pid)] and lines[7:8] in (["ready   "], ["standby "]):
                return True
            time.sleep(0.01)
        return False

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it: open transactions are rolled back; `immediate`: without a shutdown."""
        self._end(signal.SIGQUIT if immediate else signal.SIGINT)

    def kill(self) -> None:
        """As `kill -9` of the postmaster."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(STARTS_IN)
            self.process = None

    def freeze(self) -> None:
        """Stop all its processes where they are: connections stay, and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self.process is not None
        _signal_with_children(self.process.pid, number)

    def restart(self, *, immediate: bool = False) -> None:
        self.stop(immediate=immediate)
        self.start()

    def end_sessions(self, database: str) -> None:
        """End the connections of a database, as an administrator does or a failover."""
        self.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            f" WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        )


def _signal_with_children(parent: int, number: signal.Signals) -> None:
    children = _children(parent)
    _signal(parent, number)
    # The parent may have made another one meanwhile; now it makes none.
    for pid in children | _children(parent):
        _signal(pid, number)


def _children(parent: int) -> set[int]:
    try:
        return set(map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()))
    except OSError:  # it has ended
        return set()


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _end_all(directory: Path) -> None:
    """End the servers that tests which were killed have left below a directory."""
    for told in directory.glob("*/data/postmaster.pid"):
        with suppress(OSError, ValueError, IndexError):
            lines = told.read_text().splitlines()
            command = Path(f"/proc/{int(lines[0])}/cmdline").read_bytes()
            if str(told.parent).encode() in command.split(b"\0"):
                _signal_with_children(int(lines[0]), signal.SIGKILL)


@contextmanager
def new_server(
    template: Path, settings: dict[str, str] | None = None, hba: str | None = None
) -> Iterator[Server]:
    """A running server of its own, on a copy of an empty cluster."""
    directory = _make_directory("own-", template.parent)
    server = Server(directory, settings, hba=hba)
    try:
        copied = _as_account(["cp", "-a", str(template), str(server.data)])
        assert copied.wait() == 0
        server.start()
        yield server
    finally:
        server.stop(immediate=True)
        shutil.rmtree(directory, ignore_errors=True)


POOLER_MISSING = "PgBouncer is not installed (Debian: pgbouncer)"


def has_pooler() -> bool:
    return shutil.which("pgbouncer", path=_POOLER_PATH) is not None


_POOLER_PATH = os.environ.get("PATH", "") + ":/usr/sbin"


@contextmanager
def pooled(url: str, server_processes: int = 3) -> Iterator[str]:
    """PgBouncer before a server, one transaction at a time; the URL of the same database."""
    directory = _make_directory("pgbouncer-")
    server, _, database = url.rpartition("/")
    user, host, port = server.partition("//")[2].replace("@", ":").split(":")
    listening = free_port()
    users = directory / "users"
    users.write_text(f'"{user}" ""\n')
    file = directory / "pgbouncer.ini"
    file.write_text(
        f"[databases]\n* = host={host} port={port}\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
        f"listen_port={listening}\nunix_socket_dir=\nauth_type=trust\nauth_file={users}\n"
        f"pool_mode=transaction\ndefault_pool_size={server_processes}\n"
        f"logfile={directory / 'log'}\n"
    )
    for made in (users, file):
        _give(made)
    program = shutil.which("pgbouncer", path=_POOLER_PATH)
    assert program is not None, POOLER_MISSING
    pooler = _as_account([program, str(file)], stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(listening)
        yield f"postgresql://{user}@127.0.0.1:{listening}/{database}"
    finally:
        pooler.kill()
        pooler.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _wait_for_port(port: int) -> None:
    until = time.monotonic() + STARTS_IN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < until, "PgBouncer does not start"
            time.sleep(0.01)


class Shared:
    """The server of a run, and an empty cluster to copy."""

    def __init__(self, directory: Path, port: int) -> None:
        self.server = Server(directory, port=port)
        self.template = directory / "template"


def shared_server() -> Shared:
    """The server of this run; the first that asks starts it."""
    run = int(os.environ.get(RUN, str(os.getpid())))
    state = Path(tempfile.gettempdir()) / f"tests-postgres-{os.getuid()}-{run}"
    with state.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        told = file.read()
        if not told or not Path(json.loads(told)["directory"]).exists():
            file.truncate(0)
            told = _start_keeper(run, state)
            file.write(told)
            file.flush()
    found = json.loads(told)
    return Shared(Path(found["directory"]), found["port"])


def _start_keeper(run: int, state: Path) -> str:
    keeper = subprocess.Popen(
        [sys.executable, __file__, str(run), str(state)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert keeper.stdout is not None
    told = keeper.stdout.readline()
    keeper.stdout.close()
    keeper.returncode = 0  # not waited for: it ends after this process
    if not told:
        raise RuntimeError("PostgreSQL could not be started, see the messages above")
    return told


def keep(run: int, state: Path) -> None:
    """The keeper: starts the server, tells where it is, and ends it after the process `run`."""
    watched = os.pidfd_open(run)
    directory = _make_directory("tests-postgres-")
    server = Server(directory)
    try:
        template = directory / "template"
        initdb(template)
        copied = _as_account(["cp", "-a", str(template), str(server.data)])
        assert copied.wait() == 0
        server.start()
        print(json.dumps({"directory": str(directory), "port": server.port}), flush=True)
        select.select([watched], [], [])
    finally:
        server.stop(immediate=True)
        _end_all(directory)
        state.unlink(missing_ok=True)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    keep(int(sys.argv[1]), Path(sys.argv[2]))
