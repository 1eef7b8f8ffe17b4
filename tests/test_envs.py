"""The environments as Gymnasium sees them, driven by an oracle that answers as many held-out cells as it is told to."""

import subprocess
import sys
from itertools import chain, pairwise, repeat
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import grokbench
from grokbench.envs import GrokEnv, GrokVectorEnv
from grokbench.tasks import Instance, Task, list_tasks, parse_id

NAME = "add_mod7-0.5"  # 24 seen, 25 held-out cells: all 25 right answers pass
SMALL = parse_id(NAME, budget=300)
DIMS = (3, 2)
Step = tuple[Any, Any, Any, Any, dict[str, Any]]


def _answers(instance: Instance, right: int) -> NDArray[np.int64]:
    """All seen cells right, and just `right` of the held-out ones."""
    answers = instance.shown_answers.copy()
    wrong = np.flatnonzero(~instance.seen)[right:]
    answers[wrong] = (answers[wrong] + 1) % instance.task.symbols
    return answers


def _features(task: Task, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(task.cells, sum(DIMS))).astype(np.float32)


def _action(env: GrokEnv, right: int = 0, seed: int = 0) -> dict[str, Any]:
    return {"answers": _answers(env.instance, right), "features": _features(env.task, seed)}


def _started(task: Task = SMALL, seed: int = 0, **options: Any) -> GrokEnv:
    env = GrokEnv(task, feature_dims=DIMS, **options)
    env.reset(seed=seed)
    return env


def _episode(env: GrokEnv, schedule: list[int | None], tail: int = 0) -> list[Step]:
    """Every step of a run whose exams get these right answers, then `tail`; None shows features that aren't finite."""
    steps: list[Step] = []
    for right in chain(schedule, repeat(tail)):
        action = _action(env, right or 0)
        if right is None:
            action["features"][0, 0] = np.nan
        steps.append(env.step(action))
        if steps[-1][2] or steps[-1][3]:
            return steps
    raise AssertionError


def _same(left: Any, right: Any) -> None:
    """The same keys, values and shapes, NaN equal to itself."""
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_array_equal(left[key], right[key], err_msg=key)


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.id)
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
    _same(made.reset(seed=1)[0], mine.reset(seed=1)[0])


def test_made_by_gymnasium_without_an_import() -> None:
    """`module:id` imports grokbench by itself."""
    code = "import gymnasium; print(gymnasium.make('grokbench:grokbench/add_mod97-0.3-v1').unwrapped.task.id)"
    assert _python(code) == "add_mod97-0.3-v1"


def test_made_as_a_vector() -> None:
    """Both doors lead to the native vector environment."""
    for envs in (gymnasium.make_vec("grokbench/add_mod97-0.3-v1", num_envs=2), grokbench.make_vec("add_mod97-0.3", 2)):
        assert isinstance(envs.unwrapped, GrokVectorEnv)
        assert envs.num_envs == 2
        observation, _ = envs.reset(seed=0)
        assert observation in envs.observation_space


def test_free_form_ids_and_options() -> None:
    """A task of no suite is made on demand, with a salt and feature widths of one's own."""
    env = grokbench.make("sub_mod5-.6", feature_dims=DIMS, salt="mine")
    env.reset(seed=0)
    salted = env.unwrapped.instance.fingerprint  # type: ignore[attr-defined]
    plain = grokbench.make("sub_mod5-.6")
    plain.reset(seed=0)
    assert salted != plain.unwrapped.instance.fingerprint  # type: ignore[attr-defined]
    assert env.action_space["features"].shape == (25, 5)  # type: ignore[index]


def test_importing_grokbench_imports_no_torch() -> None:
    """Nor does making an environment and sitting an exam."""
    code = (
        "import sys, grokbench; env = grokbench.make('add_mod5-0.5'); env.reset(seed=0);"
        "env.step(env.action_space.sample()); print('torch' in sys.modules)"
    )
    assert _python(code) == "False"


@pytest.mark.parametrize("options", [{"feature_dims": ()}, {"feature_dims": (0,)}, {"feature_dims": 3}])
def test_bad_feature_dims(options: dict[str, Any]) -> None:
    """Widths are positive whole numbers, one at least."""
    with pytest.raises(ValueError, match="feature_dims are the widths"):
        GrokEnv(NAME, **options)


