"""What is to be run: experiments, runs, and the batches that they train in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grokbench.agents.recipes import Recipe
from grokbench.tasks import Task, get_suite, parse_id


@dataclass(frozen=True)
class Experiment:
    """What one agent does on one task under one salt; its runs differ by seed."""

    task: Task
    recipe: Recipe
    salt: str = ""

    @property
    def folder(self) -> str:
        """Its folder below `<out>`."""
        return f"{self.task.id}/{self.recipe.name}-{self.recipe.hash[:8]}"

    @property
    def suffix(self) -> str:
        """What marks the file names of a salted run."""
        return f"-salt-{hashlib.sha256(self.salt.encode()).hexdigest()[:8]}" if self.salt else ""


@dataclass(frozen=True)
class Run:
    """One run to be made."""

    experiment: Experiment
    seed: int


@dataclass(frozen=True)
class Job:
    """Runs that train as one batch, from the start or from a checkpoint, which may hold finished ones too."""

    runs: tuple[Run, ...]
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Plan:
    """Seeds that are asked for of one cell, or of several that train as one batch: agents on one task, under one salt."""

    experiments: tuple[Experiment, ...]
    seeds: tuple[int, ...]


def plan(
    tasks: Sequence[str], recipes: Sequence[Recipe], *, seeds: Sequence[int], suite: str | None = None, salt: str = ""
) -> list[Plan]:
    """Every recipe on every task and, for a suite, on its control with the control's seeds.

    Raises:
        ValueError: an unknown task or suite, or nothing to do.
    """
    wanted = [(parse_id(name), tuple(sorted(set(seeds)))) for name in tasks]
    if suite:
        chosen = get_suite(suite)
        wanted += [(parse_id(name), tuple(sorted(set(seeds)))) for name in chosen.tasks]
        wanted.append((parse_id(chosen.control), chosen.control_seeds))
    if not wanted or not recipes or not seeds:
        raise ValueError("nothing to run: name a suite or tasks, at least one agent and at least one seed")
    return [Plan((Experiment(task, recipe, salt),), its_seeds) for task, its_seeds in wanted for recipe in recipes]
