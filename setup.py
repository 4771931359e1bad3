"""Compiles the data plane's hot modules with mypyc when a wheel is built.

Everything else about the package stands in pyproject.toml. The modules are plain Python, and run
as they are where nothing compiled them: in an editable install, from the tree, where there is no
C compiler, and with RESILIENCE_PROXY_PURE=1 in the environment of the build. docs/adr/0014.

What was compiled last stays in build/compiled, so that the next build of the same sources only
copies it.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

COMPILED = (
    "config/model",
    "delivery/accepting",
    "delivery/entries",
    "delivery/held",
    "delivery/identities",
    "delivery/stored_request",
    "delivery/tries",
    "exchange/answers",
    "exchange/attempt",
    "exchange/attempt_clocks",
    "exchange/binding",
    "exchange/bindings",
    "exchange/body",
    "exchange/carrier",
    "exchange/committing",
    "exchange/events",
    "exchange/exchange",
    "exchange/forwarded",
    "exchange/faults",
    "exchange/gate",
    "exchange/gateway",
    "exchange/grpc_attempt",
    "exchange/grpc_relay",
    "exchange/heads",
    "exchange/gathering",
    "exchange/hedging",
    "exchange/holding",
    "exchange/lost_client",
    "exchange/keeping",
    "exchange/lineage",
    "exchange/marks",
    "exchange/mirroring",
    "exchange/pace",
    "exchange/one_attempt",
    "exchange/promised",
    "exchange/reaching",
    "exchange/record",
    "exchange/relay",
    "exchange/request",
    "exchange/retrying",
    "exchange/script",
    "exchange/stats",
    "exchange/terms",
    "exchange/throttle",
    "exchange/timing",
    "exchange/tunnel",
    "exchange/watching",
    "exchange/well_known",
    "http/h1/chunked",
    "http/h1/fields",
    "http/h1/framing",
    "http/h1/memory",
    "http/h1/request",
    "http/h1/response",
    "http/h1/shapes",
    "http/h2/blocks",
    "http/h2/decoder",
    "http/h2/encoder",
    "http/h2/errors",
    "http/h2/extended_connect",
    "http/h2/fields",
    "http/h2/frames",
    "http/h2/head",
    "http/h2/huffman",
    "http/h2/judge",
    "http/h2/names",
    "http/h2/static_table",
    "grpc_status",
    "outcome",
    "http/dates",
    "http/grpc",
    "http/grpc_health",
    "http/hash_key",
    "http/lists",
    "http/max_forwards",
    "http/making",
    "http/message",
    "http/random_hex",
    "http/request_id",
    "http/tracing",
    "http/treatment",
    "http/trailers",
    "http/w3c",
    "policies/backoff",
    "policies/budget",
    "policies/bulkhead",
    "policies/circuit_breaker",
    "policies/circuit_breaker_answers",
    "policies/circuit_breaker_config",
    "policies/circuit_breaker_probes",
    "policies/deadline",
    "policies/ejection",
    "policies/ejection_config",
    "policies/ewma",
    "policies/fallback",
    "policies/faults",
    "policies/gate",
    "policies/gradient",
    "policies/gradient_level",
    "policies/hedge",
    "policies/mirror",
    "policies/rate_limit",
    "policies/rate_limits",
    "policies/rate_window",
    "policies/rendezvous",
    "policies/retry",
    "policies/split",
    "policies/window",
    "routing/destination",
    "routing/lookup",
    "routing/matchers",
    "routing/route",
    "routing/table",
    "simulation/followed",
    "simulation/sides",
    "telemetry/access_log",
    "telemetry/sieves",
    "upstream/address",
    "upstream/balancing",
    "upstream/choice",
    "upstream/dialing",
    "upstream/endpoint",
    "upstream/health",
    "upstream/pool",
    "upstream/session_book",
    "upstream/standings",
    "upstream/upstream",
    "wire/alarm",
    "wire/flow",
    "wire/handshakes",
    "wire/h1/closing",
    "wire/h1/downstream",
    "wire/h1/head_writer",
    "wire/h1/plain_connect",
    "wire/h1/request_reader",
    "wire/h1/request_writer",
    "wire/h1/response_reader",
    "wire/h1/response_writer",
    "wire/h1/upstream",
    "wire/h2/buckets",
    "wire/h2/connection",
    "wire/h2/controls",
    "wire/h2/downstream",
    "wire/h2/keepalive",
    "wire/h2/leaving",
    "wire/h2/receiving",
    "wire/h2/request_stream",
    "wire/h2/requests",
    "wire/h2/sending",
    "wire/h2/streams",
    "wire/h2/upstream",
    "wire/no_client",
    "wire/streams",
    "wire/tls_object",
    "wire/untracked",
)
"""What every request runs through."""

MYPY_OPTIONS = ("--ignore-missing-imports", "--no-warn-unused-ignores", "--follow-imports=silent")
"""The build's environment has neither the package's dependencies nor stubs for them, and types are
checked elsewhere: what a build wants to know of them is what the compiled modules say.
"""

OPTIMIZATION = (
    "-O1",
    "-fcrossjumping",
    "-findirect-inlining",
    "-finline-small-functions",
    "-fisolate-erroneous-paths-dereference",
    "-foptimize-sibling-calls",
    "-fpartial-inlining",
    "-fpeephole2",
    "-freorder-blocks-and-partition",
    "-fstore-merging",
    "-ftree-vrp",
    "-fno-asynchronous-unwind-tables",
    "-fvisibility=hidden",
    "-Wno-all",
)
"""gcc's -O1 and the parts of -O2 that help here. With -O3 a request executes as many instructions,
and gcc takes twice the time. -Wall, which Python's own flags have, takes as long again. With hidden
names the library's functions call each other directly: 2 % fewer instructions, and 0.7 MiB less.
Unwind tables, which only debuggers read here, would take another 0.45 MiB.
"""

ONCE = '__attribute__((optimize("O0")))'
"""Of functions that run once or seldom: module bodies, and what only uncompiled code calls.
Optimizing them takes a third of the compiler's time.
"""

SECONDS_PER_LINE = 0.003
"""CPU time, on a machine of 2024. Lines count, not files: a module in two parts takes as long."""

PURE = os.environ.get("RESILIENCE_PROXY_PURE", "0") != "0"
KEPT = Path("build/compiled")


class Kept:
    """The shared libraries of the last build that was compiled, in a directory named after `key`.

    A directory appears complete, by a rename, and only the latest one stays.
    """

    def __init__(self, directory: Path, key: str) -> None:
        self._directory = directory
        self._files = directory / key

    def names(self) -> list[str]:
        """The libraries' paths in the package, empty if nothing is kept for this key."""
        found = (file.relative_to(self._files) for file in self._files.rglob("*") if file.is_file())
        return sorted(map(str, found))

    def copy_to(self, target: Path) -> None:
        shutil.copytree(self._files, target, dirs_exist_ok=True)

    def keep(self, source: Path, names: list[str]) -> None:
        """Keep these files of `source`, and nothing else. A failure only costs time later."""
        unfinished = self._directory / f"unfinished-{os.getpid()}"
        with suppress(OSError):
            for name in names:
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / name, unfinished / name)
            unfinished.rename(self._files)
        with suppress(OSError):
            for other in self._directory.iterdir():
                if other != self._files:
                    shutil.rmtree(other, ignore_errors=True)


