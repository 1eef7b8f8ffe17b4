"""An oracle that gives a wanted number of right held-out answers, and environments to use it on."""

from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokbench.envs import GrokEnv, GrokVectorEnv
from grokbench.tasks import Instance, Task, parse_id

NAME = "add_mod7-0.5"  # 24 training and 25 held-out questions; only 25 right answers pass
SMALL = parse_id(NAME, budget=300)
DIMS = (3, 2)
Step = tuple[Any, Any, Any, Any, dict[str, Any]]


def answers_of(instance: Instance, right: int) -> NDArray[np.int64]:
    """Answers with all training questions right, and exactly `right` of the held-out ones."""
    answers = instance.shown_answers.copy()
    wrong = np.flatnonzero(~instance.train)[right:]
    answers[wrong] = (answers[wrong] + 1) % instance.task.num_symbols
    return answers


def features_of(task: Task, seed: int = 0) -> NDArray[np.float32]:
    """Random features (N, Σ DIMS)."""
    return np.random.default_rng(seed).normal(size=(task.num_questions, sum(DIMS))).astype(np.float32)


def action_of(env: GrokEnv, right: int = 0, seed: int = 0) -> dict[str, Any]:
    """An action with `right` right held-out answers."""
    return {"answers": answers_of(env.instance, right), "features": features_of(env.task, seed)}


def started(task: Task = SMALL, seed: int = 0, **options: Any) -> GrokEnv:
    """A single environment that has been reset."""
    env = GrokEnv(task, feature_dims=DIMS, **options)
    env.reset(seed=seed)
    return env


def episode(env: GrokEnv, schedule: list[int | None], tail: int = 0) -> list[Step]:
    """All steps of a run whose exams have these numbers of right answers, then `tail`. None gives NaN features."""
    steps: list[Step] = []
    for right in chain(schedule, repeat(tail)):
        action = action_of(env, right or 0)
        if right is None:
            action["features"][0, 0] = np.nan
        steps.append(env.step(action))
        if steps[-1][2] or steps[-1][3]:
            return steps
    raise AssertionError


def assert_same(left: Any, right: Any) -> None:
    """Assert equal keys, values and shapes; NaN equals itself."""
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_array_equal(left[key], right[key], err_msg=key)


def vector(task: Task = SMALL, members: int = 3, **options: Any) -> GrokVectorEnv:
    """A vector environment before its first reset."""
    return GrokVectorEnv(task, num_envs=members, feature_dims=DIMS, **options)


def stacked(envs: GrokVectorEnv, rights: list[int], exam: int = 0) -> dict[str, NDArray[Any]]:
    """The action of all members, with these numbers of right held-out answers."""
    rows = [answers_of(instance, right) for instance, right in zip(envs.instances, rights, strict=True)]
    features = [features_of(envs.task, 100 * exam + i) for i in range(envs.num_envs)]
    return {"answers": np.stack(rows), "features": np.stack(features)}


def member_of(infos: dict[str, Any], i: int) -> dict[str, Any]:
    """Member i's part of a vector's infos."""
    return {k: v[i] for k, v in infos.items() if not k.startswith("_") and infos[f"_{k}"][i]}
