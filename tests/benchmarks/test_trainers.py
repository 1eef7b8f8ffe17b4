"""The programs that are timed do the same work."""

import pytest
import torch

from benchmarks import trainers
from benchmarks.trainers import PRODUCT_SHAPE, PRODUCTS, agent_on, deep_recipes, plain_forward, train_questions
from grokbench.agents.recipes import find_recipe

SMALL = "add_mod11-0.6"


@pytest.mark.parametrize("recipe", ["mlp", "transformer", "transformer2"])
def test_plain_and_fast_compute_the_same_logits(recipe: str) -> None:
    """On the training questions, to rounding, so that the factors compare the same computation."""
    agent = agent_on(find_recipe(recipe), SMALL, 1)
    network, start = agent.method.network, agent.shards[0].parameters
    inputs, _ = train_questions(SMALL)
    questions = network.encode(inputs.unsqueeze(0), agent.spec.num_symbols, torch.float32)
    expected = network.logits(start, questions)[0]
    parameters = {name: parameter[0] for name, parameter in start.items()}
    for last_only in (False, True):
        logits = plain_forward(network, parameters, inputs, last_only)(slice(None))
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recipe", ["mlp", "transformer"])
def test_plain_trains_its_own_weights(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its steps move them and leave the agent's alone."""
    agent = agent_on(find_recipe(recipe), SMALL, 1)
    before = {name: parameter.clone() for name, parameter in agent.shards[0].parameters.items()}
    optimizers = []
    original = torch.optim.AdamW

    def watched(*arguments: object, **options: object) -> torch.optim.AdamW:
        optimizers.append(original(*arguments, **options))  # type: ignore[arg-type]
        return optimizers[-1]

    monkeypatch.setattr(trainers, "agent_on", lambda *_: agent)
    monkeypatch.setattr(trainers, "TASK", SMALL)
    monkeypatch.setattr(torch.optim, "AdamW", watched)
    trainers.plain(recipe)(2)
    trained = optimizers[0].param_groups[0]["params"]
    after = agent.shards[0].parameters
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert any(not torch.equal(own, start[0]) for own, start in zip(trained, before.values(), strict=True))


def test_both_products_are_the_same_product() -> None:
    """Ours and torch's differ by rounding alone."""
    n, k, m = (size // 8 for size in PRODUCT_SHAPE)
    a, b = torch.randn(1, n, k), torch.randn(1, k, m)
    torch.testing.assert_close(*(product(a, b) for product in PRODUCTS.values()), rtol=1e-4, atol=1e-4)


def test_deep_members_differ_in_weight_decay() -> None:
    """Two weight decays alternate, and nothing else changes."""
    recipes = [recipe.plain_hyperparameters for recipe in deep_recipes(3)]
    assert [recipe["training"].pop("weight_decay") for recipe in recipes] == [0.1, 0.05, 0.1]
    assert recipes[0] == recipes[1] == recipes[2]
