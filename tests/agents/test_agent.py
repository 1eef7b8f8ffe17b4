"""What an agent is told about its run, and the widths of its layers."""

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

import grokbench
from grokbench.agents import Spec
from grokbench.agents.agent import checked_feature_dims
from grokbench.errors import ActionError, AgentError
from grokbench.tasks import make_instance, parse_id
from tests.support.agents import AddingAgent

TASK = parse_id("add_mod7-0.5-to200")


def test_the_spec_of_a_vector_environment() -> None:
    """All members' seeds in the members' order, the first of which is `seed`; and the device."""
    envs = grokbench.make_vec(TASK.id, 3, feature_dims=(4, 8))
    envs.reset(seed=5)
    spec = Spec.of(envs, device="cuda")
    assert spec.seeds == tuple(make_instance(TASK, seed).agent_seed for seed in (5, 6, 7))
    assert spec.seed == spec.seeds[0]
    assert (spec.batched, spec.device, spec.feature_dims) == (True, "cuda", (4, 8))
    assert (spec.num_symbols, spec.num_questions) == (7, 49)


def test_the_spec_of_fresh_instances() -> None:
    """The salt changes the agent's seed, so a published run can't be replayed on a fresh instance."""
    env = grokbench.make(TASK.id, salt="fresh")
    env.reset(seed=0)
    assert Spec.of(env).seed == make_instance(TASK, 0, "fresh").agent_seed != make_instance(TASK, 0).agent_seed


def test_a_spec_tells_neither_task_nor_instance() -> None:
    """An agent that knew either could look the answers up."""
    env = grokbench.make("sub_mod7-0.5-to200")
    env.reset(seed=4321)
    told = repr(Spec.of(env))
    assert "sub" not in told
    assert "4321" not in told


@pytest.mark.parametrize("vector", [False, True])
def test_an_environment_must_have_been_reset(vector: bool) -> None:
    """Before that there is no instance to tell about."""
    env = grokbench.make_vec(TASK.id, 2) if vector else grokbench.make(TASK.id)
    with pytest.raises(ResetNeeded):
        AddingAgent().start(env)


def test_an_agent_starts_on_an_environment_of_grokbench() -> None:
    """Not on several in a wrapper of Gymnasium's, and not on one for layers of other widths."""
    several = grokbench.make_vec("add_mod5-0.5", 2, vectorization_mode="sync", feature_dims=(4,))
    several.reset(seed=0)
    with pytest.raises(AgentError, match=r"of grokbench\.make or grokbench\.make_vec, got SyncVectorEnv"):
        AddingAgent().start(several)
    wide = grokbench.make("add_mod5-0.5", feature_dims=(8,))
    wide.reset(seed=0)
    with pytest.raises(AgentError, match=r"shows layers of widths \(4,\), the environment expects \(8,\)"):
        AddingAgent().start(wide)


def test_an_agent_that_is_not_batched_starts_on_a_single_environment() -> None:
    """It gets the observation of the reset. A vector has an axis of members, even if there is a single member."""
    env, agent = grokbench.make(TASK.id, feature_dims=(4,)), AddingAgent()
    observation, _ = env.reset(seed=3)
    agent.start(env)
    np.testing.assert_array_equal(agent.table["targets"], observation["targets"])
    assert agent.spec == Spec.of(env)
    envs = grokbench.make_vec(TASK.id, 1)
    envs.reset(seed=3)
    with pytest.raises(AgentError, match=r"AddingAgent isn't batched: give it an environment of grokbench\.make"):
        agent.start(envs)


@pytest.mark.parametrize("dims", [[3, 4], (np.int64(3), np.int32(4)), np.array([3, 4])])
def test_widths_become_a_tuple_of_whole_numbers(dims: list[int]) -> None:
    """Lists and numpy's numbers are accepted. The tuple holds Python's own numbers."""
    widths = checked_feature_dims(dims)
    assert widths == (3, 4)
    assert {type(width) for width in widths} == {int}


@pytest.mark.parametrize("dims", [(), (0,), (4, -1), (1.5,), (np.nan,), (np.inf,), "12", None, 5, ("a",), [[3]], {"a": 3}])
def test_widths_that_no_layer_has_are_refused(dims: object) -> None:
    """The message shows what was given."""
    with pytest.raises(ActionError, match=r"such as \(128,\), got") as caught:
        checked_feature_dims(dims)  # type: ignore[arg-type]
    assert str(caught.value).endswith(f"got {dims!r}")
