"""Progress: finished runs count, and the time left ends where the run pauses."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from grokbench.agents.recipes import find_recipe
from grokbench.runs import engine, progress
from grokbench.runs.plan import plan
from grokbench.runs.progress import Progress, SweepProgress
from grokbench.runs.store import Store


def lines(out: Path, seeds: tuple[int, ...], max_steps: int) -> list[str]:
    """The lines that runs of the MLP print without a terminal."""
    plans, store, printed = plan(["add_mod5-0.5"], [find_recipe("mlp")], seeds=seeds), Store(out), io.StringIO()
    with Progress(max_steps=max_steps, console=Console(file=printed, width=200)) as shown:
        engine.run(plans, store, callbacks=[shown], device="cpu", max_steps=max_steps)
    return printed.getvalue().splitlines()


def test_counts_what_is_finished(tmp_path: Path) -> None:
    """Runs that an earlier command finished count as done."""
    budget = 20_000
    assert lines(tmp_path, (0,), budget)[-1].startswith("[1/1] ")
    after = lines(tmp_path, (0, 1, 2), budget)
    assert after[0].startswith("[1/3] ")
    assert after[-1].startswith("[3/3] ")


def test_time_left_ends_where_the_run_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `max_steps` the time left is the time to that step, not to the budget."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress, "_clock", lambda seconds: f"{seconds:.3f}")
    left = [float(match[1]) for line in lines(tmp_path, (0,), 100) if (match := re.search(r"at most ([\d.]+)$", line))]
    assert left
    assert left[-1] == 0.0


def test_a_sweep_is_counted(tmp_path: Path) -> None:
    """Runs done, with those of an earlier command, runs a minute of this one, and failures with their reasons."""
    for seeds, agents, expected in (
        ((0,), ["mlp"], "1 of 1 runs done, "),
        ((0, 1, 2), ["mlp"], "3 of 3 runs done, "),
        ((0,), ["mlp", "tests.support.agents:RaisingAgent"], "2 of 2 runs done, 1 failed, "),
    ):
        printed = io.StringIO()
        plans = plan(["add_mod5-0.5"], [find_recipe(agent) for agent in agents], seeds=seeds, budget=60)
        with SweepProgress(console=Console(file=printed, width=200)) as shown:
            engine.run(plans, Store(tmp_path), callbacks=[shown], device="cpu")
        *others, last = printed.getvalue().splitlines()
        assert last.startswith(expected)
        assert re.search(r"[\d,]+ a minute, 0:00 left$", last)
    assert others == ["add_mod5-0.5-v1 RaisingAgent seed 0: failed: RuntimeError: it broke (agents.py, line 78)"]
