"""Baseline agents that have started on instances of a task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from baselines.training.agent import NetworkAgent
from grokbench.agents import trees
from grokbench.agents.agent import Agent
from grokbench.agents.recipes import recipe
from grokbench.evaluation.marking import Examiner
from grokbench.runs.store import read_checkpoint
from grokbench.tasks import make_instance, parse_id
from tests.support.agents import spec_of

TASK_ID = "add_mod11-0.5"
MUON: dict[str, Any] = {
    "name": "muon",
    "lr": 0.02,
    "weight_decay": 1.0,
    "momentum": 0.95,
    "adamw_lr": 1e-3,
    "adamw_weight_decay": 1.0,
    "adamw_betas": [0.9, 0.98],
}
TABLES: dict[str, Any] = {
    "grokfast": {"gradient": {"filter": "grokfast_ema", "decay": 0.98, "amplification": 2.0}},
    "orthogonal": {"gradient": {"filter": "orthogonal"}},
    "muon": {"optimizer": MUON},
}


def started_agent(agent: Agent, seeds: Sequence[int], *, task: str = TASK_ID, device: str = "cpu") -> NetworkAgent:
    """The agent, reset on the task's instances of these seeds."""
    assert isinstance(agent, NetworkAgent)
    instances = [make_instance(parse_id(task), seed) for seed in seeds]
    observation = Examiner(instances, agent.feature_dims).observations(range(len(seeds)))
    agent.reset(observation, spec_of(instances, agent.feature_dims, device=device))
    return agent


def started(
    name: str,
    seeds: Sequence[int],
    *,
    task: str = TASK_ID,
    tables: dict[str, Any] | None = None,
    device: str = "cpu",
    **training: Any,
) -> NetworkAgent:
    """An agent of the recipe in float64, with these changes of [training] and these other tables, reset on these seeds."""
    changed = recipe(name, training={"dtype": "float64", **training}, **(tables or {}))
    return started_agent(changed.make(), seeds, task=task, device=device)


def through_a_file(agent: Agent, folder: Path) -> dict[str, Any]:
    """The agent's state, written as a checkpoint and read again."""
    (folder / "checkpoint").write_bytes(trees.pack(agent.state_dict()))
    return read_checkpoint(folder / "checkpoint")
