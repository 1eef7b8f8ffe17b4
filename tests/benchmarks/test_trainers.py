"""The programs that are timed do the same work."""

import pytest
import torch

from baselines.training.agent import NetworkAgent
from benchmarks import trainers
from benchmarks.trainers import (
    DEEP,
    DIGIT_WIDTHS,
    PRODUCT_SHAPE,
    PRODUCTS,
    agent_on,
    deep_recipes,
    plain_forward,
    relu_network,
    train_questions,
)
from grokbench.agents.recipes import find_recipe
from grokbench.tasks import make_instance, parse_id

SMALL = "add_mod11-0.6"


@pytest.mark.parametrize("recipe", ["mlp", "transformer", "transformer2"])
def test_plain_and_fast_compute_the_same_logits(recipe: str) -> None:
    """They agree on the training questions up to rounding, so the factors compare the same computation."""
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
    """Its steps change its own weights and leave the agent's weights as they are."""
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
    assert [recipe["optimizer"].pop("weight_decay") for recipe in recipes] == [0.1, 0.05, 0.1]
    assert recipes[0] == recipes[1] == recipes[2]


def test_plain_questions_are_those_in_training() -> None:
    """Every training question of the table has its own answer, and no other question is among them."""
    inputs, answers = train_questions(SMALL)
    instance = make_instance(parse_id(SMALL), 0)
    shown = zip(instance.shown_inputs.tolist(), instance.shown_answers.tolist(), instance.train.tolist(), strict=True)
    expected = {(a, b): answer for (a, b), answer, train in shown if train}
    assert {(a, b): answer for (a, b), answer in zip(inputs.tolist(), answers.tolist(), strict=True)} == expected


def test_the_plain_deep_network_is_the_baselines() -> None:
    """Linear layers with ReLU between them, and none after the last; the widths are those of the timed setting."""
    network = DEEP.experiment.recipe.make()
    assert isinstance(network, NetworkAgent)
    deep = network.method.network
    assert (784, *deep.feature_dims, 10) == DIGIT_WIDTHS
    plain, x = relu_network(DIGIT_WIDTHS), torch.rand(3, 784)
    layers = [layer for layer in plain if isinstance(layer, torch.nn.Linear)]
    parameters = {f"weight{i}": layer.weight for i, layer in enumerate(layers)}
    parameters |= {f"bias{i}": layer.bias for i, layer in enumerate(layers)}
    torch.testing.assert_close(plain(x), deep.reference_forward(parameters, x)[0])
    assert (plain(x) < 0).any()


def test_a_product_is_computed_in_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the function of the given name, on matrices whose FLOPs are counted."""
    shapes = []

    def compute(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        shapes.append((*a.shape[1:], b.shape[2]))
        return a @ b

    monkeypatch.setattr(trainers, "PRODUCT_SHAPE", (8, 4, 2))
    monkeypatch.setitem(PRODUCTS, "counted", compute)
    trainers.product("counted")(3)
    assert shapes == [(8, 4, 2)] * 3


def test_every_minibatch_of_an_epoch_has_other_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain training of digits reads all 1,000 images in five steps, and the same again in the next five."""
    read: list[torch.Tensor] = []

    def recorded(widths: object) -> torch.nn.Module:
        network = torch.nn.Linear(784, 10)
        network.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        return network

    monkeypatch.setattr(trainers, "relu_network", recorded)
    trainers.plain_deep()(10)
    images = train_questions(trainers.DIGITS)[0]
    for epoch in (read[:5], read[5:]):
        assert [len(minibatch) for minibatch in epoch] == [200] * 5
        torch.testing.assert_close(torch.cat(epoch).sum(0), images.sum(0), rtol=1e-4, atol=1e-2)


def test_members_train_together_and_seeds_too() -> None:
    """So many of them, each with its own instance."""
    agent = agent_on(find_recipe("mlp"), SMALL, 3)
    assert len(agent.spec.seeds) == 3
    assert agent.act()["answers"].shape[0] == 3
