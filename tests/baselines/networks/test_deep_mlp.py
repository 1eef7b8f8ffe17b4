"""The deep MLP against PyTorch's layers and training; members with different hyperparameters; errors."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Generator, nn

from baselines.agents import deep_mlp
from baselines.networks.deep_mlp import DeepMLP
from baselines.networks.questions import Images
from baselines.training.agent import NetworkAgent
from baselines.training.losses import LOSSES
from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.errors import AgentError, RecipeError
from grokbench.evaluation.marking import Examiner
from grokbench.tasks import make_instance, parse_id
from tests.support.agents import spec_of
from tests.support.baselines import started_agent

TASK_ID = "mnist5k-n60"
NETWORK = {"inputs": 784, "depth": 4, "width": 12, "init_scale": 2.0}
TRAINING = {
    "batch_size": 20,
    "loss": "mse",
    "dtype": "float64",
    "seeds_together": 10,
}
ADAMW = {"lr": 1e-3, "weight_decay": 0.1, "betas": [0.9, 0.999]}


def agent(**changes: float | str) -> NetworkAgent:
    """A small deep MLP with some hyperparameters changed."""
    return deep_mlp(
        {name: changes.get(name, value) for name, value in NETWORK.items()},
        {name: changes.get(name, value) for name, value in TRAINING.items()},
        {"name": "adamw"} | {name: changes.get(name, value) for name, value in ADAMW.items()},
        {"name": "constant", "warmup": 0},
    )


def started(agent: NetworkAgent, seeds: list[int]) -> NetworkAgent:
    """The agent, reset on images of these seeds."""
    return started_agent(agent, seeds, task=TASK_ID)


@pytest.mark.parametrize("depth", [2, 3, 7])
def test_the_forward_is_pytorchs_layers(depth: int) -> None:
    """Logits and features, every hidden layer before its ReLU, of both forwards are those of nn.Linear layers."""
    network = DeepMLP(inputs=30, depth=depth, width=8, init_scale=3.0)
    drawn = network.init_params(5, Generator().manual_seed(0))
    layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([30, *network.feature_dims, 5]))
    for number, layer in enumerate(layers):
        assert isinstance(layer, nn.Linear)
        layer.weight.data, layer.bias.data = drawn[f"weight{number}"], drawn[f"bias{number}"]
    x = torch.rand(9, 30)
    outputs = [layers[0](x)]
    for layer in layers[1:]:
        outputs.append(layer(outputs[-1].relu()))
    logits, features = network.forward({name: p.unsqueeze(0) for name, p in drawn.items()}, Images(x.unsqueeze(0)))
    expected = (outputs[-1], torch.cat(outputs[:-1], -1))
    torch.testing.assert_close((logits[0], features[0]), expected)
    torch.testing.assert_close(network.reference_forward(drawn, x), expected)


@pytest.mark.parametrize("together", [True, False], ids=["all members at once", "member by member"])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_autograds(together: bool, loss: str) -> None:
    """The gradients are autograd's, by the computation for CUDA and by the computation for a CPU."""
    network, generator = DeepMLP(inputs=30, depth=4, width=8, init_scale=3.0), Generator().manual_seed(0)
    drawn = [network.init_params(5, generator) for _ in range(3)]
    parameters = {name: torch.stack([member[name] for member in drawn]).double().requires_grad_() for name in drawn[0]}
    pixels = torch.rand(3, 9, 30, generator=generator, dtype=torch.float64)
    answers = torch.randint(5, (3, 9), generator=generator)
    into = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    if together:
        with torch.no_grad():
            losses = network._gradients(parameters, pixels, answers, LOSSES[loss], into)
    else:
        losses = network.gradients(parameters, Images(pixels), answers, LOSSES[loss], into)
    logits, _ = network.forward(parameters, Images(pixels))
    expected, gradient = LOSSES[loss](logits.detach(), answers)
    torch.testing.assert_close(losses, expected)
    gradients = torch.autograd.grad(logits, list(parameters.values()), gradient)
    torch.testing.assert_close(list(into.values()), list(gradients))


def test_initialization_is_pytorchs_times_alpha() -> None:
    """Uniform within α/√fan-in, weights and biases alike."""
    drawn = DeepMLP(inputs=784, depth=3, width=200, init_scale=8.0).init_params(10, Generator().manual_seed(0))
    for layer, fan_in in enumerate([784, 200, 200]):
        for kind in ("weight", "bias"):
            largest = drawn[f"{kind}{layer}"].abs().max().item()
            assert 0.7 * 8 / fan_in**0.5 < largest <= 8 / fan_in**0.5
        assert drawn[f"weight{layer}"].std().item() == pytest.approx(8 / (3 * fan_in) ** 0.5, rel=0.05)


