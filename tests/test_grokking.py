"""Grokking for real, in seconds: the baselines generalise late on a small prime, and never on a random table."""

from pathlib import Path

import pytest

from grokbench.agents import find_recipe
from grokbench.plots import draw_curves
from grokbench.report import report, task_table
from grokbench.runs import runner
from grokbench.runs.store import Store, find_records
from grokbench.scoring import beats_chance
from tests.runs.test_runner import Silent


@pytest.mark.parametrize(("agent", "task"), [("mlp", "add_mod23-0.8"), ("transformer", "add_mod31-0.8")])
def test_baselines_grok(tmp_path: Path, agent: str, task: str) -> None:
    """Memorised first, generalised at least twice as late, and the table and the figure show it."""
    assert runner.run(runner.plan([task], None, [find_recipe(agent)], [0]), Store(tmp_path), Silent(), "cpu")
    (record,), errors = find_records([tmp_path])
    assert not errors
    outcome = record.outcome
    assert outcome.end == "generalized"
    assert outcome.steps_to_memorize is not None
    assert outcome.steps_to_generalize is not None
    assert outcome.steps_to_generalize >= 2 * outcome.steps_to_memorize
    assert "1/1" in report([record])
    for path in draw_curves([record], tmp_path / "figure"):
        assert path.stat().st_size > 10_000


@pytest.mark.parametrize("agent", ["mlp", "transformer", "transformer2"])
def test_the_random_control_stays_at_chance(tmp_path: Path, agent: str) -> None:
    """A random table is memorised and nothing more, and the table says so."""
    runner.run(runner.plan(["random_mod23-0.5"], None, [find_recipe(agent)], [0]), Store(tmp_path), Silent(), "cpu")
    (record,), _ = find_records([tmp_path])
    assert record.outcome.end == "censored"
    assert not beats_chance(record.parsed_task(), [exam.exam() for exam in record.exams])
    assert "at chance" in task_table([record])
