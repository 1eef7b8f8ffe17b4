"""How fast the baselines train: `make bench` writes speed.json and the tables between the marks in README.md.

Every variant takes its turn in every round, so that a busy neighbor slows all of them; ratios are taken within a round.
`python -m benchmarks.speed deep` measures a part again and leaves the others as they are.
"""

import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch

from baselines.networks.mlp import ACTIVATIONS, MLP
from baselines.networks.network import Network
from baselines.networks.products import multiply
from baselines.training.agent import NetworkAgent
from benchmarks.tables import tables
from benchmarks.timing import CUDA, DEVICE, Runner, Trainer, machine, rates, ratio, spread
from grokbench.agents.agent import Spec
from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.evaluation.marking import Examiner
from grokbench.results.markdown import write_section
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.progress import Progress
from grokbench.runs.provenance import current_provenance
from grokbench.runs.store import Store, find_records
from grokbench.studies.settings import Deep
from grokbench.tasks import Instance, make_instance, parse_id

HERE = Path(__file__).parent
TASK, IMAGES = "add_mod97-0.3", "mnist5k-n1000"
RECIPES = ("mlp", "transformer", "transformer2")
VARIANTS = ("plain", "plain, last position", "fast", "fast, compiled")
MODULI = (31, 47, 67, 97, 113)
RUN_STEPS = 10_000  # the reference takes about so many
PRODUCT = (2048, 1024, 256)
PRODUCT_FLOPS = 2 * math.prod(PRODUCT)
PRODUCTS: dict[str, Callable[..., torch.Tensor]] = {"torch's product": torch.matmul, "our product": multiply}
SEEDS = (1, 4, 16, 64) if CUDA else (1, 4, 16)
MEMBERS = (1, 6, 12)  # of a batch of deep MLPs


def agent_on(recipe: str, instances: list[Instance]) -> NetworkAgent:
    """The recipe's agent, reset on these instances of one task."""
    agent = find_recipe(recipe).make()
    assert isinstance(agent, NetworkAgent)
    start(agent, instances)
    return agent


def start(agent: NetworkAgent, instances: list[Instance]) -> None:
    """Reset the agent on these instances of one task."""
    task = instances[0].task
    observation = Examiner(instances, agent.feature_dims).observations(range(len(instances)))
    seeds = tuple(instance.agent_seed for instance in instances)
    agent.reset(observation, Spec(task.num_symbols, task.num_questions, task.budget, agent.feature_dims, DEVICE, seeds))


def instances_of(task_id: str, seeds: int) -> list[Instance]:
    """The task's first instances."""
    return [make_instance(parse_id(task_id), seed) for seed in range(seeds)]


def trainer(recipe: str, variant: str, seeds: int = 1, task_id: str = TASK) -> Trainer:
    """What takes the steps of this variant."""
    if variant.startswith("plain"):
        return plain_trainer(recipe, task_id, last_only=variant != "plain")
    agent = agent_on(recipe, instances_of(task_id, seeds))
    if variant == "fast, compiled":
        torch._inductor.config.force_disable_caches = True  # so that the first step shows what compiling takes
        for shard in agent.shards:
            shard.network = cast(Network[Any], Compiled(shard.network))
            shard._settle()
    return agent.learn


class Compiled:
    """A network whose training forward and backward `torch.compile` has made."""

    def __init__(self, network: Network[Any]) -> None:
        self.logits = torch.compile(network.logits, dynamic=False)
        self.metrics = network.metrics

    gradients = Network.gradients


def plain_trainer(recipe: str, task_id: str, last_only: bool) -> Trainer:
    """One seed in plain PyTorch: every question's whole sequence (MLP: `one_hot @ weights`), torch's own AdamW."""
    agent = agent_on(recipe, instances_of(task_id, 1))
    shard, settings, network = agent.shards[0], agent.method.training, agent.method.network
    parameters = {name: p[0].detach().clone().requires_grad_() for name, p in shard.parameters.items()}
    inputs = shard.questions.operands[0]
    answers, symbols = shard.answers[0], agent.spec.num_symbols
    one_hot, right = (torch.nn.functional.one_hot(x, symbols).float() for x in (inputs, answers))
    one_hot = one_hot.flatten(1)
    optimizer = torch.optim.AdamW(
        list(parameters.values()), settings.learning_rate, settings.betas, weight_decay=settings.weight_decay
    )

    def forward(index: slice | torch.Tensor) -> torch.Tensor:
        if isinstance(network, MLP):
            hidden = one_hot[index] @ torch.cat([parameters["first"], parameters["second"]])
            return ACTIVATIONS[network.activation](hidden) @ parameters["layer1"]
        return network.reference_forward(parameters, inputs[index], last_only)[0]

    def learn(steps: int) -> None:
        for _ in range(steps):
            index: slice | torch.Tensor = slice(None)
            if shard.minibatch_size < len(inputs):
                index = torch.randperm(len(inputs), device=DEVICE)[: shard.minibatch_size]
            optimizer.zero_grad()
            if settings.loss == "mse":
                loss = torch.nn.functional.mse_loss(forward(index), right[index])
            else:
                loss = torch.nn.functional.cross_entropy(forward(index), answers[index])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return learn


