"""Plans: which runs they hold, how often, and the names of their files."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench.agents.recipes import find_recipe, recipe
from grokbench.errors import TaskError
from grokbench.runs.plan import Experiment, Plan, parse_seeds, plan
from grokbench.tasks import get_suite, parse_id

ADD, MUL = "add_mod5-0.5-v1", "mul_mod5-0.5-v1"
MLP, TRANSFORMER = find_recipe("mlp"), find_recipe("transformer")


def runs_of(plans: Sequence[Plan]) -> list[tuple[str, str, int]]:
    """Task, recipe and seed of every planned run, in order."""
    runs = [run for each in plans for run in each.runs]
    return [(run.experiment.task.id, run.experiment.recipe.name, run.seed) for run in runs]


def test_every_recipe_runs_every_task_with_every_seed() -> None:
    """The seeds are sorted, and a repeated seed counts once."""
    plans = plan([ADD, MUL], [MLP, TRANSFORMER], seeds=[7, 0, 7])
    assert runs_of(plans) == list(itertools.product([ADD, MUL], ["mlp", "transformer"], [0, 7]))


def test_a_suite_brings_its_control_with_the_controls_own_seeds() -> None:
    """The seeds asked for are those of the scored tasks alone."""
    suite = get_suite("mini")
    seeds_by_task = {each.experiments[0].task.id: each.seeds for each in plan([], [MLP], seeds=[8, 9], suite="mini")}
    scored = {parse_id(task).id: (8, 9) for task in suite.tasks}
    assert seeds_by_task == scored | {parse_id(suite.control).id: tuple(suite.control_seeds)}


def test_a_run_that_is_named_twice_is_planned_once() -> None:
    """A task by two spellings, a task of the suite, its control, and a recipe."""
    assert runs_of(plan(["add_mod5-0.5", ADD], [MLP, find_recipe("mlp")], seeds=[0])) == [(ADD, "mlp", 0)]
    suite = get_suite("mini")
    alone, again = (
        plan([], [MLP], seeds=[8], suite="mini"),
        plan([suite.tasks[0], suite.control], [MLP], seeds=[8], suite="mini"),
    )
    assert set(runs_of(again)) == {*runs_of(alone), (parse_id(suite.control).id, "mlp", 8)}
    assert len(runs_of(again)) == len(set(runs_of(again)))


def test_two_names_of_the_same_settings_are_two_recipes() -> None:
    """Their runs lie in folders of their own."""
    plans = plan([ADD], [MLP, recipe("mlp", name="other")], seeds=[0])
    assert len({each.experiments[0].folder for each in plans}) == 2


@pytest.mark.parametrize("missing", [{"tasks": []}, {"recipes": []}, {"seeds": []}], ids=str)
def test_nothing_to_run_is_an_error(missing: dict[str, Any]) -> None:
    """It says all that is needed."""
    arguments: dict[str, Any] = {"tasks": [ADD], "recipes": [MLP], "seeds": [0]} | missing
    with pytest.raises(TaskError, match="name a suite or tasks, at least one agent and at least one seed"):
        plan(**arguments)


def test_the_salt_reaches_every_run() -> None:
    """The control's runs too."""
    plans = plan([ADD], [MLP], seeds=[0], suite="mini", salt="grain")
    assert {run.experiment.salt for each in plans for run in each.runs} == {"grain"}


@settings(max_examples=50, deadline=None)
@given(salts=st.lists(st.text(max_size=30), min_size=2, max_size=2, unique=True))
def test_every_salt_has_file_names_of_its_own(salts: list[str]) -> None:
    """Whatever characters it has, its files' ending is short and plain. Without a salt there is no ending."""
    suffixes = [Experiment(parse_id(ADD), MLP, salt).suffix for salt in salts]
    assert suffixes[0] != suffixes[1]
    assert all(re.fullmatch(r"-salt-[0-9a-f]{8}" if salt else "", suffix) for salt, suffix in zip(salts, suffixes, strict=True))


def test_recipes_of_one_name_have_folders_of_their_own() -> None:
    """The folder has the task, the name and a part of the hash."""
    changed = recipe("mlp", name="mlp", network={"init_scale": 2.0})
    folders = [Experiment(parse_id(ADD), each).folder for each in (MLP, changed)]
    assert folders == [f"{ADD}/mlp-{each.hash[:8]}" for each in (MLP, changed)]
    assert folders[0] != folders[1]


@pytest.mark.parametrize(
    ("words", "seeds"),
    [(("0-3",), (0, 1, 2, 3)), (("0:3", 7), (0, 1, 2, 7)), (("5", "0-1", "1"), (5, 0, 1)), (("3-3",), (3,))],
)
def test_seeds_are_numbers_or_ranges(words: tuple[str | int, ...], seeds: tuple[int, ...]) -> None:
    """Each seed once, in the order in which they are named."""
    assert parse_seeds(words) == seeds


def test_a_range_too_long_for_memory_is_refused() -> None:
    """Before it is made."""
    with pytest.raises(TaskError, match="a range of seeds has at most"):
        parse_seeds(["0-99999999999"])


@pytest.mark.parametrize(("seeds", "salt"), [([1.5], ""), ([True], ""), ([-1], ""), ([0], 5), ([0], "\udcff")])
def test_only_seeds_and_salts_that_a_record_can_hold(seeds: list[Any], salt: Any) -> None:
    """The error comes before anything runs."""
    with pytest.raises(TaskError, match=r"a seed is a whole number|a salt is text"):
        plan([ADD], [MLP], seeds=seeds, salt=salt)


def test_seeds_may_be_numpys() -> None:
    """A loop over `np.arange` gives them."""
    ((seed,),) = (each.seeds for each in plan([ADD], [MLP], seeds=list(np.arange(3, 4))))
    assert type(seed) is int


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)), max_size=5))
def test_ranges_hold_both_of_their_ends(ranges: list[tuple[int, int]]) -> None:
    """Ranges may overlap and may have a single seed."""
    words = tuple(f"{first}-{first + length}" for first, length in ranges)
    expected = [seed for first, length in ranges for seed in range(first, first + length + 1)]
    assert parse_seeds(words) == tuple(dict.fromkeys(expected))


@pytest.mark.parametrize("word", ["", "-1", "1-", "-", "2-1", "2:2", ":3", "1.5", "one", "0,1", "0-1-2", " 1", "1\n", "0x1"])
def test_other_words_are_no_seeds(word: str) -> None:
    """The error quotes the word, wherever it is among the others."""
    with pytest.raises(TaskError) as caught:
        parse_seeds(("0-3", word, "7"))
    assert str(caught.value).endswith(f"such as 0-9 or 0 3 5, got {word!r}")


def test_a_suite_alone_takes_no_budget() -> None:
    """It would be passed over. Tasks by name take it."""
    with pytest.raises(TaskError, match="the suite 'mini' has a budget of its own"):
        plan([], [find_recipe("mlp")], seeds=[0], suite="mini", budget=7)
    assert plan(["add_mod5-0.5"], [find_recipe("mlp")], seeds=[0], budget=7)[0].experiments[0].task.budget == 7
