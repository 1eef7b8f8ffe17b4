"""Runs on Ray: a real cluster of two nodes on this machine, nodes and drivers that are killed, and the same bits as without."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from typing_extensions import override

from grokbench.agents.recipes import Recipe, find_recipe, recipe
from grokbench.errors import AgentError, MissingExtraError, WorkerError
from grokbench.runs import engine, loop, ray_engine
from grokbench.runs.plan import Run, plan
from grokbench.runs.ray_engine import Cluster
from grokbench.runs.store import Store
from tests.support.agents import AddingAgent, RaisingAgent
from tests.support.callbacks import Silent

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

ROOT = Path(__file__).resolve().parents[2]
SHORT, LONG = "random_mod5-0.5-to20", "random_mod5-0.5-to200"
SECONDS_TO_SEE = 90.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a core each. The driver is on the first."""
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False, logging_level="error")
    yield made
    ray.shutdown()
    made.shutdown()


def run(
    out: Path, recipes: list[Recipe], task: str = SHORT, callback: Silent | None = None, **options: Any
) -> tuple[bool, Silent]:
    """Run seeds 0 and 1 on Ray; returns whether all is complete, and the callback."""
    told = callback or Silent()
    plans = plan([task], recipes, seeds=[0, 1])
    return engine.run(plans, Store(out), callbacks=[told], cluster=Cluster(), **options), told


def records(out: Path) -> dict[str, dict[str, Any]]:
    """All records by their path below the folder, without the seconds."""
    found = {str(path.relative_to(out)): json.loads(path.read_text()) for path in out.rglob("*.json")}
    for record in found.values():
        record["cost"].pop("seconds")
    return found


class SlowAgent(AddingAgent):
    """Takes a while for every step, so that it can be killed in the middle. Says on which process it runs."""

    def __init__(self, folder: str = "", seconds: float = 0.02) -> None:
        self.folder, self.seconds = folder, seconds

    @override
    def learn(self, steps: int) -> dict[str, Any]:
        time.sleep(self.seconds * steps)
        if self.folder:
            (Path(self.folder) / f"{self.spec.seed}-{os.getpid()}").touch()
        return super().learn(steps)


class DyingAgent(AddingAgent):
    """Its process dies at the third exam: always, or the first time."""

    def __init__(self, marks: str = "") -> None:
        self.marks = marks

    @override
    def act(self) -> dict[str, Any]:
        mark = Path(self.marks) / str(self.spec.seed)
        if self.steps >= 15 and (not self.marks or not mark.exists()):
            if self.marks:
                mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().act()


def test_the_records_are_those_of_the_local_engine(cluster: Any, tmp_path: Path) -> None:
    """To the bit, for a batched baseline and an agent of one's own."""
    recipes = [recipe("mlp", network={"hidden": [16]}), find_recipe("tests.support.agents:AddingAgent")]
    complete, told = run(tmp_path / "ray", recipes)
    assert complete
    assert told.ends == ["censored"] * 4
    engine.run(plan([SHORT], recipes, seeds=[0, 1]), Store(tmp_path / "local"), callbacks=[Silent()], device="cpu")
    assert records(tmp_path / "ray") == records(tmp_path / "local")
    assert not list((tmp_path / "ray").rglob("*.safetensors"))
    assert run(tmp_path / "ray", recipes)[1].ends == []


def test_a_paused_run_goes_on_with_either_engine(cluster: Any, tmp_path: Path) -> None:
    """Its checkpoint comes back to the driver's folder."""
    small = [recipe("mlp", network={"hidden": [16]})]
    for first in (True, False):
        out = tmp_path / str(first)
        for on_ray, options in ((first, {"max_steps": 10}), (not first, {})):
            place = {"cluster": Cluster()} if on_ray else {"device": "cpu"}
            engine.run(plan([SHORT], small, seeds=[0, 1]), Store(out), callbacks=[Silent()], **place, **options)  # type: ignore[arg-type]
    assert records(tmp_path / "True") == records(tmp_path / "False")
    assert all(record["incomplete"] is None and record["provenance"]["code"] for record in records(tmp_path / "True").values())


def test_an_agents_own_failure_is_not_tried_again(cluster: Any, tmp_path: Path) -> None:
    """Its runs say why, and the others go on."""
    complete, told = run(tmp_path, [recipe(RaisingAgent), recipe(AddingAgent)], LONG)
    assert not complete
    assert sorted(told.ends)[:2] == ["censored", "censored"]
    assert all(end.startswith("failed: ") for end in sorted(told.ends)[2:])
    assert not any("a worker was lost" in message for message in told.messages)


