"""Agents that break the interface: told before anything runs, or in the record of their own runs alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grokbench.agents.agent import Spec
from grokbench.agents.recipes import find_recipe, recipe
from grokbench.errors import AgentError
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.records import read_record
from grokbench.runs.store import Store
from tests.support.agents import AddingAgent
from tests.support.callbacks import Silent

TASK = "add_mod5-0.5"
OTHER = "tests.support.agents:AddingAgent"


class Unkept(AddingAgent):
    """Keeps what no checkpoint can hold, from the start or from its first step on."""

    def __init__(self, at_once: bool) -> None:
        self.at_once = at_once

    def state_dict(self) -> dict[str, Any]:
        """With a generator's object in place of its state."""
        kept = {"inner": [self.random]} if self.at_once or self.steps else {}
        return super().state_dict() | kept


@pytest.mark.parametrize(("at_once", "exams"), [(True, 0), (False, 1)])
def test_what_no_checkpoint_can_hold_is_told_at_the_start(tmp_path: Path, at_once: bool, exams: int) -> None:
    """With its place, in a record, for the agent's own runs alone; also in the trial with `--max-steps`."""
    recipes = [recipe(Unkept, name="unkept", at_once=at_once), find_recipe(OTHER)]
    callback = Silent()
    engine.run(plan([TASK], recipes, seeds=[0]), Store(tmp_path), callbacks=[callback], device="cpu", max_steps=60)
    failed, paused = callback.ends
    assert failed.startswith("failed: AgentError: state_dict holds a Generator at /agent/inner/0: use arrays,")
    assert paused == "stopped: --max-steps 60"
    (path,) = tmp_path.glob("*/unkept-*/seed-0.json")
    assert len(read_record(path).exams) == exams


class Odd(AddingAgent):
    """Breaks the interface in one way."""

    def __init__(self, way: str) -> None:
        self.way = way
        if way == "widths":
            self.feature_dims = 32  # type: ignore[assignment]
        if way == "seeds":
            self.seeds_together = 2.5  # type: ignore[assignment]
        if way == "made":
            raise KeyError("weights")
        if way == "types":
            len(3)  # type: ignore[arg-type]

    def reset(self, observation: dict[str, Any], spec: Spec) -> None:
        """Start."""
        super().reset(observation, spec)
        self.dtype = np.float32 if self.way == "dtype" else None  # type: ignore[assignment]

    def learn(self, steps: int) -> Any:
        """Report."""
        return 0.5 if self.way == "report" else super().learn(steps)

    def cost(self) -> Any:
        """State costs."""
        return {"cost": [1], "whole": {"parameters": 1e6}}.get(self.way, {})


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("report", "learn must return None or a dict with text as keys, such as {'loss': 0.5}, got 0.5"),
        ("dtype", "dtype of Odd must be text such as 'float32', or None, got <class 'numpy.float32'>"),
        ("cost", "cost() must return a dict, such as {'parameters': 1000}, got [1]"),
        ("whole", "cost() gives parameters = 1000000.0, expected a whole number"),
        ("made", "Odd can't be made: KeyError: 'weights' (test_faults.py, line "),
        ("types", "Odd can't be made: TypeError: object of type 'int' has no len() (test_faults.py, line "),
    ],
)
def test_an_agent_that_breaks_the_interface_fails_its_own_runs(tmp_path: Path, way: str, why: str) -> None:
    """The message says what was expected, or where the agent's code failed. The other agent's runs go on."""
    recipes = [recipe(Odd, name="odd", way=way), find_recipe(OTHER)]
    callback = Silent()
    engine.run(plan([TASK], recipes, seeds=[0]), Store(tmp_path), callbacks=[callback], device="cpu", max_steps=20)
    assert why in callback.ends[0]
    assert callback.ends[1] == "stopped: --max-steps 20"


@pytest.mark.parametrize(
    ("way", "why"), [("widths", "feature_dims are the widths"), ("seeds", "seeds_together of Odd must be")]
)
def test_what_an_agent_shows_is_checked_before_anything_runs(tmp_path: Path, way: str, why: str) -> None:
    """A cohort can't even be planned with it."""
    with pytest.raises(AgentError, match=why):
        engine.run(plan([TASK], [recipe(Odd, way=way)], seeds=[0]), Store(tmp_path), device="cpu")
    assert not list(tmp_path.rglob("*.json"))
