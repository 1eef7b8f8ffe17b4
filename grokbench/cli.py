"""The command line: grokbench list | run | score | plot | calibrate."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from tyro.conf import Positional

Names = tuple[str, ...]


def list_(suite: str | None = None) -> int:
    """Show the standard tasks, or those of one suite, and the suites.

    Args:
        suite: show this suite's tasks alone.
    """
    from tabulate import tabulate

    from grokbench.tasks import list_suites, list_tasks

    rows = [(t.id, t.formula, f"{t.seen_cells} of {t.cells}", t.budget, t.source) for t in list_tasks(suite)]
    print(tabulate(rows, ["task", "formula", "seen cells", "budget (steps)", "source"], intfmt=","))
    if suite is None:
        suites = [(s.name, len(s.tasks), s.control, s.about) for s in list_suites()]
        print("\n" + tabulate(suites, ["suite", "tasks", "control", "about"]))
    return 0


def run(
    agents: Names,
    suite: str | None = None,
    tasks: Names = (),
    seeds: tuple[int, ...] = tuple(range(10)),
    out: Path = Path("runs"),
    salt: str = "",
    max_steps: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Run agents on tasks with seeds; what is finished already isn't done again, and a killed run goes on where it was.

    Args:
        agents: recipes by name, recipe files (….toml), or classes as module:Class.
        suite: all tasks of this suite, and its control.
        tasks: tasks by id.
        seeds: instance seeds; the official ones are 0 to 9.
        out: the folder of runs.
        salt: fresh instances that nobody could have tuned to; empty for the published ones.
        max_steps: stop every run at the last exam within this many steps and mark it incomplete.
        device: where agents compute.
    """
    from grokbench.agents import find_recipe
    from grokbench.runs import runner
    from grokbench.runs.progress import Progress
    from grokbench.runs.store import Store

    plans = runner.plan(tasks, suite, [find_recipe(name) for name in agents], seeds, salt)
    with Progress(sum(len(one.seeds) for one in plans)) as progress:
        complete = runner.run(plans, Store(out), progress, device, max_steps)
    return 0 if complete else 1


def score(folders: Positional[tuple[Path, ...]] = (Path("runs"),)) -> int:
    """Print what the runs below some folders amount to, and the agents' scores against the reference.

    Args:
        folders: where the runs are.
    """
    from grokbench.report import report
    from grokbench.runs.store import find_records

    records, errors = find_records(_existing(folders))
    for error in errors:
        print(f"left out: {error}", file=sys.stderr)
    if not records:
        print(f"no runs below {', '.join(map(str, folders))}: make some with `grokbench run`", file=sys.stderr)
        return 1
    print(report(records))
    return 1 if errors else 0


def plot(folders: Positional[tuple[Path, ...]] = (Path("runs"),), out: Path | None = None) -> int:
    """Draw accuracy and effective rank over steps, seeds as thin lines, as PNG and SVG.

    Args:
        folders: where the runs are.
        out: the picture's path without ending; default: grokking in the first folder.
    """
    from grokbench.plots import draw_curves
    from grokbench.runs.store import find_records

    records, errors = find_records(_existing(folders))
    for error in errors:
        print(f"left out: {error}", file=sys.stderr)
    for path in draw_curves(records, out or folders[0] / "grokking"):
        print(path)
    return 0


def calibrate(
    agent: str = "transformer",
    operations: Names = ("add",),
    structures: Names = ("mod47", "mod53", "mod59", "mod67"),
    ratios: Names = ("0.4", "0.5", "0.6"),
    seeds: tuple[int, ...] = (0, 1, 2),
    max_steps: int = 20_000,
    out: Path = Path("runs/calibration"),
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Run one agent over operations × structures × ratios and print steps-to-generalize: what suites are chosen from."""
    from grokbench.agents import find_recipe
    from grokbench.report import task_table
    from grokbench.runs import runner
    from grokbench.runs.progress import Progress
    from grokbench.runs.store import Store, find_records

    tasks = [f"{o}_{s}-{r}" for o in operations for s in structures for r in ratios]
    plans = runner.plan(tasks, None, [find_recipe(agent)], seeds)
    with Progress(sum(len(one.seeds) for one in plans)) as progress:
        runner.run(plans, Store(out), progress, device, max_steps)
    print(task_table(find_records([out])[0]))
    return 0


COMMANDS: dict[str, Callable[..., int]] = {"list": list_, "run": run, "score": score, "plot": plot, "calibrate": calibrate}


def main() -> None:
    """Run the command that the command line names; errors go to stderr as one line, with status 2."""
    try:
        status: int = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="grokbench")
    except KeyboardInterrupt:
        _say("stopped; finished runs are safe, and the same command goes on where it was")
        sys.exit(130)
    except (ValueError, OSError) as error:
        _say(f"grokbench: {error}")
        sys.exit(2)
    sys.exit(status)


def _say(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(message, highlight=False, markup=False)


def _existing(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}: name one that `grokbench run --out` has written")
    return folders
