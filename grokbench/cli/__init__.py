"""The command line: each command parses its arguments, calls one library function, and prints what it returns."""

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper

import tyro
from rich.console import Console

import grokbench
from grokbench.cli import board, runs, sweeps
from grokbench.errors import GrokbenchError

COMMANDS: dict[str, Callable[..., int]] = {
    "list": runs.list_,
    "run": runs.run,
    "sweep": sweeps.sweep,
    "tune": sweeps.tune,
    "score": runs.score,
    "plot": runs.plot,
    "phase": sweeps.phase,
    "reproduce": runs.reproduce,
    "submit": board.submit,
    "check": board.check,
    "verify": board.verify,
    "pull": board.pull,
    "board": board.board,
    "export": board.export,
}


def main() -> None:
    """Run the command that the command line names. An error is one line on stderr, with status 2."""
    _print_any_character()
    try:
        status = _call_command()
        sys.stdout.flush()  # what is still in the buffer can fail too
    except KeyboardInterrupt:
        _print_error("stopped; finished runs are safe, and the same command goes on where the others were saved last")
        sys.exit(130)
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (GrokbenchError, OSError) as error:
        _print_error(f"grokbench: {error}")
        sys.exit(2)
    sys.exit(status)


def _call_command() -> int:
    if sys.argv[1:] == ["--version"]:
        print(f"grokbench {grokbench.__version__}")
        return 0
    status: int = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="grokbench")
    return status


def _print_any_character() -> None:
    """A terminal or a pipe that has no × shows a question mark in its place."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _print_error(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(message, highlight=False, markup=False)
