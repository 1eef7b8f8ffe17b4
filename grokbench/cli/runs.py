"""Commands that make runs and show them: list, run, sweep, score, plot, phase, reproduce."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

import grokbench
from grokbench.errors import RecordError, ResultError, SweepError, WorkerError
from grokbench.tasks import ExamGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grokbench.agents.recipes import Recipe
    from grokbench.runs.records import RunRecord

Names = tuple[str, ...]


@dataclass(frozen=True)
class Computing:
    """Where and how runs are computed.

    Attributes:
        device: where agents compute.
        threads: the threads that a run computes on. A record states them, and may depend on them.
        processes: the most worker processes. By default as many as the cores that this command may use, divided by threads.
        engine: this machine, or a Ray cluster. Records are the same on the same kind of machine.
        address: the address of the Ray cluster, such as auto; by default one is started on this machine.
        gpus_per_cohort: the GPUs that a cohort takes of the Ray cluster, such as 0.25.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 1
    processes: int | None = None
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    gpus_per_cohort: float = 0.0

    @property
    def options(self) -> dict[str, Any]:
        """The options of `engine.run`.

        Raises:
            WorkerError: an option of Ray stands without it.
        """
        from grokbench.runs.ray_engine import Cluster

        if self.engine == "local" and (self.address is not None or self.gpus_per_cohort):
            raise WorkerError("--address and --gpus-per-cohort belong to Ray: add --engine ray")
        cluster = Cluster(self.address, self.gpus_per_cohort) if self.engine == "ray" else None
        return {"device": self.device, "threads": self.threads, "processes": self.processes, "cluster": cluster}


def list_(suite: str | None = None) -> int:
    """Show the standard tasks, the suites and the recipes, or the tasks of one suite.

    Example: grokbench list --suite mini

    Args:
        suite: show the tasks of this suite alone.
    """
    from tabulate import tabulate

    from grokbench.agents.recipes import recipe_names

    headers = ["task", "formula", "training questions", "budget (steps)", "generalizes at", "source"]
    rows = [
        (t.id, t.formula, f"{t.num_train} of {t.num_questions}", t.budget, f"{t.threshold:.1%}", t.source)
        for t in grokbench.list_tasks(suite, controls=True)
    ]
    print(tabulate(rows, headers, intfmt=","))
    if suite is None:
        suites = [(s.name, len(s.tasks), s.budget, s.control, s.about) for s in grokbench.list_suites()]
        print("\n" + tabulate(suites, ["suite", "tasks", "budget (steps)", "control", "about"], intfmt=","))
        print(f"\nrecipes: {', '.join(recipe_names())}")
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
    budget: int | None = None,
    probes: bool = False,
    logits: bool = False,
    computing: OmitArgPrefixes[Computing] = Computing(),
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
        budget: the largest step that counts as steps-to-generalize, for --tasks; default: each task's own.
        probes: train linear probes on every layer at every doubling of the steps, and record their accuracy.
        logits: record the cross-entropy on training and on held-out questions at every exam.
        computing: where and how runs are computed.
    """
    from grokbench.agents import find_recipe
    from grokbench.runs import engine
    from grokbench.runs.plan import parse_seeds, plan
    from grokbench.runs.progress import Progress
    from grokbench.runs.store import Store

    recipes = [find_recipe(name) for name in agents]
    plans = plan(tasks, recipes, suite=suite, seeds=parse_seeds(seeds), salt=salt, budget=budget)
    if suite is not None and not salt:
        _print_obstacles(recipes)
    with Progress(max_steps=max_steps) as progress:
        done = engine.run(
            plans,
            Store(out),
            callbacks=[progress],
            max_steps=max_steps,
            probes=probes,
            logits=logits,
            **computing.options,
        )
    return 0 if done else 1


def _print_obstacles(recipes: "Sequence[Recipe]") -> None:
    """Say before official runs are made what would keep them out of the leaderboard."""
    from grokbench.board.entries.submit import obstacles

    for recipe in recipes:
        for obstacle in obstacles(recipe):
            print(f"note: the leaderboard can't take these runs of {recipe.name}: {obstacle}", file=sys.stderr)


def score(folders: Positional[tuple[Path, ...]] = (Path("runs"),)) -> int:
    """Print the outcomes of runs per task and agent, and the agents' scores against the reference.

    Example: grokbench score runs

    Args:
        folders: folders of runs.
    """
    from grokbench.results.tables import report

    records, errors = read_runs(folders)
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
        out: the picture's path; with the ending .png or .svg one file, else both. Default: grokking in the first folder.
    """
    from grokbench.results.plots import draw_curves

    records, _ = read_runs(folders)
    for path in draw_curves(records, out or folders[0] / "grokking"):
        print(path)
    return 0


