"""Pictures and lines of text of both environments."""

import numpy as np
import pytest

from grokbench.evaluation.picture import NO_QUESTION, QUESTION_COLORS, Frame
from grokbench.tasks import Task, list_tasks, make_instance, parse_id
from grokbench.tasks.tables import TableInstance
from tests.support.oracle import action_of, stacked, started, vector

TRAIN_WRONG, HELD_OUT_WRONG = 1, 3
KINDS = {(True, True): 0, (True, False): TRAIN_WRONG, (False, True): 2, (False, False): HELD_OUT_WRONG}  # (train, right)


def test_frames() -> None:
    """Row a and column b have the color of the question (a, b), in squares of 28 pixels."""
    env = started(render_mode="rgb_array")
    instance = env.instance
    assert isinstance(instance, TableInstance)
    for right in (0, 12, 25):
        action = action_of(env, right)
        env.step(action)
        frame = env.render()
        assert frame.shape == (196, 196, 3)
        assert frame.dtype == np.uint8
        answered_right = action["answers"] == instance.shown_answers
        for (a, b), train, is_right in zip(instance.inputs, instance.train, answered_right, strict=True):
            square = frame[28 * a : 28 * (a + 1), 28 * b : 28 * (b + 1)]
            assert (square == QUESTION_COLORS[KINDS[bool(train), bool(is_right)]]).all()


def test_the_frame_before_the_first_exam() -> None:
    """Every answer counts as wrong."""
    env = started(render_mode="rgb_array")
    colors = {tuple(color) for color in env.render().reshape(-1, 3).tolist()}
    assert colors == {tuple(QUESTION_COLORS[TRAIN_WRONG].tolist()), tuple(QUESTION_COLORS[HELD_OUT_WRONG].tolist())}


def test_places_without_a_question_are_gray() -> None:
    """Division has no questions with b = 0, the first column."""
    env = started(parse_id("div_mod7-0.5"), render_mode="rgb_array")
    frame = env.render()
    assert (frame[:, :28] == QUESTION_COLORS[NO_QUESTION]).all()
    assert not (frame[:, 28:] == QUESTION_COLORS[NO_QUESTION]).all(axis=-1).any()


OTHERS = [parse_id("add_mod3-0.5"), parse_id("add_mod251-0.5")]


@pytest.mark.parametrize("task", [*list_tasks(controls=True), *OTHERS], ids=lambda task: task.id)
def test_video_players_can_show_every_task(task: Task) -> None:
    """Both sides have an even number of pixels, which common encodings of video need."""
    height, width, _ = Frame().picture(make_instance(task, 0)).shape
    assert height % 2 == width % 2 == 0


@pytest.mark.parametrize(("task", "side"), [("add_mod97-0.5", 194), ("add_mod193-0.5", 386), ("mnist5k-n60", 284)])
def test_pictures_have_at_least_194_pixels_a_side(task: str, side: int) -> None:
    """Every question of a table has equally many pixels; 5,000 images fill a square of 71 places."""
    picture = Frame().picture(make_instance(parse_id(task), 0))
    assert picture.shape == (side, side, 3)
    assert picture.dtype == np.uint8


def test_images_have_a_pixel_each() -> None:
    """Every training image and every held-out image is somewhere in the square, and the rest of it is gray."""
    instance = make_instance(parse_id("mnist5k-n60"), 0)
    right = np.where(instance.train, instance.shown_answers, -1)
    kinds = Frame(answers=right).picture(instance)[::4, ::4].reshape(-1, 3)
    counts = [int((kinds == color).all(axis=-1).sum()) for color in QUESTION_COLORS]
    assert counts == [60, 0, 0, 4940, 71 * 71 - 5000]


def test_the_ansi_line() -> None:
    """A line with the task, the step, both accuracies and the last layer's effective rank."""
    env = started(render_mode="ansi")
    assert env.render() == "add_mod7-0.5-v1 seed 0  step 0  nothing answered yet"
    action = action_of(env, 5)
    action["features"][:, -1] = 0  # the last layer has two features
    env.step(action)
    assert env.render() == "add_mod7-0.5-v1 seed 0  step 5  train 100.0%  held out 20.0%  effective rank 1.0"
    action = action_of(env)
    action["features"][:] = np.nan
    env.step(action)
    assert "diverged" in env.render()


def test_render_without_a_render_mode_is_none() -> None:
    """In the single and in the vector environment."""
    assert started().render() is None
    envs = vector()
    envs.reset(seed=0)
    assert envs.render() is None


def test_vector_frames() -> None:
    """A frame or a line for every member, equal to that of the single environment."""
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
