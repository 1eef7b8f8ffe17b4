"""Objects that users hand to other processes, or copy: environments, examiners, instances."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

import grokbench
from grokbench.evaluation.marking import Examiner
from grokbench.tasks import Instance, make_instance, parse_id
from tests.support.oracle import NAME, action_of, answers_of, assert_same, features_of, stacked, started, vector

Copy = Callable[[Any], Any]


def pickled(value: Any) -> Any:
    """A copy as another process gets it."""
    return pickle.loads(pickle.dumps(value))


COPIES = (pickled, copy.deepcopy)


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copied_environment_goes_on_where_the_first_was(duplicate: Copy) -> None:
    """After a reset and after exams. A step of the copy leaves the first as it is."""
    env = started(render_mode="rgb_array")
    for exam in range(3):
        twin = duplicate(env)
        action = action_of(env, 5, exam)
        before = env.observe()
        taken = twin.step(action)
        assert_same(env.observe(), before)
        expected = env.step(action)
        assert_same(taken[0], expected[0])
        assert taken[1:4] == expected[1:4]
        assert_same(taken[4], expected[4])
        np.testing.assert_array_equal(twin.render(), env.render())


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copied_environment_draws_the_same_seeds(duplicate: Copy) -> None:
    """The generator of seeds is a part of the environment."""
    env = started()
    twin = duplicate(env)
    assert [twin.reset()[1]["seed"] for _ in range(3)] == [env.reset()[1]["seed"] for _ in range(3)]


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copied_vector_goes_on_where_the_first_was(duplicate: Copy) -> None:
    """Each member keeps its own instance and its own step."""
    envs = vector()
    envs.reset(seed=0)
    envs.step(stacked(envs, [1, 2, 3]))
    envs.reset(seed=[9, None, None], options={"reset_mask": np.array([True, False, False])})
    twin = duplicate(envs)
    actions = stacked(envs, [25, 0, 7], exam=1)
    assert_same(twin.step(actions)[4], envs.step(actions)[4])


@pytest.mark.parametrize("duplicate", COPIES)
def test_wrapped_environments_are_copied(duplicate: Copy) -> None:
    """As `grokbench.make` returns them, and inside a wrapper of Gymnasium."""
    env = gymnasium.wrappers.RecordEpisodeStatistics(grokbench.make(NAME, feature_dims=(3, 2)))
    env.reset(seed=1)
    inner = started(parse_id(NAME), seed=1)
    assert_same(duplicate(env).step(action_of(inner))[0], inner.step(action_of(inner))[0])


def marked(examiner: Examiner, right: int) -> int:
    """The held-out answers that the examiner counts as right."""
    instance = examiner.instances[0]
    return examiner.mark_member({"answers": answers_of(instance, right), "features": features_of(instance.task)}).held_out


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copied_examiner_marks_its_own_instances(duplicate: Copy) -> None:
    """Not those of the examiner that it was copied from."""
    task = parse_id(NAME)
    examiner = Examiner([make_instance(task, 0)], (3, 2))
    assert marked(examiner, 4) == 4
    twin = duplicate(examiner)
    twin.instances[0] = make_instance(task, 1)
    assert marked(twin, 6) == 6
    assert len(examiner.instances) == 1
    assert marked(examiner, 7) == 7


@pytest.mark.parametrize("duplicate", COPIES)
@pytest.mark.parametrize("task", [NAME, "conjugate_s5-0.5", "mnist5k-n60"])
def test_a_copied_instance_is_read_only(duplicate: Copy, task: str) -> None:
    """Its arrays are as they were, those that were computed on first use too."""
    instance: Instance = make_instance(parse_id(task), 0)
    names = ("answers", "train", "shown_inputs", "shown_answers", "targets", "places")
    expected = {name: getattr(instance, name) for name in names}
    twin = duplicate(instance)
    for name, array in expected.items():
        np.testing.assert_array_equal(getattr(twin, name), array)
        assert not getattr(twin, name).flags.writeable, name
    assert twin.fingerprint == instance.fingerprint
