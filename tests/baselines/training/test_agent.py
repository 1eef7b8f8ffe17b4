"""The agent: members of a cohort learn what each learns alone; minibatches, keep, state, shards and errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.training.shards import Shard
from grokbench.agents.recipes import Recipe, find_recipe, recipe
from grokbench.errors import AgentError, RecipeError
from grokbench.runs.surroundings import known_surroundings
from grokbench.tasks import parse_id
from tests.support.baselines import MUON, TABLES, TASK_ID, started, through_a_file

RECIPES = ("mlp", "transformer", "transformer2")


@pytest.mark.parametrize("recipe", RECIPES)
def test_seeds_together_learn_what_each_learns_alone(recipe: str) -> None:
    """Losses and features of a cohort are those of its members alone, up to rounding, before and after `keep`."""
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
    """A restored agent continues exactly like the original, in the middle of a pass over the questions."""
    agent = started(recipe, [0, 3], batch_size=16)
    agent.learn(5)
    saved = through_a_file(agent, tmp_path)
    agent.learn(9)
    restored = started(recipe, [0, 3], batch_size=16)
    restored.load_state_dict(saved)
    restored.learn(9)
    assert torch.equal(agent.act()["features"], restored.act()["features"])


def test_tf32_is_turned_on_off_the_cpu() -> None:
    """The record's dtype and torch's setting say the same. Here the other device is the CPU's other name."""
    with known_surroundings():
        assert started("transformer", [0], dtype="tf32").dtype == "float32"
        assert torch.get_float32_matmul_precision() == "highest"
        assert started("transformer", [0], dtype="tf32", device="cpu:0").dtype == "tf32"
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_pass_takes_each_training_question_at_most_once() -> None:
    """Minibatches of a pass don't overlap, and a minibatch is at most half of the training questions."""
    agent = started("transformer2", [0], batch_size=16)
    batches = [agent.shards[0]._next_minibatch() for _ in range(3)]
    assert len(set(torch.cat(batches, dim=1).flatten().tolist())) == 48
    assert started("transformer2", [0], batch_size=512).shards[0].minibatch_size == parse_id(TASK_ID).num_train // 2


def test_shards_fit_a_cpu_cache(tmp_path: Path) -> None:
    """Members with few questions share a shard, members with many have their own; keep and state work across shards."""
    assert [shard.size for shard in started("transformer", list(range(5))).shards] == [5]
    assert [shard.size for shard in started("transformer", list(range(5)), task="add_mod23-0.9").shards] == [2, 2, 1]
    agent = started("mlp", [0, 1, 2, 3, 4], task="add_mod23-0.9")
    agent.learn(3)
    agent.keep([1, 4])
    assert [shard.size for shard in agent.shards] == [1, 1]
    saved = through_a_file(agent, tmp_path)
    restored = started("mlp", [1, 4], task="add_mod23-0.9")
    restored.load_state_dict(saved)
    assert [shard.size for shard in restored.shards] == [1, 1]
    np.testing.assert_array_equal(agent.learn(4)["loss"], restored.learn(4)["loss"])


def test_a_recipe_needs_every_hyperparameter() -> None:
    """A missing or unknown hyperparameter is named."""
    hyperparameters = find_recipe("mlp").plain_hyperparameters
    del hyperparameters["schedule"]["warmup"]
    hyperparameters["schedule"]["wramup"] = 10
    with pytest.raises(RecipeError, match=r"\[schedule\] lacks warmup and doesn't know wramup"):
        Recipe("mine", "baselines.agents:mlp", hyperparameters).make()


@pytest.mark.parametrize("change", sorted(TABLES))
def test_members_are_independent_and_state_restores(change: str, tmp_path: Path) -> None:
    """Together as alone, through keep and through a checkpoint, whatever changes the update."""
    tables = TABLES[change]
    together = started("transformer", [0, 1, 2], tables=tables)
    alone = started("transformer", [2], tables=tables)
    together.learn(6)
    together.keep([0, 2])
    saved = through_a_file(together, tmp_path)
    restored = started("transformer", [0, 2], tables=tables)
    restored.load_state_dict(saved)
    losses = together.learn(6)["loss"]
    np.testing.assert_array_equal(losses, restored.learn(6)["loss"])
    assert losses[1] == pytest.approx(alone.learn(12)["loss"][0], rel=1e-9)
    plain = started("transformer", [2])
    assert losses[1] != pytest.approx(plain.learn(12)["loss"][0], rel=1e-6)


def test_bad_tables_are_refused() -> None:
    """An unknown filter, a missing number, Muon without matrices."""
    with pytest.raises(RecipeError, match="MLP has none"):
        recipe("mlp", optimizer=MUON).make()
    with pytest.raises(RecipeError, match="needs filter = one of grokfast_ema, orthogonal, got 'fast'"):
        recipe("transformer", gradient={"filter": "fast"}).make()
    with pytest.raises(RecipeError, match="lacks amplification"):
        recipe("transformer", gradient={"filter": "grokfast_ema", "decay": 0.9}).make()


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("optimizer", {"betas": [0.9]}, r"betas must be two numbers in \[0, 1\), got \[0.9\]"),
        ("optimizer", {"betas": [0.9, 1.5]}, r"betas must be two numbers in \[0, 1\), got \[0.9, 1.5\]"),
        ("schedule", {"warmup": True}, "warmup must be a whole number of steps from 0 up, got True"),
        ("optimizer", {"lr": float("nan")}, "lr must be a finite number, got nan"),
        ("training", {"loss": "hinge"}, "loss must be one of cross_entropy, mse, stablemax, got 'hinge'"),
    ],
)
def test_a_wrong_value_is_named_with_the_expected_values(table: str, change: dict[str, Any], message: str) -> None:
    """Values are checked, not converted: True isn't a number of steps."""
    changes: dict[str, Any] = {table: change}
    with pytest.raises(RecipeError, match=message):
        recipe("mlp", **changes).make()


@pytest.mark.parametrize(
    ("needed", "advice"), [(1_000, "About 80 fit: set seeds_together = 80"), (None, "Not even one seed fits")]
)
def test_too_many_seeds_for_the_gpu_are_told_how_many_fit(
    monkeypatch: pytest.MonkeyPatch, needed: int | None, advice: str
) -> None:
    """From the memory of one member, once that of all others is given back."""
    agent = started("mlp", [0, 1, 2])
    allocated = [50]

    def too_much(shard: Shard, steps: int) -> Tensor:
        if needed is None or shard.size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert not agent.shards
        allocated[0] += needed
        return shard.loss

    monkeypatch.setattr(Shard, "learn", too_much)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (100_000, 200_000))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 50)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: allocated[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    with pytest.raises(AgentError, match=f"3 seeds together need more memory than the GPU has left. {advice}"):
        agent.learn(1)
