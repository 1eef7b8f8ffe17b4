"""An agent in a process of its own: it computes what it computes here, and whatever it does, the runner goes on."""

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from grokbench.agents.recipes import Recipe, find_recipe, recipe
from grokbench.board.verification.isolation import SERVE
from grokbench.board.verification.process import Limits
from grokbench.board.verification.remote import RemoteRecipe
from grokbench.board.verification.sandbox import sandboxed_command
from grokbench.errors import RemoteError
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.records import RunRecord
from grokbench.runs.store import Store, find_records
from tests.support.callbacks import Silent
from tests.support.hostile import write_hostile_agents
from tests.support.optimizers import LION


def remote(recipe: Recipe, folder: Path, *, seconds: float = 60.0) -> RemoteRecipe:
    """The recipe with its agent in a process of its own, without a sandbox."""
    return RemoteRecipe(
        name=recipe.name,
        target=recipe.target,
        hyperparameters=recipe.hyperparameters,
        source=recipe.source,
        command=SERVE,
        folder=folder,
        limits=Limits(seconds=seconds),
        allowed_widths=frozenset({(2,), (256,)}),
    )


def hostile(name: str, folder: Path, *, seconds: float = 60.0) -> RemoteRecipe:
    """A hostile agent in a process of its own."""
    return remote(Recipe("entry", f"agent:{name}"), folder, seconds=seconds)


def run(recipe: Recipe, out: Path) -> list[RunRecord]:
    """Two seeds for sixty steps, in the order of seeds."""
    plans = plan(["add_mod5-0.5"], [recipe], seeds=[0, 1])
    engine.run(plans, Store(out), callbacks=[Silent()], device="cpu", max_steps=60)
    return sorted(find_records([out])[0], key=lambda record: record.seed)


def test_a_remote_agent_computes_the_same_to_the_bit(tmp_path: Path) -> None:
    """A baseline takes the same exams at the same cost, in cohorts too."""
    recipe = find_recipe("mlp")
    here, there = run(recipe, tmp_path / "here"), run(remote(recipe, tmp_path), tmp_path / "there")
    assert len(here) == 2
    assert [record.exams for record in here] == [record.exams for record in there]
    assert [record.cost.flops for record in here] == [record.cost.flops for record in there]
    assert [record.cohort for record in here] == [record.cohort for record in there] == [[0, 1], [0, 1]]
    assert [record.provenance for record in here] == [record.provenance for record in there]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Quitter", "the agent's process ended"),
        ("Backwards", "seeds_together of Backwards must be a whole number from 1 to 1,000, got -1"),
        ("Countless", "seeds_together of Countless must be a whole number from 1 to 1,000, got .many."),
        ("Wide", r"shows layers of widths \(1099511627776,\), which no run of the entry has"),
        ("Costly", "expected a whole number from 0 to"),
        ("Priced", "reports costs that it can't have"),
        ("Talker", "a message|took longer|ended"),
        ("Eater", "MemoryError"),
        ("Missing", "can't load 'agent:Missing'"),
    ],
)
def test_a_hostile_agent_fails_its_runs(tmp_path: Path, name: str, reason: str) -> None:
    """The records say why, and the runner ends normally."""
    records = run(hostile(name, write_hostile_agents(tmp_path), seconds=10), tmp_path / "runs")
    assert len(records) == 2
    assert all(record.incomplete and re.search(reason, record.incomplete) for record in records), records[0].incomplete


def test_a_slow_agent_is_stopped(tmp_path: Path) -> None:
    """At its time limit, not when it would end by itself."""
    agent = hostile("Sleeper", write_hostile_agents(tmp_path), seconds=5).make()
    started = time.monotonic()
    with pytest.raises(RemoteError, match="longer than its time limit"):
        agent.learn(1)
    assert time.monotonic() - started < 30


def test_what_an_agent_prints_is_not_an_answer(tmp_path: Path) -> None:
    """Standard output isn't the pipe."""
    records = run(hostile("Quiet", write_hostile_agents(tmp_path)), tmp_path / "runs")
    assert [record.incomplete for record in records] == ["stopped: --max-steps 60"] * 2


def test_an_agent_whose_parent_is_killed_ends(tmp_path: Path) -> None:
    """In the middle of a step too."""
    folder = write_hostile_agents(tmp_path)
    code = f"""
from pathlib import Path
from tests.board.verification.test_remote import hostile
agent = hostile("Sleeper", Path({str(folder)!r})).make()
print(agent._process._process.pid, flush=True)
agent.learn(1)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    agent = int(parent.stdout.readline())
    time.sleep(0.5)  # until the agent is in its step
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _is_alive(agent):
        time.sleep(0.05)
    assert not _is_alive(agent)


def _is_alive(process: int) -> bool:
    """Whether there is such a process, which isn't a zombie."""
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def test_a_baseline_trains_with_the_entrys_optimizer(tmp_path: Path) -> None:
    """The process of the agent loads the optimizer from the entry's file; the exams are those of a run here."""
    (tmp_path / "agent.py").write_text(LION, encoding="utf-8")
    module = ModuleType("a_lion")
    exec(LION, module.__dict__)
    here = recipe("mlp", optimizer={"target": module.__dict__["Lion"], "lr": 1e-3}, name="lion")
    tables = here.plain_hyperparameters | {"optimizer": {"target": "agent:Lion", "lr": 1e-3}}
    there = remote(Recipe("lion", here.target, tables, here.source), tmp_path)
    records, remote_records = run(here, tmp_path / "here"), run(there, tmp_path / "there")
    assert [record.exams for record in records] == [record.exams for record in remote_records]
    assert len(records[0].exams) > 5
    command = sandboxed_command(SERVE, tmp_path)
    if command is not None:
        assert replace(there, command=tuple(command)).make().feature_dims == (256,)
