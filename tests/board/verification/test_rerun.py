"""Re-execution: the agent in a child process, what a salt chooses, and the test that new runs are slower."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.files import Entry
from grokbench.board.verification.remote import RemoteRecipe
from grokbench.board.verification.rerun import FRESH, chosen_runs, judge, verify
from grokbench.board.verification.sandbox import sandbox
from grokbench.board.verification.wire import send
from grokbench.errors import RemoteError
from grokbench.results.statistics import slower_p
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.records import RunRecord
from grokbench.runs.store import Store, find_records
from tests.support.callbacks import Silent
from tests.support.entries import good_runs, run_of, write

COMMAND = [sys.executable, "-m", "grokbench.board.verification.serve"]
HOSTILE = """
import os, socket, sys, time
class Quiet:
    feature_dims = (2,)
    def reset(self, observation, spec):
        print("to standard output", flush=True)
        self.table, self.spec = observation, spec
    def learn(self, steps):
        return {}
    def act(self):
        import numpy as np
        return {"answers": np.zeros(25, dtype=int), "features": np.ones((25, 2))}
    def state_dict(self): return {}
    def load_state_dict(self, state): pass
class Spy(Quiet):
    def learn(self, steps):
        secrets = [name for name in os.environ if "TOKEN" in name]
        if secrets: raise RuntimeError(f"secrets: {secrets}")
        for what, reach in REACH.items():
            try: reach()
            except OSError: continue
            raise RuntimeError(what)
        return {}
REACH = {
    "the network is there": lambda: socket.create_connection(("127.0.0.1", PORT), timeout=2).close(),
    "a file of the user's can be read": lambda: open("SECRET").close(),
    "the parent's runs can be read": lambda: os.listdir("FOLDER"),
    "its own folder can be written": lambda: open("planted", "w").close(),
    "another process is there": lambda: os.kill(PARENT, 0),
    "it has privileges": lambda: privileged(),
}
def privileged():
    effective = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")]
    if int(effective[0], 16) == 0: raise OSError("none")
class Backwards(Quiet):
    batched, seeds_together = True, -1
class Wide(Quiet):
    feature_dims = (2**40,)
class Sleeper(Quiet):
    def learn(self, steps): time.sleep(60)
class Quitter(Quiet):
    def learn(self, steps): os._exit(3)
class Talker(Quiet):
    def learn(self, steps):
        for fd in range(3, 20):
            try: os.write(fd, b"x" * 100)
            except OSError: pass
        return {}
class Eater(Quiet):
    def learn(self, steps): self.food = bytearray(200 << 30)
"""


def remote(recipe: Recipe, folder: Path, command: list[str] | None = None, seconds: float = 60) -> RemoteRecipe:
    """The recipe with its agent in a child process."""
    line = tuple(command or COMMAND)
    limits, widths = (seconds, 64 << 30), frozenset({(2,), (256,)})
    return RemoteRecipe(recipe.name, recipe.target, recipe.hyperparameters, recipe.source, line, folder, limits, widths)


def run(recipe: Recipe, out: Path, task: str = "add_mod5-0.5", steps: int = 60) -> list[RunRecord]:
    """Two seeds for a few steps."""
    engine.run(plan([task], [recipe], seeds=[0, 1]), Store(out), callbacks=[Silent()], device="cpu", max_steps=steps)
    return sorted(find_records([out])[0], key=lambda record: record.seed)


def test_a_remote_agent_is_the_agent(tmp_path: Path) -> None:
    """A baseline in a child takes the same exams, to the bit."""
    recipe = find_recipe("mlp")
    here, there = run(recipe, tmp_path / "here"), run(remote(recipe, tmp_path), tmp_path / "there")
    assert len(here) == 2
    assert [record.exams for record in here] == [record.exams for record in there]
    assert [record.cost.flops for record in here] == [record.cost.flops for record in there]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with agents that mean no good."""
    (tmp_path / "agent.py").write_text(HOSTILE.replace("PORT", "1"), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Quitter", "the agent's process ended"),
        ("Backwards", "takes -1 seeds together"),
        ("Wide", "other ones than in its claimed runs"),
        ("Talker", "a message|took longer|ended"),
        ("Eater", "MemoryError"),
        ("Missing", "can't load the agent"),
    ],
)
def test_hostile_agents_fail_their_runs(hostile: Path, name: str, why: str) -> None:
    """Whatever the child does, the parent goes on and says what happened."""
    records = run(remote(Recipe("entry", f"agent:{name}", {}), hostile, seconds=10), hostile / "runs")
    assert all(record.incomplete and re.search(why, record.incomplete) for record in records)


