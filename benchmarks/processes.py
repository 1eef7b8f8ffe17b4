"""Threads against processes: whole `grokbench run`s of two cohorts, from the command's start to its end.

`python -m benchmarks.processes` prints a table; with `--busy 2` two busy processes run beside it. In every round the two setups
take turns, and a ratio is taken within its round. It wants a machine on which nothing else runs.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import tyro
from tabulate import tabulate

from benchmarks.tables import factor, rate, spread_of
from benchmarks.timing import machine, ratio, spread

SETUPS = {
    "2 threads": ("--threads", "2", "--processes", "1"),
    "2 processes": ("--threads", "1", "--processes", "2"),
}


@dataclass(frozen=True)
class Case:
    """Two cohorts of a recipe: the same seeds on two tasks.

    Attributes:
        recipe: the recipe's name.
        tasks: the two tasks.
        seeds: the seeds of each cohort.
        steps: the last step of every run.
    """

    recipe: str
    tasks: tuple[str, str]
    seeds: str
    steps: int


CASES = (
    Case("transformer", ("add_mod97-0.3", "sub_mod97-0.3"), "0", 600),
    Case("transformer", ("add_mod31-0.6", "sub_mod31-0.6"), "0", 2_000),
    Case("mlp", ("add_mod97-0.3", "sub_mod97-0.3"), "0", 1_500),
    Case("deep_mlp", ("mnist5k-n1000", "mnist5k-n2000"), "0-5", 600),
)


def seconds(case: Case, setup: str, *, scale: float) -> float:
    """The wall-clock seconds of the whole command."""
    with tempfile.TemporaryDirectory() as out:
        options = ["--agents", case.recipe, "--tasks", *case.tasks, "--seeds", case.seeds, "--device", "cpu", "--out", out]
        steps = max(10, round(scale * case.steps))
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "grokbench", "run", *options, "--max-steps", str(steps), *SETUPS[setup]],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - began


def measure(case: Case, *, rounds: int, scale: float) -> dict[str, list[float]]:
    """The seconds of each setup, a number for each round. The setup that goes first changes from round to round."""
    taken: dict[str, list[float]] = {setup: [] for setup in SETUPS}
    for number in range(rounds):
        for setup in sorted(SETUPS, reverse=bool(number % 2)):
            taken[setup].append(seconds(case, setup, scale=scale))
    return taken


def row(case: Case, taken: dict[str, list[float]]) -> list[str]:
    """A row of the table: the case, the seconds of each setup, and how many times as fast processes are."""
    times = [spread_of(rate)(spread(taken[setup])) for setup in SETUPS]
    return [
        case.recipe,
        " ".join(case.tasks),
        case.seeds,
        *times,
        spread_of(factor)(ratio(*(taken[setup] for setup in SETUPS))),
    ]


def table(rows: Sequence[Sequence[str]]) -> str:
    """The rows in Markdown."""
    headers = ["recipe", "tasks", "seeds", *(f"{setup}, s" for setup in SETUPS), "processes over threads"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Within it so many other processes are busy."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main(*, busy: int = 0, rounds: int = 3, scale: float = 1.0, recipes: tuple[str, ...] = ()) -> None:
    """Measure and print the table.

    Args:
        busy: busy processes beside the measured ones.
        rounds: how often each setup is measured.
        scale: multiplies the steps of every case; a small number is a trial of the command.
        recipes: only the cases of these recipes; none: all cases.
    """
    cases = [case for case in CASES if not recipes or case.recipe in recipes]
    with busy_processes(busy):
        rows = [row(case, measure(case, rounds=rounds, scale=scale)) for case in cases]
    about = machine()
    print(f"{about['processor']}, torch {about['torch']}, {busy} busy processes beside; medians of {rounds} rounds.\n")
    print(table(rows))


if __name__ == "__main__":
    tyro.cli(main)
