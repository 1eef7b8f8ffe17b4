"""The command line: grokbench list | run | score | plot | calibrate | reproduce | submit | check | verify | pull | board."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro
from rich.console import Console
from tyro.conf import Positional

from grokbench.runs.engine import counts
from grokbench.runs.plan import plan

if TYPE_CHECKING:
    from grokbench.errors import RecordError
    from grokbench.runs.records import RunRecord

Names = tuple[str, ...]


def list_(suite: str | None = None) -> int:
    """Show the standard tasks, or those of one suite, and the suites.

    Args:
        suite: show this suite's tasks alone.
    """
    from tabulate import tabulate

    from grokbench.tasks import list_suites, list_tasks

    rows = [
        (t.id, t.formula, f"{t.num_train} of {t.num_questions}", t.budget, f"{t.threshold:.1%}", t.source)
        for t in list_tasks(suite, controls=True)
    ]
    print(tabulate(rows, ["task", "formula", "seen cells", "budget (steps)", "generalizes at", "source"], intfmt=","))
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
    probes: bool = False,
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
        probes: train linear probes on every layer at every doubling of the steps; the records keep what they find.
    """
    from grokbench.agents.recipes import find_recipe
    from grokbench.runs import engine
    from grokbench.runs.progress import Progress
    from grokbench.runs.store import Store

    recipes = [find_recipe(name) for name in agents]
    for recipe in recipes:
        recipe.make()  # what a recipe gets wrong is told before anything runs
    plans, store = plan(tasks, recipes, suite=suite, seeds=seeds, salt=salt), Store(out)
    with Progress(*counts(plans, store), max_steps) as progress:
        complete = engine.run(plans, store, callbacks=[progress], device=device, max_steps=max_steps, probes=probes)
    return 0 if complete else 1


def score(folders: Positional[tuple[Path, ...]] = (Path("runs"),)) -> int:
    """Print what the runs below some folders amount to, and the agents' scores against the reference.

    Args:
        folders: where the runs are.
    """
    from grokbench.results.tables import report

    records, errors = _records(folders)
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
    from grokbench.results.plots import draw_curves

    records, _ = _records(folders)
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
    from grokbench.agents.recipes import find_recipe
    from grokbench.results.tables import task_table
    from grokbench.runs import engine
    from grokbench.runs.progress import Progress
    from grokbench.runs.store import Store, find_records

    tasks = [f"{o}_{s}-{r}" for o in operations for s in structures for r in ratios]
    plans, store = plan(tasks, [find_recipe(agent)], seeds=seeds), Store(out)
    with Progress(*counts(plans, store), max_steps) as progress:
        engine.run(plans, store, callbacks=[progress], device=device, max_steps=max_steps)
    print(task_table(find_records([out])[0]))
    return 0


