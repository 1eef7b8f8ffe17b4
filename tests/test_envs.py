"""The single environment: Gymnasium's checker, rewards, ends, info, wrong actions. An oracle plays the agent."""

import subprocess
import sys
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import grokbench
from grokbench.envs import GrokEnv, GrokVectorEnv
from grokbench.errors import TaskError
from grokbench.tasks import Task, list_tasks, parse_id
from tests.support.oracle import DIMS, NAME, SMALL, Step, action_of, assert_same, episode, started


def python(code: str) -> str:
    """The output of some code in a new interpreter."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("task", list_tasks(controls=True), ids=lambda task: task.id)
def test_gymnasiums_checker_accepts(task: Task) -> None:
    """Every standard task passes `check_env`, whose warnings are errors here."""
    check_env(grokbench.make(task.id, feature_dims=(2,)).unwrapped)


def test_made_by_gymnasium() -> None:
    """The registered id and grokbench.make give the same environment."""
    made = gymnasium.make("grokbench/add_mod97-0.3-v1")
    mine = grokbench.make("add_mod97-.30")
    assert isinstance(made.unwrapped, GrokEnv)
    assert isinstance(mine.unwrapped, GrokEnv)
    assert made.unwrapped.task == mine.unwrapped.task
    assert made.spec == mine.spec
    assert made.action_space["features"].shape == (9409, 128)  # type: ignore[index]
    assert_same(made.reset(seed=1)[0], mine.reset(seed=1)[0])


def test_made_by_gymnasium_without_an_import() -> None:
    """`module:id` imports grokbench by itself."""
    code = "import gymnasium; print(gymnasium.make('grokbench:grokbench/add_mod97-0.3-v1').unwrapped.task.id)"
    assert python(code) == "add_mod97-0.3-v1"


def test_made_as_a_vector() -> None:
    """`gymnasium.make_vec` and `grokbench.make_vec` both give the native vector environment."""
    for envs in (gymnasium.make_vec("grokbench/add_mod97-0.3-v1", num_envs=2), grokbench.make_vec("add_mod97-0.3", 2)):
        assert isinstance(envs.unwrapped, GrokVectorEnv)
        assert envs.num_envs == 2
        observation, _ = envs.reset(seed=0)
        assert observation in envs.observation_space


def test_free_form_ids_and_options() -> None:
    """A task outside the suites is made on demand, with any salt and feature widths."""
    env = grokbench.make("sub_mod5-.6", feature_dims=DIMS, salt="mine")
    env.reset(seed=0)
    salted = env.unwrapped.instance.fingerprint  # type: ignore[attr-defined]
    plain = grokbench.make("sub_mod5-.6")
    plain.reset(seed=0)
    assert salted != plain.unwrapped.instance.fingerprint  # type: ignore[attr-defined]
    assert env.action_space["features"].shape == (25, 5)  # type: ignore[index]


def test_importing_grokbench_imports_no_torch() -> None:
    """Importing grokbench, making an environment and taking an exam all do without torch."""
    code = (
        "import sys, grokbench; env = grokbench.make('add_mod5-0.5'); env.reset(seed=0);"
        "env.step(env.action_space.sample()); print('torch' in sys.modules)"
    )
    assert python(code) == "False"


@pytest.mark.parametrize("options", [{"feature_dims": ()}, {"feature_dims": (0,)}, {"feature_dims": 3}])
def test_bad_feature_dims(options: dict[str, Any]) -> None:
    """Widths are positive whole numbers, and there is at least one."""
    with pytest.raises(ValueError, match="feature_dims are the widths"):
        GrokEnv(NAME, **options)


def test_bad_render_mode_and_number_of_members() -> None:
    """The error names the accepted values."""
    with pytest.raises(ValueError, match="render_mode must be one of"):
        GrokEnv(NAME, render_mode="human")
    with pytest.raises(ValueError, match="from 1 up, got 0"):
        GrokVectorEnv(NAME, num_envs=0)


def charged(steps: list[Step], budget: int) -> int:
    """What a run was charged, in steps. Every exam is charged whole steps of the budget."""
    charges = [round(-step[1] * budget) for step in steps]
    assert [step[1] for step in steps] == pytest.approx([-charge / budget for charge in charges], abs=1e-12)
    return sum(charges)


SCHEDULES = st.lists(st.tuples(st.sampled_from([0, 24, 25, 25]), st.integers(1, 30)), max_size=9)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 120) | st.integers(500, 600), SCHEDULES, st.sampled_from([0, 25]), st.none() | st.integers(0, 60))
def test_the_return_is_minus_t_over_the_budget(
    budget: int, stretches: list[tuple[int, int]], tail: int, diverges: int | None
) -> None:
    """Whatever the exams show, a run is charged min(T, budget) steps, with T from `info`."""
    task = parse_id(NAME, budget=budget)
    schedule: list[int | None] = [right for right, times in stretches for _ in range(times)]
    if diverges is not None and diverges < len(schedule):
        schedule[diverges] = None
    steps = episode(started(task), schedule, tail)
    *_, terminated, truncated, info = steps[-1]
    t = info["steps_to_generalize"]
    assert 0 < t <= budget or t == -1
    assert charged(steps, budget) == (t if t > 0 else budget)
    assert terminated == (t > 0 or info["diverged"] == 1)
    assert truncated == (not terminated)
    assert not any(step[2] or step[3] for step in steps[:-1])


@pytest.mark.parametrize(
    ("budget", "schedule", "tail", "charge", "last"),
    [
        (600, [], 25, 5, 1009),  # generalizes at the first exam; its window ends before the horizon
        (600, [0, 25, 0], 25, 10, 1030),  # one failure is forgiven
        (297, [0] * 30, 25, 155, 594),  # within the budget; the horizon ends its window
        (297, [0] * 57, 25, 297, 594),  # at the budget
        (297, [0] * 58, 25, 297, 297),  # too late
        (298, [0] * 58, 25, 298, 297),
        (297, [25] * 10, 0, 297, 297),  # relapses
        (297, [0] * 55 + [25] * 10, 0, 297, 376),  # relapses after the budget
        (297, [0, 0, None], 0, 297, 15),  # diverges
        (297, [25] * 70 + [None], 25, 297, 392),  # diverges after the budget
    ],
)
def test_charges(budget: int, schedule: list[int | None], tail: int, charge: int, last: int) -> None:
    """The return and the last exam's step of runs that end in different ways."""
    steps = episode(started(parse_id(NAME, budget=budget)), schedule, tail)
    assert (charged(steps, budget), steps[-1][4]["step"]) == (charge, last)


