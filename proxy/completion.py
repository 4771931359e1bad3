"""`completion SHELL`: a script that completes commands, options and their values.

Everything in it comes from the parser, so that nothing can be forgotten.
"""

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

_FILES = frozenset({"FILE"})


@dataclass(frozen=True, slots=True)
class _Option:
    """An option or (`words` empty) a positional argument. `values`: the fixed list, if any.

    `metavar` is empty for an option without a value.
    """

    words: tuple[str, ...]
    help: str
    metavar: str
    values: tuple[str, ...]
    repeated: bool

    @property
    def of_files(self) -> bool:
        return self.metavar in _FILES


@dataclass(frozen=True, slots=True)
class _Command:
    name: str
    help: str
    options: tuple[_Option, ...]

    @property
    def words(self) -> list[str]:
        return [word for option in self.options for word in option.words]

    @property
    def arguments(self) -> list[_Option]:
        return [option for option in self.options if not option.words]

    @property
    def takes_files(self) -> bool:
        return any(argument.of_files for argument in self.arguments)

    @property
    def argument_values(self) -> list[str]:
        return [value for argument in self.arguments for value in argument.values]


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell that the parser knows; `parser` describes all commands."""
    commands = list(_commands(parser))
    lines = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](parser.prog, commands)
    return "\n".join(lines)


def _commands(parser: argparse.ArgumentParser) -> Iterator[_Command]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, command in action.choices.items():
                options = tuple(_option(each, command) for each in command._actions)
                yield _Command(name, helps.get(name, ""), options)


def _option(action: argparse.Action, command: argparse.ArgumentParser) -> _Option:
    takes = action.nargs != 0
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return _Option(
        tuple(action.option_strings),
        command._get_formatter()._expand_help(action) if action.help else "",
        metavar if takes else "",
        tuple(map(str, action.choices or ())) if takes else (),
        isinstance(action, argparse._AppendAction) or action.nargs == "*",
    )


# --- bash -----------------------------------------------------------------------------------------


def _bash(prog: str, commands: list[_Command]) -> Iterator[str]:
    function = "_" + prog.replace("-", "_")
    yield f"# {prog}: completion for bash. Use: source <({prog} completion bash)"
    yield f"{function}() {{"
    yield "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words"
    yield "    COMPREPLY=()"
    yield "    if ((COMP_CWORD == 1)); then"
    names = " ".join(command.name for command in commands)
    yield f"        words={shlex.quote(f'{names} -h --help --version')}"
    yield "    else"
    yield '        case "${COMP_WORDS[1]} $before" in'
    for command in commands:
        for option in command.options:
            patterns = "|".join(shlex.quote(f"{command.name} {word}") for word in option.words)
            if option.words and option.values:
                yield f"            {patterns}) words={shlex.quote(' '.join(option.values))} ;;"
            elif option.words and option.of_files:
                yield f"            {patterns}) compopt -o filenames; {_FILE_WORDS}; return ;;"
            elif option.words and option.metavar:
                yield f"            {patterns}) return ;;"
    yield "            *)"
    yield '                case "${COMP_WORDS[1]}" in'
    for command in commands:
        words = shlex.quote(" ".join(command.words))
        values = shlex.quote(" ".join(command.argument_values))
        files = f"compopt -o filenames; {_FILE_WORDS}; return" if command.takes_files else ":"
        yield f"                    {command.name})"
        yield f"                        if [[ $word == -* ]]; then words={words}"
        yield f"                        else words={values}; [[ $words ]] || {{ {files}; }}; fi ;;"
    yield "                esac ;;"
    yield "        esac"
    yield "    fi"
    yield '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")'
    yield "}"
    yield f"complete -F {function} {prog}"


_FILE_WORDS = 'mapfile -t COMPREPLY < <(compgen -f -- "$word")'


# --- zsh ------------------------------------------------------------------------------------------


def _zsh(prog: str, commands: list[_Command]) -> Iterator[str]:
    function = "_" + prog.replace("-", "_")
    yield f"#compdef {prog}"
    yield f"# {prog}: completion for zsh. Use: source <({prog} completion zsh), after compinit"
    yield f"{function}() {{"
    yield "    local -a commands"
    yield "    commands=("
    for command in commands:
        described = f"{command.name}:{command.help}"
        yield f"        {shlex.quote(described)}"
    yield "    )"
    yield "    if (( CURRENT == 2 )); then _describe command commands; return; fi"
    yield "    local command=$words[2]"
    yield "    shift words; (( CURRENT-- ))"
    yield "    case $command in"
    for command in commands:
        yield f"        {command.name}) _arguments \\"
        for option in command.options:
            for spec in _zsh_specs(option):
                yield f"            {shlex.quote(spec)} \\"
        yield "            ;;"
    yield "    esac"
    yield "}"
    yield f"compdef {function} {prog}"


def _zsh_specs(option: _Option) -> Iterator[str]:
    shown = re.sub(r"([\[\]:])", r"\\\1", option.help)
    if option.values:
        action = f"({' '.join(option.values)})"
    else:
        action = "_files" if option.of_files else " "
    value = f":{option.metavar.replace(':', ' ')}:{action}" if option.metavar else ""
    if not option.words:
        yield f"{'*' if option.repeated else ''}{value}"
    for word in option.words:
        yield f"{'*' if option.repeated else ''}{word}[{shown}]{value}"


# --- fish -----------------------------------------------------------------------------------------


def _fish(prog: str, commands: list[_Command]) -> Iterator[str]:
    yield f"# {prog}: completion for fish. Use: {prog} completion fish | source"
    yield f"complete -c {prog} -f"
    for command in commands:
        yield (
            f"complete -c {prog} -n __fish_use_subcommand -a {command.name} "
            f"-d {_fish_text(command.help)}"
        )
        seen = f"-n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            yield f"complete -c {prog} {seen} {_fish_option(option)}"


def _fish_option(option: _Option) -> str:
    parts = [
        f"-{'l' if word.startswith('--') else 's'} {word.lstrip('-')}" for word in option.words
    ]
    if option.metavar and option.words:
        parts.append("-r")
    if option.of_files:
        parts.append("-F")
    if option.values:
        parts.append(f"-a {_fish_text(' '.join(option.values))}")
    parts.append(f"-d {_fish_text(option.help)}")
    return " ".join(parts)


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