def reproduce(
    study: Positional[str],
    scale: Literal["small", "paper"] = "small",
    runs: Path = Path("runs/reproduce"),
    out: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Run a paper's grid and set each of its statements beside what is measured: a report with figures.

    Args:
        study: deep-grokking, omnigrok, pattern-learning or model-wise.
        scale: small takes minutes on two CPU cores; paper has the paper's own settings and is sized for a GPU.
        runs: the folder of runs, which studies share; what is finished there isn't run again.
        out: the report's folder; default: docs/studies/<study>.
        device: where agents compute.
    """
    from grokbench.studies.study import reproduce as make
    from grokbench.studies.study import statements_table

    folder = out or Path("docs/studies") / study
    statements = make(study, scale, runs, folder, device)
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
    leaderboard: Path = Path("leaderboard"),
    open_pr: bool = False,
) -> int:
    """Pack an entry for the leaderboard out of finished runs, check it, and say what to do next.

    Args:
        folders: where the runs are.
        name: the entry's folder: small letters, digits, hyphens.
        title: what the table calls it.
        authors: who made it.
        link: where to read about it.
        description: what was done, in a few sentences.
        settings_tried: how many settings were tried before this one.
        tuned_on: the tasks they were tried on.
        suite: the suite whose runs it brings.
        division: closed (a baseline's network, unchanged) or open.
        agent: which agent's runs, where the folders hold several.
        license: of the recipe and code.
        reproduces: the entry that it reproduces independently.
        leaderboard: the checkout's leaderboard folder.
        open_pr: push a branch and open the pull request, with `gh` where it is installed.
    """
    from shlex import join

    from grokbench.board.entries.submit import open_pull_request, pack_entry, pull_request_commands
    from grokbench.board.publishing.standings import summary

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
    folder = leaderboard / "entries" / name
    print(f"{name}: {summary(checked)}")
    for finding in checked.findings:
        print(finding)
    if checked.refused:
        print(f"{folder} is written, but the leaderboard would refuse it")
        return 1
    commands = pull_request_commands(folder, title)
    if open_pr and open_pull_request(commands):
        return 0
    print(f"{folder} is ready. Bring it as a pull request:\n" + "\n".join(f"  {join(command)}" for command in commands))
    return 0


def check(entries: Positional[tuple[str, ...]] = (), leaderboard: Path = Path("leaderboard")) -> int:
    """Check entries of the leaderboard by name or folder, or all of them: every number recomputed, all findings at once.

    Args:
        entries: names or folders; none: all, and whether the table says what they amount to.
        leaderboard: the checkout's leaderboard folder.
    """
    from grokbench.board.entries.checks import check_entries
    from grokbench.board.publishing.publish import stale_files
    from grokbench.board.publishing.standings import summary

    checked = check_entries(entries, leaderboard=leaderboard)
    for each in checked:
        print(f"{each.name}: {summary(each)}")
        for finding in each.findings:
            print(f"  {finding}")
    stale = [] if entries else stale_files(checked, leaderboard)
    for path in stale:
        print(f"{path} differs from what the entries give: run `grokbench board`")
    return 1 if stale or any(each.refused for each in checked) else 0


def verify(
    entry: Positional[str],
    *,
    salt: str,
    cells: int = 2,
    sandbox: bool = True,
    container: str | None = None,
    seconds: float = 3_600,
    save: bool = False,
    leaderboard: Path = Path("leaderboard"),
) -> int:
    """Run some of an entry's cells again, and fresh instances of their tasks, its agent in a sandbox.

    Args:
        entry: name or folder.
        salt: what chooses the cells and the fresh instances; it must not have been known when the entry was made.
        cells: how many cells.
        sandbox: keep the agent from network and secrets; --no-sandbox for code that you trust.
        container: run it in a container of this image.
        seconds: the longest that one batch may take.
        save: keep the verdict, good or bad, in the leaderboard's verdicts.
        leaderboard: the checkout's leaderboard folder.
    """
    from grokbench.board.entries.checks import find_entry
    from grokbench.board.entries.verdicts import save_verdict
    from grokbench.board.verification.rerun import verify_entry
    from grokbench.runs.progress import Progress

    folder = find_entry(entry, leaderboard=leaderboard)
    verdict = verify_entry(
        folder, salt=salt, runs=cells, sandboxed=sandbox, image=container, seconds=seconds, progress=Progress
    )
    print(verdict)
    if save:
        path = save_verdict(verdict, folder.name, leaderboard=leaderboard)
        print(f"kept in {path}: write the table with `grokbench board`")
    return 0 if verdict.passed else 1


def pull(
    base: str,
    head: str,
    leaderboard: Path = Path("leaderboard"),
    out: Path | None = None,
    take: Path | None = None,
) -> int:
    """Check the entry that one commit brings over another, as CI does: its files are taken out of git as data.

    Args:
        base: the commit that a pull request goes to.
        head: the commit that it brings.
        leaderboard: the checkout's leaderboard folder, with the entries that stand.
        out: write the comment here; default: print it.
        take: leave the entry's files in this folder.
    """
    from grokbench.board.entries.pulls import check_pull_request
    from grokbench.board.publishing.comment import comment

    pull = check_pull_request(base, head, leaderboard=leaderboard, take=take)
    if pull is None:
        print("it brings no entry")
        return 0
    text = comment(pull.checked, pull.others)
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 1 if pull.checked.refused else 0


def board(leaderboard: Path = Path("leaderboard")) -> int:
    """Write the leaderboard's tables, pages and Parquet file from its entries.

    Args:
        leaderboard: the checkout's leaderboard folder.
    """
    from grokbench.board.publishing import parquet
    from grokbench.board.publishing.publish import publish

    published = publish(leaderboard)
    for name in published.refused:
        print(f"left out: {name}, which `grokbench check {name}` refuses", file=sys.stderr)
    if not published.parquet:
        print(f"{parquet.FILE} is left as it was: {parquet.INSTALL} to have it written too")
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
    """Run the command that the command line names; errors go to stderr as one line, with status 2."""
    try:
        status: int = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="grokbench")
    except KeyboardInterrupt:
        _say("stopped; finished runs are safe, and the same command goes on where the others were some 20 seconds ago")
        sys.exit(130)
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError) as error:
        _say(f"grokbench: {error}")
        sys.exit(2)
    sys.exit(status)


def _say(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(message, highlight=False, markup=False)


def _records(folders: tuple[Path, ...]) -> "tuple[list[RunRecord], list[RecordError]]":
    """The runs below `folders`, and what is wrong with the files that are left out, which is said too."""
    from grokbench.runs.store import find_records

    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}: name one that `grokbench run --out` has written")
    records, errors = find_records(folders)
    for error in errors:
        print(f"left out: {error}", file=sys.stderr)
    return records, errors
