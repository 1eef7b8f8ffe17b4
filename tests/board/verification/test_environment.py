"""The environment of an agent's process: it computes as the process that writes the records, and gets no secret."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from grokbench.board.verification.environment import ARITHMETIC_VARIABLES, agent_environment
from grokbench.board.verification.isolation import SERVE
from grokbench.board.verification.process import Limits
from grokbench.board.verification.remote import RemoteRecipe
from grokbench.board.verification.sandbox import container_command
from grokbench.errors import RemoteError
from grokbench.runs.cores import computing_threads
from tests.support.hostile import write_hostile_agents

TELLER = """
import os, time
import torch
from grokbench.agents.agent import Agent

{first}

class Teller(Agent):
    feature_dims = (2,)
    def reset(self, observation, spec): pass
    def learn(self, steps): return {{"told": {told}}}
    def act(self): return {{}}
    def state_dict(self): return {{}}
    def load_state_dict(self, state): pass
"""

SAME_EXAMS = """
import sys
from pathlib import Path
from grokbench.agents.recipes import find_recipe
from tests.board.verification.test_remote import remote, run

out = Path(sys.argv[1])
recipe = find_recipe("mlp")
here, there = run(recipe, out / "here"), run(remote(recipe, out), out / "there")
print(here[0].provenance.device)
assert [record.exams for record in here] == [record.exams for record in there]
"""


def told(folder: Path, expression: str, *, first: str = "", limits: Limits | None = None) -> object:
    """What an agent in a process of its own finds. `first` runs when its file is imported."""
    (folder / "agent.py").write_text(TELLER.format(first=first, told=expression), encoding="utf-8")
    recipe = RemoteRecipe(name="entry", target="agent:Teller", command=SERVE, folder=folder, limits=limits or Limits())
    report = recipe.make().learn(1)
    assert report is not None
    return report["told"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("MKL_CBWR", "COMPATIBLE"), ("OPENBLAS_CORETYPE", "Haswell"), ("PYTHONHASHSEED", "5"), ("GLIBC_TUNABLES", "glibc.x=1")],
)
def test_what_changes_arithmetic_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The agent's process finds the value that this process has."""
    monkeypatch.setenv(name, value)
    assert told(tmp_path, f"os.environ.get({name!r})") == value


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MKL_SECRET", "PYTHONPATH", "LD_PRELOAD"])
def test_nothing_else_is_passed_on(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The list has names, not beginnings of names."""
    monkeypatch.setenv(name, "secret")
    assert name not in agent_environment(threads=1, memory=1)


def test_the_instruction_set_is_that_of_the_record(tmp_path: Path) -> None:
    """A run with the oldest instructions repeats to the bit in the agent's process, and its record states them."""
    command = [sys.executable, "-c", SAME_EXAMS, str(tmp_path)]
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "default"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "DEFAULT" in done.stdout.upper() or "NO AVX" in done.stdout.upper()


def test_the_process_computes_on_the_threads_that_the_record_states(tmp_path: Path) -> None:
    """On more threads than there are cores too. The variables alone leave torch with as many as there are cores."""
    threads = (os.cpu_count() or 1) + 1
    with computing_threads(threads):
        here = torch.get_num_threads()
    assert told(tmp_path, "torch.get_num_threads()", limits=Limits(threads=threads)) == here == threads


def test_a_container_gets_the_same_variables() -> None:
    """Docker passes on the values that it finds itself."""
    command = container_command("image", Path("/home"), seconds=1)
    options = command[: command.index("image")]
    assert {f"--env={name}" for name in (*ARITHMETIC_VARIABLES, "OMP_NUM_THREADS")} <= set(options)


def test_starting_takes_no_time_of_the_work(tmp_path: Path) -> None:
    """An agent that takes longer to import than its work may take is served."""
    assert told(tmp_path, "7", first="time.sleep(3)", limits=Limits(seconds=2)) == 7


def test_starting_has_a_limit_of_its_own(tmp_path: Path) -> None:
    """A file that never finishes its import is stopped."""
    with pytest.raises(RemoteError, match="longer than its time limit"):
        told(tmp_path, "7", first="time.sleep(60)", limits=Limits(start_seconds=0.5))


def test_the_time_of_the_work_is_limited_from_the_first_answer(tmp_path: Path) -> None:
    """Waiting between two questions doesn't start it anew."""
    folder = write_hostile_agents(tmp_path)
    agent = RemoteRecipe(name="entry", target="agent:Quiet", command=SERVE, folder=folder, limits=Limits(seconds=1)).make()
    assert agent.learn(1) == {}
    time.sleep(1.1)
    with pytest.raises(RemoteError, match="longer than its time limit"):
        agent.learn(1)