def test_a_worker_that_dies_once_costs_its_steps_since_the_checkpoint(cluster: Any, tmp_path: Path) -> None:
    """As one that runs out of memory does, which the system kills. The runs end complete, with the same exams."""
    (tmp_path / "marks").mkdir()
    complete, told = run(tmp_path / "died", [recipe(DyingAgent, marks=str(tmp_path / "marks"))])
    assert complete
    assert sum("a worker was lost" in message for message in told.messages) == 2
    assert all(record["incomplete"] is None for record in records(tmp_path / "died").values())


def test_a_worker_that_always_dies_fails_its_runs(cluster: Any, tmp_path: Path) -> None:
    """After three times. Another agent's runs are complete."""
    complete, told = run(tmp_path, [recipe(DyingAgent), recipe(AddingAgent)])
    assert not complete
    assert sum(end.startswith("failed: its worker was lost 3 times") for end in told.ends) == 2
    assert told.ends.count("censored") == 2


class Killing(Silent):
    """Kills something at the first exam that is reported, in a thread of its own."""

    def __init__(self, kill: Callable[[], None]) -> None:
        super().__init__()
        self.kill: threading.Thread | None = threading.Thread(target=kill)

    @override
    def on_exam(self, run: Run, exam: Any, outcome: Any) -> None:
        if self.kill is not None:
            self.kill.start()
            self.kill = None


def test_a_killed_node_costs_the_steps_since_the_last_checkpoint(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs of the node go on elsewhere, and all records are those of the local engine, to the bit."""
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    doomed = cluster.add_node(num_cpus=2)
    told = Killing(lambda: cluster.remove_node(doomed, allow_graceful=False))
    slow = [recipe(SlowAgent, seconds=0.02), recipe(SlowAgent, seconds=0.021)]
    complete, _ = run(tmp_path / "ray", slow, LONG, told)
    assert complete
    assert any("a worker was lost" in message for message in told.messages)
    engine.run(plan([LONG], slow, seeds=[0, 1]), Store(tmp_path / "local"), callbacks=[Silent()], device="cpu")
    assert records(tmp_path / "ray") == records(tmp_path / "local")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_driver_goes_on_where_it_was(cluster: Any, tmp_path: Path, number: signal.Signals) -> None:
    """The same command again makes the rest. Finished runs aren't made again, and no run starts from its beginning."""
    options = ["--agents", "tests.runs.test_ray_engine:SlowAgent", "--tasks", SHORT, LONG, "--seeds", "0-1"]
    command = [sys.executable, "-m", "grokbench", "run", *options, "--out", str(tmp_path), "--engine", "ray", "--address"]
    driver = subprocess.Popen([*command, cluster.address], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + SECONDS_TO_SEE
    while not list(tmp_path.rglob("*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    driver.send_signal(number)
    driver.communicate()
    assert driver.returncode != 0
    again = subprocess.run([*command, cluster.address], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_TO_SEE)
    assert again.returncode == 0, again.stderr
    found = records(tmp_path)
    assert len(found) == 4
    assert all(record["incomplete"] is None for record in found.values())


def test_what_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Ray, no GPU for a cohort that computes on CUDA, no cluster at an address."""
    with pytest.raises(AgentError, match="device cuda on Ray needs --gpus-per-cohort"):
        Cluster().device("cuda")
    assert (Cluster(gpus_per_cohort=0.5).device("auto"), Cluster().device("auto")) == ("cuda", "cpu")
    monkeypatch.setattr(ray_engine, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install -e '\.\[ray\]'"):
        run(tmp_path, [recipe(AddingAgent)])


def test_without_an_address_no_cluster_of_before_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was started here and is gone would make Ray wait for minutes. Neither does a wrong address."""
    asked: dict[str, object] = {}
    monkeypatch.setattr(ray, "init", lambda **options: asked.update(options))
    ray_engine._connect(ray, Cluster(), [])
    assert asked["address"] == "local"
    with pytest.raises(WorkerError, match=r"nothing answers at 127\.0\.0\.1:9"):
        ray_engine._connect(ray, Cluster("127.0.0.1:9"), [])


def test_a_cluster_that_is_gone_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` finds it in a file that Ray leaves behind, or in a variable."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9\n")
    with pytest.raises(WorkerError, match=r"nothing answers at 127\.0\.0\.1:9"):
        ray_engine._connect(ray, Cluster("auto"), [])
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:8")
    with pytest.raises(WorkerError, match=r"nothing answers at 127\.0\.0\.1:8"):
        ray_engine._connect(ray, Cluster("auto"), [])


def test_another_version_on_a_node_is_refused() -> None:
    """The worker compares the hash of the code."""
    sent = ray_engine.Work(None, None, None, "0" * 64)  # type: ignore[arg-type]
    with pytest.raises(WorkerError, match="install the same on all nodes"):
        next(ray_engine.work(cloudpickle.dumps(sent)))
