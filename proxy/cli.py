"""The command line: ``resilience-proxy COMMAND``, also ``python -m proxy COMMAND``.

Exit status: 0 done, 2 bad usage or configuration (problems on stderr), 3 a drain that had to cut
requests, 1 anything else. `command_line` has the syntax of the commands, `commands` their work.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from proxy import commands, startup
from proxy.command_line.parser import make_parser
from proxy.command_line.values import DEFAULT_ADMIN, admin_url


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. ``-h`` and bad usage raise SystemExit."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name can contain any bytes
    words = sys.argv[1:] if arguments is None else arguments
    if next(iter(words), "") == "run":
        startup.begin()  # before anything that takes time
    parser = make_parser(next(iter(words), ""), together=any(map(_means_config, words)))
    options, unknown = parser.parse_known_args(words)
    unknown = _take_files(options, unknown)
    if unknown:
        hint = _did_you_mean(str(words[0]), unknown[0])
        options.misused(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    options.admin_named = getattr(options, "admin", None) is not None
    if getattr(options, "admin", "") is None:
        options.admin = _admin_of_environment(parser)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        status = command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output is gone (`| head`). Python would report that again when it
        # flushes at exit, so stdout is redirected to /dev/null.
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        return commands.FAILED
    except KeyboardInterrupt:
        return commands.FAILED
    except OSError as error:
        return commands.fail(str(error), commands.FAILED)
    return status


def _take_files(options: argparse.Namespace, unknown: list[str]) -> list[str]:
    """Take files after an option that follows other files; returns what is left.

    argparse takes all FILEs from one place: in ``check A --strict B`` it does not know B.
    """
    files: list[Path] | None = getattr(options, "files", None)
    if files is None or any(word.startswith("-") and word != "-" for word in unknown):
        return unknown
    files += map(Path, unknown)
    return []


def _admin_of_environment(parser: argparse.ArgumentParser) -> str:
    from proxy.config.overrides import ADMIN_VARIABLE

    text = os.environ.get(ADMIN_VARIABLE)
    try:
        return admin_url(text) if text else DEFAULT_ADMIN
    except argparse.ArgumentTypeError as error:
        parser.error(f"${ADMIN_VARIABLE}: {error}")


_MEANT = {
    "--port": "--app PORT for the service's port; --outbound and --inbound HOST:PORT are the "
    "proxy's own",
    "--listen": "--outbound HOST:PORT, or --inbound HOST:PORT",
    "--upstream": "--app PORT",
    "-p": "--app PORT, --outbound HOST:PORT or --inbound HOST:PORT",
    **dict.fromkeys(("-c", "-f", "--file", "--conf-file", "--config-file"), "--config FILE"),
}


def _did_you_mean(command: str, word: str) -> str:
    """Suggest an option of `run` for an unknown word."""
    if command != "run":
        return ""
    option = word.partition("=")[0]
    meant = _MEANT.get(option) or ("" if word.startswith("-") else f"--config {word}")
    return f"; did you mean {meant}?" if meant else ""


def _means_config(word: str) -> bool:
    """Whether the word is --config, or an abbreviation that argparse accepts."""
    option = word.partition("=")[0]
    return len(option) > 2 and "--config".startswith(option)
