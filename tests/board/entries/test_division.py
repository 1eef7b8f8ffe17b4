"""Rules of the closed division: each has an entry that breaks it and is caught."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grokbench.agents.agent import Agent
from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.division import Hold, has_stopped, hold, recipe_findings, repeated_exams
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.records import RunRecord
from grokbench.runs.store import Store, find_records
from tests.support.cheats import Freezer, SnapshotKeeper, Wrapper
from tests.support.entries import JsonRuns, change_runs, change_text, errors_of, read_good_entry

CONSTANT = {"name": "constant", "warmup": 10}


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ({"schedule": CONSTANT}, ""),
        ({"schedule": {"name": "cosine", "warmup": 10, "steps": 500}}, ""),
        ({"schedule": {"name": "linear", "warmup": 10, "steps": 500, "final": 0.1}, "average": {"decay": 0.99}}, ""),
        ({"schedule": {"name": "cosine", "warmup": 10, "steps": 500, "final": 0.05}}, "falls below 0.1 of its peak"),
        ({"schedule": {"name": "linear", "warmup": 10, "steps": 500, "final": float("nan")}}, "falls below 0.1"),
        ({"schedule": {"name": "linear", "warmup": 10, "steps": 500, "final": "no"}}, "falls below 0.1"),
        ({"schedule": {"name": "step", "warmup": 10}}, "isn't one of the closed division's"),
        ({"schedule": {**CONSTANT, "warmup_share": 0.1}}, "isn't one of the closed division's"),
        ({"schedule": "cosine"}, "isn't a table"),
        ({"schedule": CONSTANT, "snapshot": {"every": 10}}, "no [snapshot]"),
    ],
)
def test_schedules_and_tables_of_the_closed_division(tables: dict[str, Any], problem: str) -> None:
    """The learning rate stays at a tenth of its peak, in absolute steps, and averages are the only other weights."""
    findings = list(recipe_findings(tables))
    assert bool(findings) == bool(problem)
    assert all(problem in finding.problem and finding.refused for finding in findings)


def test_the_orthogonal_gradient_with_stablemax_may_not_freeze() -> None:
    """A schedule that reaches zero at step 300 freezes the method that would unlearn its table later."""
    tables = find_recipe("transformer_orthograd").plain_hyperparameters
    frozen = {"name": "linear", "warmup": 10, "steps": 300, "final": 0.0}
    (finding,) = recipe_findings(tables | {"schedule": frozen})
    assert "its learning rate falls below 0.1 of its peak" in finding.problem
    assert 'division = "open"' in finding.remedy


def trained(folder: Path, cheat: Callable[[Agent], Agent], base: str = "mlp") -> RunRecord:
    """A short run of a baseline that an agent has been put around."""
    baseline = find_recipe(base)
    recipe = Recipe("cheat", baseline.target, {}, factory=lambda: cheat(baseline.make()))
    engine.run(plan(["add_mod11-0.5"], [recipe], seeds=[0]), Store(folder), device="cpu", max_steps=250)
    ((run,), _) = find_records([folder])
    return run


@pytest.mark.parametrize(
    ("cheat", "base", "repeats"),
    [
        (Wrapper, "mlp", False),
        (Freezer, "transformer_orthograd", True),
        (SnapshotKeeper, "mlp", True),
    ],
)
def test_features_that_repeat_to_the_bit_are_seen(
    tmp_path: Path, cheat: Callable[[Agent], Agent], base: str, repeats: bool
) -> None:
    """From the exams alone, for the frozen ⊥Grad with StableMax and for a snapshot keeper; not for a run that trains."""
    repeated = repeated_exams(trained(tmp_path, cheat, base))
    assert (0 in repeated) == repeats
    assert (len(repeated) > 5) == repeats


def repeat_features(runs: JsonRuns, *, exams: int, losses: bool) -> None:
    """Give the last measured exams of the fourth run the features of the measured exam before; its losses too, if wanted."""
    run = runs[3]
    measured = [exam for exam in run["exams"] if "ranks" in exam][-exams - 1 :]
    for exam in run["exams"][run["exams"].index(measured[0]) :]:
        exam["loss"] = measured[0]["loss"] if losses else exam["loss"]
        if exam in measured:
            exam["ranks"] = measured[0]["ranks"]
    run["outcome"]["final_rank"] = measured[0]["ranks"]["effective_rank"][-1]


@pytest.mark.parametrize(
    ("losses", "problem"), [(True, "stopped: its last features repeat"), (False, "answers from kept weights")]
)
def test_a_closed_run_that_stopped_is_refused_and_an_open_one_is_listed(entry: Path, losses: bool, problem: str) -> None:
    """What holds its level is derived from the exams."""
    assert hold(read_good_entry(entry)) == Hold.TRAINING
    change_runs(entry, lambda runs: repeat_features(runs, exams=6, losses=losses))
    assert problem in errors_of(check_entry(entry))
    change_text(entry / "entry.toml", '"closed"', '"open"')
    assert errors_of(check_entry(entry)) == ""
    good = read_good_entry(entry)
    assert hold(good) == Hold.STOPPED
    assert [has_stopped(run) for run in good.runs].count(True) == 1


def test_features_without_spread_show_nothing(entry: Path) -> None:
    """A network that collapsed to zero has the same ranks at every exam, all of them 0."""
    run = read_good_entry(entry).runs[3]
    zero = [exam.model_copy(update={"ranks": {n: [0.0] for n in exam.ranks}}) if exam.ranks else exam for exam in run.exams]
    same = [exam.model_copy(update={"train": 1, "held_out": 1}) for exam in zero]
    assert repeated_exams(run.model_copy(update={"exams": same})) == []
