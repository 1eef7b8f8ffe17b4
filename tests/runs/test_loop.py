"""Cohorts of several recipes: each run as alone, resuming, members that end early, recipes that don't train together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grokbench
from grokbench.agents.recipes import Recipe
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.runs import engine
from grokbench.runs.plan import Experiment, Plan
from grokbench.runs.records import RunRecord, read_record
from grokbench.runs.store import Store
from grokbench.tasks import parse_id
from tests.support.callbacks import Silent

TASK = parse_id("add_mod11-0.6-to400")


def recipe(name: str, *, batch_size: int = 0, **optimizer: Any) -> Recipe:
    """The MLP in float64 with some hyperparameters of its optimizer changed."""
    training = {"dtype": "float64", "seeds_together": 6, "batch_size": batch_size}
    return grokbench.recipe("mlp", name=name, training=training, optimizer=optimizer)


CELLS = tuple(Experiment(TASK, recipe(f"decay-{decay:g}", weight_decay=decay)) for decay in (0.0, 0.3, 3.0))


def run(plan: Plan, out: Path, **options: Any) -> dict[tuple[str, int], RunRecord]:
    """Make the runs; returns their records by recipe and seed."""
    store = Store(out)
    engine.run([plan], store, callbacks=[Silent()], device="cpu", **options)
    return {(run.experiment.recipe.name, run.seed): read_record(store.record_path(run)) for run in plan.runs}


def counts(record: RunRecord) -> list[tuple[int, int, int]]:
    """Its exams' steps and right answers."""
    return [(exam.step, exam.train, exam.held_out) for exam in record.exams]


def test_every_run_is_as_it_is_alone(tmp_path: Path) -> None:
    """Right answers are the same, ranks and losses to rounding, and each record stands with its own recipe."""
    joint = run(Plan(CELLS, (0, 1)), tmp_path / "joint")
    for cell in CELLS:
        alone = run(Plan((cell,), (0, 1)), tmp_path / "alone")
        for key, record in alone.items():
            assert joint[key].agent.hash == cell.recipe.hash
            assert joint[key].cohort == [0, 1] * 3
            assert counts(joint[key]) == counts(record)
            losses = np.array([[exam.loss for exam in run.exams] for run in (joint[key], record)], dtype=float)
            np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    assert counts(joint["decay-0", 0]) != counts(joint["decay-3", 0])


def test_a_stopped_batch_goes_on(tmp_path: Path) -> None:
    """A joint cohort that was paused half-way ends with the exams of an uninterrupted one, to the bit."""
    plan = Plan(CELLS, (0, 1))
    whole = run(plan, tmp_path / "whole")
    stopped = run(plan, tmp_path / "parts", max_steps=150)
    assert {record.incomplete for record in stopped.values()} == {"stopped: --max-steps 150"}
    resumed = run(plan, tmp_path / "parts")
    for key, record in whole.items():
        assert resumed[key].exams == record.exams
        assert resumed[key].incomplete is None
    assert not list((tmp_path / "parts").rglob("*.safetensors"))


def test_members_that_end_leave(tmp_path: Path) -> None:
    """A member that diverges leaves; those that stay go on with their own hyperparameters, as if it had never been."""
    wild = Experiment(TASK, recipe("wild", lr=1e30))
    found = run(Plan((CELLS[0], wild, CELLS[2]), (0, 1)), tmp_path)
    assert {found["wild", seed].outcome.end for seed in (0, 1)} == {"diverged"}
    assert found["wild", 0].exams[-1].step < 400
    for cell in (CELLS[0], CELLS[2]):
        alone = run(Plan((cell,), (0, 1)), tmp_path / "alone")
        for key, record in alone.items():
            assert counts(found[key]) == counts(record)


def test_what_does_not_train_together(tmp_path: Path) -> None:
    """Recipes with another batch size are told apart, run by run, and nothing is written as complete."""
    cells = (CELLS[0], Experiment(TASK, recipe("other", batch_size=10)))
    store, watcher = Store(tmp_path), Silent()
    assert not engine.run([Plan(cells, (0,))], store, callbacks=[watcher], device="cpu")
    assert all("differ in nothing but" in how for how in watcher.ends)


@pytest.mark.parametrize("probes", [False, True])
def test_probes_change_nothing(tmp_path: Path, probes: bool) -> None:
    """With probes the run is the same, and the records hold what they found at every doubling."""
    record = run(Plan(CELLS[:1], (0,)), tmp_path, probes=probes)["decay-0", 0]
    plain = run(Plan(CELLS[:1], (0,)), tmp_path / "plain")["decay-0", 0]
    assert counts(record) == counts(plain)
    found = [exam.step for exam in record.exams if exam.metrics]
    assert found == ([5, 10, 20, 35, 65, 130, 261] if probes else [])
    assert list(PROTOCOL.grid(400).steps)[:4] == [5, 10, 15, 20]


@pytest.mark.parametrize(
    ("report", "kept"),
    [(2.5, [2.5]), ([1, 2], [1.0, 2.0]), ([], None), ("text", "numbers"), ([[1.0]], "shape")],
)
def test_what_an_agent_reports_to_be_watched(tmp_path: Path, report: Any, kept: Any) -> None:
    """Numbers, one per layer, are kept unless one isn't finite, or there is none; anything else fails the run by name."""
    cell = Experiment(parse_id("add_mod5-0.5"), Recipe("told", "tests.support.agents:ReportingAgent", {"report": report}))
    record = run(Plan((cell,), (0,)), tmp_path, max_steps=30)["told", 0]
    if isinstance(kept, str):
        assert record.incomplete is not None
        assert "learn reported 'told'" in record.incomplete
        assert kept in record.incomplete
    else:
        assert record.exams[0].metrics == ({"told": kept} if kept else None)


def test_probes_look_at_an_agent_that_is_not_batched(tmp_path: Path) -> None:
    """What they find stands beside what the agent reports."""
    cell = Experiment(parse_id("add_mod11-0.5"), Recipe("told", "tests.support.agents:ReportingAgent", {"report": [1.5]}))
    metrics = run(Plan((cell,), (0,)), tmp_path, max_steps=10, probes=True)["told", 0].exams[0].metrics
    assert metrics is not None
    assert metrics["told"] == [1.5]
    assert len(metrics["probe"]) == 1
