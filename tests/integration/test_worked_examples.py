"""The worked examples of docs/runbook.md: the commands print what the page shows.

Three upstreams misbehave as the page says. ``...`` matches what differs from run to run.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from documents.blocks import ROOT, Block, blocks, commands
from integration.conftest import StartChaos
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, merged
from integration.shell import Shell, assert_shown, ports_of

RUNBOOK = ROOT / "docs" / "runbook.md"

SCRIPTS = {"8081": "reset-before-head", "8082": "503 size=0", "8083": "hang", "8084": "size=0"}
"""What the upstreams do, by the port on the page."""

AS_A_USER_RUNS_IT: Settings = {
    "access_log": {"requests": "errors"},
    "policies": {"default": {"circuit_breaker": {"mode": "enforce"}}},
}


def _examples() -> list[Block]:
    start = RUNBOOK.read_text(encoding="utf-8").partition("## Three worked examples")[0]
    first = start.count("\n")
    return [block for block in blocks(RUNBOOK) if block.line > first]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_what_is_typed_brings_what_is_shown(
    start_chaos: StartChaos, start_proxy: Callable[..., RunningProxy], tmp_path: Path
) -> None:
    upstreams = {told: start_chaos(script=script).port for told, script in SCRIPTS.items()}
    configuration, *consoles = _examples()
    assert configuration.language == "yaml"
    text = Shell(tmp_path, upstreams).here(configuration.text)
    proxy = start_proxy(merged(yaml.safe_load(text), AS_A_USER_RUNS_IT))
    shell = Shell(proxy.directory, ports_of(proxy) | upstreams)
    (proxy.directory / "access.log").symlink_to(proxy.directory / "stdout")
    typed = [command for block in consoles for command in commands(block)]
    assert [command.text.split()[0] for command in typed] == EXPECTED
    for command in typed:
        if command.text.startswith("grep"):
            wanted = command.text.split()[1]
            eventually(lambda wanted=wanted: wanted in proxy.output)
        assert_shown(shell.type(command.text), shell.here(command.output))


EXPECTED = ["curl", "grep", "resilience-proxy"] * 3
"""For each example what the client saw, the log's line, and the story."""
