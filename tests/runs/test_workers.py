"""Worker processes: the same bits as without, and whatever is killed, nothing finished is lost and no process stays."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from grokbench.agents.recipes import Recipe, find_recipe, recipe
from grokbench.board.verification.isolation import SERVE
from grokbench.board.verification.remote import RemoteRecipe
from grokbench.errors import CallbackError, ProtocolError, WorkerError
from grokbench.evaluation.protocol import Exam, Outcome
from grokbench.runs import engine, workers
from grokbench.runs.plan import Run, plan
from grokbench.runs.store import Store
from tests.support.agents import AddingAgent, RaisingAgent
from tests.support.callbacks import Silent

ROOT = Path(__file__).resolve().parents[2]
SHORT = "random_mod5-0.5-to20"
LONG = "random_mod5-0.5-to100000000"
SECONDS_TO_SEE = 60.0


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def run(out: Path, recipes: list[Recipe], task: str = SHORT, processes: int = 2, **options: Any) -> tuple[bool, Silent]:
    """Run seeds 0 and 1; returns whether all is complete, and the callback."""
    callback = options.pop("callback", None) or Silent()
    plans = plan([task], recipes, seeds=[0, 1])
    complete = engine.run(plans, Store(out), callbacks=[callback], device="cpu", processes=processes, **options)
    return complete, callback


def records(out: Path) -> dict[str, dict[str, Any]]:
    """All records by their path below the folder, without the seconds, which differ between identical runs."""
    found = {str(path.relative_to(out)): json.loads(path.read_text()) for path in out.rglob("*.json")}
    for record in found.values():
        record["cost"].pop("seconds")
    return found


def right_answers(out: Path, below: str = "") -> dict[str, list[tuple[int, int]]]:
    """The train and held-out questions that each run answered right, exam by exam."""
    paths = [path for folder in (out.glob(below) if below else [out]) for path in folder.rglob("*.json")]
    return {path.name: [(e["train"], e["held_out"]) for e in json.loads(path.read_text())["exams"]] for path in paths}


def test_a_path_on_the_search_path_reaches_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python takes text alone from there, and passes over anything else."""
    monkeypatch.setattr(sys, "path", [*sys.path, Path("lib")])
    assert run(tmp_path, [find_recipe("mlp")])[0]


@contextmanager
def command(out: Path, *, task: str = LONG) -> Iterator[subprocess.Popen[str]]:
    """`grokbench run` of two long cohorts in two workers, once both have taken an exam and kept it."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import grokbench.runs.loop as r; r.SECONDS_BETWEEN_CHECKPOINTS = 0; "
         "from grokbench.cli import main; main()",
         "run", "--agents", "tests.support.agents:AddingAgent", "--tasks", task, "--seeds", "0-1", "--device", "cpu",
         "--processes", "2", "--out", str(out)],
        cwd=ROOT, text=True, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_until(lambda: len(list(out.rglob("*.safetensors"))) == 2)
        yield process
    finally:
        process.kill()
        process.wait()


def children(process: int) -> list[int]:
    """The processes that this one has started."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_alive(process: int) -> bool:
    """Whether there is such a process, which isn't a zombie."""
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait until something has happened, and fail if it hasn't after a minute."""
    deadline = time.monotonic() + SECONDS_TO_SEE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_processes_change_no_record(tmp_path: Path) -> None:
    """A baseline's cohort and the single runs of a class that no other process can import, in one process and in two."""

    class Local(AddingAgent):
        """Reports more."""

        @override
        def learn(self, steps: int) -> dict[str, Any]:
            return super().learn(steps) | {"so_far": self.steps}

    recipes = [find_recipe("mlp"), recipe(Local)]
    complete, callback = run(tmp_path / "two", recipes)
    assert complete
    assert callback.ends == ["censored"] * 4
    run(tmp_path / "one", recipes, processes=1)
    assert len(records(tmp_path / "one")) == 4
    assert records(tmp_path / "two") == records(tmp_path / "one")