def test_bad_render_mode_and_number_of_members() -> None:
    """What is expected is named."""
    with pytest.raises(ValueError, match="render_mode must be one of"):
        GrokEnv(NAME, render_mode="human")
    with pytest.raises(ValueError, match="at least 1, got 0"):
        GrokVectorEnv(NAME, num_envs=0)


SCHEDULES = st.lists(st.tuples(st.sampled_from([0, 24, 25, 25]), st.integers(1, 9)), max_size=9)


@given(st.integers(20, 300), SCHEDULES, st.sampled_from([0, 25]), st.none() | st.integers(0, 30))
def test_the_return_is_minus_t_over_the_budget(
    budget: int, stretches: list[tuple[int, int]], tail: int, diverges: int | None
) -> None:
    """Whatever happens on the way, rewards sum to −min(T, budget)/budget, and T is read off `info`."""
    task = parse_id(NAME, budget=budget)
    schedule: list[int | None] = [right for right, times in stretches for _ in range(times)]
    if diverges is not None and diverges < len(schedule):
        schedule[diverges] = None
    steps = _episode(_started(task), schedule, tail)
    *_, terminated, truncated, info = steps[-1]
    t = info["steps_to_generalize"]
    charged = t if t > 0 else budget
    assert sum(step[1] for step in steps) == pytest.approx(-charged / budget, abs=1e-9)
    assert terminated == (t > 0 or info["diverged"] == 1)
    assert truncated == (not terminated)
    assert not any(step[2] or step[3] for step in steps[:-1])


def test_a_run_that_generalises() -> None:
    """Rewards exam by exam: ten steps each, and after confirmation those after T are given back."""
    steps = _episode(_started(), [0, 0, 25], 25)
    rewards = [step[1] * 300 for step in steps]
    assert rewards == pytest.approx([-10, -10, -10, -10, -10, -10, 30])
    assert [step[0]["updates"] for step in steps] == [10, 10, 10, 10, 10, 10, 0]
    info = steps[-1][4]
    assert (info["steps_to_generalize"], info["first_crossing"], info["step"]) == (30, 30, 70)
    assert (info["seen_right"], info["held_out_right"]) == (24, 25)
    assert (info["train_accuracy"], info["held_out_accuracy"], info["steps_to_memorize"]) == (1, 1, 10)
    assert steps[-1][2:4] == (True, False)


def test_a_candidate_at_the_budget() -> None:
    """It is followed beyond the budget at no further charge."""
    steps = _episode(_started(), [0] * 29, 25)
    assert steps[-1][4]["steps_to_generalize"] == 300
    assert steps[-1][4]["step"] == 380  # the first exam at or after 375
    assert [step[1] for step in steps[30:]] == pytest.approx([0] * 8)


def test_random_answers_are_near_chance() -> None:
    """Uniform answers get one in 31 right, seen and held out, and the run is censored with return −1."""
    env = _started(parse_id("mul_mod31-0.5", budget=100))
    env.action_space.seed(0)
    total, accuracies = 0.0, []
    for _ in range(10):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total += reward
        accuracies.append((info["train_accuracy"], info["held_out_accuracy"]))
    assert (terminated, truncated) == (False, True)
    assert total == pytest.approx(-1)
    spread = 5 * np.sqrt(1 / 31 / 4800)
    np.testing.assert_allclose(np.mean(accuracies, axis=0), 1 / 31, atol=spread)


def test_no_held_out_answer_reaches_the_agent() -> None:
    """Held-out targets are blank at every step, and `info` holds nothing but single numbers."""
    env = GrokEnv(SMALL, feature_dims=DIMS)
    observation, info = env.reset(seed=0)
    steps: list[Step] = [(observation, 0.0, False, False, info), *_episode(env, [0, 3, 25, 25], 7)]
    seen = env.instance.seen
    for observation, _, _, _, info in steps:
        assert set(observation) == {"inputs", "targets", "updates"}
        assert (observation["targets"][~seen] == 7).all()
        assert (observation["targets"][seen] == env.instance.shown_answers[seen]).all()
        assert "episode" not in info
        assert all(isinstance(value, int | float | np.number) for value in info.values())


