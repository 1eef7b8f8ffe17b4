"""Budgets: what an agent receives doesn't depend on them, and runs with another budget have files of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import grokbench
from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.errors import RecordError, TaskError
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.records import RunRecord, read_record
from grokbench.runs.store import Store, find_records
from grokbench.tasks import parse_id
from tests.support.agents import RecordingAgent
from tests.support.callbacks import Silent
from tests.support.oracle import NAME, assert_same, episode, started

TASK = "add_mod5-0.5"
RIGHT_ANSWERS = st.lists(st.sampled_from([0, 24, 25, 25]), max_size=20)
ADDING = Recipe("adding", "tests.support.agents:AddingAgent", {})


def calls(passes_from: int | None, budget: int) -> tuple[list[tuple[Any, ...]], RunRecord]:
    """Everything that an agent received in a run, in order, and the run's record."""
    RecordingAgent.calls = []
    recipe = Recipe("recording", "tests.support.agents:RecordingAgent", {"passes_from": passes_from})
    result = grokbench.run(recipe, TASK, budget=budget)
    assert result.record.incomplete is None
    return RecordingAgent.calls, result.record


def within(received: list[tuple[Any, ...]], step: int) -> list[tuple[Any, ...]]:
    """The calls up to the last exam within `step`."""
    taken = np.cumsum([call[1] if call[0] == "learn" else 0 for call in received])
    return [call for call, at in zip(received, taken, strict=True) if at <= step]


@pytest.mark.parametrize(("passes_from", "end"), [(None, "censored"), (5, "generalized"), (100, "generalized")])
def test_an_agent_cannot_tell_the_budget(passes_from: int | None, end: str) -> None:
    """The engine gives the same spec, observation and calls until the run of the smaller budget nears its horizon."""
    small, small_record = calls(passes_from, 130)
    large, _ = calls(passes_from, 400)
    assert small_record.outcome.end == end
    before_the_horizon = min(small_record.exams[-1].step, 2 * 130 - 1)
    assert before_the_horizon >= 130
    expected, found = within(large, before_the_horizon), within(small, before_the_horizon)
    assert len(found) > 50
    assert found == expected
    assert {call[0] for call in found} == {"reset", "learn", "act"}


def test_an_early_run_ends_the_same_way_whatever_the_budget() -> None:
    """A window that ends before the horizon gives the same calls and exams to the end."""
    (small, record), (large, other) = calls(5, 550), calls(5, 5_000)
    assert small == large
    assert record.exams == other.exams
    assert record.outcome == other.outcome
    assert record.outcome.steps_to_generalize == 5


@settings(deadline=None, max_examples=20)
@given(
    st.integers(5, 120), st.integers(5, 120), st.lists(st.sampled_from([0, 24, 25, 25]), max_size=20), st.sampled_from([0, 25])
)
def test_environments_do_not_tell_the_budget(budget: int, more: int, schedule: list[int | None], tail: int) -> None:
    """Two environments that differ in the budget alone give the same observations and infos up to the smaller budget."""
    small, large = (episode(started(parse_id(NAME, budget=b)), schedule, tail) for b in (budget, budget + more))
    steps = [step[4]["step"] for step in small]
    last = max((number for number, step in enumerate(steps) if step <= budget), default=-1)
    for number in range(last + 1):
        assert_same(small[number][4], large[number][4])
        if not (small[number][2] or small[number][3]):
            assert_same(small[number][0], large[number][0])
    reset = [started(parse_id(NAME, budget=b)).observe() for b in (budget, budget + more)]
    assert_same(*reset)


def test_made_with_a_budget() -> None:
    """`make` and `make_vec` take a budget, which limits T and prices the steps."""
    env, envs = grokbench.make(TASK, budget=20, feature_dims=(2,)), grokbench.make_vec(TASK, 2, budget=20, feature_dims=(2,))
    assert env.unwrapped.task == envs.unwrapped.task == parse_id(TASK, budget=20)  # type: ignore[attr-defined]
    env.reset(seed=0)
    envs.reset(seed=0)
    answers, features = np.zeros(25, np.int64), np.zeros((25, 2), np.float32)
    for exam in range(1, 5):
        _, reward, _, truncated, _ = env.step({"answers": answers, "features": features})
        both = {"answers": np.stack([answers] * 2), "features": np.stack([features] * 2)}
        _, rewards, _, cut, _ = envs.step(both)
        assert [reward, *rewards] == pytest.approx([-0.25] * 3)
        assert [truncated, *cut] == [exam == 4] * 3


