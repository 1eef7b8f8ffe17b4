"""How fast the baselines train: `make bench` writes speed.json and the tables between the marks in README.md.

Every variant takes its turn in every round, so that a busy neighbour slows all of them; ratios are taken within a round.
"""

import json
import math
import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import torch
from tabulate import tabulate

from baselines.mlp import ACTIVATIONS, MLP
from baselines.networks import Network
from baselines.training import NetworkAgent
from benchmarks.readme import replace_section
from grokbench.agents import Recipe, Spec, find_recipe
from grokbench.exams import Examiner
from grokbench.runs import runner
from grokbench.runs.progress import Progress
from grokbench.runs.store import Store, find_records
from grokbench.tasks import Instance, make_instance, parse_id

HERE = Path(__file__).parent
TASK = "add_mod97-0.3"
RECIPES = ("mlp", "transformer", "transformer2")
VARIANTS = ("plain", "plain, last position", "fast", "fast, compiled")
MODULI = (31, 47, 67, 97, 113)
ROUNDS, SECONDS = 5, 1.0  # per variant
RUN_STEPS = 3_000
PRODUCT = (2048, 1024, 256)
PRODUCT_FLOPS = 2 * math.prod(PRODUCT)
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
SEEDS = (1, 4, 16, 64) if CUDA else (1, 4, 16)

Trainer = Callable[[int], Any]  # takes so many steps
Spread = tuple[float, float, float]  # median, least, most


def agent_on(recipe: str, instances: list[Instance]) -> NetworkAgent:
    """The recipe's agent, reset on these instances of one task."""
    agent, task = find_recipe(recipe).make(), instances[0].task
    assert isinstance(agent, NetworkAgent)
    observation = Examiner(instances, agent.feature_dims).observations(range(len(instances)))
    seeds = tuple(instance.agent_seed for instance in instances)
    agent.reset(observation, Spec(task.symbols, task.cells, task.budget, agent.feature_dims, DEVICE, seeds))
    return agent


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
        for cohort in agent.cohorts:
            cohort.network = cast(Network[Any], Compiled(cohort.network))
            cohort._settle()
    return agent.learn


class Compiled:
    """A network whose training forward and backward `torch.compile` has made."""

    def __init__(self, network: Network[Any]) -> None:
        self.logits = torch.compile(network.logits, dynamic=False)


def plain_trainer(recipe: str, task_id: str, last_only: bool) -> Trainer:
    """One seed in plain PyTorch: every question's whole sequence (MLP: `one_hot @ weights`), torch's own AdamW."""
    agent = agent_on(recipe, instances_of(task_id, 1))
    cohort, settings, network = agent.cohorts[0], agent.training, agent.network
    parameters = {name: p[0].detach().clone().requires_grad_() for name, p in cohort.parameters.items()}
    inputs = torch.stack([cohort.questions.first.symbols[0], cohort.questions.second.symbols[0]], dim=1)
    answers, symbols = cohort.answers[0], agent.spec.symbols
    one_hot, right = (torch.nn.functional.one_hot(x, symbols).float() for x in (inputs, answers))
    one_hot = one_hot.flatten(1)
    optimizer = torch.optim.AdamW(
        list(parameters.values()), settings.learning_rate, settings.betas, weight_decay=settings.weight_decay
    )

    def forward(index: slice | torch.Tensor) -> torch.Tensor:
        if isinstance(network, MLP):
            hidden = one_hot[index] @ torch.cat([parameters["first"], parameters["second"]])
            return ACTIVATIONS[network.activation](hidden) @ parameters["layer1"]
        return network.plain(parameters, inputs[index], last_only)[0]

    def learn(steps: int) -> None:
        for _ in range(steps):
            index: slice | torch.Tensor = slice(None)
            if cohort.batch < len(inputs):
                index = torch.randperm(len(inputs), device=DEVICE)[: cohort.batch]
            optimizer.zero_grad()
            if settings.loss == "mse":
                loss = torch.nn.functional.mse_loss(forward(index), right[index])
            else:
                loss = torch.nn.functional.cross_entropy(forward(index), answers[index])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return learn


class Runner:
    """A trainer in a process of its own, as its user would run it: no variant's memory or threads touch another's."""

    def __init__(self, make: Callable[..., Trainer], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, make, arguments), daemon=True)
        self._process.start()
        self.first_step = self.seconds(1)

    def seconds(self, steps: int) -> float:
        """The wall-clock seconds that so many steps take."""
        self._here.send(steps)
        return float(self._here.recv())

    def stop(self) -> int:
        """End the process; the most bytes that it needed beyond those at its start."""
        self._here.send(0)
        peak = int(self._here.recv())
        self._process.join()
        return peak


def _serve(pipe: Connection, make: Callable[..., Trainer], arguments: tuple[Any, ...]) -> None:
    before = _peak_bytes()
    learn = make(*arguments)
    while steps := pipe.recv():
        started = time.perf_counter()
        learn(steps)
        if CUDA:
            torch.cuda.synchronize()
        pipe.send(time.perf_counter() - started)
    pipe.send(torch.cuda.max_memory_allocated() if CUDA else _peak_bytes() - before)


def _peak_bytes() -> int:
    """The most memory that this process has held; 0 where the system doesn't tell (getrusage would give its parent's)."""
    lines = [line.split() for line in _lines("/proc/self/status") if line.startswith("VmHWM:")]
    return 1024 * int(lines[0][1]) if lines else 0


def rates(runners: dict[Any, Runner]) -> dict[Any, list[float]]:
    """Steps per second of each, round by round, each taking its turn."""
    steps = {name: max(3, round(SECONDS * 5 / one.seconds(5))) for name, one in runners.items()}
    measured: dict[Any, list[float]] = {name: [] for name in runners}
    for _ in range(ROUNDS):
        for name, one in runners.items():
            measured[name].append(steps[name] / one.seconds(steps[name]))
    return measured