def test_observations_are_copies() -> None:
    """An agent that scribbles on its table spoils nobody's."""
    env = GrokEnv(SMALL, feature_dims=DIMS)
    first, _ = env.reset(seed=0)
    kept = {name: value.copy() for name, value in first.items()}
    first["targets"][:] = 0
    first["inputs"][:] = 0
    second = env.step(_action(env))[0]
    np.testing.assert_array_equal(second["targets"], kept["targets"])
    np.testing.assert_array_equal(second["inputs"], kept["inputs"])


def test_reset_without_a_seed_draws_one_and_reports_it() -> None:
    """Different each time, and the reported seed gives the instance again."""
    env = GrokEnv(SMALL, feature_dims=DIMS)
    drawn = []
    for _ in range(4):
        observation, info = env.reset()
        drawn.append(info["seed"])
        again, same = _started(seed=info["seed"]), GrokEnv(SMALL, feature_dims=DIMS).reset(seed=info["seed"])[0]
        assert again.instance.fingerprint == env.instance.fingerprint
        _same(observation, same)
    assert len(set(drawn)) == 4


GOOD_ANSWERS, GOOD_FEATURES = np.zeros(49, np.int64), np.zeros((49, 5), np.float32)
WRONG: list[tuple[Any, str]] = [
    (None, "an action is a dict"),
    ([GOOD_ANSWERS, GOOD_FEATURES], "got a list"),
    ({"answers": GOOD_ANSWERS}, r"got the keys \['answers'\]"),
    ({"answers": GOOD_ANSWERS, "features": GOOD_FEATURES, "more": 0}, "got the keys"),
    ({"answers": GOOD_ANSWERS[:-1], "features": GOOD_FEATURES}, r"answers must have shape \(1, 49\)"),
    ({"answers": GOOD_ANSWERS[None], "features": GOOD_FEATURES}, "answers must have shape"),
    ({"answers": 3, "features": GOOD_FEATURES}, "answers must have shape"),
    ({"answers": GOOD_ANSWERS, "features": GOOD_FEATURES[:, :3]}, r"features must have shape \(1, 49, 5\)"),
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
    """The error names the fault, and the next valid action sits the exam at step 10."""
    env = _started()
    with pytest.raises(ValueError, match=message):
        env.step(action)
    _, reward, _, _, info = env.step(_action(env))
    assert info["step"] == 10
    assert reward == pytest.approx(-10 / 300)


@pytest.mark.parametrize(
    ("bad", "tensors"), [(np.nan, False), (np.nan, True), (np.inf, True), (-np.inf, True), (np.inf, False)]
)
def test_features_that_are_not_finite_end_the_run(bad: float, tensors: bool) -> None:
    """Diverged: terminated, the rest of the budget charged, and the counts still marked."""
    env = _started()
    env.step(_action(env))
    action = _action(env, 4)
    action["features"][5, 4] = bad
    if tensors:
        action = {name: torch.from_numpy(value) for name, value in action.items()}
    _, reward, terminated, truncated, info = env.step(action)
    assert (terminated, truncated) == (True, False)
    assert reward == pytest.approx(-290 / 300)
    assert (info["diverged"], info["held_out_right"], info["steps_to_generalize"]) == (1, 4, -1)


def test_no_step_before_reset_or_after_the_end() -> None:
    """Both say to reset, and a reset helps."""
    env = GrokEnv(SMALL, feature_dims=DIMS)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.step({})
    env.reset(seed=0)
    _episode(env, [25] * 5)
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"ended \(generalized at step 50\)"):
        env.step(_action(env))
    env.reset(seed=0)
    assert env.step(_action(env))[4]["step"] == 10


def test_tensors_give_the_same_info() -> None:
    """Exactly for counts and steps, to rounding for ranks, for int32 answers and features with a gradient."""
    arrays, tensors = _started(), _started()
    for right in (0, 3, 25):
        action = _action(arrays, right)
        expected = arrays.step(action)[4]
        answers = torch.from_numpy(action["answers"]).to(torch.int32)
        features = torch.from_numpy(action["features"]).requires_grad_()
        assert tensors.step({"answers": answers, "features": features})[4] == pytest.approx(expected, rel=1e-9)


def test_ranks_are_the_last_layers() -> None:
    """The two last columns are the layer that feeds the output: what the first layer does changes nothing."""
    one, other = _started(), _started()
    action, changed = _action(one), _action(other)
    changed["features"][:, :3] = 0
    assert one.step(action)[4]["effective_rank"] == other.step(changed)[4]["effective_rank"]
    third = _started()
    changed["features"][:, 4] = 0
    assert third.step(changed)[4]["effective_rank"] == pytest.approx(1)


