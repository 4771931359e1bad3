"""The image as far as it goes without an engine: built by the Dockerfile's own steps, and run.

    make imagetest      as root, for the proxy is run as the image's user; about a minute

Not part of the test run: it builds a wheel and asks the package index for the dependencies.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.ports import free_port
from integration.running_proxy import eventually

from image.build import Image

SETPRIV = shutil.which("setpriv")

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or SETPRIV is None,
    reason="needs root and setpriv, to become the image's user",
)

SETTINGS = """\
listeners: {{outbound: {{address: 127.0.0.1:{0}}}, inbound: {{address: 127.0.0.1:{1}}}}}
admin: {{address: 127.0.0.1:{2}}}
drain: {{delay: 0s, timeout: 2s}}
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    root = Path(tempfile.mkdtemp(prefix="resilience-proxy-image-"))
    root.chmod(0o755)
    made = Image(root)
    try:
        made.perform()
        ports = [free_port() for _ in range(3)]
        config = Path(made.workdir, "config")
        config.mkdir()
        (config / "proxy.yaml").write_text(SETTINGS.format(*ports))
        made.seal()
        yield made
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(root)], check=True)
        shutil.rmtree(root)


def as_the_user(image: Image, command: list[str]) -> list[str]:
    """The command under the image's USER, without any capability or a way to get one."""
    user, group = image.final.only("USER").rest.split(":")
    drop = ("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--clear-groups")
    return [SETPRIV or "", f"--reuid={user}", f"--regid={group}", *drop, *image.program(command)]


def started(image: Image, *before: str) -> "subprocess.Popen[str]":
    """The container's process, as ENTRYPOINT and CMD say."""
    entry, arguments = image.final.only("ENTRYPOINT").command(), image.final.only("CMD").command()
    assert entry is not None
    assert arguments is not None
    return subprocess.Popen(
        [*before, *as_the_user(image, [*entry, *arguments])],
        cwd=image.workdir,
        env=image.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def healthy(image: Image) -> int:
    """The exit status of HEALTHCHECK, asked at the port of the file."""
    command = image.final.only("HEALTHCHECK").command()
    assert command is not None
    text = Path(image.workdir, "config/proxy.yaml").read_text()
    port = text.partition("admin: {address: 127.0.0.1:")[2].partition("}")[0]
    return subprocess.run(
        as_the_user(image, command),
        cwd=image.workdir,
        env=image.environment() | {"RESILIENCE_PROXY_ADMIN": f"127.0.0.1:{port}"},
        capture_output=True,
        timeout=10,
    ).returncode


def files(image: Image) -> set[Path]:
    return set(image.root.rglob("*"))


def test_every_dependency_came_as_a_wheel_that_was_ready(image: Image) -> None:
    wheels = {wheel.name.partition("-")[0] for wheel in (image.root / "wheels").iterdir()}
    assert {"resilience_proxy", "aiohttp", "uvloop", "httptools"} <= wheels
    assert all(wheel.suffix == ".whl" for wheel in (image.root / "wheels").iterdir())


def test_nothing_that_builds_is_left(image: Image) -> None:
    programs = {path.name for path in Path(image.environment()["PATH"]).iterdir()}
    assert "resilience-proxy" in programs
    assert not programs & {"pip", "gcc", "cc", "mypyc", "cython"}
    assert image.final.base.endswith("-slim")
    assert not image.final.all("RUN")


def test_the_bill_of_materials_names_every_installed_wheel(image: Image) -> None:
    told = json.loads((image.root / "opt/resilience-proxy/sbom.cdx.json").read_text())
    parts = [*told["components"], told["metadata"]["component"]]
    hashed = {f"{one['name']} {one['version']}" for one in parts if "hashes" in one}
    site = next((image.root / "opt/resilience-proxy/lib").glob("python3*/site-packages"))
    installed = {one.name.removesuffix(".dist-info") for one in site.glob("*.dist-info")}
    assert len(installed) > 10
    named = {re.sub(r"[-_.]+", "-", one.rpartition("-")[0]).lower() for one in installed}
    assert named | {"uplot"} == {one.split()[0] for one in hashed}


@needs_root
def test_it_runs_as_nobody_from_a_tree_that_it_cannot_write(image: Image) -> None:
    before = files(image)
    process = started(image)
    try:
        eventually(lambda: healthy(image) == 0, 10)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "Uid:\t65532\t65532\t65532\t65532" in status
        assert "CapEff:\t0000000000000000" in status
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "configuration: config/proxy.yaml" in errors
    assert output == ""
    assert healthy(image) == 1
    assert files(image) == before


@needs_root
def test_sigterm_reaches_it_as_process_1(image: Image) -> None:
    unshare = shutil.which("unshare")
    alone = [unshare or "", "--pid", "--fork"]
    if unshare is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare, and the right to make a namespace of processes")
    outer = started(image, *alone)
    try:
        eventually(lambda: healthy(image) == 0, 10)
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        (inner,) = (int(child) for child in children)
        assert Path(f"/proc/{inner}/status").read_text().partition("NSpid:")[2].split()[1] == "1"
        begun = time.monotonic()
        os.kill(inner, signal.SIGTERM)
        _, errors = outer.communicate(timeout=10)
        assert time.monotonic() - begun < 5
    finally:
        outer.kill()
    assert outer.returncode == 0, errors


def test_arm64_has_all_wheels_too(image: Image) -> None:
    """Not one dependency would have to be built there."""
    pip = image.root / "tools/bin/pip"
    wanted = [
        wheel.name.split("-")[0] + "==" + wheel.name.split("-")[1]
        for wheel in (image.root / "wheels").iterdir()
        if not wheel.name.startswith("resilience_proxy")
    ]
    platforms = [f"--platform=manylinux{name}_aarch64" for name in ("_2_17", "_2_28", "2014")]
    with tempfile.TemporaryDirectory() as target:
        run = subprocess.run(
            [
                *(str(pip), "download", "--quiet", "--no-deps", "--only-binary=:all:"),
                *(*platforms, "--dest", target, *wanted),
            ],
            capture_output=True,
            text=True,
        )
    assert run.returncode == 0, run.stderr
