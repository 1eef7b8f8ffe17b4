"""The training loop: S seeds together learn what each learns alone, minibatches, keep, state."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from baselines.optimizers.adamw import AdamW
from baselines.training.agent import NetworkAgent
from baselines.training.losses import LOSSES
from baselines.training.shards import Shard, captured
from baselines.training.threads import side_by_side
from grokbench.agents import trees
from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.agents.recipes import recipe as changed_recipe
from grokbench.evaluation.marking import Examiner
from grokbench.runs.store import read_checkpoint
from grokbench.tasks import make_instance, parse_id
from tests.support.agents import spec_of

TASK = parse_id("add_mod11-0.5")
RECIPES = ("mlp", "transformer", "transformer2")


def started(
    recipe: str, seeds: list[int], task: str = TASK.id, tables: dict[str, Any] | None = None, **training: Any
) -> NetworkAgent:
    """An agent of the recipe, in float64, changed as told and with more tables, reset on these seeds."""
    spec = parse_id(task)
    agent = changed_recipe(recipe, training={"dtype": "float64", **training}, **(tables or {})).make()
    assert isinstance(agent, NetworkAgent)
    instances = [make_instance(spec, seed) for seed in seeds]
    observation = Examiner(instances, agent.feature_dims).observations(range(len(seeds)))
    agent.reset(observation, spec_of(instances, agent.feature_dims))
    return agent


@pytest.mark.parametrize("recipe", RECIPES)
def test_seeds_together_learn_what_each_learns_alone(recipe: str) -> None:
    """Losses, answers and features of a batch are those of its members, to rounding; keep leaves the others as they are."""
    together = started(recipe, [0, 1, 2], batch_size=16)
    alone = [started(recipe, [seed], batch_size=16) for seed in (0, 1, 2)]
    losses = together.learn(7)["loss"]
    np.testing.assert_allclose(losses, [agent.learn(7)["loss"][0] for agent in alone], rtol=1e-9)
    together.keep([0, 2])
    together.learn(6)
    action = together.act()
    for row, agent in zip((0, 1), (alone[0], alone[2]), strict=True):
        agent.learn(6)
        torch.testing.assert_close(action["features"][row], agent.act()["features"][0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("recipe", RECIPES)
def test_state_restores_bit_for_bit(recipe: str, tmp_path: Path) -> None:
    """An agent restored from its state goes on exactly as the one that gave it, in the middle of a pass over the cells."""
    agent = started(recipe, [0, 3], batch_size=16)
    agent.learn(5)
    (tmp_path / "checkpoint").write_bytes(trees.pack(agent.state_dict()))
    agent.learn(9)
    restored = started(recipe, [0, 3], batch_size=16)
    restored.load_state_dict(read_checkpoint(tmp_path / "checkpoint"))
    restored.learn(9)
    assert torch.equal(agent.act()["features"], restored.act()["features"])


def test_a_step_takes_each_training_cell_at_most_once() -> None:
    """Minibatches of one pass don't overlap, and a batch is at most half of the training cells."""
    agent = started("transformer2", [0], batch_size=16)
    batches = [agent.shards[0]._next_batch() for _ in range(3)]
    assert len(set(torch.cat(batches, dim=1).flatten().tolist())) == 48
    assert started("transformer2", [0], batch_size=512).shards[0].minibatch_size == TASK.num_train // 2


@pytest.mark.parametrize("name", ["cross_entropy", "mse"])
def test_losses_and_their_gradients_against_torch(name: str) -> None:
    """The batched losses are torch's, seed by seed, and their gradients are autograd's."""
    logits = torch.randn(3, 8, 5, dtype=torch.float64, requires_grad=True)
    answers = torch.randint(0, 5, (3, 8))
    oracle = {
        "cross_entropy": torch.nn.functional.cross_entropy,
        "mse": lambda x, y: torch.nn.functional.mse_loss(x, torch.nn.functional.one_hot(y, 5).double()),
    }[name]
    expected = torch.stack([oracle(x, y) for x, y in zip(logits, answers, strict=True)])  # type: ignore[no-untyped-call]
    loss, gradient = LOSSES[name](logits.detach(), answers)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, *torch.autograd.grad(expected.sum(), logits))


def test_a_recipe_needs_every_hyperparameter() -> None:
    """A missing or unknown hyperparameter is named."""
    hyperparameters = find_recipe("mlp").plain_hyperparameters
    del hyperparameters["training"]["warmup"]
    hyperparameters["training"]["wramup"] = 10
    with pytest.raises(ValueError, match=r"lacks warmup and doesn't know wramup"):
        Recipe("mine", "baselines.agents:mlp", hyperparameters).make()


