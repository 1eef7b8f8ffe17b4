"""The package's names, and the tasks that importing it registers with Gymnasium."""

from importlib import import_module
from types import ModuleType

import gymnasium
import pytest

import grokbench
from grokbench.envs import GrokEnv, GrokVectorEnv
from grokbench.evaluation.protocol import Protocol
from grokbench.tasks import list_tasks


@pytest.mark.parametrize("name", [name for name in grokbench.__all__ if name != "PROTOCOL"])
def test_a_public_name_is_the_thing_of_that_name(name: str) -> None:
    """A name that loads on first use could lead to another function, or to a module in place of a function."""
    thing = getattr(grokbench, name)
    assert thing.__name__.rpartition(".")[2] == name
    assert isinstance(thing, ModuleType) == (name in ("patterns", "ranks", "stages"))
    assert thing is getattr(grokbench, name)


def test_the_protocol_is_the_protocol() -> None:
    """It is the object that all exams are marked by, not a copy of it."""
    assert isinstance(grokbench.PROTOCOL, Protocol)
    assert import_module("grokbench.evaluation.protocol").PROTOCOL is grokbench.PROTOCOL


def test_a_name_is_listed_before_it_is_used() -> None:
    """Completion in a notebook shows names that haven't been loaded, in order and once each."""
    listed = dir(grokbench)
    assert set(grokbench.__all__) <= set(listed)
    assert listed == sorted(set(listed))


def test_every_standard_task_is_registered() -> None:
    """Controls too, so that Gymnasium finds them without any call of ours."""
    for task in list_tasks(controls=True):
        spec = gymnasium.registry[task.gym_id]
        assert spec.kwargs == {"task": task.id}
        assert spec.entry_point == "grokbench.envs:GrokEnv"
        assert spec.vector_entry_point == "grokbench.envs:GrokVectorEnv"


@pytest.mark.parametrize("spelling", ["add_mod19-0.35", "grokbench/add_mod19-.35-v1"])
def test_another_task_is_registered_once(spelling: str) -> None:
    """A second `make` would warn if it registered the id again, and a warning is an error here."""
    for _ in range(2):
        env = grokbench.make(spelling)
        assert isinstance(env.unwrapped, GrokEnv)
        assert env.unwrapped.task.id == "add_mod19-0.35-v1"
    assert "grokbench/add_mod19-0.35-v1" in gymnasium.registry


def test_a_vector_has_a_single_seed_unless_told_otherwise() -> None:
    """As Gymnasium's own `make_vec`."""
    envs = grokbench.make_vec("add_mod19-0.35")
    assert isinstance(envs.unwrapped, GrokVectorEnv)
    assert envs.num_envs == 1