def product_trainer(name: str) -> Trainer:
    """A "step" that is nothing but one of `PRODUCTS`, of a size large enough for the machine's best rate."""
    n, k, m = PRODUCT
    a, b = (torch.randn(1, *shape, device=DEVICE) for shape in ((n, k), (k, m)))
    product = PRODUCTS[name]

    def learn(steps: int) -> None:
        for _ in range(steps):
            product(a, b)

    return learn


def measure_variants(recipe: str) -> list[dict[str, Any]]:
    """The recipe's variants with one seed, against the machine's matrix products."""
    variants = [v for v in VARIANTS if recipe != "mlp" or v != "plain, last position"]  # an MLP has no positions
    runners = {name: Runner(product_trainer, name) for name in PRODUCTS}
    runners |= {variant: Runner(trainer, recipe, variant) for variant in variants}
    measured = rates(runners)
    memory = {name: one.stop() for name, one in runners.items()}
    flops = agent_on(recipe, instances_of(TASK, 1)).cost()["flops_per_step"]
    most = {name: [rate * PRODUCT_FLOPS / flops for rate in measured[name]] for name in PRODUCTS}
    shares = {name: ratio(measured["fast"], best) for name, best in most.items()}
    return [
        {
            "recipe": recipe,
            "variant": variant,
            "steps_per_second": spread(measured[variant]),
            "over_plain": ratio(measured[variant], measured["plain"]),
            "share_of_torch_products": shares["torch's product"] if variant == "fast" else None,
            "share_of_products": shares["our product"] if variant == "fast" else None,
            "compile_seconds": runners[variant].first_step if variant == "fast, compiled" else None,
            "peak_memory": memory[variant],
        }
        for variant in variants
    ]


def measure_seeds(recipe: str) -> list[dict[str, Any]]:
    """Seed-steps per second of S seeds together, over those of one alone (of S one after another, that is)."""
    runners: dict[Any, Runner] = {seeds: Runner(trainer, recipe, "fast", seeds) for seeds in SEEDS}
    runners["plain"] = Runner(trainer, recipe, "plain")
    measured = rates(runners)
    memory = {name: one.stop() for name, one in runners.items()}
    together = {seeds: [seeds * rate for rate in measured[seeds]] for seeds in SEEDS}
    return [
        {
            "recipe": recipe,
            "seeds": seeds,
            "seed_steps_per_second": spread(together[seeds]),
            "over_one_after_another": ratio(together[seeds], together[1]),
            "over_plain": ratio(together[seeds], measured["plain"]),
            "peak_memory": memory[seeds],
        }
        for seeds in SEEDS
    ]


def measure_moduli() -> list[dict[str, Any]]:
    """Steps per second of the one-layer transformer as the table grows."""
    tasks = {p: f"add_mod{p}-0.3" for p in MODULI}
    runners = {p: Runner(trainer, "transformer", "fast", 1, task) for p, task in tasks.items()}
    measured = rates(runners)
    memory = {p: one.stop() for p, one in runners.items()}
    return [
        {
            "p": p,
            "cells": parse_id(tasks[p]).num_train,
            "steps_per_second": spread(measured[p]),
            "peak_memory": memory[p],
        }
        for p in MODULI
    ]


def measure_run(recipe: str) -> dict[str, Any]:
    """A whole `grokbench run` of one seed beside plain training.

    Its rate is by its record's seconds, in which setting up, exams and checkpoints count; its shares are of all the time that
    it took.
    """
    spent = {"learn": 0.0, "act": 0.0}

    def timed(name: str) -> Callable[..., Any]:
        method = getattr(NetworkAgent, name)

        def call(self: NetworkAgent, *arguments: Any) -> Any:
            started = time.perf_counter()
            result = method(self, *arguments)
            if CUDA:
                torch.cuda.synchronize()
            spent[name] += time.perf_counter() - started
            return result

        return call

    plain = Runner(trainer, recipe, "plain")
    before = rates({"plain": plain})["plain"]
    originals = {name: getattr(NetworkAgent, name) for name in spent}
    try:
        for name in spent:
            setattr(NetworkAgent, name, timed(name))
        record, wall = _whole_run(find_recipe(recipe))
    finally:
        for name, method in originals.items():
            setattr(NetworkAgent, name, method)
    plain_rate = statistics.median(before + rates({"plain": plain})["plain"])
    plain.stop()
    rate = record.cost.steps / record.cost.seconds
    return {
        "recipe": recipe,
        "steps": record.cost.steps,
        "exams": len(record.exams),
        "steps_per_second": rate,
        "over_plain": rate / plain_rate,
        "exams_share": (wall - spent["learn"]) / wall,
        "harness_share": (wall - spent["learn"] - spent["act"]) / wall,
    }


