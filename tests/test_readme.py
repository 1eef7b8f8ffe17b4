"""The README keeps its promises: it is short, and its agent resumes. tests/test_docs.py runs its code and commands."""

from pathlib import Path

import pytest

from grokbench.agents.recipes import find_recipe
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.store import Store, find_records
from tests.support.callbacks import Silent
from tests.support.markdown import ROOT, blocks

README = ROOT / "README.md"
MOST_WORDS = 700


def test_it_is_short() -> None:
    """At most 700 words, code and tables included."""
    assert len(README.read_text(encoding="utf-8").split()) <= MOST_WORDS


def test_the_agent_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's agent memorizes. Paused and resumed, it takes the same exams to the bit."""
    (code,) = [block.code for block in blocks(README, language="python") if "TorchAgent" in block.code]
    without_run = code.partition("\n\n\ngrokbench.run(")[0]
    (tmp_path / "readme_agent.py").write_text(f"import grokbench\n{without_run}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    recipe = find_recipe("readme_agent:Mine")
    for out, pauses in (("paused", (100, 300)), ("whole", (300,))):
        for steps in pauses:
            plans = plan(["add_mod11-0.6"], [recipe], seeds=[0])
            engine.run(plans, Store(tmp_path / out), callbacks=[Silent()], device="cpu", max_steps=steps)
    (paused,), _ = find_records([tmp_path / "paused"])
    (whole,), _ = find_records([tmp_path / "whole"])
    assert paused.exams == whole.exams
    assert paused.outcome.steps_to_memorize is not None
    assert paused.protocol == PROTOCOL.version
