"""How fast the baselines train. `make bench` writes speed.json and the tables between the markers of README.md.

All variants take turns in every round, so a busy neighbor slows all of them. Ratios are taken within a round.
`python -m benchmarks.speed deep` measures one part again and keeps the others.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch

from baselines.training.agent import NetworkAgent
from benchmarks.tables import Measured, tables
from benchmarks.timing import CUDA, DEVICE, Runner, Spread, machine, measure_and_stop, measure_rates, ratio, spread
from benchmarks.trainers import (
    PRODUCT_FLOPS,
    PRODUCTS,
    TASK,
    agent_on,
    deep,
    fast,
    fast_compiled,
    plain,
    plain_deep,
    product,
)
from grokbench.agents.recipes import Recipe, find_recipe
from grokbench.results.markdown import write_section
from grokbench.runs import engine
from grokbench.runs.plan import plan
from grokbench.runs.progress import Progress
from grokbench.runs.provenance import current_provenance
from grokbench.runs.records import RunRecord
from grokbench.runs.store import Store, find_records
from grokbench.sweeps.grid import make_grid
from grokbench.sweeps.sweep import run_plans
from grokbench.tasks import parse_id

FOLDER = Path(__file__).parent
RECIPES = ("mlp", "transformer", "transformer2")
SEEDS = (1, 4, 16, 64, 256, 1_024) if CUDA else (1, 4, 16)
MEMBERS = (1, 6, 12)  # deep MLPs that train together
MODULI = (31, 47, 67, 97, 113)
RUN_STEPS = 10_000  # a whole run of the reference takes about as many
SWEPT_TASK = "add_mod31-{ratio}"
SWEPT_RATIOS, SWEPT_BUDGET = "0.4:0.85:10", 1_500
SWEPT_DECAYS = {"mlp": "0.1:10:10:log", "transformer": "0.3:3:2:log"}  # a tenth of a sweep of a thousand runs, and a fiftieth


def measure_variants(recipe: str) -> list[Measured]:
    """Steps per second of the recipe's variants with one seed, and the fast variant's share of matrix products."""
    variants = {"plain": Runner(plain, recipe)}
    if recipe != "mlp":  # an MLP has no positions
        variants["plain, last position"] = Runner(plain, recipe, True)
    variants |= {"fast": Runner(fast, recipe), "fast, compiled": Runner(fast_compiled, recipe)}
    rates, memory = measure_and_stop({name: Runner(product, name) for name in PRODUCTS} | variants)
    rows: dict[str, Measured] = {
        variant: {
            "recipe": recipe,
            "variant": variant,
            "steps_per_second": spread(rates[variant]),
            "over_plain": ratio(rates[variant], rates["plain"]),
            "share_of_torch_products": None,
            "share_of_products": None,
            "compile_seconds": None,
            "peak_memory": memory[variant],
        }
        for variant in variants
    }
    rows["fast"]["share_of_torch_products"] = _share_of_products(recipe, rates["fast"], rates["torch's product"])
    rows["fast"]["share_of_products"] = _share_of_products(recipe, rates["fast"], rates["our product"])
    rows["fast, compiled"]["compile_seconds"] = variants["fast, compiled"].first_step
    return list(rows.values())


def _share_of_products(recipe: str, steps_per_second: Sequence[float], products_per_second: Sequence[float]) -> Spread:
    """The GFLOP/s of a step over those of a large matrix product."""
    flops = agent_on(find_recipe(recipe), TASK, 1).cost()["flops_per_step"]
    return ratio(steps_per_second, [rate * PRODUCT_FLOPS / flops for rate in products_per_second])


def measure_seeds(recipe: str) -> list[Measured]:
    """Seed-steps per second of S seeds together, over those of one seed alone: the rate of S seeds one after another."""
    runners: dict[Hashable, Runner] = {seeds: Runner(fast, recipe, seeds) for seeds in SEEDS}
    rates, memory = measure_and_stop(runners | {"plain": Runner(plain, recipe)})
    seed_steps = {seeds: [seeds * rate for rate in rates[seeds]] for seeds in SEEDS}
    return [
        {
            "recipe": recipe,
            "seeds": seeds,
            "seed_steps_per_second": spread(seed_steps[seeds]),
            "over_one_after_another": ratio(seed_steps[seeds], seed_steps[1]),
            "over_plain": ratio(seed_steps[seeds], rates["plain"]),
            "peak_memory": memory[seeds],
        }
        for seeds in SEEDS
    ]


def measure_moduli() -> list[Measured]:
    """Steps per second of the one-layer transformer as the table grows."""
    tasks = {p: f"add_mod{p}-0.3" for p in MODULI}
    rates, memory = measure_and_stop({p: Runner(fast, "transformer", 1, task) for p, task in tasks.items()})
    return [
        {
            "p": p,
            "num_train": parse_id(task).num_train,
            "steps_per_second": spread(rates[p]),
            "peak_memory": memory[p],
        }
        for p, task in tasks.items()
    ]


def measure_deep() -> list[Measured]:
    """Member-steps per second of deep MLPs together, over those of the same networks one after another in plain PyTorch."""
    runners: dict[Hashable, Runner] = {members: Runner(deep, members) for members in MEMBERS}
    rates, memory = measure_and_stop(runners | {"plain": Runner(plain_deep)})
    member_steps = {members: [members * rate for rate in rates[members]] for members in MEMBERS}
    return [
        {
            "members": members,
            "member_steps_per_second": spread(member_steps[members]),
            "over_plain": ratio(member_steps[members], rates["plain"]),
            "peak_memory": memory[members],
        }
        for members in MEMBERS
    ]


def measure_run(recipe: str) -> Measured:
    """A whole `grokbench run` of one seed beside plain training.

    Its rate uses the record's seconds, which include setting up, exams and checkpoints. Its shares are of the wall-clock time.
    """
    runner = Runner(plain, recipe)
    plain_rates = measure_rates({"plain": runner})["plain"]
    with timed_calls("learn", "act") as seconds:
        record, wall = _whole_run(find_recipe(recipe))
    plain_rates += measure_rates({"plain": runner})["plain"]
    runner.stop()
    rate = record.cost.steps / record.cost.seconds
    return {
        "recipe": recipe,
        "steps": record.cost.steps,
        "exams": len(record.exams),
        "steps_per_second": rate,
        "over_plain": rate / statistics.median(plain_rates),
        "exams_share": (wall - seconds["learn"]) / wall,
        "harness_share": (wall - seconds["learn"] - seconds["act"]) / wall,
    }


def measure_sweep(recipe: str) -> Measured:
    """A sweep over train ratio and weight decay with one seed, beside one process of plain training of as many steps.

    The share of training is that of a single cohort in this process.
    """
    vary = {"ratio": SWEPT_RATIOS, "weight_decay": SWEPT_DECAYS[recipe]}
    grid = make_grid(recipe, SWEPT_TASK, vary=vary, seeds=[0], budget=SWEPT_BUDGET, exams="sparse")
    middle = SWEPT_TASK.format(ratio=0.6)
    runner = Runner(plain, recipe, True, middle)
    plain_rates = measure_rates({"plain": runner})["plain"]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        records = run_plans(grid.plans(), Store(Path(folder)))
        wall = time.perf_counter() - began
    plain_rates += measure_rates({"plain": runner})["plain"]
    runner.stop()
    steps = sum(record.cost.steps for record in records)
    cohort = make_grid(recipe, middle, seeds=range(5), budget=SWEPT_BUDGET, exams="sparse")
    with timed_calls("learn") as seconds, tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run_plans(cohort.plans(), Store(Path(folder)), processes=1)
        alone = time.perf_counter() - began
    return {
        "recipe": recipe,
        "runs": len(records),
        "steps": steps,
        "runs_per_minute": 60 * len(records) / wall,
        "plain_per_minute": 60 * statistics.median(plain_rates) * len(records) / steps,
        "over_plain": steps / wall / statistics.median(plain_rates),
        "training_share": seconds["learn"] / alone,
    }


@contextmanager
def timed_calls(*methods: str) -> Iterator[dict[str, float]]:
    """Within it the seconds that these methods of the baselines' agent take are added up, method → seconds."""
    seconds = dict.fromkeys(methods, 0.0)
    originals = {name: getattr(NetworkAgent, name) for name in methods}
    for name, original in originals.items():
        setattr(NetworkAgent, name, _timed(original, name, seconds))
    try:
        yield seconds
    finally:
        for name, original in originals.items():
            setattr(NetworkAgent, name, original)


