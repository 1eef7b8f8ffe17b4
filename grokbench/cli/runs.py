"""Commands that make runs and show them: list, run, score, plot, reproduce."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

import grokbench
from grokbench.errors import RecordError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grokbench.agents.recipes import Recipe
    from grokbench.runs.callbacks import Callback
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


DEFAULT_COMPUTING = Computing()


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
    agents: Annotated[Names, arg(aliases=["--agent"])],
    *,
    suite: str | None = None,
    tasks: Annotated[Names, arg(aliases=["--task"])] = (),
    seeds: Names = ("0-9",),
    out: Path = Path("runs"),
    salt: str = "",
    max_steps: int | None = None,
    budget: int | None = None,
    probes: bool = False,
    logits: bool = False,
    wandb: str | None = None,
    computing: OmitArgPrefixes[Computing] = DEFAULT_COMPUTING,
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
        wandb: show the runs in this project of Weights & Biases.
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
    chosen = loggers(wandb)
    with Progress(max_steps=max_steps) as progress:
        done = engine.run(
            plans,
            Store(out),
            callbacks=[progress, *chosen],
            max_steps=max_steps,
            probes=probes,
            logits=logits,
            **computing.options,
        )
    return 0 if done else 1


def loggers(wandb: str | None) -> "list[Callback]":
    """The logger for a project of Weights & Biases, if one is named."""
    return [] if wandb is None else [grokbench.WandbLogger(wandb)]


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
        out: the picture's path, or a folder. With the ending .png or .svg one file, else both. Default: grokking in the first
            folder of runs.
    """
    from grokbench.results.plots import draw_curves

    records, _ = read_runs(folders)
    for path in draw_curves(records, out or folders[0] / "grokking"):
        print(path)
    return 0


def reproduce(
    study: Positional[str],
    *,
    scale: Literal["small", "paper"] = "small",
    runs: Path = Path("runs/reproduce"),
    out: Path | None = None,
    computing: OmitArgPrefixes[Computing] = DEFAULT_COMPUTING,
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