def sweep(
    file: Positional[Path | None] = None,
    *,
    agents: Annotated[Names, arg(aliases=["--agent"])] = (),
    tasks: Annotated[Names, arg(aliases=["--task"])] = (),
    vary: Names = (),
    seeds: Names = (),
    out: Path = Path("sweeps"),
    salt: str = "",
    budget: int | None = None,
    exams: ExamGrid | None = None,
    computing: OmitArgPrefixes[Computing] = Computing(),
) -> int:
    """Run agents on tasks with every combination of some values. The same command goes on where it was stopped.

    Example: grokbench sweep --agents mlp --tasks 'add_mod31-{ratio}' --vary ratio=0.3:0.9:7 weight_decay=0.1:10:5:log

    Args:
        file: a TOML file with agents, tasks, seeds, budget, exams, salt and a table [vary], instead of these options.
        agents: recipes by name, recipe files (….toml), or classes as module:Class.
        tasks: task ids, with names in braces for what varies.
        vary: name=values. A name in a task's braces, or a hyperparameter such as optimizer.weight_decay. Values are a list
            (0.1,1,10), or evenly spaced (0.2:0.9:15), or with equal ratios (0.01:10:7:log).
        seeds: seeds of instances, such as 0-4 or 0 3 5; default: 0-9.
        out: the folder of runs.
        salt: any text draws fresh instances; empty for the published ones.
        budget: the largest step that counts as steps-to-generalize; default: each task's own.
        exams: sparse takes fewer exams, without ranks. T is then up to a tenth later. Default: full.
        computing: where and how runs are computed.
    """
    from grokbench.runs.progress import SweepProgress
    from grokbench.runs.store import Store
    from grokbench.sweeps.grid import make_grid, read_grid
    from grokbench.sweeps.sweep import run_plans

    options: dict[str, Any] = {
        "agents": agents,
        "tasks": tasks,
        "vary": vary,
        "seeds": seeds,
        "salt": salt,
        "budget": budget,
        "exams": exams,
    }
    given = {name: value for name, value in options.items() if value not in ((), "", None)}
    if file is not None and given:
        raise SweepError(f"{file} describes the whole sweep: leave out --{', --'.join(given)}, or write them into it")
    grid = make_grid(**given | {"vary": _assignments(vary)}) if file is None else read_grid(file)
    plans = grid.plans()
    with SweepProgress() as progress:
        records = run_plans(plans, Store(out), callbacks=[progress], **computing.options)
    incomplete = sum(record.incomplete is not None for record in records)
    axes = [name for name, values in grid.axes.items() if len(values) > 1]
    if axes:
        shown = " ".join(f"--{option} {name}" for option, name in zip("xy", axes, strict=False))
        print(f"grokbench phase {out} {shown}")
    return 1 if incomplete else 0


