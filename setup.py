"""Compiles the data plane's hot modules with mypyc when a wheel is built.

Everything else about the package stands in pyproject.toml. The modules are plain Python, and run
as they are where nothing compiled them: in an editable install, from the tree, where there is no
C compiler, and with RESILIENCE_PROXY_PURE=1 in the environment of the build. docs/adr/0014.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

COMPILED = (
    "config/model",
    "exchange/answers",
    "exchange/attempt",
    "exchange/binding",
    "exchange/bindings",
    "exchange/body",
    "exchange/carrier",
    "exchange/events",
    "exchange/exchange",
    "exchange/forwarded",
    "exchange/gate",
    "exchange/gateway",
    "exchange/grpc_attempt",
    "exchange/grpc_relay",
    "exchange/heads",
    "exchange/hedging",
    "exchange/pace",
    "exchange/reaching",
    "exchange/record",
    "exchange/relay",
    "exchange/request",
    "exchange/retrying",
    "exchange/script",
    "exchange/stats",
    "exchange/terms",
    "exchange/timing",
    "exchange/tunnel",
    "http/h1/chunked",
    "http/h1/fields",
    "http/h1/framing",
    "http/h1/memory",
    "http/h1/request",
    "http/h1/response",
    "http/h2/decoder",
    "http/h2/encoder",
    "http/h2/errors",
    "http/h2/extended_connect",
    "http/h2/fields",
    "http/h2/frames",
    "http/h2/head",
    "http/h2/huffman",
    "http/h2/names",
    "http/h2/static_table",
    "http/dates",
    "http/lists",
    "http/max_forwards",
    "http/message",
    "http/random_hex",
    "http/request_id",
    "http/tracing",
    "http/w3c",
    "policies/backoff",
    "policies/budget",
    "policies/bulkhead",
    "policies/circuit_breaker",
    "policies/circuit_breaker_answers",
    "policies/circuit_breaker_config",
    "policies/circuit_breaker_probes",
    "policies/deadline",
    "policies/fallback",
    "policies/gate",
    "policies/gradient",
    "policies/hedge",
    "policies/rate_limits",
    "policies/retry",
    "policies/window",
    "routing/destination",
    "routing/lookup",
    "routing/matchers",
    "routing/route",
    "routing/table",
    "telemetry/access_log",
    "upstream/address",
    "upstream/balancing",
    "upstream/dialing",
    "upstream/endpoint",
    "upstream/pool",
    "upstream/session_book",
    "upstream/upstream",
    "wire/alarm",
    "wire/flow",
    "wire/h1/downstream",
    "wire/h1/head_writer",
    "wire/h1/plain_connect",
    "wire/h1/upstream",
    "wire/h2/buckets",
    "wire/h2/connection",
    "wire/h2/downstream",
    "wire/h2/keepalive",
    "wire/h2/request_stream",
    "wire/h2/requests",
    "wire/h2/sending",
    "wire/h2/streams",
    "wire/h2/upstream",
    "wire/streams",
)
"""What every request runs through."""

MYPY_OPTIONS = ("--ignore-missing-imports", "--no-warn-unused-ignores", "--follow-imports=silent")
"""The build's environment has neither the package's dependencies nor stubs for them, and types are
checked elsewhere: what a build wants to know of them is what the compiled modules say.
"""


class AllOrNothing(build_ext):
    """Builds every extension, or leaves the package pure: a part of them would not load."""

    def run(self) -> None:
        try:
            super().run()
        except (BaseError, CCompilerError) as error:  # no compiler, or one that does not work
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions.clear()
            self.warn(f"not compiled, so it will be slower: {error}")


def extensions() -> list[Extension]:
    """None where a wheel is not what is being built: metadata, an sdist, an editable install."""
    if "bdist_wheel" not in sys.argv or os.environ.get("RESILIENCE_PROXY_PURE", "0") != "0":
        return []
    from mypyc.build import mypycify  # here, for it takes its time

    files = [f"proxy/{module}.py" for module in COMPILED]
    try:
        found = mypycify([*MYPY_OPTIONS, *files], debug_level="0")
    except SystemExit:  # mypy has said why
        print("warning: not compiled, so it will be slower", file=sys.stderr)
        return []
    for extension in found:  # another compiler's new warning is no reason to stay slow
        extension.extra_compile_args = [a for a in extension.extra_compile_args if a != "-Werror"]
    return found


setup(ext_modules=extensions(), cmdclass={"build_ext": AllOrNothing})