def spread(values: list[float]) -> Spread:
    """Median, least and most."""
    return statistics.median(values), min(values), max(values)


def ratio(values: list[float], over: list[float]) -> Spread:
    """The spread of the ratios, round by round."""
    return spread([a / b for a, b in zip(values, over, strict=True)])


def product_trainer() -> Trainer:
    """A "step" of one GFLOP that is nothing but the matrix product this machine likes best."""
    n, k, m = PRODUCT
    a, b, out = (torch.randn(shape, device=DEVICE) for shape in ((n, k), (k, m), (n, m)))

    def learn(steps: int) -> None:
        for _ in range(steps):
            torch.mm(a, b, out=out)

    return learn


def measure_variants(recipe: str) -> list[dict[str, Any]]:
    """The recipe's variants with one seed, against the machine's matrix products."""
    variants = [v for v in VARIANTS if recipe != "mlp" or v != "plain, last position"]  # an MLP has no positions
    runners = {"product": Runner(product_trainer)} | {v: Runner(trainer, recipe, v) for v in variants}
    measured = rates(runners)
    memory = {name: one.stop() for name, one in runners.items()}
    flops = agent_on(recipe, instances_of(TASK, 1)).cost()["flops_per_step"]
    share = [r * flops / (p * PRODUCT_FLOPS) for r, p in zip(measured["fast"], measured["product"], strict=True)]
    return [
        {
            "recipe": recipe,
            "variant": variant,
            "steps_per_second": spread(measured[variant]),
            "over_plain": ratio(measured[variant], measured["plain"]),
            "share_of_products": spread(share) if variant == "fast" else None,
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
            "cells": parse_id(tasks[p]).seen_cells,
            "steps_per_second": spread(measured[p]),
            "peak_memory": memory[p],
        }
        for p in MODULI
    ]


def measure_run(recipe: str) -> dict[str, Any]:
    """A whole `grokbench run` of one seed, start-up, exams, checkpoints and record included, beside plain training."""
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
        runner.run(runner.plan([TASK], None, [recipe], [0]), Store(Path(folder)), progress, DEVICE, RUN_STEPS)
        wall = time.perf_counter() - started
        records, _ = find_records([Path(folder)])
    return records[0], wall


def machine() -> dict[str, Any]:
    """What all of this ran on."""
    processor = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.processor()
    )
    return {
        "processor": processor,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if CUDA else None,
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "system": platform.system(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def tables(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    where = results["machine"]
    device = where["gpu"] or "no GPU"
    parts = [
        f"{where['processor']}, {where['threads']} threads, {device}; Python {where['python']}, torch {where['torch']}. "
        f"Medians of {ROUNDS} rounds, least to most in brackets; `{TASK}`, float32. Of products: of the rate of this machine's "
        "best matrix product in the same round. Memory: the most that the process needed beyond its libraries.",
        _table(
            ("recipe", "one seed", "steps/s", "over plain", "of products", "compiling", "memory"),
            (
                (
                    row["recipe"],
                    row["variant"],
                    _shown(row["steps_per_second"]),
                    _shown(row["over_plain"], "×", 2),
                    f"{row['share_of_products'][0]:.0%}" if row["share_of_products"] else "",
                    f"{row['compile_seconds']:.0f} s" if row["compile_seconds"] else "",
                    _memory(row),
                )
                for row in results["variants"]
            ),
        ),
        _table(
            ("recipe", "seeds together", "seed-steps/s", "over one after another", "over plain", "memory"),
            (
                (
                    row["recipe"],
                    row["seeds"],
                    _shown(row["seed_steps_per_second"]),
                    _shown(row["over_one_after_another"], "×", 2),
                    _shown(row["over_plain"], "×", 2),
                    _memory(row),
                )
                for row in results["seeds"]
            ),
        ),
        _table(
            ("whole run of", "steps", "exams", "steps/s", "over plain training", "exams take", "outside learn and act"),
            (
                (
                    row["recipe"],
                    f"{row['steps']:,}",
                    row["exams"],
                    f"{row['steps_per_second']:.1f}",
                    f"×{row['over_plain']:.2f}",
                    f"{row['exams_share']:.1%}",
                    f"{row['harness_share']:.1%}",
                )
                for row in results["runs"]
            ),
        ),
        _table(
            ("transformer at p", "training cells", "steps/s", "memory"),
            ((row["p"], f"{row['cells']:,}", _shown(row["steps_per_second"]), _memory(row)) for row in results["moduli"]),
        ),
    ]
    return "\n\n".join(parts)


def _table(headers: tuple[str, ...], rows: Any) -> str:
    return tabulate(list(rows), headers, tablefmt="github", disable_numparse=True)


def _memory(row: dict[str, Any]) -> str:
    return f"{row['peak_memory'] / 2**20:,.0f} MiB"


def _shown(values: Spread, sign: str = "", digits: int = 1) -> str:
    median, least, most = (f"{value:,.{digits}f}" for value in values)
    return f"{sign}{median} [{least}–{most}]"


def main() -> None:
    """Measure, write the JSON beside this file, and put the tables into README.md."""
    results = {
        "machine": machine(),
        "variants": [row for recipe in RECIPES for row in measure_variants(recipe)],
        "seeds": [row for recipe in RECIPES for row in measure_seeds(recipe)],
        "runs": [measure_run(recipe) for recipe in RECIPES],
        "moduli": measure_moduli(),
    }
    name = "speed-cuda" if CUDA else "speed"
    (HERE / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    replace_section(name, tables(results))
    print(tables(results))


if __name__ == "__main__":
    main()
