"""The pace of an entry: seconds of its step, compared with AdamW's on the same network, questions and machine.

A step is one forward-backward pass. A second pass that isn't declared shows as a step that takes nearly twice as long. Both
take full batches of a large table, so that the optimizer's own work weighs little: on `div_mod47-0.5` a step of Muon takes
twice as long as AdamW's for a single pass, on `add_mod97-0.5` 1.2 times.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from grokbench.agents.agent import Agent
from grokbench.agents.recipes import Recipe, find_recipe, recipe_names
from grokbench.agents.targets import is_baseline
from grokbench.board.entries.verdicts import Pace
from grokbench.envs import GrokEnv
from grokbench.tasks import Instance, Task, make_instance, parse_id
from grokbench.tasks.tables import TableTask

REPETITIONS = 9  # short runs of each agent, alternating
STEPS = 5  # of a short run
WARMUP_STEPS = 3
TABLE = "add_mod97-0.5"
PLAIN_TABLES = {"network", "training", "optimizer", "schedule"}

Clock = Callable[[], float]


def pace_instance(tasks: Sequence[Task], *, salt: str) -> Instance:
    """The instance on which a suite's entries are timed: a large table, or the largest task of images."""
    tables = all(isinstance(task, TableTask) for task in tasks)
    task = parse_id(TABLE) if tables else max(tasks, key=lambda task: task.num_train)
    return make_instance(task, 0, salt)


def full_batch(recipe: Recipe) -> Recipe:
    """The recipe with all training questions in a step."""
    tables = recipe.plain_hyperparameters
    tables["training"]["batch_size"] = 0
    return replace(recipe, hyperparameters=tables)


def adamw_recipe(recipe: Recipe) -> Recipe | None:
    """AdamW on the network of a recipe, with its number format. None for an agent of the entry's own."""
    if not is_baseline(recipe.target):
        return None
    tables = recipe.plain_hyperparameters
    plain = next(filter(_is_adamw, _baselines_of(recipe.target))).plain_hyperparameters
    plain["network"] = tables["network"]
    plain["training"]["dtype"] = tables["training"]["dtype"]
    return replace(recipe, name="adamw", hyperparameters=plain, source="")


def measure_pace(entry: Recipe, adamw: Recipe, instance: Instance, *, clock: Clock = time.perf_counter) -> Pace:
    """The seconds of a full-batch step of both recipes on an instance: medians of short runs that alternate.

    Raises:
        RemoteError: a process of an agent failed.
    """
    agents = [_started(recipe, instance) for recipe in (full_batch(entry), full_batch(adamw))]
    times: list[list[float]] = [[], []]
    for _ in range(REPETITIONS):
        for agent, its_times in zip(agents, times, strict=True):
            its_times.append(_seconds(agent, clock) / STEPS)
    return Pace(entry_seconds=median(times[0]), adamw_seconds=median(times[1]))


def _started(recipe: Recipe, instance: Instance) -> Agent:
    """The recipe's agent on the instance, alone, after a few steps."""
    agent = recipe.make()
    env = GrokEnv(instance.task, feature_dims=agent.feature_dims, salt=instance.salt)
    env.reset(seed=instance.seed)
    agent.start(env)
    agent.learn(WARMUP_STEPS)
    return agent


def _seconds(agent: Agent, clock: Clock) -> float:
    """The seconds of a short run."""
    started = clock()
    agent.learn(STEPS)
    return clock() - started


def _baselines_of(target: str) -> list[Recipe]:
    return [recipe for recipe in map(find_recipe, recipe_names()) if recipe.target == target]


def _is_adamw(recipe: Recipe) -> bool:
    """Whether a baseline's recipe is trained by AdamW and nothing else."""
    tables: dict[str, Any] = recipe.plain_hyperparameters
    return set(tables) <= PLAIN_TABLES and tables.get("optimizer", {}).get("name", "adamw") == "adamw"
