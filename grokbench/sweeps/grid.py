"""The grid of a sweep: every task and every recipe that its axes make, and the runs that train together."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from grokbench.agents.recipes import Recipe, find_recipe, flattened
from grokbench.agents.texts import decoded, text_bytes
from grokbench.errors import SweepError
from grokbench.runs.plan import Experiment, Plan, parse_seeds
from grokbench.sweeps.axes import Axes, axis_values, changed, filled, hyperparameter, placeholders
from grokbench.sweeps.joint import joint_plans
from grokbench.tasks import ExamGrid, Task, parse_id
from grokbench.tasks.task import checked_salt

FILE_KEYS = ("agents", "tasks", "vary", "seeds", "budget", "exams", "salt")


@dataclass(frozen=True)
class Grid:
    """A sweep's settings: agents on tasks, with every combination of the values of the axes.

    An axis that a task names in braces, as `ratio` in `add_mod47-{ratio}`, varies the task. Any other axis is a
    hyperparameter, such as `optimizer.weight_decay`, or `weight_decay` where the recipe has no other.

    Attributes:
        agents: the recipes to vary.
        tasks: ids, with names in braces.
        axes: name → values.
        seeds: the seeds of every setting.
        budget: the largest step that counts as T; None for each task's own.
        exams: `full`, or `sparse`: fewer exams without ranks.
        salt: empty for the published instances.
    """

    agents: tuple[Recipe, ...]
    tasks: tuple[str, ...]
    axes: Axes = field(default_factory=dict)
    seeds: tuple[int, ...] = tuple(range(10))
    budget: int | None = None
    exams: ExamGrid = "full"
    salt: str = ""

    def plans(self) -> list[Plan]:
        """The runs of every setting. Those that can train together share a plan.

        Raises:
            SweepError: an axis names nothing, an agent can't be made with its values, or the tasks have different budgets.
            TaskError: a value makes no task.
        """
        if not (self.agents and self.tasks and self.seeds):
            raise SweepError("nothing to sweep: name at least one agent, one task and one seed")
        tasks = list(self._tasks())
        recipes = [recipe for base in self.agents for recipe in self._recipes(base)]
        experiments = [Experiment(task, recipe, self.salt) for task in tasks for recipe in recipes]
        return joint_plans(dict.fromkeys(experiments, self.seeds))

    def _tasks(self) -> Iterator[Task]:
        """Every task, once."""
        named = {name for task in self.tasks for name in placeholders(task)}
        if missing := named - self.axes.keys():
            raise SweepError(f"the tasks have {{{'}, {'.join(sorted(missing))}}}: vary it, as in {min(missing)}=0.3,0.5,0.7")
        made: dict[Task, None] = {}
        for task in self.tasks:
            for values in _combinations(self.axes, dict.fromkeys(placeholders(task))):
                made[parse_id(filled(task, values), self.budget, self.exams)] = None
        budgets = sorted({task.budget for task in made})
        if len(budgets) > 1:
            raise SweepError(f"the tasks have budgets of {' and '.join(map(str, budgets))} steps: choose one with --budget")
        yield from made

    def _recipes(self, base: Recipe) -> list[Recipe]:
        """Every variation of a recipe."""
        named = {name for task in self.tasks for name in placeholders(task)}
        full_names = {name: hyperparameter(base, name) for name in self.axes if name not in named}
        axes = {full_names[name]: self.axes[name] for name in full_names}
        if len(axes) < len(full_names):
            raise SweepError(f"two axes vary the same hyperparameter: {', '.join(full_names)}")
        return list(dict.fromkeys(changed(base, values) for values in _combinations(axes, axes)))


def read_grid(path: Path) -> Grid:
    """The grid that a TOML file describes, with the keys agents, tasks, seeds, budget, exams, salt, and a table [vary].

    Raises:
        SweepError: it can't be read, or has other keys.
    """
    try:
        content = tomllib.loads(decoded(text_bytes(path)))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SweepError(f"can't read the sweep {path}: {error}") from error
    if unknown := sorted(content.keys() - set(FILE_KEYS)):
        raise SweepError(f"the sweep {path} has {', '.join(unknown)}: expected {', '.join(FILE_KEYS)}")
    return make_grid(**content, source=str(path))


def make_grid(
    agents: Any = (),
    tasks: Any = (),
    *,
    vary: Any = None,
    seeds: Any = "0:10",
    budget: int | None = None,
    exams: Any = "full",
    salt: str = "",
    source: str = "the sweep",
) -> Grid:
    """A grid from values as people write them: lists or texts such as "0.2:0.9:15" for axes, and "0:10" for seeds.

    Raises:
        SweepError: a value has the wrong form.
        AgentError: there is no such agent.
    """
    if not isinstance(vary or {}, Mapping):
        raise SweepError(f"{source}: vary is a table of axes, got {vary!r}")
    axes = {name: axis_values(name, values) for name, values in flattened(vary or {})}
    return Grid(
        agents=tuple(agent if isinstance(agent, Recipe) else find_recipe(str(agent)) for agent in _listed("agents", agents)),
        tasks=tuple(map(str, _listed("tasks", tasks))),
        axes=axes,
        seeds=parse_seeds(_listed("seeds", seeds)),
        budget=budget,
        exams=exams,
        salt=checked_salt(salt),
    )


def _listed(name: str, value: Any) -> Sequence[Any]:
    """A list of what may be a single value. Raises SweepError for what is neither."""
    if isinstance(value, str | Recipe | int):
        return (value,)
    if not isinstance(value, Iterable):
        raise SweepError(f"{name} must be a list or a single value, got {value!r}")
    return tuple(value)


def _combinations(axes: Axes, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Every combination of the values of the named axes; a single empty one for no names."""
    names = list(names)
    for values in product(*(axes[name] for name in names)):
        yield dict(zip(names, values, strict=True))
