"""grokbench: standard tasks, one evaluation protocol and a leaderboard for grokking.

```python
import grokbench

run = grokbench.run("transformer", "add_mod47-0.7", seed=0)  # a baseline, one task, one seed
run.steps_to_memorize, run.steps_to_generalize, run.final_rank

env = grokbench.make("add_mod97-0.3")  # the same as a gymnasium.Env
observation, info = env.reset(seed=0)
```
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium

from grokbench.errors import GrokbenchError
from grokbench.tasks import Suite, Task, list_suites, list_tasks, parse_id

if TYPE_CHECKING:
    from grokbench.agents import Agent, Recipe, Spec, find_recipe, recipe
    from grokbench.agents.torch_agent import TorchAgent
    from grokbench.analysis import patterns, stages
    from grokbench.api import run, sweep
    from grokbench.evaluation import ranks
    from grokbench.evaluation.protocol import PROTOCOL
    from grokbench.hub.datasets import to_datasets
    from grokbench.results.frames import load_runs
    from grokbench.runs.callbacks import Callback
    from grokbench.runs.loggers import WandbLogger
    from grokbench.runs.ray_engine import Cluster

__all__ = [
    "PROTOCOL",
    "Agent",
    "Callback",
    "Cluster",
    "GrokbenchError",
    "Recipe",
    "Spec",
    "Suite",
    "Task",
    "TorchAgent",
    "WandbLogger",
    "find_recipe",
    "list_suites",
    "list_tasks",
    "load_runs",
    "make",
    "make_vec",
    "parse_id",
    "patterns",
    "ranks",
    "recipe",
    "run",
    "stages",
    "sweep",
    "to_datasets",
]
__version__ = "0.1.0"

# Loaded on first use, because they import torch, pandas or scipy: public name → module, or module and name in it.
_LAZY = {
    "Agent": "grokbench.agents:Agent",
    "Callback": "grokbench.runs.callbacks:Callback",
    "Cluster": "grokbench.runs.ray_engine:Cluster",
    "PROTOCOL": "grokbench.evaluation.protocol:PROTOCOL",
    "Recipe": "grokbench.agents:Recipe",
    "Spec": "grokbench.agents:Spec",
    "TorchAgent": "grokbench.agents.torch_agent:TorchAgent",
    "WandbLogger": "grokbench.runs.loggers:WandbLogger",
    "find_recipe": "grokbench.agents:find_recipe",
    "load_runs": "grokbench.results.frames:load_runs",
    "patterns": "grokbench.analysis.patterns",
    "ranks": "grokbench.evaluation.ranks",
    "recipe": "grokbench.agents:recipe",
    "run": "grokbench.api:run",
    "stages": "grokbench.analysis.stages",
    "sweep": "grokbench.api:sweep",
    "to_datasets": "grokbench.hub.datasets:to_datasets",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'grokbench' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    loaded = import_module(module)
    globals()[name] = getattr(loaded, attribute) if attribute else loaded
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def make(task_id: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """The environment of a task, as `gymnasium.make` returns it.

    Args:
        task_id: any valid id, such as `add_mod97-0.3`, with or without `grokbench/` and `-v1`.
        **options: `feature_dims` (the widths of the layers that the agent shows, default (128,)), `salt` (fresh instances),
            `budget` (in steps, instead of the standard one), `logits` (whether actions have logits), `render_mode`, and the
            options of `gymnasium.make`.

    Raises:
        TaskError: the id names no task.
        ActionError: an option is wrong.
    """
    return gymnasium.make(_registered(task_id), **options)


def make_vec(task_id: str, num_envs: int = 1, **options: Any) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """The vector environment of `num_envs` seeds of one task. Options and errors as for `make`."""
    return gymnasium.make_vec(_registered(task_id), num_envs=num_envs, **options)


def _registered(task_id: str) -> str:
    """The Gymnasium id of a task, which is registered now if it hasn't been."""
    task = parse_id(task_id)
    if task.gym_id not in gymnasium.registry:
        _register(task)
    return task.gym_id


def _register(task: Task) -> None:
    gymnasium.register(
        task.gym_id,
        entry_point="grokbench.envs:GrokEnv",
        vector_entry_point="grokbench.envs:GrokVectorEnv",
        kwargs={"task": task.id},
    )


for _task in list_tasks(controls=True):
    _registered(_task.id)