def test_a_run_that_generalizes() -> None:
    """Every exam is charged its steps, and the confirming one gives back the steps after T."""
    env = started(parse_id(NAME, budget=2000))
    steps = episode(env, [0, 0, 25], 25)
    taken = [step[4]["step"] for step in steps]
    gaps = [after - before for before, after in pairwise([0, *taken])]
    assert gaps[:50] == [5] * 50
    assert [step[1] * 2000 for step in steps] == pytest.approx([*(-gap for gap in gaps[:-1]), taken[-2] - 15])
    assert [step[0]["steps_to_next_exam"] for step in steps] == [*gaps[1:], 0]
    info = steps[-1][4]
    assert (info["steps_to_generalize"], info["first_crossing"], info["step"]) == (15, 15, 1030)
    assert (info["train_right"], info["held_out_right"]) == (24, 25)
    assert (info["train_accuracy"], info["held_out_accuracy"], info["steps_to_memorize"]) == (1, 1, 5)
    assert steps[-1][2:4] == (True, False)


def test_a_candidate_at_the_budget() -> None:
    """The last exam within the budget is followed beyond it up to the horizon, at no charge."""
    steps = episode(started(), [0] * 57, 25)
    assert steps[-1][4]["steps_to_generalize"] == 297
    assert steps[-1][4]["step"] == 600
    assert [step[1] * 300 for step in steps[57:]] == pytest.approx([-6, -3, *[0] * 32, 3])
    assert steps[-1][2:4] == (True, False)


def test_ranks_are_measured_at_every_second_exam() -> None:
    """The first, third, fifth and so on. The others give NaN."""
    steps = episode(started(parse_id(NAME, budget=50)), [], 0)
    assert [bool(np.isnan(step[4]["effective_rank"])) for step in steps] == [False, True] * 5


