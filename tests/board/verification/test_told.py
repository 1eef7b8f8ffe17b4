"""What an agent is told: nothing that depends on the budget, in this process's reach or in the sandbox's."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from grokbench.board.verification.isolation import SERVE
from grokbench.board.verification.remote import RemoteRecipe
from grokbench.board.verification.sandbox import sandboxed_command
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.records import ExamRecord
from grokbench.runs.store import Store, find_records

READER = '''
import hashlib, os, sys
import numpy as np
from pathlib import Path
from grokbench.agents.agent import Agent

class Reader(Agent):
    """Reports a digest of everything that it was told, or finds in its process, at every exam."""
    feature_dims = (2,)
    def reset(self, observation, spec):
        process = [Path("/proc/self", name).read_bytes() for name in ("cmdline", "environ")]
        shown = sorted((name, np.asarray(value).tolist()) for name, value in observation.items())
        self.told = [shown, spec, sorted(os.environ.items()), sys.argv, process]
    def learn(self, steps):
        self.told.append(steps)
        digest = hashlib.sha256(repr(self.told).encode()).hexdigest()
        return {"told": np.array([float(int(digest[:12], 16))])}
    def act(self):
        return {"answers": np.zeros(25, dtype=int), "features": np.ones((25, 2))}
    def state_dict(self): return {}
    def load_state_dict(self, state): pass
'''


def exams(command: Sequence[str], home: Path, out: Path, budget: int) -> list[ExamRecord]:
    """The exams of the reader under a budget."""
    recipe = RemoteRecipe(name="reader", target="agent:Reader", command=tuple(command), folder=home)
    engine.run(plan(["add_mod5-0.5"], [recipe], seeds=[0], budget=budget), Store(out), device="cpu")
    ((record,), _) = find_records([out])
    assert record.incomplete is None
    return record.exams


@pytest.mark.parametrize("sandboxed", [False, True])
def test_an_agent_cannot_read_its_budget(tmp_path: Path, sandboxed: bool) -> None:
    """Observation, spec, steps to learn, arguments and environment are the same under two budgets, exam by exam."""
    home = tmp_path / "agent"
    home.mkdir()
    (home / "agent.py").write_text(READER, encoding="utf-8")
    command = sandboxed_command(SERVE, home) if sandboxed else list(SERVE)
    if command is None:
        pytest.skip("no sandbox here")
    short = exams(command, home, tmp_path / "short", 60)
    long = exams(command, home, tmp_path / "long", 400)
    assert len(short) > 5
    assert len(long) > 2 * len(short)
    assert [exam.metrics for exam in short] == [exam.metrics for exam in long[: len(short)]]
    assert short[0].metrics != short[1].metrics
