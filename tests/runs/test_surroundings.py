"""No run changes the next one: whatever an agent does to its process, the next cohort starts as if alone."""

import json
import os
import random
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grokbench.agents.recipes import find_recipe, recipe
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.store import Store
from grokbench.runs.surroundings import known_surroundings
from tests.support.agents import AddingAgent
from tests.support.callbacks import Silent

TASK = "random_mod5-0.5-to20"
CHANGES: dict[str, Callable[[], Any]] = {
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "gradients": lambda: torch.set_grad_enabled(False),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "numpy errors": lambda: np.seterr(all="raise"),
    "subnormal numbers": lambda: torch.set_flush_denormal(False),
}
UNSEEN: dict[str, Callable[[], Any]] = {
    "threads": lambda: torch.set_num_threads(2),
    "generators": lambda: (random.seed(3), torch.manual_seed(3), np.random.seed(3)),  # noqa: NPY002
    "warnings": lambda: warnings.simplefilter("error"),
    "folder": lambda: os.chdir("/"),
    "environment": lambda: os.environ.update(CUBLAS_WORKSPACE_CONFIG=":4096:8"),
}


class Meddling(AddingAgent):
    """Changes its process, as its recipe says."""

    def __init__(self, change: str, where: str) -> None:
        self.change, self.where = change, where
        self._meddle("made")

    def reset(self, observation: dict[str, Any], spec: Any) -> None:
        """Start, and change."""
        super().reset(observation, spec)
        self._meddle("reset")

    def _meddle(self, where: str) -> None:
        if where == self.where:
            (CHANGES | UNSEEN)[self.change]()


def exams(out: Path, name: str) -> Any:
    """The exams of the agent of this name, and what its record states of the surroundings."""
    (path,) = out.glob(f"*/{name}-*/seed-0.json")
    record = json.loads(path.read_text())
    return record["exams"], record["provenance"].get("settings"), record["provenance"]["threads"]


@pytest.mark.parametrize("where", ["made", "reset"])
@pytest.mark.parametrize("change", [*CHANGES, *UNSEEN])
def test_what_an_agent_changes_reaches_no_other(tmp_path: Path, change: str, where: str) -> None:
    """The baseline after it has the exams of a baseline alone, and so does the process that called."""
    mlp, meddling = find_recipe("mlp"), recipe(Meddling, name="meddling", change=change, where=where)
    folder, state = Path.cwd(), torch.get_rng_state()
    callback = Silent()
    for out, recipes in ((tmp_path / "both", [meddling, mlp]), (tmp_path / "alone", [mlp])):
        engine.run(plan([TASK], recipes, seeds=[0]), Store(out), callbacks=[callback], device="cpu", processes=1)
    assert callback.ends == ["censored"] * 3
    assert exams(tmp_path / "both", "mlp") == exams(tmp_path / "alone", "mlp")
    assert (Path.cwd(), torch.get_default_dtype(), torch.is_grad_enabled()) == (folder, torch.float32, True)
    assert torch.equal(torch.get_rng_state(), state)
    _, settings, _ = exams(tmp_path / "both", "meddling")
    assert set(settings or {}) == ({change} if change in CHANGES else set())


def test_an_agent_that_changes_the_folder_leaves_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the folder of runs that the caller means, a relative one too."""
    monkeypatch.chdir(tmp_path)
    meddling = recipe(Meddling, name="meddling", change="folder", where="reset")
    assert engine.run(plan([TASK], [meddling], seeds=[0]), Store(Path("runs")), device="cpu")
    assert len(list(tmp_path.glob("runs/*/meddling-*/seed-0.json"))) == 1


def test_the_callers_settings_change_no_run_and_come_back(tmp_path: Path) -> None:
    """A notebook that works in float64 without gradients gets the runs of any other."""
    plans = plan([TASK], [find_recipe("mlp")], seeds=[0])
    engine.run(plans, Store(tmp_path / "plain"), device="cpu")
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    try:
        engine.run(plans, Store(tmp_path / "changed"), device="cpu")
        assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float64, False)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
    assert exams(tmp_path / "plain", "mlp") == exams(tmp_path / "changed", "mlp")


class Global(AddingAgent):
    """Guesses with the global generators, which its checkpoints don't hold."""

    def act(self) -> dict[str, Any]:
        """Features of all three generators."""
        action = super().act()
        drawn = random.random() + np.random.rand() + torch.rand(()).item()  # noqa: NPY002
        return action | {"features": action["features"] * drawn}


def test_the_global_generators_are_in_the_checkpoint(tmp_path: Path) -> None:
    """An agent that draws from them has the exams of an uninterrupted run, and the same ones again."""
    plans = plan(["random_mod5-0.5-to200"], [recipe(Global)], seeds=[0])
    engine.run(plans, Store(tmp_path / "whole"), device="cpu")
    engine.run(plans, Store(tmp_path / "parts"), device="cpu", max_steps=60)
    random.seed(9)
    engine.run(plans, Store(tmp_path / "parts"), device="cpu")
    assert exams(tmp_path / "parts", "Global") == exams(tmp_path / "whole", "Global")


def test_subnormal_numbers_are_zero_within_a_run(tmp_path: Path) -> None:
    """They would slow down products up to a hundred times. The process that called keeps its own setting."""
    seen = []

    class Looking(AddingAgent):
        def learn(self, steps: int) -> dict[str, float]:
            seen.append((torch.full((1,), 1e-40) * 1).item())
            return super().learn(steps)

    store = Store(tmp_path)
    engine.run(
        plan([TASK], [recipe(Looking, name="looking")], seeds=[0]), store, callbacks=[Silent()], device="cpu", processes=1
    )
    assert set(seen) == {0.0}
    assert (torch.full((1,), 1e-40) * 1).item() > 0


def test_one_thread_at_a_time(tmp_path: Path) -> None:
    """Generators and settings belong to the process: two threads would draw from each other's."""
    within: list[int] = []

    def enter(number: int) -> None:
        with known_surroundings():
            within.append(number)
            torch.rand(1)
            time.sleep(0.01)
            assert within.pop() == number
            assert not within

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(8)))
