"""On a CUDA device: steps, checkpoints and exams are those of the CPU up to rounding, and no step waits for the host.

`make gpu` runs them. With GROKBENCH_CUDA_TESTS=cpu they compute on the CPU instead, which shows that the tests themselves run.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.training.agent import NetworkAgent
from grokbench.agents.recipes import recipe
from grokbench.errors import AgentError
from grokbench.evaluation import ranks
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.store import Store, find_records
from tests.support.baselines import TABLES, TASK_ID, started, through_a_file

DEVICE = os.environ.get("GROKBENCH_CUDA_TESTS", "cuda")
ON_CUDA = DEVICE == "cuda"

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(ON_CUDA and not torch.cuda.is_available(), reason="needs a CUDA device"),
]

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {}),
    "transformer": ("transformer", {}),
    "transformer2": ("transformer2", {}),
    "deep_mlp": ("deep_mlp", {}),
    **{name: ("transformer", tables) for name, tables in TABLES.items()},
    "cosine": ("transformer", {"schedule": {"name": "cosine", "warmup": 3, "steps": 9}}),
    "projection": ("transformer", {"projection": {"norm": "rows", "mode": "clip", "c": 0.5}}),
    "noise on gradients": ("mlp", {"noise": {"scale": 0.01, "on": "gradient"}}),
    "noise on weights": ("mlp", {"noise": {"scale": 0.01, "on": "weights"}}),
    "average": ("mlp", {"average": {"decay": 0.9}}),
    "sgd": ("mlp", {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}),
}


def start(method: str, seeds: Sequence[int] = (0, 1), *, device: str = DEVICE, **training: Any) -> NetworkAgent:
    """The method's agent in float64, reset on instances of these seeds."""
    name, tables = METHODS[method]
    task = "mnist5k-n60" if name == "deep_mlp" else TASK_ID
    return started(name, seeds, task=task, tables=tables, device=device, **training)


def assert_same(agent: NetworkAgent, other: NetworkAgent, *, rtol: float = 1e-6, atol: float = 1e-8) -> None:
    """The two agents show the same logits and features, up to rounding."""
    for shown, expected in zip(showing(agent), showing(other), strict=True):
        torch.testing.assert_close(shown, expected, rtol=rtol, atol=atol)


def showing(agent: NetworkAgent) -> list[torch.Tensor]:
    """Logits and features of all members, on the CPU."""
    return [torch.cat([shard.show()[i].cpu() for shard in agent.shards]) for i in range(2)]


@contextmanager
def no_waiting_for_the_host() -> Iterator[None]:
    """Within it every operation that waits for the device raises an error."""
    if not ON_CUDA:
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("batch", [0, 16])
@pytest.mark.parametrize("method", METHODS)
def test_steps_are_those_of_the_cpu(method: str, batch: int) -> None:
    """Captured or eager, with minibatches in the same order."""
    on_device, on_cpu = start(method, batch_size=batch), start(method, batch_size=batch, device="cpu")
    on_device.learn(12)
    on_cpu.learn(12)
    assert_same(on_device, on_cpu)


@pytest.mark.parametrize("method", METHODS)
def test_a_captured_step_is_the_eager_step(method: str) -> None:
    """A graph replays the same kernels; what their sums' order changes is rounding."""
    captured, eager = start(method, batch_size=16), start(method, batch_size=16)
    for shard in eager.shards:
        shard._take_step = shard._step
    captured.learn(7)
    eager.learn(7)
    assert captured.captured is (method != "sgd" if ON_CUDA else None)
    assert_same(captured, eager, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "sgd"])