def phase(
    folders: Positional[tuple[Path, ...]] = (Path("sweeps"),),
    *,
    x: str,
    y: str | None = None,
    where: Names = (),
    fit: bool = False,
    out: Path | None = None,
) -> int:
    """Draw a phase diagram of a sweep, or curves over one thing that varies: PNG, SVG, CSV, Parquet, and a page.

    Example: grokbench phase sweeps --x ratio --y weight_decay

    Args:
        folders: folders of runs.
        x: what varies along the horizontal axis, such as ratio, p or weight_decay.
        y: what varies along the vertical axis.
        where: name=value, to choose among runs that differ in more.
        fit: over one thing that varies, fit T ∝ x^a and print a with its interval.
        out: the files' path without an ending. Default: phase in the first folder.
    """
    from grokbench.results.duplicates import without_duplicates
    from grokbench.results.frames import Runs
    from grokbench.results.phase import power_law
    from grokbench.results.phase_page import phase_page
    from grokbench.results.phase_plots import phase_figure

    records, _ = read_runs(folders)
    if not records:
        raise ResultError(f"no runs below {', '.join(map(str, folders))}: make some with `grokbench sweep`")
    runs, chosen = Runs(tuple(without_duplicates(records))), _assignments(where)
    if fit and y is not None:
        raise ResultError("a power law is fitted over one thing that varies: leave out --y, or --fit")
    base = out or folders[0] / "phase"
    base.parent.mkdir(parents=True, exist_ok=True)
    table = runs.phase_table(x, y, where=chosen)
    law = power_law(runs.runs, x, where=chosen) if fit else None
    figure = phase_figure(table, law)
    paths = [base.with_name(f"{base.name}.{ending}") for ending in ("png", "svg", "csv", "parquet", "html")]
    for path in paths[:2]:
        figure.savefig(path, dpi=150)
    table.to_csv(paths[2], index=False)
    table.to_parquet(paths[3], index=False)
    page = phase_page(runs.runs, [run.exams for run in runs], table, x, y, chosen)
    paths[4].write_text(page, encoding="utf-8", newline="\n")
    print("\n".join(map(str, paths)))
    if law is not None:
        print(f"T = {law.factor:.4g} · {x}^{law.exponent:.3f}; 95 % interval of the exponent {law.low:.3f} to {law.high:.3f}")
    return 0


def _assignments(words: Names) -> dict[str, str]:
    """name=value of every word.

    Raises:
        SweepError: a word has no "=", or a name stands twice.
    """
    pairs = [word.partition("=") for word in words]
    for name, separator, value in pairs:
        if not (name and separator and value):
            raise SweepError(f"expected name=values, such as weight_decay=0.1,1,10, got {name + separator + value!r}")
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise SweepError(f"a name stands twice: {' '.join(words)}")
    return {name: value for name, _, value in pairs}


def reproduce(
    study: Positional[str],
    *,
    scale: Literal["small", "paper"] = "small",
    runs: Path = Path("runs/reproduce"),
    out: Path | None = None,
    computing: OmitArgPrefixes[Computing] = Computing(),
) -> int:
    """Run a paper's grid and compare each of its statements with what is measured: a report with figures.

    Example: grokbench reproduce deep-grokking

    Args:
        study: deep-grokking, omnigrok, pattern-learning or model-wise.
        scale: small takes minutes on two CPU cores; paper has the paper's own settings and is sized for a GPU.
        runs: the folder of runs, which studies share. Finished runs in it aren't repeated.
        out: the report's folder; default: docs/studies/<study>.
        computing: where and how runs are computed.
    """
    from grokbench.studies.report import statements_table
    from grokbench.studies.study import reproduce as reproduce_study

    folder = out or Path("docs/studies") / study
    statements = reproduce_study(study, scale=scale, runs=runs, out=folder, **computing.options)
    if statements is None:
        print("some runs are incomplete: the same command goes on where they are", file=sys.stderr)
        return 1
    print(f"{statements_table(statements)}\n\n{folder / 'README.md'}")
    return 0


def read_runs(folders: tuple[Path, ...]) -> "tuple[list[RunRecord], list[RecordError]]":
    """The runs below `folders`, and the errors of damaged records, which are printed too."""
    from grokbench.runs.store import find_records

    for folder in folders:
        if not folder.is_dir():
            raise RecordError(f"there is no folder {folder}: name one that `grokbench run --out` has written")
    records, errors = find_records(folders)
    for error in errors:
        print(f"left out: {error}", file=sys.stderr)
    return records, errors
