"""A task of another family: a method that solves modular tables falls to chance there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grokbench.agents.recipes import Recipe
from grokbench.board.entries.verdicts import OtherFamily
from grokbench.board.verification.families import other_family, other_family_plans
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.records import RunRecord
from grokbench.runs.store import Store, find_records
from grokbench.tasks import make_instance, parse_id
from tests.support.cheats import Eliminator, solved_table
from tests.support.entries import read_good_entry, write_good_entry


@pytest.mark.parametrize("task", ["add_mod31-0.5", "sub_mod31-0.6", "add_mod47-0.35"])
def test_gaussian_elimination_fills_a_modular_table(task: str) -> None:
    """Without a mistake, though the symbols are relabelled."""
    instance = make_instance(parse_id(task), 0)
    solution = solved_table(instance.shown_inputs, instance.targets, instance.task.num_symbols)
    np.testing.assert_array_equal(solution, instance.shown_answers)


def runs_of(recipe: Recipe, folder: Path, entry: Path) -> list[RunRecord]:
    """The runs on the other family that an open entry gets."""
    engine.run(other_family_plans(read_good_entry(entry), recipe, salt="s"), Store(folder), device="cpu")
    return find_records([folder])[0]


def test_a_gaussian_eliminator_is_at_chance_elsewhere(tmp_path: Path) -> None:
    """It solves the suite's tables, and learns nothing on a permutation group."""
    open_entry = write_good_entry(tmp_path / "open", division="open")
    records = runs_of(Recipe("eliminator", "agent:Eliminator", {}, factory=Eliminator), tmp_path / "runs", open_entry)
    result = other_family(records)
    assert result is not None
    assert result.at_chance
    assert result.task == "compose_s4-0.9-v1"


def test_a_closed_entry_has_no_run_there(entry: Path, tmp_path: Path) -> None:
    """Its network is a baseline's."""
    recipe = Recipe("eliminator", "agent:Eliminator", {}, factory=Eliminator)
    assert other_family_plans(read_good_entry(entry), recipe, salt="s") == []
    assert other_family([]) is None


@pytest.mark.parametrize("generalizes", [True, False])
def test_an_optimizer_of_ones_own_has_one_if_it_generalizes(entry: Path, generalizes: bool) -> None:
    """Its code runs in the agent's process, where it could fill in the table as well."""
    good = read_good_entry(entry)
    lost = tuple(
        run.model_copy(update={"outcome": run.outcome.model_copy(update={"steps_to_generalize": None})}) for run in good.runs
    )
    own = replace(good, recipe=replace(good.recipe, source="ab" * 32), runs=good.runs if generalizes else lost)
    plans = other_family_plans(own, good.recipe, salt="s")
    assert [each.experiments[0].task.id for each in plans] == ["compose_s4-0.9-v1"] * generalizes


def test_one_more_right_answer_than_the_limit_is_no_chance() -> None:
    """The limit itself is."""
    assert OtherFamily(task="t", right=13, limit=13).at_chance
    assert not OtherFamily(task="t", right=14, limit=13).at_chance


def test_the_runs_of_the_suite_are_not_mistaken_for_it(tmp_path: Path) -> None:
    """Only the other family's task counts."""
    recipe = Recipe("eliminator", "agent:Eliminator", {}, factory=Eliminator)
    engine.run(plan(["add_mod31-0.5"], [recipe], seeds=[0], salt="s"), Store(tmp_path), device="cpu", max_steps=60)
    assert other_family(find_records([tmp_path])[0]) is None
