"""The engine: records, resuming after SIGKILL, two processes, failing agents, checkpoints of other code, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from grokbench.agents.recipes import Recipe, find_recipe, recipe
from grokbench.errors import AgentError, RecipeError
from grokbench.runs import engine, execution
from grokbench.runs.plan import Cohort, Experiment, Run, plan
from grokbench.runs.records import RunRecord, read_record
from grokbench.runs.store import Store, find_records, read_checkpoint
from grokbench.tasks import parse_id
from tests.support.callbacks import Silent

ROOT = Path(__file__).resolve().parents[2]
TASK = "add_mod5-0.5"
AGENTS = "tests.support.agents"


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def run(out: Path, agent: str = "mlp", task: str = TASK, seeds: tuple[int, ...] = (0, 1), **options: Any) -> Silent:
    """Run in this process, for 300 steps by default; returns the callback."""
    callback = Silent()
    options = {"max_steps": 300} | options
    engine.run(plan([task], [find_recipe(agent)], seeds=seeds), Store(out), callbacks=[callback], device="cpu", **options)
    return callback


def records(out: Path) -> list[dict[str, Any]]:
    """All records below a folder, without the seconds, which differ between identical runs."""
    found = [json.loads(path.read_text()) for path in sorted(out.rglob("*.json"))]
    for record in found:
        record["cost"].pop("seconds")
    return found


def shell(*arguments: str, every_exam: bool = True) -> subprocess.Popen[str]:
    """The command line as another process, with a checkpoint after every exam."""
    code = "import grokbench.runs.loop as r; r.SECONDS_BETWEEN_CHECKPOINTS = 0; from grokbench.cli import main; main()"
    plain = "from grokbench.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code if every_exam else plain, *arguments],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_an_unknown_device_is_named(tmp_path: Path) -> None:
    """Before anything runs."""
    with pytest.raises(AgentError, match="device must be one of auto, cpu, cuda, got 'gpu'"):
        engine.run(plan([TASK], [find_recipe("mlp")], seeds=[0]), Store(tmp_path), device="gpu")


def test_a_run_leaves_one_record_that_says_everything(tmp_path: Path) -> None:
    """Identical runs leave identical records, which state task, cohort, exams, outcome, cost and provenance."""
    for out in (tmp_path / "a", tmp_path / "b"):
        run(out, task="random_mod23-0.5", max_steps=None, seeds=(0,))
    (record,) = records(tmp_path / "a")
    assert record == records(tmp_path / "b")[0]
    assert record["task"] == "random_mod23-0.5-v1"
    assert record["cost"]["steps"] == record["exams"][-1]["step"] == 493
    assert record["cost"]["examples"] == 264 * 493
    assert record["incomplete"] is None
    assert record["outcome"]["end"] == "censored"
    assert record["provenance"]["versions"]["torch"]
    assert record["cohort"] == [0]


def test_max_steps_pauses_and_a_later_run_goes_on(tmp_path: Path) -> None:
    """The records are incomplete at first. In the end the exams are those of an uninterrupted run."""
    assert run(tmp_path / "a", max_steps=107).ends == ["stopped: --max-steps 107"] * 2
    assert all(record["incomplete"] and record["exams"][-1]["step"] == 105 for record in records(tmp_path / "a"))
    run(tmp_path / "a", max_steps=300)
    run(tmp_path / "b", max_steps=300)
    assert records(tmp_path / "a") == records(tmp_path / "b")


@pytest.mark.parametrize("agent", ["transformer2", f"{AGENTS}:AddingAgent"])
def test_a_killed_run_ends_as_one_never_interrupted(tmp_path: Path, agent: str) -> None:
    """However often a run is killed, at whatever moment, its exams are the same to the bit."""
    arguments = ("--agents", agent, "--tasks", "add_mod7-0.6", "--seeds", "0", "1", "2", "--device", "cpu")
    command = ("run", *arguments, "--max-steps", "200", "--out")
    whole = shell(*command, str(tmp_path / "whole"), every_exam=False)
    errors = whole.communicate()[1]
    assert whole.returncode == 0, errors
    killed, out = 0, tmp_path / "killed"
    for _ in range(3):
        process = shell(*command, str(out))
        deadline = time.monotonic() + 60
        seen = {path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
        while process.poll() is None and time.monotonic() < deadline:
            if {path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} - seen:
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.002)
        process.communicate()
    last = shell(*command, str(out))
    last.communicate()
    assert killed
    assert records(out) == records(tmp_path / "whole")


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    """Two processes on one folder never make the same run, and every record is whole."""
    arguments = ("run", "--agents", "mlp", "--tasks", TASK, "--seeds", "0", "1", "2", "--max-steps", "600", "--out")
    processes = [shell(*arguments, str(tmp_path), every_exam=False) for _ in range(2)]
    outputs = [process.communicate()[1] for process in processes]
    assert len(records(tmp_path)) == 3
    assert all("Traceback" not in output for output in outputs)
    done = sum(output.count("stopped: --max-steps") for output in outputs)
    assert done in (3, 6)  # six if the second came after the first had gone: then it only finds the pause again


def test_a_held_run_is_left_alone(tmp_path: Path) -> None:
    """A run that another process holds is left alone, and the callback hears so."""
    held = plan([TASK], [find_recipe("mlp")], seeds=[0])[0].runs
    with Store(tmp_path).claim_all(held) as claimed:
        assert claimed == held
        assert run(tmp_path, seeds=(0,)).ends == ["another process is at it"]
    assert not records(tmp_path)


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        ("RaisingAgent", "RuntimeError: it broke (agents.py, line "),
        ("NonsenseAgent", "answers must have"),
        ("ExitingAgent", "failed: SystemExit: caf\\udce9"),
        ("NumberingAgent", "a dict with text as keys"),
        ("PricelessAgent", "cost() gives parameters = True"),
    ],
)
def test_a_failing_agent_fails_its_own_runs_only(tmp_path: Path, agent: str, why: str) -> None:
    """The failing agent's records and the table say why. The other agent's runs go on."""
    from grokbench.results.tables import report

    recipes = [find_recipe(f"{AGENTS}:{agent}"), find_recipe(f"{AGENTS}:AddingAgent")]
    engine.run(plan([TASK], recipes, seeds=[0, 1]), Store(tmp_path), callbacks=[Silent()], device="cpu", max_steps=200)
    found, errors = find_records([tmp_path])
    assert not errors
    assert [why in str(record.incomplete) for record in found].count(True) == 2
    assert why in report(found)


def test_divergence_is_censored_and_no_nan_reaches_the_file(tmp_path: Path) -> None:
    """The run ends as diverged, its last exam has no ranks, and no NaN reaches the file."""
    run(tmp_path, f"{AGENTS}:DivergingAgent", seeds=(0,))
    (record,) = records(tmp_path)
    assert record["outcome"]["end"] == "diverged"
    assert "ranks" not in record["exams"][-1]
    assert record["exams"][-1]["diverged"] is True
    assert not any("diverged" in exam for exam in record["exams"][:-1])
    assert "NaN" not in next(tmp_path.rglob("*.json")).read_text()


def test_a_checkpoint_that_the_agent_refuses_is_set_aside(tmp_path: Path) -> None:
    """The runs start over, and a message says so."""
    run(tmp_path, f"{AGENTS}:ForgetfulAgent", max_steps=100)
    callback = run(tmp_path, f"{AGENTS}:ForgetfulAgent", max_steps=200)
    assert any("can't go on from it (KeyError: 'weights')" in note for note in callback.messages)
    assert list(tmp_path.rglob("*.safetensors*"))
    found = records(tmp_path)
    assert [record["exams"][-1]["step"] for record in found] == [200, 200]
    assert all([exam["step"] for exam in record["exams"]] == list(range(5, 201, 5)) for record in found)


def test_a_checkpoint_of_other_code_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two versions of the code never make one run: it starts over, and a message says so."""
    run(tmp_path, max_steps=100)
    with monkeypatch.context() as patch:
        patch.setattr(execution, "code_hash", lambda: "another")
        callback = run(tmp_path, max_steps=200)
    assert any("another version of grokbench's code" in note for note in callback.messages)
    assert len(list(tmp_path.rglob("*.damaged"))) == 1
    assert [record["exams"][0]["step"] for record in records(tmp_path)] == [5, 5]