def _timed(method: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = method(*arguments, **options)
        if CUDA:
            torch.cuda.synchronize()
        seconds[name] += time.perf_counter() - began
        return result

    return call


def _whole_run(recipe: Recipe) -> tuple[RunRecord, float]:
    """The record of seed 0, and the wall-clock seconds that it took."""
    plans = plan([TASK], [recipe], seeds=[0])
    with tempfile.TemporaryDirectory() as name, Progress(1) as progress:
        folder = Path(name)
        began = time.perf_counter()
        engine.run(plans, Store(folder), callbacks=[progress], device=cast(Any, DEVICE), max_steps=RUN_STEPS)
        wall = time.perf_counter() - began
        (record,), _ = find_records([folder])
    return record, wall


PARTS: dict[str, Callable[[], list[Measured]]] = {
    "variants": lambda: [row for recipe in RECIPES for row in measure_variants(recipe)],
    "seeds": lambda: [row for recipe in RECIPES for row in measure_seeds(recipe)],
    "runs": lambda: [measure_run(recipe) for recipe in RECIPES],
    "sweeps": lambda: [measure_sweep(recipe) for recipe in SWEPT_DECAYS],
    "moduli": measure_moduli,
    "deep": measure_deep,
}


def main(parts: Sequence[str]) -> None:
    """Measure these parts, or all of them, and write the JSON file and the tables."""
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        sys.exit(f"no part is called {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    name = "speed-cuda" if CUDA else "speed"
    path = FOLDER / f"{name}.json"
    results = json.loads(path.read_text(encoding="utf-8")) if parts and path.exists() else {}
    chosen = parts or list(PARTS)
    commits = results.get("commits", {}) | dict.fromkeys(chosen, current_provenance("cpu", None).commit)
    results |= {"machine": machine(), "task": TASK, "commits": commits} | {part: PARTS[part]() for part in chosen}
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = tables(json.loads(path.read_text(encoding="utf-8")))
    write_section(FOLDER / "README.md", name, text)
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