def test_no_step_waits_for_the_host(method: str) -> None:
    """Through several passes over the training questions, whose order the host draws."""
    shard = start(method, batch_size=16).shards[0]
    shard.learn(2)
    with no_waiting_for_the_host():
        shard.learn(20)
    assert shard.updates == 22


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_goes_on_to_the_bit(method: str, tmp_path: Path) -> None:
    """On the same device, after members have left."""
    agent = start(method, (0, 1, 2), batch_size=16)
    agent.learn(5)
    agent.keep([0, 2])
    restored = start(method, (0, 2), batch_size=16)
    restored.load_state_dict(through_a_file(agent, tmp_path))
    for each in (agent, restored):
        each.learn(6)
    assert_same(agent, restored, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["mlp", "transformer", "muon", "grokfast", "average"])
def test_a_checkpoint_goes_on_on_the_cpu(method: str, tmp_path: Path) -> None:
    """A run that was begun on the device ends on the CPU."""
    agent, on_cpu, all_on_cpu = start(method), start(method, device="cpu"), start(method, device="cpu")
    agent.learn(5)
    on_cpu.load_state_dict(through_a_file(agent, tmp_path))
    on_cpu.learn(6)
    all_on_cpu.learn(11)
    assert_same(on_cpu, all_on_cpu)


@pytest.mark.parametrize("method", ["mlp", "transformer", "transformer2"])
def test_many_seeds_learn_what_each_learns_alone(method: str) -> None:
    """64 together, up to rounding."""
    together = start(method, range(64))
    together.learn(10)
    features = together.act()["features"].cpu()
    for seed in (0, 31, 63):
        alone = start(method, [seed])
        alone.learn(10)
        torch.testing.assert_close(features[seed], alone.act()["features"][0].cpu(), rtol=1e-6, atol=1e-8)


def test_ranks_on_the_device_are_numpys() -> None:
    """Every measure, of features on the device."""
    features = np.random.default_rng(0).normal(size=(2, 50, 12)).astype(np.float32)
    features[1, :, 6:] = 0
    on_device = ranks.all_ranks(ranks.covariance(torch.tensor(features, device=DEVICE)), 50)
    for name, expected in ranks.all_ranks(ranks.covariance(features), 50).items():
        np.testing.assert_allclose(on_device[name].cpu().numpy(), expected, rtol=1e-6, err_msg=name)


def test_a_run_is_that_of_the_cpu(tmp_path: Path) -> None:
    """A run in float64 that pauses on the device has the same right answers at every exam, and almost the same ranks."""
    plans = plan([TASK_ID], [recipe("mlp", training={"dtype": "float64"})], seeds=[0])
    for folder, device, max_steps in (("paused", DEVICE, 60), ("paused", DEVICE, 200), ("whole", "cpu", 200)):
        assert engine.run(plans, Store(tmp_path / folder), device=device, max_steps=max_steps)
    (whole,), _ = find_records([tmp_path / "whole"])
    (paused,), _ = find_records([tmp_path / "paused"])
    for exam, expected in zip(paused.exams, whole.exams, strict=True):
        assert (exam.step, exam.train, exam.held_out) == (expected.step, expected.train, expected.held_out)
        if expected.ranks:
            assert exam.ranks is not None
            assert exam.ranks["effective_rank"] == pytest.approx(expected.ranks["effective_rank"], rel=1e-6)


@pytest.mark.skipif(not ON_CUDA, reason="the CPU has no memory of its own")
def test_too_many_seeds_are_told_how_many_fit() -> None:
    """With a gigabyte left. The number that fits does fit."""
    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(free - 2**30, dtype=torch.uint8, device=DEVICE)
    with pytest.raises(AgentError, match=r"About \d+ fit: set seeds_together = \d+") as error:
        start("transformer", range(400)).learn(1)
    fit = int(str(error.value).split("About ")[1].split()[0])
    assert 0 < fit < 400
    agent = start("transformer", range(fit))
    agent.learn(2)
    agent.act()
    del ballast


def test_every_shard_is_one_on_the_device() -> None:
    """On CUDA a cohort is a single computation; only an optimizer with closures has a shard for each member."""
    assert len(start("mlp", range(40)).shards) == (1 if ON_CUDA else 3)