def _whole_run(recipe: Recipe) -> tuple[Any, float]:
    with tempfile.TemporaryDirectory() as folder, Progress(1) as progress:
        started = time.perf_counter()
        engine.run(
            plan([TASK], [recipe], seeds=[0]), Store(Path(folder)), callbacks=[progress], device=DEVICE, max_steps=RUN_STEPS
        )
        wall = time.perf_counter() - started
        records, _ = find_records([Path(folder)])
    return records[0], wall


def deep_recipes(members: int) -> list[Recipe]:
    """So many settings of a deep MLP: seeds aside, every other one has another weight decay."""
    base = Deep(IMAGES, 6, 8.0, 0.05).experiment.recipe
    decays = [0.05 if member % 2 else 0.1 for member in range(members)]
    changed = [base.hyperparameters["training"] | {"weight_decay": decay} for decay in decays]
    return [replace(base, hyperparameters=base.hyperparameters | {"training": training}) for training in changed]


def deep_trainer(members: int, plain: bool) -> Trainer:
    """The steps of so many members together, or of one in plain PyTorch."""
    instances = [make_instance(parse_id(IMAGES), seed) for seed in range(members)]
    if plain:
        return plain_deep_trainer(instances[0])
    made = [recipe.make() for recipe in deep_recipes(members)]
    agent = NetworkAgent.together(cast(list[NetworkAgent], made))
    start(agent, instances)
    return agent.learn


def plain_deep_trainer(instance: Instance) -> Trainer:
    """The same network as anyone would write and train it."""
    widths = [784, *[200] * 5, 10]
    layers = [layer for a, b in pairwise(widths) for layer in (torch.nn.Linear(a, b, device=DEVICE), torch.nn.ReLU())]
    network = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.05)
    inputs = torch.tensor(instance.shown_inputs[instance.train], device=DEVICE)
    answers = torch.tensor(instance.shown_answers[instance.train], device=DEVICE)
    targets = torch.nn.functional.one_hot(answers, 10).float()

    def learn(steps: int) -> None:
        order = torch.empty(0, dtype=torch.int64, device=DEVICE)
        for _ in range(steps):
            if not len(order):
                order = torch.randperm(len(inputs), device=DEVICE)
            index, order = order[:200], order[200:]
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(network(inputs[index]), targets[index])
            torch.autograd.backward(loss)
            optimizer.step()

    return learn


def measure_deep() -> list[dict[str, Any]]:
    """Member-steps per second of deep MLPs together, over those of the same nets one after another in plain PyTorch."""
    runners: dict[Any, Runner] = {members: Runner(deep_trainer, members, False) for members in MEMBERS}
    runners["plain"] = Runner(deep_trainer, 1, True)
    measured = rates(runners)
    memory = {name: one.stop() for name, one in runners.items()}
    together = {members: [members * rate for rate in measured[members]] for members in MEMBERS}
    return [
        {
            "members": members,
            "member_steps_per_second": spread(together[members]),
            "over_plain": ratio(together[members], measured["plain"]),
            "peak_memory": memory[members],
        }
        for members in MEMBERS
    ]


PARTS: dict[str, Callable[[], Any]] = {
    "variants": lambda: [row for recipe in RECIPES for row in measure_variants(recipe)],
    "seeds": lambda: [row for recipe in RECIPES for row in measure_seeds(recipe)],
    "runs": lambda: [measure_run(recipe) for recipe in RECIPES],
    "moduli": measure_moduli,
    "deep": measure_deep,
}


def main(parts: Sequence[str]) -> None:
    """Measure these parts, or all; write the JSON beside this file, and put the tables into README.md."""
    name = "speed-cuda" if CUDA else "speed"
    path = HERE / f"{name}.json"
    results = json.loads(path.read_text(encoding="utf-8")) if parts and path.exists() else {}
    commits = results.get("commits", {}) | dict.fromkeys(parts or PARTS, current_provenance("cpu", None).commit)
    results |= {"machine": machine(), "task": TASK, "commits": commits} | {part: PARTS[part]() for part in parts or PARTS}
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_section(HERE / "README.md", name, tables(results))
    print(tables(results))


if __name__ == "__main__":
    main(sys.argv[1:])