def _vector(task: Task = SMALL, members: int = 3, **options: Any) -> GrokVectorEnv:
    return GrokVectorEnv(task, num_envs=members, feature_dims=DIMS, **options)


def _stacked(envs: GrokVectorEnv, rights: list[int], exam: int = 0) -> dict[str, NDArray[Any]]:
    rows = [_answers(instance, right) for instance, right in zip(envs.instances, rights, strict=True)]
    features = [_features(envs.task, 100 * exam + i) for i in range(envs.num_envs)]
    return {"answers": np.stack(rows), "features": np.stack(features)}


def _member(infos: dict[str, Any], i: int) -> dict[str, Any]:
    """What the vector's infos say of member i."""
    return {k: v[i] for k, v in infos.items() if not k.startswith("_") and infos[f"_{k}"][i]}


def test_a_vector_is_its_members_seed_for_seed() -> None:
    """The same observations, rewards, flags and infos as three single runs; a member that has ended rests."""
    envs, singles = _vector(), [_started(seed=5 + i) for i in range(3)]
    observations, infos = envs.reset(seed=5)
    for i, env in enumerate(singles):
        observation, info = env.reset(seed=5 + i)
        _same({name: value[i] for name, value in observations.items()}, observation)
        _same(_member(infos, i), info)
    ended: list[tuple[Any, Any] | None] = [None] * 3
    for exam in range(200):
        # The first generalises at 50, the second diverges at 120, the third is censored at 300.
        actions = _stacked(envs, [25, 24, 7], exam)
        if exam == 11:
            actions["features"][1, 0, 0] = np.nan
        for i in range(3):
            if ended[i]:
                actions["answers"][i] = -99
                actions["features"][i] = np.nan
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        assert observations in envs.observation_space
        for i, env in enumerate(singles):
            if ended[i]:
                assert (rewards[i], (terminated[i], truncated[i])) == (0, ended[i])
                assert observations["updates"][i] == 0
                assert _member(infos, i) == {}
                continue
            own = {name: value[i] for name, value in actions.items()}
            observation, reward, over, cut, info = env.step(own)
            _same({name: value[i] for name, value in observations.items()}, observation)
            assert (rewards[i], terminated[i], truncated[i]) == (reward, over, cut)
            _same(_member(infos, i), info)
            ended[i] = (over, cut) if over or cut else None
        if all(ended):
            break
    assert ended == [(True, False), (True, False), (False, True)]
    last = envs.step({"answers": None, "features": None})
    np.testing.assert_array_equal(last[1], np.zeros(3))
    np.testing.assert_array_equal(last[2], [True, True, False])
    np.testing.assert_array_equal(last[3], [False, False, True])


def test_vector_seeds() -> None:
    """A number counts up, a list is taken as it is, and None draws and reports."""
    envs = _vector()
    assert envs.reset(seed=4)[1]["seed"].tolist() == [4, 5, 6]
    assert envs.reset(seed=[9, 9, 2])[1]["seed"].tolist() == [9, 9, 2]
    assert [instance.seed for instance in envs.instances] == [9, 9, 2]
    assert len(set(envs.reset()[1]["seed"].tolist())) == 3
    with pytest.raises(ValueError, match="expected 3 seeds"):
        envs.reset(seed=[1, 2])
    for seed in (2**63, 2**63 - 2, [0, 0, 2**64], "abc", 1.5):
        with pytest.raises(ValueError, match="a seed is a whole number"):
            envs.reset(seed=seed)  # type: ignore[arg-type]