def test_a_run_made_in_two_ways_is_nothing_to_repeat(tmp_path: Path) -> None:
    """A run that was resumed with other threads has no code hash in its record, so nothing holds it to repeating."""
    run(tmp_path, max_steps=50)
    assert all(record["provenance"]["code"] for record in records(tmp_path))
    run(tmp_path, max_steps=100, threads=2)
    run(tmp_path, max_steps=150)
    assert [record["exams"][-1]["step"] for record in records(tmp_path)] == [150, 150]
    assert not any("code" in record["provenance"] for record in records(tmp_path))


def test_a_checkpoint_that_another_process_took_further_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cohort that was planned from a checkpoint isn't resumed after another process went on with it."""
    run(tmp_path, max_steps=50)
    (path,) = tmp_path.rglob("cohort-*")
    experiment = Experiment(parse_id(TASK), find_recipe("mlp"), "")
    before = Cohort(tuple(Run(experiment, seed) for seed in (0, 1, 2)), path)
    with monkeypatch.context() as patch:
        patch.setattr(engine._Engine, "_cohorts", lambda *_: [before])
        callback = run(tmp_path, seeds=(0, 1, 2))
    assert "run the command again" in callback.messages[0]
    assert path.exists()
    assert len(run(tmp_path, seeds=(0, 1, 2)).ends) == 3


