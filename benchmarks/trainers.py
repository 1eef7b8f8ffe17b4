"""The programs that are timed. Each function makes a trainer, which takes the number of steps that it is called with."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import grokbench
from baselines.networks.mlp import ACTIVATIONS, MLP
from baselines.networks.network import Network, Parameters
from baselines.networks.products import multiply
from baselines.optimizers.adamw import AdamWSettings
from baselines.training.agent import NetworkAgent
from benchmarks.timing import DEVICE, Trainer
from grokbench.agents.recipes import Recipe, find_recipe, recipe
from grokbench.runs.memory import keep_freed_memory
from grokbench.studies.settings import Deep
from grokbench.tasks import make_instance, parse_id

TASK = "add_mod97-0.3"
DIGITS = "mnist5k-n1000"
DIGIT_WIDTHS = (784, 200, 200, 200, 200, 200, 10)
DEEP = Deep(DIGITS, depth=6, alpha=8.0, decay=0.05)
PRODUCT_SHAPE = (2048, 1024, 256)  # large enough for the machine's best rate
PRODUCT_FLOPS = 2 * math.prod(PRODUCT_SHAPE)
PRODUCTS: dict[str, Callable[..., Tensor]] = {"torch's product": torch.matmul, "our product": multiply}


def fast(recipe_name: str, seeds: int = 1, task_id: str = TASK) -> Trainer:
    """The baseline as `grokbench run` trains it, so many seeds together."""
    return agent_on(find_recipe(recipe_name), task_id, seeds).learn


def fast_compiled(recipe_name: str) -> Trainer:
    """The baseline with its training forward and backward passes compiled."""
    agent = agent_on(find_recipe(recipe_name), TASK, 1)
    torch._inductor.config.force_disable_caches = True  # so that the first step takes as long as compiling does
    for shard in agent.shards:
        shard.network = cast(Network[Any], Compiled(shard.network))
        shard.prepare()
    return agent.learn


class Compiled:
    """A network whose training passes `torch.compile` has made."""

    def __init__(self, network: Network[Any]) -> None:
        self.logits = torch.compile(network.logits, dynamic=False)
        self.metrics = network.metrics

    gradients = Network.gradients


def agent_on(recipe: Recipe, task_id: str, seeds: int) -> NetworkAgent:
    """The recipe's agent, reset on the task's first instances."""
    return started(cast(NetworkAgent, recipe.make()), task_id, seeds)


def started(agent: NetworkAgent, task_id: str, seeds: int) -> NetworkAgent:
    """The agent, reset on the task's first instances, in a process that keeps freed memory as the runner's does."""
    keep_freed_memory()
    env = grokbench.make_vec(task_id, num_envs=seeds, feature_dims=agent.feature_dims)
    env.reset(seed=0)
    agent.start(env, device=DEVICE)
    return agent


def plain(recipe_name: str, last_only: bool = False, task_id: str | None = None) -> Trainer:
    """One seed in plain PyTorch, as anyone would write it, with torch's own AdamW.

    Args:
        recipe_name: a baseline.
        last_only: compute the last layer at the last position alone. Otherwise every position of every question is computed.
        task_id: the task; by default that of the other measurements.
    """
    agent = agent_on(find_recipe(recipe_name), task_id or TASK, 1)
    training, adamw, start = agent.method.training, agent.method.optimizer, agent.shards[0].parameters
    assert isinstance(adamw, AdamWSettings)
    parameters = {name: parameter[0].detach().clone().requires_grad_() for name, parameter in start.items()}
    optimizer = torch.optim.AdamW(parameters.values(), adamw.lr, adamw.betas, weight_decay=adamw.weight_decay)
    inputs, answers = train_questions(task_id or TASK)
    forward = plain_forward(agent.method.network, parameters, inputs, last_only)
    targets = F.one_hot(answers, agent.spec.num_symbols).float() if training.loss == "mse" else answers
    loss_of = F.mse_loss if training.loss == "mse" else F.cross_entropy
    minibatch_size = training.minibatch_size(len(answers))

    def learn(steps: int) -> None:
        for _ in range(steps):
            index: slice | Tensor = slice(None)
            if minibatch_size < len(answers):
                index = torch.randperm(len(answers), device=DEVICE)[:minibatch_size]
            optimizer.zero_grad()
            loss_of(forward(index), targets[index]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return learn


def plain_forward(
    network: Network[Any], parameters: Parameters, inputs: Tensor, last_only: bool
) -> Callable[[slice | Tensor], Tensor]:
    """The logits of some of the questions `inputs` (n, 2). An MLP multiplies one-hot rows with weights."""
    if not isinstance(network, MLP):
        return lambda index: network.reference_forward(parameters, inputs[index], last_only)[0]
    one_hot = F.one_hot(inputs, len(parameters["layer0"]) // 2).float().flatten(1)  # (n, 2q)

    def forward(index: slice | Tensor) -> Tensor:
        hidden = one_hot[index] @ parameters["layer0"]
        return ACTIVATIONS[network.activation](hidden) @ parameters["layer1"]

    return forward


def train_questions(task_id: str) -> tuple[Tensor, Tensor]:
    """The training questions of seed 0, (n, L), and their answers, (n,)."""
    instance = make_instance(parse_id(task_id), 0)
    inputs = torch.tensor(instance.shown_inputs[instance.train], device=DEVICE)
    return inputs, torch.tensor(instance.shown_answers[instance.train], device=DEVICE)


def product(name: str) -> Trainer:
    """A step of nothing but a large matrix product, by one of `PRODUCTS`."""
    n, k, m = PRODUCT_SHAPE
    a, b = torch.randn(1, n, k, device=DEVICE), torch.randn(1, k, m, device=DEVICE)
    compute = PRODUCTS[name]

    def learn(steps: int) -> None:
        for _ in range(steps):
            compute(a, b)

    return learn


def deep(members: int) -> Trainer:
    """So many deep MLPs together, each with its own seed, and with one of two weight decays."""
    agents = [recipe.make() for recipe in deep_recipes(members)]
    return started(NetworkAgent.join(agents), DIGITS, members).learn


def deep_recipes(members: int) -> list[Recipe]:
    """A recipe for each member; two weight decays alternate."""
    decays = [0.05 if member % 2 else 0.1 for member in range(members)]
    return [recipe(DEEP.experiment.recipe, optimizer={"weight_decay": decay}) for decay in decays]


def plain_deep() -> Trainer:
    """One deep MLP in plain PyTorch, as anyone would write it."""
    network = relu_network(DIGIT_WIDTHS)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.05)
    inputs, answers = train_questions(DIGITS)
    targets = F.one_hot(answers, DIGIT_WIDTHS[-1]).float()

    def learn(steps: int) -> None:
        order = torch.empty(0, dtype=torch.int64, device=DEVICE)
        for _ in range(steps):
            if not len(order):
                order = torch.randperm(len(inputs), device=DEVICE)
            index, order = order[:200], order[200:]
            optimizer.zero_grad()
            torch.autograd.backward(F.mse_loss(network(inputs[index]), targets[index]))
            optimizer.step()

    return learn


def relu_network(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b, device=DEVICE), nn.ReLU())]
    return nn.Sequential(*layers[:-1])
