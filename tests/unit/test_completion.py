"""The scripts complete every command and option, as the shells themselves see it."""

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from proxy import cli
from proxy.command_line.parser import SHELLS, make_parser
from proxy.completion import script

PARSER = make_parser()


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = [one for one in PARSER._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(action.choices)


def options(command: argparse.ArgumentParser) -> list[str]:
    return [word for action in command._actions for word in action.option_strings]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_it(shell):
    text = script(PARSER, shell)
    for name, command in commands().items():
        assert name in text
        for word in options(command):
            assert (word if shell != "fish" else word.lstrip("-")) in text, (name, word)


def test_the_command_prints_it(capsys):
    assert cli.main(["completion", "fish"]) == 0
    assert capsys.readouterr().out == script(PARSER, "fish") + "\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_itself_reads_it(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    file = tmp_path / "completion"
    file.write_text(script(PARSER, shell))
    done = subprocess.run([shell, "-n", file], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def bash(directory: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    (directory / "completion").write_text(script(PARSER, "bash"))
    program = (
        'source ./completion; compopt() { :; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        "$(complete -p resilience-proxy | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", program, "bash", "resilience-proxy", *words],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_offers_commands_options_values_and_files(tmp_path):
    (tmp_path / "proxy.yaml").touch()
    assert set(commands()) <= set(bash(tmp_path, ""))
    assert bash(tmp_path, "comp") == ["completion"]
    for name, command in commands().items():
        assert bash(tmp_path, name, "-") == options(command), name
    assert bash(tmp_path, "check", "--format", "") == ["text", "json", "github"]
    assert bash(tmp_path, "run", "--config", "pro") == ["proxy.yaml"]
    assert bash(tmp_path, "check", "pro") == ["proxy.yaml"]
    assert bash(tmp_path, "breaker", "all", "f") == ["force-open"]
    assert bash(tmp_path, "run", "--outbound", "") == []


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish")
def test_fish_offers_commands_options_and_values(tmp_path):
    file = tmp_path / "completion"
    file.write_text(script(PARSER, "fish"))

    def offered(line: str) -> set[str]:
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {file}; complete -C '{line}'"],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        return {row.partition("\t")[0] for row in done.stdout.splitlines()}

    assert set(commands()) <= offered("resilience-proxy ")
    assert "--outbound" in offered("resilience-proxy run --")
    assert offered("resilience-proxy check --format ") >= {"text", "json", "github"}
