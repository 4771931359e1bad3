"""Makes one test of every case in the case files.

The files are those given by ``--cases``, else all of ``cases/`` beside this file.
"""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the runner is a package of this directory

from case_runner import load  # noqa: E402  (needs the path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    given = metafunc.config.getoption("--cases")
    origin = metafunc.config.invocation_params.dir
    files = [origin / name for name in given] or sorted((HERE / "cases").glob("*.yaml"))
    cases = [case for file in files for case in load(file)]
    metafunc.parametrize("case", cases, ids=[case.id for case in cases])
