"""The vector environment: every member equals a single environment with its seed."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from grokbench.envs import GrokVectorEnv
from tests.support.oracle import assert_same, member_of, stacked, started, vector


def test_a_vector_is_its_members_seed_for_seed() -> None:
    """Observations, rewards, flags and infos equal those of three single environments. An ended member ignores its part."""
    envs, singles = vector(), [started(seed=5 + i) for i in range(3)]
    observations, infos = envs.reset(seed=5)
    for i, env in enumerate(singles):
        observation, info = env.reset(seed=5 + i)
        assert_same({name: value[i] for name, value in observations.items()}, observation)
        assert_same(member_of(infos, i), info)
    ended: list[tuple[Any, Any] | None] = [None] * 3
    for exam in range(200):
        # The first is confirmed at 600, the second diverges at 60, without ranks, and the third is censored at 297.
        actions = stacked(envs, [25, 24, 7], exam)
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
                assert (rewards[i], terminated[i], truncated[i]) == (0, False, False)
                assert observations["steps_to_next_exam"][i] == 0
                assert member_of(infos, i) == {}
                continue
            own = {name: value[i] for name, value in actions.items()}
            observation, reward, over, cut, info = env.step(own)
            assert_same({name: value[i] for name, value in observations.items()}, observation)
            assert (rewards[i], terminated[i], truncated[i]) == (reward, over, cut)
            assert_same(member_of(infos, i), info)
            ended[i] = (over, cut) if over or cut else None
        if all(ended):
            break
    assert ended == [(True, False), (True, False), (False, True)]
    last = envs.step({"answers": None, "features": None})
    np.testing.assert_array_equal(last[1], np.zeros(3))
    assert not last[2].any()
    assert not last[3].any()


def test_a_list_of_seeds_seeds_the_generator_too() -> None:
    """The seeds that a later reset draws are the same each time, as after a single seed."""
    drawn = []
    for _ in range(2):
        envs = vector()
        envs.reset(seed=[4, None, 6])
        drawn.append(envs.reset()[1]["seed"].tolist())
    assert drawn[0] == drawn[1]


def play_on(envs: VectorEnv[Any, Any, Any], rights: list[int], diverging: int | None = None) -> None:
    """Take exams until every member has ended, and five more."""
    left = 5
    for exam in range(1_000):
        actions = stacked(cast(GrokVectorEnv, envs.unwrapped), rights, exam)
        if diverging is not None:
            actions["features"][diverging, 0, 0] = np.nan
        left -= not envs.step(actions)[0]["steps_to_next_exam"].any()
        if not left:
            return
    raise AssertionError


@pytest.mark.parametrize(
    ("rights", "returns"),
    [pytest.param([25], [-5], id="alone"), pytest.param([25, 24, 7], [-300, -300, -5], id="beside longer runs")],
)
def test_an_episode_is_counted_once(rights: list[int], returns: list[int]) -> None:
    """Gymnasium's statistics have one episode for each member, however long the others go on, and one after a restart."""
    counted = RecordEpisodeStatistics(vector(members=len(rights)))
    counted.reset(seed=0)
    play_on(counted, rights, diverging=1 if len(rights) > 1 else None)
    assert counted.episode_count == len(rights)
    assert sorted(np.array(counted.return_queue) * 300) == pytest.approx(returns)
    counted.reset(options={"reset_mask": np.arange(len(rights)) == 0})
    play_on(counted, [25] * len(rights))
    assert counted.episode_count == len(rights) + 1
    assert counted.return_queue[-1] * 300 == pytest.approx(-5)


def test_vector_seeds() -> None:
    """A number gives consecutive seeds, a list gives each member its own, and None draws seeds and reports them."""
    envs = vector()
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
    """Members outside the mask keep their instance and their step."""
    envs = vector()
    with pytest.raises(ValueError, match="the first reset starts every member"):
        envs.reset(seed=0, options={"reset_mask": np.array([True, False, True])})
    envs.reset(seed=0)
    for exam in range(5):
        envs.step(stacked(envs, [25, 0, 0], exam))
    kept = [instance.fingerprint for instance in envs.instances]
    observations, infos = envs.reset(seed=[7, None, None], options={"reset_mask": np.array([True, False, False])})
    assert member_of(infos, 0) == {"seed": 7, "step": 0}
    assert member_of(infos, 1) == member_of(infos, 2) == {}
    assert [instance.seed for instance in envs.instances] == [7, 1, 2]
    assert [instance.fingerprint for instance in envs.instances[1:]] == kept[1:]
    assert observations["steps_to_next_exam"].tolist() == [5, 5, 5]
    _, rewards, terminated, _, infos = envs.step(stacked(envs, [0, 0, 0]))
    assert infos["step"].tolist() == [5, 30, 30]
    assert not terminated.any()
    assert rewards * 300 == pytest.approx([-5, -5, -5])
    with pytest.raises(ValueError, match=r"reset_mask must have shape \(3,\)"):
        envs.reset(options={"reset_mask": np.array([True])})


def test_a_wrong_vector_action_changes_nothing() -> None:
    """After a wrong action every member is still at its old step."""
    envs = vector()
    envs.reset(seed=0)
    good = stacked(envs, [0, 0, 0])
    bad = {**good, "answers": good["answers"].copy()}
    bad["answers"][2, 3] = 7
    for action, message in ((bad, "answers lie in"), ({k: v[:2] for k, v in good.items()}, "leading axis of 3 members")):
        with pytest.raises(ValueError, match=message):
            envs.step(action)
    assert envs.step(good)[4]["step"].tolist() == [5, 5, 5]


def test_vector_tensors() -> None:
    """Tensors give the infos that arrays give, also when a member has ended."""
    arrays, tensors = vector(), vector()
    arrays.reset(seed=0)
    tensors.reset(seed=0)
    for exam in range(7):
        actions = stacked(arrays, [25, 0, 3], exam)
        expected = arrays.step(actions)[4]
        found = tensors.step({name: torch.from_numpy(value) for name, value in actions.items()})[4]
        for i in range(3):
            assert member_of(found, i) == pytest.approx(member_of(expected, i), rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("tensors", [False, True])
def test_members_at_exams_of_different_numbers(tensors: bool) -> None:
    """A member that restarted is at an exam with ranks while the others are at an exam without. Each is as on its own."""
    envs, singles = vector(), [started(seed=seed) for seed in (8, 1, 2)]
    envs.reset(seed=0)
    first = stacked(envs, [0, 3, 4])
    envs.step(first)
    envs.reset(seed=[8, None, None], options={"reset_mask": np.array([True, False, False])})
    for i in (1, 2):
        singles[i].step({name: value[i] for name, value in first.items()})
    for exam in range(1, 4):
        actions = stacked(envs, [25, 0, 7], exam)
        if exam == 3:  # members 0 and 1: an exam with ranks and an exam without
            actions["features"][:2, 5, 1] = np.nan
        given = {name: torch.from_numpy(value) for name, value in actions.items()} if tensors else actions
        _, rewards, terminated, _, infos = envs.step(given)
        assert np.isnan(infos["effective_rank"]).tolist() == [exam != 1, exam != 2, exam != 2]
        for i, env in enumerate(singles):
            _, reward, over, _, info = env.step({name: value[i] for name, value in actions.items()})
            assert (rewards[i], terminated[i]) == (reward, over)
            assert member_of(infos, i) == pytest.approx(info, rel=1e-9, nan_ok=True)
    assert infos["diverged"].tolist() == [1, 1, 0]