def test_a_child_that_never_reads_is_not_waited_for() -> None:
    """Once its pipe is full."""
    source, target = os.pipe()
    os.set_blocking(target, False)
    with os.fdopen(target, "wb", buffering=0) as stream, pytest.raises(RemoteError, match="longer than it may"):
        send(stream, {"table": np.zeros(1_000_000)}, time.monotonic() + 0.2)
    os.close(source)


def test_what_fails_before_the_agent_is_not_the_entrys_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox in which no baseline runs ends `verify` without a verdict; so do no cell and too little time."""
    folder = write(tmp_path / "good")
    monkeypatch.setattr("grokbench.board.verification.rerun.sandbox", lambda command, home: ["false"])
    for cells, seconds, why in (
        (1, 60, "can't serve a baseline here"),
        (0, 60, "at least one cell"),
        (1, 1, "took 1 s .* allow at least 2"),
    ):
        with pytest.raises(ValueError, match=why):
            verify(check_entry(folder), folder, cells, "salt", tell, seconds=seconds)


def test_a_slow_agent_is_stopped(hostile: Path) -> None:
    """It doesn't get longer than it may."""
    agent = remote(Recipe("entry", "agent:Sleeper", {}), hostile, seconds=5).make()
    started = time.monotonic()
    with pytest.raises(RemoteError, match="longer than it may"):
        agent.learn(1)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("tool", ["bwrap", "unshare"])
