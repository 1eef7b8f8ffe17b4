"""The README's own code, run as it stands there."""

import re
from pathlib import Path

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.store import Store, find_records
from tests.support.callbacks import Silent

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
TEN_LINES, AGENT = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_ten_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Five exams are printed."""
    exec(compile(TEN_LINES, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["10", "20", "30", "40", "50"]


def test_the_agent_is_short_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under 40 lines; memorizes, is paused and goes on from its checkpoint as if it had not been."""
    assert len(AGENT.strip().splitlines()) < 40
    (tmp_path / "my_module.py").write_text(AGENT)
    monkeypatch.chdir(tmp_path)
    recipe = find_recipe("my_module:TinyAgent")
    for out, pauses in (("paused", (100, 300)), ("whole", (300,))):
        for steps in pauses:
            plans = plan(["add_mod11-0.6"], [recipe], seeds=[0])
            engine.run(plans, Store(tmp_path / out), callbacks=[Silent()], device="cpu", max_steps=steps)
    (paused,), _ = find_records([tmp_path / "paused"])
    (whole,), _ = find_records([tmp_path / "whole"])
    assert paused.exams == whole.exams
    assert paused.outcome.steps_to_memorize is not None
    assert paused.protocol == PROTOCOL.version


def test_every_command_in_the_readme_is_one() -> None:
    """Every subcommand stands there, and no other."""
    from grokbench.cli import COMMANDS

    named = re.findall(r"^grokbench (\w+)", README, flags=re.MULTILINE)
    assert set(named) == set(COMMANDS)
