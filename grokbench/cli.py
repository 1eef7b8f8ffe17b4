"""The command line: each command parses its arguments, calls one library function, and prints what it returns."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro
from rich.console import Console
from tyro.conf import Positional

import grokbench
from grokbench.errors import GrokbenchError, TaskError

if TYPE_CHECKING:
    from grokbench.board.entries.checks import Checked
    from grokbench.errors import RecordError
    from grokbench.runs.records import RunRecord

Names = tuple[str, ...]
Device = Literal["auto", "cpu", "cuda"]
LEADERBOARD = Path("leaderboard")


def list_(suite: str | None = None) -> int:
    """Show the standard tasks, or the tasks of one suite, and the suites.

    Example: grokbench list --suite mini

    Args:
        suite: show the tasks of this suite alone.
    """
    from tabulate import tabulate

    headers = ["task", "formula", "training questions", "budget (steps)", "generalizes at", "source"]
    rows = [
        (t.id, t.formula, f"{t.num_train} of {t.num_questions}", t.budget, f"{t.threshold:.1%}", t.source)
        for t in grokbench.list_tasks(suite, controls=True)
    ]
    print(tabulate(rows, headers, intfmt=","))
    if suite is None:
        suites = [(s.name, len(s.tasks), s.control, s.about) for s in grokbench.list_suites()]
        print("\n" + tabulate(suites, ["suite", "tasks", "control", "about"]))
    return 0


def run(
    agents: Names,
    *,
    suite: str | None = None,
    tasks: Names = (),
    seeds: Names = ("0-9",),
    out: Path = Path("runs"),
    salt: str = "",
    max_steps: int | None = None,
    device: Device = "auto",
    probes: bool = False,
) -> int:
    """Run agents on tasks with seeds. Finished runs aren't repeated, and a killed run continues where it was.

    Example: grokbench run --agents mlp transformer --suite mini --seeds 0-2

    Args:
        agents: recipes by name, recipe files (….toml), or classes as module:Class.
        suite: all tasks of this suite, and its control.
        tasks: tasks by id.
        seeds: seeds of instances, such as 0-9 (the official ones) or 0 3 5.
        out: the folder of runs.
        salt: any text draws fresh instances, which nobody can have tuned to; empty for the published ones.
        max_steps: pause every run at its last exam within so many steps. The same command without it continues.
        device: where agents compute.
        probes: train linear probes on every layer at every doubling of the steps, and record their accuracy.
    """
    from grokbench.agents import find_recipe
    from grokbench.runs import engine
    from grokbench.runs.plan import plan
    from grokbench.runs.progress import Progress
    from grokbench.runs.store import Store

    recipes = [find_recipe(name) for name in agents]
    plans = plan(tasks, recipes, suite=suite, seeds=parse_seeds(seeds), salt=salt)
    with Progress(max_steps=max_steps) as progress:
        done = engine.run(plans, Store(out), callbacks=[progress], device=device, max_steps=max_steps, probes=probes)
    return 0 if done else 1


def parse_seeds(words: Names) -> tuple[int, ...]:
    """Whole numbers and ranges, `("0-2", "7")` → (0, 1, 2, 7).

    Raises:
        TaskError: a word is neither.
    """
    seeds: list[int] = []
    for word in words:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise TaskError(f"seeds are whole numbers or ranges, such as 0-9 or 0 3 5, got {word!r}")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(dict.fromkeys(seeds))


def score(folders: Positional[tuple[Path, ...]] = (Path("runs"),)) -> int:
    """Print the outcomes of runs per task and agent, and the agents' scores against the reference.

    Example: grokbench score runs

    Args:
        folders: folders of runs.
    """
    from grokbench.results.tables import report

    records, errors = _records(folders)
    if not records:
        print(f"no runs below {', '.join(map(str, folders))}: make some with `grokbench run`", file=sys.stderr)
        return 1
    print(report(records))
    return 1 if errors else 0


def plot(folders: Positional[tuple[Path, ...]] = (Path("runs"),), *, out: Path | None = None) -> int:
    """Draw accuracies and effective rank over steps, a thin line per seed, as PNG and SVG.

    Example: grokbench plot runs --out figures/grokking

    Args:
        folders: folders of runs.
        out: the picture's path without its ending; default: grokking in the first folder.
    """
    from grokbench.results.plots import draw_curves

    records, _ = _records(folders)
    for path in draw_curves(records, out or folders[0] / "grokking"):
        print(path)
    return 0


def calibrate(
    *,
    agent: str = "transformer",
    operations: Names = ("add",),
    structures: Names = ("mod47", "mod53", "mod59", "mod67"),
    ratios: Names = ("0.4", "0.5", "0.6"),
    seeds: Names = ("0-2",),
    max_steps: int = 20_000,
    out: Path = Path("runs/calibration"),
    device: Device = "auto",
) -> int:
    """Run one agent over operations × structures × ratios and print steps-to-generalize. Suites are chosen from it.

    Example: grokbench calibrate --operations add sub --structures mod31 --ratios 0.5 0.6
    """
    from grokbench.agents import find_recipe
    from grokbench.results.tables import task_table
    from grokbench.runs import engine
    from grokbench.runs.plan import plan
    from grokbench.runs.progress import Progress
    from grokbench.runs.store import Store, find_records

    tasks = [f"{operation}_{structure}-{ratio}" for operation in operations for structure in structures for ratio in ratios]
    plans = plan(tasks, [find_recipe(agent)], seeds=parse_seeds(seeds))
    with Progress(max_steps=max_steps) as progress:
        engine.run(plans, Store(out), callbacks=[progress], device=device, max_steps=max_steps)
    print(task_table(find_records([out])[0]))
    return 0


def reproduce(
    study: Positional[str],
    *,
    scale: Literal["small", "paper"] = "small",
    runs: Path = Path("runs/reproduce"),
    out: Path | None = None,
    device: Device = "auto",
) -> int:
    """Run a paper's grid and compare each of its statements with what is measured: a report with figures.

    Example: grokbench reproduce deep-grokking

    Args:
        study: deep-grokking, omnigrok, pattern-learning or model-wise.
        scale: small takes minutes on two CPU cores; paper has the paper's own settings and is sized for a GPU.
        runs: the folder of runs, which studies share. Finished runs in it aren't repeated.
        out: the report's folder; default: docs/studies/<study>.
        device: where agents compute.
    """
    from grokbench.studies.report import statements_table
    from grokbench.studies.study import reproduce as reproduce_study

    folder = out or Path("docs/studies") / study
    statements = reproduce_study(study, scale=scale, runs=runs, out=folder, device=device)
    if statements is None:
        print("some runs are incomplete: the same command goes on where they are", file=sys.stderr)
        return 1
    print(f"{statements_table(statements)}\n\n{folder / 'README.md'}")
    return 0


def submit(
    folders: Positional[tuple[Path, ...]] = (Path("runs"),),
    *,
    name: str,
    title: str,
    authors: Names,
    link: str,
    description: str,
    settings_tried: int,
    tuned_on: Names = (),
    suite: str = "core",
    division: Literal["closed", "open"] = "closed",
    agent: str | None = None,
    license: str = "MIT",
    reproduces: str | None = None,
    leaderboard: Path = LEADERBOARD,
    open_pr: bool = False,
) -> int:
    """Pack an entry for the leaderboard from finished runs, check it, and say what to do next.

    Example: grokbench submit runs --suite mini --name my-method --title "My method" --authors "A. Person" …

    Args:
        folders: folders of runs.
        name: the entry's folder: small letters, digits, hyphens.
        title: the entry's name in tables.
        authors: the people who made it.
        link: a web address with more about the method.
        description: the method in a few sentences.
        settings_tried: how many settings were tried before this one.
        tuned_on: the tasks on which they were tried.
        suite: the suite of the runs.
        division: closed (a baseline's network, unchanged) or open.
        agent: the agent of the runs, if the folders hold several.
        license: the license of recipe and code.
        reproduces: the entry that this one reproduces independently.
        leaderboard: the checkout's leaderboard folder.
        open_pr: push a branch and open the pull request, with `gh` where it is installed.
    """
    from shlex import join

    from grokbench.board.entries.submit import open_pull_request, pack_entry, pull_request_commands

    records, _ = _records(folders)
    checked = pack_entry(
        records,
        name,
        title=title,
        authors=authors,
        link=link,
        description=description,
        settings_tried=settings_tried,
        tuned_on=tuned_on,
        suite=suite,
        division=division,
        agent=agent,
        license=license,
        reproduces=reproduces,
        leaderboard=leaderboard,
    )
    _print_checked(checked, indent="")
    folder = leaderboard / "entries" / name
    if checked.refused:
        print(f"{folder} is written, but it wouldn't be accepted: mend the errors above, remove the folder and pack it again")
        return 1
    commands = pull_request_commands(folder, title)
    if open_pr and open_pull_request(commands):
        return 0
    print(f"{folder} is ready. Open a pull request with it:\n" + "\n".join(f"  {join(command)}" for command in commands))
    return 0


def check(entries: Positional[tuple[str, ...]] = (), *, leaderboard: Path = LEADERBOARD) -> int:
    """Check entries of the leaderboard: every number is recomputed from the exams, and all findings are shown at once.

    Example: grokbench check my-method

    Args:
        entries: names or folders; none: all entries, and whether the generated tables are up to date.
        leaderboard: the checkout's leaderboard folder.
    """
    from grokbench.board.entries.checks import check_entries
    from grokbench.board.publishing.publish import stale_files

    checked = check_entries(entries, leaderboard=leaderboard)
    for entry in checked:
        _print_checked(entry, indent="  ")
    stale = [] if entries else stale_files(checked, leaderboard)
    for path in stale:
        print(f"{path} is out of date: run `grokbench board`")
    return 1 if stale or any(entry.refused for entry in checked) else 0


def verify(
    entry: Positional[str],
    *,
    salt: str,
    runs: int = 2,
    sandbox: bool = True,
    container: str | None = None,
    seconds: float = 3_600,
    save: bool = False,
    leaderboard: Path = LEADERBOARD,
) -> int:
    """Repeat some runs of an entry, and run fresh instances of their tasks, with its agent in a sandbox.

    Example: grokbench verify my-method --salt "$(date)"

    Args:
        entry: name or folder.
        salt: chooses the runs and the fresh instances; it must not have been known when the entry was made.
        runs: how many runs to repeat.
        sandbox: keep the agent from network and secrets; --no-sandbox for code that you trust.
        container: run the agent in a container of this image.
        seconds: the longest that one cohort may take.
        save: keep the verdict, good or bad, in the leaderboard's verdicts.
        leaderboard: the checkout's leaderboard folder.
    """
    from grokbench.board.entries.checks import find_entry
    from grokbench.board.entries.verdicts import save_verdict
    from grokbench.board.verification.rerun import verify_entry
    from grokbench.runs.progress import Progress

    folder = find_entry(entry, leaderboard=leaderboard)
    with Progress() as progress:
        verdict = verify_entry(
            folder, salt=salt, runs=runs, sandboxed=sandbox, image=container, seconds=seconds, callbacks=[progress]
        )
    print(verdict)
    if save:
        path = save_verdict(verdict, folder.name, leaderboard=leaderboard)
        print(f"kept in {path}: write the table with `grokbench board`")
    return 0 if verdict.passed else 1


def pull(
    *,
    base: str,
    head: str,
    leaderboard: Path = LEADERBOARD,
    out: Path | None = None,
    take: Path | None = None,
) -> int:
    """Check the entry that one commit adds to another, as CI does. Its files are taken out of git as data.

    Example: grokbench pull --base main --head my-branch

    Args:
        base: the commit that a pull request goes to.
        head: the commit that it brings.
        leaderboard: the checkout's leaderboard folder, with the accepted entries.
        out: write the comment here; default: print it.
        take: copy the entry's files into this folder.
    """
    from grokbench.board.entries.pulls import check_pull_request
    from grokbench.board.publishing.comment import comment

    request = check_pull_request(base, head, leaderboard=leaderboard, take=take)
    if request is None:
        print("the pull request brings no entry")
        return 0
    text = comment(request.checked, request.others)
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 1 if request.checked.refused else 0


def board(*, leaderboard: Path = LEADERBOARD) -> int:
    """Write the leaderboard's tables, pages and Parquet file from its entries.

    Example: grokbench board

    Args:
        leaderboard: the checkout's leaderboard folder.
    """
    from grokbench.board.publishing import parquet
    from grokbench.board.publishing.publish import publish

    published = publish(leaderboard)
    for name in published.refused:
        print(f"left out: {name}, which `grokbench check {name}` refuses", file=sys.stderr)
    if not published.parquet:
        print(f"{parquet.FILE} is unchanged: {parquet.INSTALL} to have it written too")
    return 1 if published.refused else 0


COMMANDS: dict[str, Callable[..., int]] = {
    "list": list_,
    "run": run,
    "score": score,
    "plot": plot,
    "calibrate": calibrate,
    "reproduce": reproduce,
    "submit": submit,
    "check": check,
    "verify": verify,
    "pull": pull,
    "board": board,
}


def main() -> None:
    """Run the command that the command line names. An error is one line on stderr, with status 2."""
    if sys.argv[1:] == ["--version"]:
        print(f"grokbench {grokbench.__version__}")
        sys.exit(0)
    try:
        status: int = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="grokbench")
    except KeyboardInterrupt:
        _print_error("stopped; finished runs are safe, and the same command goes on where the others were some 20 seconds ago")
        sys.exit(130)
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (GrokbenchError, OSError) as error:
        _print_error(f"grokbench: {error}")
        sys.exit(2)
    sys.exit(status)


def _print_error(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(message, highlight=False, markup=False)


def _print_checked(checked: "Checked", *, indent: str) -> None:
    from grokbench.board.publishing.standings import summary

    print(f"{checked.name}: {summary(checked)}")
    for finding in checked.findings:
        print(f"{indent}{finding}")


def _records(folders: tuple[Path, ...]) -> "tuple[list[RunRecord], list[RecordError]]":
    """The runs below `folders`, and the errors of damaged records, which are printed too."""
    from grokbench.errors import RecordError
    from grokbench.runs.store import find_records

    for folder in folders:
        if not folder.is_dir():
            raise RecordError(f"there is no folder {folder}: name one that `grokbench run --out` has written")
    records, errors = find_records(folders)
    for error in errors:
        print(f"left out: {error}", file=sys.stderr)
    return records, errors