def test_the_sandbox_has_no_network_and_no_secrets(hostile: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    """What the parent can reach is out of the child's reach, whichever tool boxes it, and its environment is empty."""
    home = hostile / "agent"
    home.mkdir()
    find = shutil.which
    monkeypatch.setattr("grokbench.board.verification.sandbox.shutil.which", lambda name: find(name) if name == tool else None)
    boxed = sandbox(COMMAND, home)
    if boxed is None:
        pytest.skip(f"{tool} makes no sandbox here")
    (hostile / "secret").write_text("")
    monkeypatch.setenv("TOKEN", "secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        here = {"PORT": port, "SECRET": hostile / "secret", "FOLDER": hostile, "PARENT": os.getpid()}
        code = HOSTILE
        for name, value in here.items():
            code = code.replace(name, str(value))
        (hostile / "agent.py").write_text(code, encoding="utf-8")
        recipe = remote(Recipe("entry", "agent:Spy", {}), hostile)
        bare = recipe.make()
        with pytest.raises(RemoteError, match="the network is there"):
            bare.learn(1)
        shutil.copy(hostile / "agent.py", home)
        assert remote(Recipe("entry", "agent:Spy", {}), home, boxed).make().learn(1) == {}


def test_the_sandbox_limits_processes(tmp_path: Path) -> None:
    """Root's too, which the system itself doesn't count."""
    code = (
        "import os, resource; resource.setrlimit(resource.RLIMIT_NPROC, (5, 5)); [os.fork() or os._exit(0) for _ in range(30)]"
    )
    (home := tmp_path / "agent").mkdir()
    boxed = sandbox([sys.executable, "-c", code], home)
    if boxed is None or boxed[0] != "bwrap":
        pytest.skip("no bubblewrap here")
    done = subprocess.run(boxed, capture_output=True, text=True, check=False)
    assert "Resource temporarily unavailable" in done.stderr


def test_the_salt_chooses(tmp_path: Path) -> None:
    """Scored cells alone, the same for the same salt, others for another."""
    entry = check_entry(write(tmp_path / "good")).entry
    assert entry is not None
    first = chosen_runs(entry, 4, "a")
    assert first == chosen_runs(entry, 4, "a") != chosen_runs(entry, 4, "b")
    assert all(not task.startswith("random") for task, _ in chosen_runs(entry, 100, "a"))
    assert len(chosen_runs(entry, 100, "a")) == 20


class Planned(Exception):
    """How many runs a watcher was told of."""


def tell(planned: int) -> NoReturn:
    """In place of a progress display: stop as soon as the number is known."""
    raise Planned(planned)


def test_progress_knows_how_many_runs_there_are(tmp_path: Path) -> None:
    """A batch of one for every cell, and the fresh runs of every task chosen."""
    folder = write(tmp_path / "good")
    for cells, tasks in ((1, 1), (20, 2)):
        with pytest.raises(Planned) as told:
            verify(check_entry(folder), folder, cells, "salt", tell, sandboxed=False)
        assert told.value.args == (cells + tasks * FRESH,)


def entry_of(folder: Path) -> Entry:
    """A good entry."""
    entry = check_entry(write(folder / "good")).entry
    assert entry is not None
    return entry


def test_a_run_that_repeats_is_no_new_evidence(tmp_path: Path) -> None:
    """The same exams: repeated; the salted runs alone are compared."""
    entry = entry_of(tmp_path)
    again, fresh = entry.runs[3], run_of(entry.runs[3].task, 11, 1_000, find_recipe("transformer"))
    fresh = fresh.model_copy(update={"salt": "s"})
    found = judge(entry, "s", [(again.task, 3)], [again, fresh], sandboxed=True)
    assert found.repeated == [(again.task, 3)]
    assert len(found.fresh[again.task].new) == 1
    assert found.passed
    assert found.digest == entry.digest


def test_a_run_that_differs(tmp_path: Path) -> None:
    """On the same machine it speaks against the entry; elsewhere it is compared with the others."""
    entry = entry_of(tmp_path)
    other = good_runs(luck=1)[3]
    cell = (other.task, other.seed)
    here = judge(entry, "s", [cell], [other], sandboxed=True)
    assert here.differing == [cell]
    assert not here.passed
    assert judge(entry, "s", [cell], [other], sandboxed=True, comparable=False).passed
    for change in ({"threads": 1}, {"code": "1" * 64}, {"code": None}):
        elsewhere = other.model_copy(update={"provenance": other.provenance.model_copy(update=change)})
        there = judge(entry, "s", [cell], [elsewhere], sandboxed=True)
        assert there.differing == []
        assert len(there.fresh[other.task].new) == 1
        assert there.passed
    newer = other.model_copy(update={"provenance": other.provenance.model_copy(update={"commit": "another, of the same code"})})
    assert judge(entry, "s", [cell], [newer], sandboxed=True).differing == [cell]


def test_a_run_that_fails(tmp_path: Path) -> None:
    """It is named, with its reason."""
    entry = entry_of(tmp_path)
    crashed = entry.runs[3].model_copy(update={"incomplete": "out of memory"})
    found = judge(entry, "s", [(crashed.task, 3)], [crashed], sandboxed=False)
    assert found.failed == [f"{crashed.task} seed 3: out of memory"]
    assert not found.passed
    assert "NOT PASSED" in str(found)


def test_slower_p_has_its_level_and_power() -> None:
    """Honest claims are refused at the stated rate; claims of a third of the truth nearly always."""
    random = np.random.default_rng(0)

    def draw(factor: float) -> float:
        claimed = random.lognormal(7, 0.4, (2, 10)) * factor
        return slower_p(claimed.tolist(), random.lognormal(7, 0.4, (2, 3)).tolist())

    honest = np.array([draw(1) for _ in range(300)])
    assert 0.02 <= (honest < 0.05).mean() <= 0.09
    assert np.mean([draw(1 / 3) < 0.01 for _ in range(30)]) > 0.8
