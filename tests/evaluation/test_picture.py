"""What there is to see: frames and lines of both environments."""

from itertools import pairwise

import numpy as np

from tests.support.oracle import action_of, stacked, started, vector


def test_frames() -> None:
    """The table in its true order, three channels, at least 194 pixels wide; an answer put right changes its color."""
    env = started(render_mode="rgb_array")
    frames = [env.render()]
    for right in (0, 12, 25):
        env.step(action_of(env, right))
        frames.append(env.render())
    for frame in frames:
        assert frame.shape == (196, 196, 3)
        assert frame.dtype == np.uint8
    assert all((a != b).any() for a, b in pairwise(frames))
    cells = frames[-1][::28, ::28].reshape(-1, 3)
    colors, counts = np.unique(cells, axis=0, return_counts=True)
    assert sorted(counts.tolist()) == [24, 25]
    seen = np.zeros((7, 7), bool)
    seen[tuple(env.instance.places.T)] = env.instance.train
    assert len(np.unique(cells[seen.ravel()], axis=0)) == 1
    assert len(colors) == 2


def test_the_ansi_line() -> None:
    """One line with the task, the step and both accuracies."""
    env = started(render_mode="ansi")
    assert env.render() == "add_mod7-0.5-v1 seed 0  step 0  nothing answered yet"
    env.step(action_of(env, 5))
    line = env.render()
    assert "\n" not in line
    assert line.startswith("add_mod7-0.5-v1 seed 0  step 10  train 100.0%  held out 20.0%  effective rank ")
    action = action_of(env)
    action["features"][:] = np.nan
    env.step(action)
    assert "diverged" in env.render()


def test_without_a_render_mode_there_is_nothing_to_see() -> None:
    """Neither for one nor for many."""
    assert started().render() is None
    envs = vector()
    envs.reset(seed=0)
    assert envs.render() is None


def test_vector_frames() -> None:
    """One frame or line for every member, each its own single's."""
    envs, single = vector(render_mode="rgb_array"), started(seed=1, render_mode="rgb_array")
    envs.reset(seed=0)
    actions = stacked(envs, [1, 2, 3])
    envs.step(actions)
    single.step({name: value[1] for name, value in actions.items()})
    frames = envs.render()
    assert frames is not None
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[1], single.render())
    lines = vector(render_mode="ansi")
    lines.reset(seed=3)
    assert [line.split("  ")[0] for line in lines.render() or ()] == [f"add_mod7-0.5-v1 seed {s}" for s in (3, 4, 5)]