@pytest.mark.parametrize("budget", [0, -5, 1.5, True])
def test_a_budget_is_a_whole_number_of_steps(budget: Any) -> None:
    """The error says what was given."""
    for wrong in (lambda: grokbench.make(TASK, budget=budget), lambda: grokbench.run("mlp", TASK, budget=budget)):
        with pytest.raises(TaskError, match=f"a whole number of steps from 1 to .*, got {budget}"):
            wrong()
    with pytest.raises(TaskError, match="a whole number of steps from 1 to"):
        grokbench.envs.GrokEnv(parse_id(TASK), budget=budget)


def test_a_run_with_another_budget_has_its_own_file(tmp_path: Path) -> None:
    """Its record states the budget, and is read back with it. The standard budget needs no mark."""
    standard = parse_id(TASK).budget
    for budget in (None, 30, 60, standard):
        grokbench.run(ADDING, TASK, out=tmp_path, budget=budget, max_steps=100)
    names = sorted(path.name for path in tmp_path.rglob("*.json"))
    assert names == ["seed-0-budget-30.json", "seed-0-budget-60.json", "seed-0.json"]
    records, errors = find_records([tmp_path])
    assert not errors
    assert [(record.budget, record.parsed_task().budget) for record in records] == [(30, 30), (60, 60), (standard, standard)]
    assert [record.exams[-1].step for record in records] == [30, 60, 100]
    assert [record.outcome.end for record in records] == ["censored", "censored", None]


def test_a_checkpoint_belongs_to_its_budget(tmp_path: Path) -> None:
    """A run doesn't go on from the checkpoint of a run with another budget, which goes on from its own."""
    plans = {budget: plan([TASK], [find_recipe("mlp")], seeds=[0], budget=budget) for budget in (60, 200)}
    store = Store(tmp_path)
    engine.run(plans[200], store, callbacks=[Silent()], device="cpu", max_steps=100)
    (checkpoint,) = tmp_path.rglob("cohort-*")
    kept = checkpoint.read_bytes()
    engine.run(plans[60], store, callbacks=[Silent()], device="cpu")
    assert checkpoint.read_bytes() == kept
    engine.run(plans[200], store, callbacks=[Silent()], device="cpu")
    ends = [read_record(store.record_path(plans[budget][0].runs[0])).exams[-1].step for budget in (60, 200)]
    assert ends == [60, 200]
    assert not list(tmp_path.rglob("cohort-*"))


def test_the_budget_of_a_suite_is_its_own() -> None:
    """`budget` is for the named tasks alone."""
    plans = plan([TASK], [ADDING], seeds=[0], suite="mini", budget=70)
    budgets = {each.experiments[0].task.name: each.experiments[0].task.budget for each in plans}
    suite = {task.name: task.budget for task in grokbench.list_tasks("mini", controls=True)}
    assert budgets == {TASK: 70} | suite
    assert PROTOCOL.horizon(plans[0].experiments[0].task) == 140


def test_a_forged_budget_is_refused(tmp_path: Path) -> None:
    """A censored run can't be declared a run with a larger budget that is still going on."""
    record = grokbench.run(ADDING, TASK, budget=30, out=tmp_path).record
    path = next(tmp_path.rglob("*.json"))
    assert record.outcome.end == "censored"
    for budget in (31, 34):  # no other exam lies within these
        path.write_text(path.read_text().replace(f'"budget": {record.budget}', f'"budget": {budget}'))
        record = read_record(path)
    path.write_text(path.read_text().replace('"budget": 34', '"budget": 35'))
    with pytest.raises(RecordError, match="doesn't follow from its exams"):
        read_record(path)