def test_random_answers_are_near_chance() -> None:
    """Uniform answers get 1 in 31 right, in training and held out, and the run is censored with return −1."""
    env = started(parse_id("mul_mod31-0.5", budget=100))
    env.action_space.seed(0)
    total, accuracies = 0.0, []
    for _ in range(20):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total += reward
        accuracies.append((info["train_accuracy"], info["held_out_accuracy"]))
    assert (terminated, truncated) == (False, True)
    assert total == pytest.approx(-1)
    spread = 5 * np.sqrt(1 / 31 / 9600)
    np.testing.assert_allclose(np.mean(accuracies, axis=0), 1 / 31, atol=spread)


def test_no_held_out_answer_reaches_the_agent() -> None:
    """Held-out targets are blank at every step, and `info` holds nothing but single numbers."""
    env = GrokEnv(SMALL, feature_dims=DIMS)
    observation, info = env.reset(seed=0)
    steps: list[Step] = [(observation, 0.0, False, False, info), *episode(env, [0, 3, 25, 25], 7)]
    seen = env.instance.train
    for observation, _, _, _, info in steps:
        assert set(observation) == {"inputs", "targets", "steps_to_next_exam"}
        assert (observation["targets"][~seen] == 7).all()
        assert (observation["targets"][seen] == env.instance.shown_answers[seen]).all()
        assert "episode" not in info
        assert all(isinstance(value, int | float | np.number) for value in info.values())


def test_observations_are_copies() -> None:
    """Changing one observation changes no later one."""
    env = GrokEnv(SMALL, feature_dims=DIMS)
    first, _ = env.reset(seed=0)
    kept = {name: value.copy() for name, value in first.items()}
    first["targets"][:] = 0
    first["inputs"][:] = 0
    second = env.step(action_of(env))[0]
    np.testing.assert_array_equal(second["targets"], kept["targets"])
    np.testing.assert_array_equal(second["inputs"], kept["inputs"])


def test_reset_without_a_seed_draws_one_and_reports_it() -> None:
    """Every reset without a seed draws another one, and the reported seed gives the same instance."""
    env = GrokEnv(SMALL, feature_dims=DIMS)
    drawn = []
    for _ in range(4):
        observation, info = env.reset()
        drawn.append(info["seed"])
        again, same = started(seed=info["seed"]), GrokEnv(SMALL, feature_dims=DIMS).reset(seed=info["seed"])[0]
        assert again.instance.fingerprint == env.instance.fingerprint
        assert_same(observation, same)
    assert len(set(drawn)) == 4


GOOD_ANSWERS, GOOD_FEATURES = np.zeros(49, np.int64), np.zeros((49, 5), np.float32)
WRONG: list[tuple[Any, str]] = [
    (None, "an action is a dict"),
    ([GOOD_ANSWERS, GOOD_FEATURES], "got a list"),
    ({"answers": GOOD_ANSWERS}, r"got the keys \['answers'\]"),
    ({"answers": GOOD_ANSWERS, "features": GOOD_FEATURES, "more": 0}, "got the keys"),
    ({"answers": GOOD_ANSWERS[:-1], "features": GOOD_FEATURES}, r"answers must have shape \(49,\), got \(48,\)"),
    ({"answers": GOOD_ANSWERS[None], "features": GOOD_FEATURES}, "answers must have shape"),
    ({"answers": 3, "features": GOOD_FEATURES}, "answers must have shape"),
    ({"answers": GOOD_ANSWERS, "features": GOOD_FEATURES[:, :3]}, r"features must have shape \(49, 5\)"),
    ({"answers": GOOD_ANSWERS, "features": GOOD_FEATURES.T}, "features must have shape"),
    ({"answers": GOOD_ANSWERS.astype(float), "features": GOOD_FEATURES}, "whole numbers.*float64"),
    ({"answers": GOOD_ANSWERS.astype(bool), "features": GOOD_FEATURES}, "whole numbers.*bool"),
    ({"answers": torch.zeros(49, dtype=torch.bool), "features": GOOD_FEATURES}, "whole numbers.*bool"),
    ({"answers": torch.zeros(49), "features": GOOD_FEATURES}, "whole numbers.*float32"),
    ({"answers": torch.zeros(49, dtype=torch.uint64), "features": GOOD_FEATURES}, "uint64 can't be compared"),
    ({"answers": ["a"] * 49, "features": GOOD_FEATURES}, "whole numbers"),
    ({"answers": GOOD_ANSWERS.astype(object), "features": GOOD_FEATURES}, "whole numbers.*object"),
    ({"answers": GOOD_ANSWERS, "features": GOOD_FEATURES.astype(int)}, "floating-point numbers.*int64"),
    ({"answers": GOOD_ANSWERS, "features": GOOD_FEATURES.astype(complex)}, "floating-point numbers.*complex"),
    ({"answers": GOOD_ANSWERS, "features": GOOD_FEATURES > 0}, "floating-point numbers.*bool"),
    ({"answers": GOOD_ANSWERS + 7, "features": GOOD_FEATURES}, r"answers lie in \[0, 7\), got 7"),
    ({"answers": GOOD_ANSWERS - 1, "features": GOOD_FEATURES}, r"answers lie in \[0, 7\), got -1"),
]


