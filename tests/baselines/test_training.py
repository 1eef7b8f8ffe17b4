"""The training loop: S seeds together learn what each learns alone, minibatches, keep, state."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.losses import LOSSES
from baselines.training import TableAgent
from grokbench.agents import Spec, find_recipe
from grokbench.exams import Examiner
from grokbench.runs import checkpoints
from grokbench.tasks import make_instance, parse_id

TASK = parse_id("add_mod11-0.5")
RECIPES = ("mlp", "transformer", "transformer2")


def started(recipe: str, seeds: list[int], **training: Any) -> TableAgent:
    """An agent of the recipe, in float64 and changed as told, reset on these seeds."""
    chosen = find_recipe(recipe)
    chosen.hyperparameters["training"] |= {"dtype": "float64", **training}
    agent = chosen.make()
    assert isinstance(agent, TableAgent)
    instances = [make_instance(TASK, seed) for seed in seeds]
    examiner = Examiner(instances, agent.feature_dims)
    observations = [examiner.observation(i) for i in range(len(seeds))]
    observation = {name: np.stack([one[name] for one in observations]) for name in observations[0]}
    own = tuple(instance.agent_seed for instance in instances)
    agent.reset(observation, Spec(TASK.symbols, TASK.cells, TASK.budget, agent.feature_dims, "cpu", own))
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
    (tmp_path / "checkpoint").write_bytes(checkpoints.pack(agent.state_dict()))
    agent.learn(9)
    restored = started(recipe, [0, 3], batch_size=16)
    restored.load_state_dict(checkpoints.read(tmp_path / "checkpoint"))
    restored.learn(9)
    assert torch.equal(agent.act()["features"], restored.act()["features"])


def test_a_step_takes_each_training_cell_at_most_once() -> None:
    """Minibatches of one pass don't overlap, and a batch is at most half of the training cells."""
    agent = started("transformer2", [0], batch_size=16)
    batches = [agent._next_batch()[0] for _ in range(3)]
    pairs = [
        (int(a), int(b)) for batch in batches for a, b in zip(batch.first.symbols[0], batch.second.symbols[0], strict=True)
    ]
    assert len(pairs) == len(set(pairs)) == 48
    assert started("transformer2", [0], batch_size=512).batch == TASK.seen_cells // 2


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_against_torch(name: str) -> None:
    """The batched losses are torch's, seed by seed."""
    logits = torch.randn(3, 8, 5, dtype=torch.float64)
    answers = torch.randint(0, 5, (3, 8))
    oracle = {
        "cross_entropy": torch.nn.functional.cross_entropy,
        "mse": lambda x, y: torch.nn.functional.mse_loss(x, torch.nn.functional.one_hot(y, 5).double()),
    }[name]
    expected = torch.stack([oracle(x, y) for x, y in zip(logits, answers, strict=True)])  # type: ignore[no-untyped-call]
    torch.testing.assert_close(LOSSES[name](logits, answers), expected)


def test_a_recipe_needs_every_hyperparameter() -> None:
    """A missing or unknown hyperparameter is named."""
    recipe = find_recipe("mlp")
    del recipe.hyperparameters["training"]["warmup"]
    recipe.hyperparameters["training"]["wramup"] = 10
    with pytest.raises(ValueError, match=r"lacks warmup and doesn't know wramup"):
        recipe.make()
