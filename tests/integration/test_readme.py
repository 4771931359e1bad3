"""The console blocks of README and docs, typed in order into a shell beside a proxy that runs
the README's `proxy.yaml`.

The ports are those of this run; ``...`` in a document matches what differs from run to run.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import yaml
from documents.blocks import ROOT, blocks, commands
from integration.ports import free_port
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, merged
from integration.shell import Shell, assert_shown, ports_of

README = ROOT / "README.md"
PAGES = [README, ROOT / "docs" / "commands.md", ROOT / "docs" / "answers.md"]
COMMANDS = [
    command for page in PAGES for block in blocks(page, "console") for command in commands(block)
]
RUN = "resilience-proxy run --config proxy.yaml"


@dataclass(frozen=True)
class Terminal:
    """A shell in the directory of the README's `proxy.yaml`, and a proxy that runs this file."""

    shell: Shell
    proxy: RunningProxy


@pytest.fixture(scope="module")
def terminal(
    module_proxy: Callable[[Settings], RunningProxy], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    (block,) = blocks(README, "yaml")
    settings: Settings = yaml.safe_load(block.text)
    unused = {"inventory": {"endpoints": [f"http://127.0.0.1:{free_port()}"]}}
    breakers = {"default": {"circuit_breaker": {"mode": "enforce"}}}
    proxy = module_proxy(merged(settings, {"upstreams": unused, "policies": breakers}))
    directory = tmp_path_factory.mktemp("readme")
    terminal = Terminal(Shell(directory, ports_of(proxy)), proxy)
    # The README's text as it is, so that `explain` shows its lines.
    (directory / "proxy.yaml").write_text(block.text)
    return terminal


def test_the_terminal_shows_what_the_documents_show(terminal: Terminal) -> None:
    """One test for all commands: what one shows depends on the commands before it."""
    assert len(COMMANDS) > 4
    has_curl = shutil.which("curl") is not None
    for command in COMMANDS:
        if command.text == RUN:
            banner = terminal.shell.here(command.output).replace("0.0.0.0", "127.0.0.1")
            banner = banner.replace("proxy.yaml", str(terminal.proxy.file))
            eventually(lambda banner=banner: banner in terminal.proxy.errors)
        elif "curl" not in command.text:
            # `check` and `explain` read the file, so they show its ports.
            assert_shown(terminal.shell.type(command.text), command.output)
        elif has_curl:
            assert_shown(terminal.shell.type(command.text), terminal.shell.here(command.output))
    if not has_curl:
        pytest.skip("curl is not installed: its commands were left out")


def test_the_proxy_can_be_drained(terminal: Terminal) -> None:
    assert "drained: nothing lost" in terminal.shell.type(
        "resilience-proxy drain --admin http://127.0.0.1:7072"
    )