def test_reset_mask_restarts_some() -> None:
    """The others go on where they were, on the clock they had."""
    envs = _vector()
    with pytest.raises(ValueError, match="the first reset starts every member"):
        envs.reset(seed=0, options={"reset_mask": np.array([True, False, True])})
    envs.reset(seed=0)
    for exam in range(5):
        envs.step(_stacked(envs, [25, 0, 0], exam))
    kept = [instance.fingerprint for instance in envs.instances]
    observations, infos = envs.reset(seed=[7, None, None], options={"reset_mask": np.array([True, False, False])})
    assert _member(infos, 0) == {"seed": 7, "step": 0}
    assert _member(infos, 1) == _member(infos, 2) == {}
    assert [instance.seed for instance in envs.instances] == [7, 1, 2]
    assert [instance.fingerprint for instance in envs.instances[1:]] == kept[1:]
    assert observations["updates"].tolist() == [10, 10, 10]
    _, rewards, terminated, _, infos = envs.step(_stacked(envs, [0, 0, 0]))
    assert infos["step"].tolist() == [10, 60, 60]
    assert not terminated.any()
    assert rewards * 300 == pytest.approx([-10, -10, -10])
    with pytest.raises(ValueError, match=r"reset_mask must have shape \(3,\)"):
        envs.reset(options={"reset_mask": np.array([True])})


def test_a_wrong_vector_action_changes_nothing() -> None:
    """A bad row of a live member, or a wrong number of rows, moves nobody's clock."""
    envs = _vector()
    envs.reset(seed=0)
    good = _stacked(envs, [0, 0, 0])
    bad = {**good, "answers": good["answers"].copy()}
    bad["answers"][2, 3] = 7
    for action, message in ((bad, "answers lie in"), ({k: v[:2] for k, v in good.items()}, r"shape \(3, 49\)")):
        with pytest.raises(ValueError, match=message):
            envs.step(action)
    assert envs.step(good)[4]["step"].tolist() == [10, 10, 10]


def test_vector_tensors() -> None:
    """Tensors, with a member that has ended among them, give the infos that arrays give."""
    arrays, tensors = _vector(), _vector()
    arrays.reset(seed=0)
    tensors.reset(seed=0)
    for exam in range(7):
        actions = _stacked(arrays, [25, 0, 3], exam)
        expected = arrays.step(actions)[4]
        found = tensors.step({name: torch.from_numpy(value) for name, value in actions.items()})[4]
        for i in range(3):
            assert _member(found, i) == pytest.approx(_member(expected, i), rel=1e-9)


def test_frames() -> None:
    """The table in its true order, three channels, at least 194 pixels wide; an answer put right changes its colour."""
    env = _started(render_mode="rgb_array")
    frames = [env.render()]
    for right in (0, 12, 25):
        env.step(_action(env, right))
        frames.append(env.render())
    for frame in frames:
        assert frame.shape == (196, 196, 3)
        assert frame.dtype == np.uint8
    assert all((a != b).any() for a, b in pairwise(frames))
    cells = frames[-1][::28, ::28].reshape(-1, 3)
    colours, counts = np.unique(cells, axis=0, return_counts=True)
    assert sorted(counts.tolist()) == [24, 25]
    seen = np.zeros((7, 7), bool)
    seen[tuple(env.instance.places.T)] = env.instance.seen
    assert len(np.unique(cells[seen.ravel()], axis=0)) == 1
    assert len(colours) == 2


def test_the_ansi_line() -> None:
    """One line with the task, the step and both accuracies."""
    env = _started(render_mode="ansi")
    assert env.render() == "add_mod7-0.5-v1 seed 0  step 0  nothing answered yet"
    env.step(_action(env, 5))
    line = env.render()
    assert "\n" not in line
    assert line.startswith("add_mod7-0.5-v1 seed 0  step 10  train 100.0%  held out 20.0%  effective rank ")
    action = _action(env)
    action["features"][:] = np.nan
    env.step(action)
    assert "diverged" in env.render()


def test_without_a_render_mode_there_is_nothing_to_see() -> None:
    """Neither for one nor for many."""
    assert _started().render() is None
    envs = _vector()
    envs.reset(seed=0)
    assert envs.render() is None


def test_vector_frames() -> None:
    """One frame or line for every member, each its own single's."""
    envs, single = _vector(render_mode="rgb_array"), _started(seed=1, render_mode="rgb_array")
    envs.reset(seed=0)
    actions = _stacked(envs, [1, 2, 3])
    envs.step(actions)
    single.step({name: value[1] for name, value in actions.items()})
    frames = envs.render()
    assert frames is not None
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[1], single.render())
    lines = _vector(render_mode="ansi")
    lines.reset(seed=3)
    assert [line.split("  ")[0] for line in lines.render() or ()] == [f"add_mod7-0.5-v1 seed {s}" for s in (3, 4, 5)]