def test_ctrl_c_stops_cleanly(tmp_path: Path) -> None:
    """Status 130 and a message, no traceback."""
    process = shell("run", "--agents", "mlp", "--tasks", f"{TASK}-to1000000", "--seeds", "0", "--out", str(tmp_path))
    assert process.stderr is not None
    assert "step 5," in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "where the others were saved last" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_young_run_that_is_stopped_is_saved(tmp_path: Path, number: signal.Signals) -> None:
    """It goes on from the exam at which it stopped, though no checkpoint was due, to the bits of an uninterrupted run."""
    command = ("run", "--agents", "mlp", "--tasks", f"{TASK}-to5000", "--seeds", "0", "--device", "cpu", "--out")
    process = shell(*command, str(tmp_path / "parts"), every_exam=False)
    assert process.stderr is not None
    assert "step 5," in process.stderr.readline()
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    (path,) = tmp_path.rglob("*.safetensors")
    assert read_checkpoint(path)["step"] > 5
    for folder in ("parts", "whole"):
        last = shell(*command, str(tmp_path / folder), every_exam=False)
        last.communicate()
        assert last.returncode == 0
    assert records(tmp_path / "parts") == records(tmp_path / "whole")


def test_a_resume_in_another_environment_says_what_differs(tmp_path: Path) -> None:
    """Other threads end the promise to repeat to the bit."""
    run(tmp_path, max_steps=50)
    (message,) = run(tmp_path, max_steps=100, threads=2).messages
    assert "goes on in another environment (threads 1 → 2); its records no longer promise to repeat to the bit" in message


def test_a_finished_record_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose runs are all finished reads each of their records once, and makes no agent."""
    run(tmp_path, task="random_mod5-0.5-to30", max_steps=None)
    read: list[Path] = []

    def counted(path: Path) -> RunRecord:
        read.append(path)
        return read_record(path)

    monkeypatch.setattr("grokbench.runs.store.read_record", counted)
    monkeypatch.setattr(Recipe, "make", lambda recipe: pytest.fail("an agent was made"))
    run(tmp_path, task="random_mod5-0.5-to30", max_steps=None)
    assert sorted(path.name for path in read) == ["seed-0.json", "seed-1.json"]


def test_finished_runs_need_no_place_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as those on a read-only disk: there is nothing left to do."""
    plans = plan(["add_mod5-0.5-to20"], [find_recipe(f"{AGENTS}:AddingAgent")], seeds=[0])
    assert engine.run(plans, Store(tmp_path), device="cpu")
    monkeypatch.setattr(Store, "prepare", lambda store: pytest.fail("it is written to"))
    assert engine.run(plans, Store(tmp_path), device="cpu")


def test_a_recipe_that_makes_no_agent_is_reported_before_anything_runs(tmp_path: Path) -> None:
    """The error is raised, and nothing is written."""
    with pytest.raises(RecipeError, match="lr must be a number above 0"):
        engine.run(plan([TASK], [recipe("mlp", optimizer={"lr": -1.0})], seeds=[0]), Store(tmp_path))
    assert not list(tmp_path.rglob("*.json"))


def test_a_run_that_another_process_finished_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record was completed between the plan and the claim, while the checkpoint still holds the run."""
    run(tmp_path, max_steps=50)
    (checkpoint,) = tmp_path.rglob("cohort-*")
    planned = Cohort(tuple(plan([TASK], [find_recipe("mlp")], seeds=[0, 1])[0].runs), checkpoint)
    store = Store(tmp_path)
    first = planned.runs[0]
    complete = read_record(store.record_path(first)).model_copy(update={"incomplete": None})
    store.write_record(first, complete)
    with monkeypatch.context() as patch:
        patch.setattr(engine._Engine, "_cohorts", lambda *_: [planned])
        run(tmp_path, max_steps=100)
    assert read_record(store.record_path(first)) == complete
    assert read_record(store.record_path(planned.runs[1])).exams[-1].step == 100