@pytest.mark.parametrize(("action", "message"), WRONG)
def test_a_wrong_action_changes_nothing(action: Any, message: str) -> None:
    """The error names the fault, and the next valid action takes the exam at step 5."""
    env = started()
    with pytest.raises(ValueError, match=message):
        env.step(action)
    _, reward, _, _, info = env.step(action_of(env))
    assert info["step"] == 5
    assert reward == pytest.approx(-5 / 300)


@pytest.mark.parametrize("exams_before", [1, 2])
@pytest.mark.parametrize(
    ("bad", "tensors"), [(np.nan, False), (np.nan, True), (np.inf, True), (-np.inf, True), (np.inf, False)]
)
def test_features_that_are_not_finite_end_the_run(bad: float, tensors: bool, exams_before: int) -> None:
    """With ranks or without: the run terminates as diverged, is charged the rest of the budget, and answers are counted."""
    env = started()
    for _ in range(exams_before):
        env.step(action_of(env))
    action = action_of(env, 4)
    action["features"][5, 4] = bad
    if tensors:
        action = {name: torch.from_numpy(value) for name, value in action.items()}
    _, reward, terminated, truncated, info = env.step(action)
    assert (terminated, truncated) == (True, False)
    assert reward == pytest.approx(-(300 - 5 * exams_before) / 300)
    assert np.isnan(info["effective_rank"])
    assert (info["diverged"], info["held_out_right"], info["steps_to_generalize"]) == (1, 4, -1)


def test_no_step_before_reset_or_after_the_end() -> None:
    """The error says to call reset, and after a reset steps work."""
    env = GrokEnv(SMALL, feature_dims=DIMS)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.step({})
    env.reset(seed=0)
    episode(env, [], 25)
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"ended \(generalized at step 600\)"):
        env.step(action_of(env))
    env.reset(seed=0)
    assert env.step(action_of(env))[4]["step"] == 5


def test_tensors_give_the_same_info() -> None:
    """Tensors give the same counts and steps, and the same ranks to rounding; int32 and gradients are accepted."""
    arrays, tensors = started(), started()
    for right in (0, 3, 25):
        action = action_of(arrays, right)
        expected = arrays.step(action)[4]
        answers = torch.from_numpy(action["answers"]).to(torch.int32)
        features = torch.from_numpy(action["features"]).requires_grad_()
        assert tensors.step({"answers": answers, "features": features})[4] == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_ranks_are_the_last_layers() -> None:
    """Ranks are of the last two columns, the layer that feeds the output. The first layer changes nothing."""
    one, other = started(), started()
    action, changed = action_of(one), action_of(other)
    changed["features"][:, :3] = 0
    assert one.step(action)[4]["effective_rank"] == other.step(changed)[4]["effective_rank"]
    third = started()
    changed["features"][:, 4] = 0
    assert third.step(changed)[4]["effective_rank"] == pytest.approx(1)


@pytest.mark.parametrize("seed", [1.5, 2.0, "3", True, -1, np.float64(1)])
def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    """It isn't rounded to another seed; a vector's members are held to the same."""
    env, vector = GrokEnv(SMALL, feature_dims=DIMS), GrokVectorEnv(SMALL, num_envs=2, feature_dims=DIMS)
    with pytest.raises(TaskError, match="a seed is a whole number"):
        env.reset(seed=seed)
    for seeds in (seed, [0, seed]):
        with pytest.raises(TaskError, match="a seed is a whole number"):
            vector.reset(seed=seeds)
