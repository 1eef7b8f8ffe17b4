"""grokbench: standard tasks, one evaluation protocol and a leaderboard for grokking.

```python
import grokbench

env = grokbench.make("add_mod97-0.3")
observation, info = env.reset(seed=0)
```
"""

from typing import Any

import gymnasium

from grokbench.tasks import Suite, Task, list_suites, list_tasks, parse_id

__all__ = ["Suite", "Task", "list_suites", "list_tasks", "make", "make_vec"]
__version__ = "0.1.0"


def make(task_id: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """The environment of a task, as `gymnasium.make` would make it; any valid id will do, not only the standard ones.

    Args:
        task_id: such as `add_mod97-0.3`, with or without `grokbench/` and `-v1`.
        **options: `feature_dims` (the widths of the layers shown, default (128,)), `salt` (fresh instances), `render_mode`,
            and what `gymnasium.make` takes.

    Raises:
        ValueError: the id names no task, or an option is wrong.
    """
    return gymnasium.make(_registered(task_id), **options)


def make_vec(task_id: str, num_envs: int = 1, **options: Any) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """The vector environment of `num_envs` seeds of one task; otherwise as `make`."""
    return gymnasium.make_vec(_registered(task_id), num_envs=num_envs, **options)


def _registered(task_id: str) -> str:
    """The Gymnasium id of a task, registered now if it hasn't been."""
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
