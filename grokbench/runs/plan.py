"""What is to be run: experiments, their runs, and the cohorts that train together."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokbench.agents.recipes import Recipe, checked_name
from grokbench.errors import TaskError
from grokbench.tasks import ExamGrid, Task, get_suite, parse_id
from grokbench.tasks.task import checked_salt, checked_seed

MOST_SEEDS = 1_000_000  # of a range


@dataclass(frozen=True)
class Experiment:
    """A recipe on a task under a salt. Its runs differ by seed.

    Attributes:
        task: the task.
        recipe: the agent with its hyperparameters.
        salt: empty for the published instances; any other text draws fresh ones.

    Raises:
        RecipeError: the recipe's name can't be that of a folder.
    """

    task: Task
    recipe: Recipe
    salt: str = ""

    def __post_init__(self) -> None:
        checked_name(self.recipe.name)

    @property
    def folder(self) -> str:
        """The experiment's folder, relative to the folder of runs."""
        return f"{self.task.id}/{self.recipe.name}-{self.recipe.hash[:8]}"

    @property
    def suffix(self) -> str:
        """The end of the file names of runs with a salt, sparse exams or another budget than the standard one; else empty."""
        salt = f"-salt-{hashlib.sha256(self.salt.encode()).hexdigest()[:8]}" if self.salt else ""
        exams = "-sparse" if self.task.exam_grid == "sparse" else ""
        budget = f"-budget-{self.task.budget}" if self.task.budget != parse_id(self.task.id).budget else ""
        return f"{salt}{exams}{budget}"


@dataclass(frozen=True)
class Run:
    """An experiment and a seed."""

    experiment: Experiment
    seed: int


@dataclass(frozen=True)
class Cohort:
    """Runs that train together.

    Attributes:
        runs: the runs.
        checkpoint: the file that the cohort continues from; None starts it from step 0.
        finished: the runs among them whose records are complete. A checkpoint can be older than a record.
    """

    runs: tuple[Run, ...]
    checkpoint: Path | None = None
    finished: frozenset[Run] = frozenset()


@dataclass(frozen=True)
class Plan:
    """Experiments that may train as one cohort, and the seeds wanted of each. They share a task and a salt."""

    experiments: tuple[Experiment, ...]
    seeds: tuple[int, ...]

    @property
    def runs(self) -> list[Run]:
        """Every planned run, experiment by experiment."""
        return [Run(experiment, seed) for experiment in self.experiments for seed in self.seeds]


def plan(
    tasks: Sequence[str],
    recipes: Sequence[Recipe],
    *,
    seeds: Sequence[int],
    suite: str | None = None,
    salt: str = "",
    budget: int | None = None,
    exams: ExamGrid = "full",
) -> list[Plan]:
    """Every recipe on every task. A suite adds its tasks, and its control with the control's own seeds.

    A run that is named twice, such as a task of the suite, is planned once.

    Args:
        tasks: task ids.
        recipes: the agents with their hyperparameters.
        seeds: the seeds of every task.
        suite: the name of a suite to run, too.
        salt: empty for the published instances; any other text draws fresh ones.
        budget: the budget of `tasks` in steps, None for each task's own. A suite has its own budget.
        exams: the exams of `tasks`, `full` or `sparse`. A suite has all exams.

    Raises:
        TaskError: a task or the suite is unknown, a seed is no whole number, the salt is no text, a budget is given for a suite
            alone, or there is nothing to run.
    """
    if suite and budget is not None and not tasks:
        raise TaskError(f"the suite {suite!r} has a budget of its own: leave out the budget, or name its tasks instead")
    seeds = tuple(checked_seed(seed) for seed in seeds)
    wanted = [(parse_id(name, budget, exams), seeds) for name in tasks]
    if suite:
        chosen = get_suite(suite)
        wanted += [(parse_id(name), seeds) for name in chosen.tasks]
        wanted.append((parse_id(chosen.control), chosen.control_seeds))
    if not wanted or not recipes or not seeds:
        raise TaskError("nothing to run: name a suite or tasks, at least one agent and at least one seed")
    seeds_by_task: dict[Task, set[int]] = {}
    for task, task_seeds in wanted:
        seeds_by_task.setdefault(task, set()).update(task_seeds)
    return [
        Plan((Experiment(task, recipe, checked_salt(salt)),), tuple(sorted(task_seeds)))
        for task, task_seeds in seeds_by_task.items()
        for recipe in dict.fromkeys(recipes)
    ]


def parse_seeds(words: Iterable[Any]) -> tuple[int, ...]:
    """Seeds as whole numbers, as ranges with their last seed (`0-9`), or as Python's ranges (`0:10`), once each.

    Raises:
        TaskError: a word is none of these, or an empty range.
    """
    seeds: list[int] = []
    for word in words:
        match = re.fullmatch(r"([0-9]+)(?:([-:])([0-9]+))?", str(word))
        first, separator, last = match.groups() if match else ("0", ":", "0")
        stop = int(last or first) + (separator != ":")
        if isinstance(word, bool) or stop <= int(first):
            raise TaskError(f"seeds are whole numbers or ranges, such as 0-9 or 0 3 5, got {word!r}")
        if stop - int(first) > MOST_SEEDS:
            raise TaskError(f"a range of seeds has at most {MOST_SEEDS:,}, got {word!r}")
        seeds += range(int(first), stop)
    return tuple(dict.fromkeys(seeds))