def key_of(root: Path, environment: str) -> str:
    """Identifies a build: all sources, as types come from modules that are not compiled too, this
    file, and `environment`.
    """
    hashed = hashlib.sha256(environment.encode())
    for file in (root / "setup.py", *sorted((root / "proxy").rglob("*.py"))):
        content = file.read_bytes()
        hashed.update(f"\n{file.relative_to(root)} {len(content)}\n".encode() + content)
    return hashed.hexdigest()[:32]


def build_environment() -> str:
    """Interpreter, machine, compiler with its flags, and mypyc."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    try:
        asked = [*compiler.split(), "--version"]
        answer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        answer = "none"
    try:
        mypyc = version("mypy")
    except PackageNotFoundError:
        mypyc = "none"
    flags = [os.environ.get(name, "") for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED")]
    return "\n".join(
        (
            sys.version,
            sys.base_prefix,
            sysconfig.get_platform(),
            *platform.libc_ver(),
            str(sysconfig.get_config_var("SOABI")),
            mypyc,
            compiler,
            answer,
            *flags,
        )
    )


class AllOrNothing(build_ext):
    """Builds every extension, or leaves the package pure: a part of them would not load."""

    kept: Kept

    def run(self) -> None:
        expected = {Path(self.get_ext_filename(one.name)) for one in self.extensions}
        target = Path(self.build_lib)
        for old in target.rglob("*.so"):  # another build's, which would become part of this wheel
            if old.relative_to(target) not in expected:
                old.unlink()
        if self.kept.names():
            self.kept.copy_to(target)
            return
        try:
            super().run()
        except (BaseError, CCompilerError) as error:  # no compiler, or one that does not work
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions.clear()
            self.warn(f"not compiled, so it will be slower: {error}")
        else:
            self.kept.keep(target, [str(name) for name in expected])


def extensions() -> list[Extension]:
    """None where a wheel is not what is being built: metadata, an sdist, an editable install."""
    if "bdist_wheel" not in sys.argv or PURE:
        return []
    kept = AllOrNothing.kept = Kept(KEPT, key_of(Path(), build_environment()))
    if names := kept.names():
        print("compiled modules: those of the last build, whose sources were the same")
        return [Extension(name.split(".")[0].replace(os.sep, "."), []) for name in names]
    return compiled()


def compiled() -> list[Extension]:
    """The extensions to build; none if mypy finds errors."""
    from mypyc.build import mypycify  # here, for it takes its time

    files = [f"proxy/{module}.py" for module in COMPILED]
    say(
        f"resilience-proxy: compiling {len(files)} modules with mypyc, about "
        f"{seconds_for(files):.0f} s of CPU time. RESILIENCE_PROXY_PURE=1 skips it."
    )
    try:
        found = mypycify([*MYPY_OPTIONS, *files], opt_level="1", debug_level="0")
    except SystemExit:  # mypy has said why
        print("warning: not compiled, so it will be slower", file=sys.stderr)
        return []
    for extension in found:  # another compiler's new warning is no reason to stay slow
        given = [one for one in extension.extra_compile_args if one != "-Werror"]
        extension.extra_compile_args = [*given, *OPTIMIZATION]
        if not extension.name.startswith("proxy."):  # the library with all modules
            extension.extra_compile_args += ["-include", once_header(Path(extension.sources[0]))]
    return found


def seconds_for(files: list[str]) -> float:
    """CPU time to compile these, roughly."""
    return SECONDS_PER_LINE * sum(Path(file).read_bytes().count(b"\n") for file in files)


def once_header(source: Path) -> str:
    """Write a header beside mypyc's C `source` that marks the functions of `ONCE`."""
    header = source.with_name("once.h")
    internal = source.with_name(f"__native_internal{source.stem.removeprefix('__native')}.h")
    declared = re.findall(r"^extern (\w[^;{}=]*\([^;{}]*\));", internal.read_text(), re.M)
    lines = ['#include "CPy.h"', f'#include "{source.stem}.h"', f'#include "{internal.name}"']
    # Wrappers for calls from uncompiled code, and module bodies.
    lines += [f"{one} {ONCE};" for one in declared if re.search(r"CPyPy_|_____top_level__\(", one)]
    # mypyc indents each line deeper than the one before: of 160 MB, 140 are spaces.
    text = re.sub(r"^ +", "", source.read_text(), flags=re.M)
    source.write_text(text)
    # Attributes for uncompiled code.
    accessor = re.compile(r"^(static (?:PyObject \*|int)\n\w+_[gs]et_\w+\([^;{}()]*\));", re.M)
    lines += [f"{' '.join(one.split())} {ONCE};" for one in accessor.findall(text)]
    header.write_text("\n".join(lines) + "\n")
    return str(header)


def say(text: str) -> None:
    """Tell the user, also through pip, which shows a build's output only with -v: one line on the
    terminal, if there is one and this build is in its foreground.
    """
    print(text, flush=True)
    with suppress(OSError), open("/dev/tty", "w") as terminal:
        if os.tcgetpgrp(terminal.fileno()) == os.getpgrp() and not os.isatty(1):
            terminal.write(f"\n  {text}\n")


if __name__ == "__main__":  # setuptools runs it so; tests import it
    setup(ext_modules=extensions(), cmdclass={"build_ext": AllOrNothing})
