"""The pace of an entry: a second pass is seen in the seconds of a step."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from grokbench.agents.agent import Agent
from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.board.entries.verdicts import Pace
from grokbench.board.verification.pace import adamw_recipe, full_batch, measure_pace, pace_instance
from grokbench.tasks import list_tasks, make_instance, parse_id
from tests.support.cheats import TwoPasses, Wrapper


@pytest.mark.parametrize(("cheat", "too_slow"), [(Wrapper, False), (TwoPasses, True)])
def test_a_two_pass_optimizer_is_found(cheat: Callable[[Agent], Agent], too_slow: bool) -> None:
    """Measured in processor time here, because other tests share the machine."""
    baseline = find_recipe("mlp")
    tables = baseline.plain_hyperparameters

    def make(**hyperparameters: Any) -> Agent:
        return cheat(Recipe("inner", baseline.target, hyperparameters).make())

    entry = Recipe("entry", baseline.target, tables, factory=make)
    instance = make_instance(parse_id("add_mod23-0.5"), 0)
    assert measure_pace(entry, baseline, instance, clock=time.process_time).too_slow == too_slow


def test_a_pass_that_costs_nearly_twice_as_much_is_too_slow() -> None:
    """The update isn't made twice, so two passes cost less than two steps."""
    assert Pace(entry_seconds=1.9, adamw_seconds=1.0).too_slow
    assert not Pace(entry_seconds=1.4, adamw_seconds=1.0).too_slow


def test_adamw_trains_the_same_network_in_the_same_format() -> None:
    """What differs are optimizer and loss. An agent of the entry's own has no such comparison."""
    entry = find_recipe("transformer_orthograd")
    tables = entry.plain_hyperparameters
    tables["training"] |= {"batch_size": 64, "dtype": "float64"}
    adamw = adamw_recipe(Recipe("entry", entry.target, tables))
    assert adamw is not None
    plain = find_recipe("transformer").plain_hyperparameters
    assert adamw.plain_hyperparameters == plain | {"training": plain["training"] | {"dtype": "float64"}}
    assert full_batch(Recipe("entry", entry.target, tables)).plain_hyperparameters["training"]["batch_size"] == 0
    assert adamw_recipe(Recipe("own", "agent:Mine", {})) is None


def test_entries_are_timed_on_a_large_table() -> None:
    """On it the optimizer's own work weighs little. A suite of images has its own largest task."""
    assert pace_instance(list_tasks("mini"), salt="s").task.id == "add_mod97-0.5-v1"
    image_tasks = list_tasks("deep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grokbench.board.verification.pace.make_instance", lambda task, seed, salt: task)
        chosen: Any = pace_instance(image_tasks, salt="s")
    assert chosen == max(image_tasks, key=lambda task: task.num_train)