class KillsAWorker(Silent):
    """Kills the worker of a run as soon as the run has taken an exam."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed: int | None = seed

    @override
    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        if run.seed == self.seed:
            self.seed = None
            os.kill(int(exam.metrics["process"][0]) if exam.metrics else 0, signal.SIGKILL)


class TellingAgent(AddingAgent):
    """Reports its process, and takes its time."""

    @override
    def learn(self, steps: int) -> dict[str, Any]:
        time.sleep(0.2)
        return super().learn(steps) | {"process": [os.getpid()]}


def test_a_killed_worker_fails_its_own_run_until_the_next_command(tmp_path: Path) -> None:
    """The other run, and the run that waits for a worker, are made. The killed run has no record; the same command makes it."""
    plans = plan([SHORT], [recipe(TellingAgent)], seeds=[0, 1, 2])
    callback, store = KillsAWorker(0), Store(tmp_path)
    assert not engine.run(plans, store, callbacks=[callback], device="cpu", processes=2)
    death = "failed: worker killed by signal 9; its runs continue from the last checkpoint when the command is run again"
    assert sorted(callback.ends) == ["censored", "censored", death]
    assert {path.name for path in tmp_path.rglob("*.json")} == {"seed-1.json", "seed-2.json"}
    again = Silent()
    assert engine.run(plans, store, callbacks=[again], device="cpu", processes=2)
    assert again.ends == ["censored"]
    assert engine.run(plans, Store(tmp_path / "whole"), device="cpu", processes=1)
    assert right_answers(tmp_path / "whole") == right_answers(tmp_path, below="random*")


def test_a_failing_agent_fails_in_a_worker_as_it_does_here(tmp_path: Path) -> None:
    """Its records are the same, and the line of its code is named."""
    recipes = [recipe(RaisingAgent)]
    complete, callback = run(tmp_path / "two", recipes, task="add_mod5-0.5-to100")
    assert not complete
    assert all("RuntimeError: it broke (agents.py, line " in reason for reason in callback.ends)
    run(tmp_path / "one", recipes, task="add_mod5-0.5-to100", processes=1)
    assert records(tmp_path / "two") == records(tmp_path / "one")


class Refusing(Silent):
    """Raises at the first exam, and remembers the workers: the processes that have started since it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.before = children(os.getpid())  # of other tests

    @override
    def on_exam(self, run: Run, exam: Exam, outcome: Outcome) -> None:
        self.workers = [child for child in children(os.getpid()) if child not in self.before]
        raise ZeroDivisionError


def test_a_callback_that_raises_stops_the_workers(tmp_path: Path) -> None:
    """Its error names it, and no worker is left."""
    callback = Refusing()
    with pytest.raises(CallbackError, match="Refusing failed, a callback: ZeroDivisionError"):
        run(tmp_path, [recipe(AddingAgent)], LONG, callback=callback)
    assert len(callback.workers) == 2
    assert not any(map(is_alive, callback.workers))


def test_a_worker_that_cannot_start_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its exit status and a remedy."""
    monkeypatch.setattr(workers, "START", "import sys; sys.exit(7)")
    with pytest.raises(WorkerError, match="ended with exit status 7 before it was ready: run the command with --processes 1"):
        run(tmp_path, [recipe(AddingAgent)])


IMPOSSIBLE = [{"processes": 0}, {"threads": 0}, {"threads": "1"}, *({"max_steps": n} for n in (-5, 0, float("nan"), 1.5, "10"))]


@pytest.mark.parametrize("options", IMPOSSIBLE)
def test_impossible_numbers(tmp_path: Path, options: dict[str, Any]) -> None:
    """Before anything runs."""
    with pytest.raises((WorkerError, ProtocolError), match=r"must be at least 1|from 1 up"):
        run(tmp_path, [find_recipe("mlp")], **options)
    assert not list(tmp_path.iterdir())


def test_an_agent_that_cannot_be_sent_runs_here(tmp_path: Path) -> None:
    """A message says so."""

    class Holding(AddingAgent):
        """Holds a lock."""

        lock = threading.Lock()

    complete, callback = run(tmp_path, [recipe(Holding)])
    assert complete
    assert "Holding can't be sent to another process" in callback.messages[0]


def test_a_remote_agent_in_a_worker(tmp_path: Path) -> None:
    """Each worker has its own process for the agent; the exams are the same to the bit."""
    mlp = find_recipe("mlp")
    remote = RemoteRecipe(
        name="mlp", target=mlp.target, hyperparameters=mlp.hyperparameters, command=SERVE, folder=tmp_path / "agent"
    )
    remote.folder.mkdir()
    plans = plan([SHORT, "add_mod5-0.5-to20"], [remote], seeds=[0])
    assert engine.run(plans, Store(tmp_path / "two"), device="cpu", processes=2)
    assert engine.run(plans, Store(tmp_path / "one"), device="cpu", processes=1)
    assert records(tmp_path / "two") == records(tmp_path / "one")


def test_a_killed_parent_leaves_no_process(tmp_path: Path) -> None:
    """Its workers end by themselves within a second or so."""
    with command(tmp_path) as process:
        found = children(process.pid)
        assert len(found) == 2
        process.kill()
        process.communicate()
        wait_until(lambda: not any(map(is_alive, found)))
    assert not list(tmp_path.rglob("*.json"))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_ctrl_c_ends_command_and_workers(tmp_path: Path) -> None:
    """Also if the whole group gets it, as from a terminal: status 130, a message, no traceback, no process."""
    with command(tmp_path) as process:
        found = children(process.pid)
        for each in (*found, process.pid):
            os.kill(each, signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "where the others were saved last" in errors
    assert "Traceback" not in errors
    assert not any(map(is_alive, found))