def test_members_of_several_configurations_learn_as_alone() -> None:
    """α, learning rate and weight decay may differ within a cohort; each member learns what it learns alone."""
    settings = [{"init_scale": 1.0}, {"init_scale": 4.0, "weight_decay": 0.0}, {"lr": 1e-2}]
    joint = started(NetworkAgent.join([agent(**changes) for changes in settings for _ in (0, 1)]), [0, 1] * 3)
    report = joint.learn(12)
    shown = joint.act()
    for number, changes in enumerate(settings):
        alone = started(agent(**changes), [0, 1])
        rows = slice(2 * number, 2 * number + 2)
        expected = alone.learn(12)
        np.testing.assert_allclose(report["loss"][rows], expected["loss"], rtol=1e-9)
        np.testing.assert_allclose(report["weight_norm"][rows], expected["weight_norm"], rtol=1e-9)
        torch.testing.assert_close(shown["features"][rows], alone.act()["features"], rtol=1e-7, atol=1e-9)


def test_members_leave_with_their_own_hyperparameters() -> None:
    """After `keep` the remaining members continue with their own learning rate and weight decay."""
    settings = [{"lr": 1e-3}, {"lr": 1e-2, "weight_decay": 0.0}, {"lr": 1e-4}]
    joint = started(NetworkAgent.join([agent(**changes) for changes in settings]), [0, 1, 2])
    joint.learn(4)
    joint.keep([1])
    alone = started(agent(**settings[1]), [1])
    alone.learn(4)
    np.testing.assert_allclose(joint.learn(5)["loss"], alone.learn(5)["loss"], rtol=1e-9)


def test_training_is_pytorchs() -> None:
    """Twelve full-batch steps of mean squared error and AdamW end where nn.Linear and torch.optim.AdamW end."""
    trained = started(agent(batch_size=0), [3])
    shard = trained.shards[0]
    parameters = {name: p[0].detach().clone().requires_grad_() for name, p in shard.parameters.items()}
    images = shard.data.questions
    assert isinstance(images, Images)
    x, targets = images.pixels[0], nn.functional.one_hot(shard.data.answers[0], 10).double()
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=1e-3, weight_decay=0.1)
    for _ in range(12):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.mse_loss(trained.method.network.reference_forward(parameters, x)[0], targets))
        optimizer.step()
    trained.learn(12)
    for name, p in parameters.items():
        torch.testing.assert_close(shard.parameters[name][0], p, rtol=1e-9, atol=1e-12)


def test_the_weight_norm_is_reported() -> None:
    """Every layer has a number: the norm of its weights and biases together."""
    trained = started(agent(), [0, 1])
    norms = trained.learn(1)["weight_norm"]
    assert norms.shape == (2, 4)
    parameters = trained.shards[0].parameters
    expected = torch.cat([parameters[f"{kind}2"][1].flatten() for kind in ("weight", "bias")]).norm().item()
    assert norms[1, 2] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 1}, "depth must be a whole number from 2 to 24, got 1"),
        ({"depth": 25}, "from 2 to 24"),
        ({"width": 0}, "width must be a whole number from 1 up, got 0"),
    ],
)
def test_bad_networks(changes: dict[str, int], message: str) -> None:
    """Depth and width have bounds, and the error says which."""
    with pytest.raises(RecipeError, match=message):
        agent(**changes)


def test_what_cannot_train_together() -> None:
    """Members with another width, minibatch or loss can't share a computation."""
    for other in (agent(width=13), agent(batch_size=10), agent(loss="cross_entropy")):
        with pytest.raises(AgentError, match="differ in nothing but init_scale, lr, weight_decay"):
            NetworkAgent.join([agent(), other])


@pytest.mark.parametrize(
    ("recipe", "task", "message"),
    [
        ("deep_mlp", "add_mod23-0.5", "reads images of 784 pixels, got pairs of symbols"),
        ("mlp", "mnist5k-n60", "reads pairs of symbols, not images"),
        ("transformer", "mnist5k-n60", "reads pairs of symbols, not images"),
    ],
)
def test_the_wrong_kind_of_task(recipe: str, task: str, message: str) -> None:
    """A network for images refuses pairs of symbols, and a network for pairs refuses images."""
    agent, instance = find_recipe(recipe).make(), make_instance(parse_id(task), 0)
    observation = Examiner([instance], agent.feature_dims).observations([0])
    spec = spec_of([instance], agent.feature_dims)
    with pytest.raises(AgentError, match=message):
        agent.reset(observation, spec)


def test_the_recipe_names_every_hyperparameter() -> None:
    """A recipe that leaves one out is refused by name."""
    tables = find_recipe("deep_mlp").plain_hyperparameters
    del tables["network"]["width"]
    with pytest.raises(RecipeError, match=r"\[network\] lacks width"):
        Recipe("x", "baselines.agents:deep_mlp", tables).make()
    del tables["optimizer"]
    with pytest.raises(RecipeError, match=r"deep_mlp.* missing .*'optimizer'"):
        Recipe("x", "baselines.agents:deep_mlp", tables).make()
