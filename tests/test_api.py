"""The public face: `grokbench.run`, its arguments and its errors; names that load on first use."""

from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

import grokbench
from grokbench.errors import AgentError, GrokbenchError, SweepError, TaskError
from tests.support.agents import AddingAgent, RaisingAgent

TASK = "add_mod5-0.5"


def test_a_run_keeps_nothing_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `out` the record is returned, and the current folder stays empty."""
    monkeypatch.chdir(tmp_path)
    run = grokbench.run("mlp", TASK, seed=3, max_steps=60)
    assert run.record.seed == 3
    assert len(run.exams) == 12
    assert list(tmp_path.iterdir()) == []


def test_a_run_in_a_folder_continues(tmp_path: Path) -> None:
    """With `out` a paused run goes on, and `load_runs` finds it."""
    grokbench.run("mlp", TASK, out=tmp_path, max_steps=60)
    run = grokbench.run("mlp", TASK, out=tmp_path, max_steps=100)
    assert run.exams["step"].max() == 100
    assert grokbench.load_runs(tmp_path)[0].record == run.record


def test_a_class_runs() -> None:
    """A class that no command line could find."""

    class Local(AddingAgent):
        """Reports more."""

        @override
        def learn(self, steps: int) -> dict[str, Any]:
            return super().learn(steps) | {"steps_so_far": self.steps}

    run = grokbench.run(Local, TASK, max_steps=30, salt="fresh")
    assert run.exams["steps_so_far"].tolist() == [5, 10, 15, 20, 25, 30]
    assert run.record.salt == "fresh"


def test_a_failure_is_raised_with_its_reason() -> None:
    """What the agent raised, and where."""
    with pytest.raises(AgentError, match=r"seed 0 failed: RuntimeError: it broke \(agents.py, line"):
        grokbench.run(RaisingAgent, TASK)


def test_wrong_arguments_are_grokbench_errors() -> None:
    """One root catches them all; most are ValueErrors too."""
    with pytest.raises(TaskError, match="nearest prime"):
        grokbench.run("mlp", "add_mod24-0.5")
    with pytest.raises(GrokbenchError, match="did you mean 'mlp'"):
        grokbench.run("mpl", TASK)
    with pytest.raises(ValueError, match="a seed is"):
        grokbench.run("mlp", TASK, seed=-1)


def test_every_public_name_is_there() -> None:
    """`__all__` has no name that can't be used, and `dir` lists them."""
    assert all(getattr(grokbench, name) is not None for name in grokbench.__all__)
    assert set(grokbench.__all__) <= set(dir(grokbench))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = grokbench.nothing


def test_a_misspelt_option_of_a_sweep_is_recognized() -> None:
    """It looks like an axis."""
    with pytest.raises(SweepError, match=r"nothing is called budgt: .*; did you mean budget, an option of sweep?"):
        grokbench.sweep("mlp", "add_mod5-0.5", budgt=10)


def test_a_sweep_takes_the_options_of_a_run() -> None:
    """Threads, losses and probes."""
    (run,) = grokbench.sweep("mlp", "add_mod5-0.5-to10", seeds=[0], threads=1, logits=True, probes=True)
    assert run.exams["held_out_loss"].notna().all()
    assert "probe" in run.exams