class Unasked(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Nothing reads a value on the host, or brings one from there."""

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.lift_fresh.default), func
        return func(*args, **(kwargs or {}))


def places(shard: Shard) -> list[int]:
    """Where all that a step reads and writes lies now."""
    buffers = [shard.gradients, shard.loss, shard.index, shard.optimizer.values, shard.answers]
    buffers += [*shard.optimizer.state().values(), *shard.memory.values(), *shard.parameters.values()]
    return [buffer.data_ptr() for buffer in buffers]


@pytest.mark.parametrize("batch", [0, 16])
@pytest.mark.parametrize(
    ("recipe", "tables"),
    [
        *((recipe, {}) for recipe in (*RECIPES, "deep_mlp")),
        ("transformer", {"gradient": {"filter": "grokfast_ema", "decay": 0.98, "amplification": 2.0}}),
        ("transformer", {"gradient": {"filter": "orthogonal"}}),
        ("transformer", {"muon": {"learning_rate": 0.02, "weight_decay": 1.0, "momentum": 0.95}}),
    ],
)
def test_a_step_can_be_captured(recipe: str, tables: dict[str, Any], batch: int) -> None:
    """A step asks the host for nothing (a fake tensor has no values to ask for) and leaves every buffer where it is."""
    task = "mnist5k-n60" if recipe == "deep_mlp" else TASK.id
    shard = started(recipe, [0, 1], task, tables, batch_size=batch).shards[0]
    shard.learn(1)
    before = places(shard)
    with FakeTensorMode(allow_non_fake_inputs=True):
        shard._step()
    with Unasked():  # type: ignore[no-untyped-call]
        shard._step()
    assert places(shard) == before


def test_capture_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial steps before a CUDA graph is recorded are undone; this graph records nothing."""
    tables = {"gradient": {"filter": "grokfast_ema", "decay": 0.98, "amplification": 2.0}}
    shard = started("transformer", [0, 1], tables=tables).shards[0]
    shard.learn(2)
    changes = [*shard.optimizer.state().values(), *shard.memory.values(), shard.gradients, shard.loss]
    before = [tensor.clone() for tensor in changes]
    for name in ("Stream", "current_stream", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    for name in ("stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, lambda _: nullcontext())
    steps: list[bool] = []

    def step() -> None:
        steps.append(all(torch.equal(now, then) for now, then in zip(changes, before, strict=True)))
        if len(steps) < 4:  # the fourth is recorded, not taken
            shard._step()

    captured(step, changes)
    assert steps == [True, False, False, True]


def test_cohorts_are_batches_that_fit_a_cpu_cache(tmp_path: Path) -> None:
    """Small tables share a computation, a large batch gets one member each; keep and state work across shards."""
    assert [shard.size for shard in started("transformer", list(range(5))).shards] == [5]
    assert [shard.size for shard in started("transformer", list(range(5)), task="add_mod23-0.9").shards] == [2, 2, 1]
    agent = started("mlp", [0, 1, 2, 3, 4], task="add_mod23-0.9")
    agent.learn(3)
    agent.keep([1, 4])
    assert [shard.size for shard in agent.shards] == [1, 1]
    (tmp_path / "checkpoint").write_bytes(trees.pack(agent.state_dict()))
    restored = started("mlp", [1, 4], task="add_mod23-0.9")
    restored.load_state_dict(read_checkpoint(tmp_path / "checkpoint"))
    assert [shard.size for shard in restored.shards] == [1, 1]
    np.testing.assert_array_equal(agent.learn(4)["loss"], restored.learn(4)["loss"])


def test_adamw_is_torchs() -> None:
    """Member by member, each with its own learning rate and decay, warm-up included, to rounding."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 50, dtype=torch.float64, generator=generator)
    rates, decays = [1e-2, 3e-3, 1e-2], [0.3, 0.3, 0.0]
    ours = AdamW(values.clone(), rates, decays, (0.9, 0.98), warmup=4)
    theirs = [row.clone().requires_grad_() for row in values]
    optimizers = [
        torch.optim.AdamW([row], lr=rate, betas=(0.9, 0.98), weight_decay=decay)
        for row, rate, decay in zip(theirs, rates, decays, strict=True)
    ]
    for update in range(1, 12):
        gradients = torch.randn(3, 50, dtype=torch.float64, generator=generator)
        for row, gradient, optimizer, rate in zip(theirs, gradients, optimizers, rates, strict=True):
            row.grad = gradient.clone()
            optimizer.param_groups[0]["lr"] = rate * min(1.0, update / 4)
            optimizer.step()
        ours.step(gradients)
        torch.testing.assert_close(ours.values, torch.stack(theirs).detach(), rtol=1e-12, atol=1e-12)


def test_cohorts_side_by_side_learn_what_they_learn_in_turn() -> None:
    """Two shards with a thread each end bit for bit where they end one after the other on one thread."""
    losses = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            agent = started("transformer", [0, 1], task="add_mod31-0.9")
            losses.append(agent.learn(60)["loss"])
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
    np.testing.assert_array_equal(*losses)


def test_a_failure_side_by_side_is_raised() -> None:
    """What goes wrong in a thread reaches the caller, and the thread count comes back."""
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            side_by_side(lambda x: 1 // x, [1, 0, 1])
        assert torch.get_num_threads() == 2
        assert side_by_side(lambda x: -x, [3, 1, 2]) == [-3, -1, -2]
    finally:
        torch.set_num_threads(1)
