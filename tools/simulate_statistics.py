"""How far the leaderboard's statistics can be trusted: `python -m tools.simulate_statistics [folder of runs …]`.

Coverage of the score's bootstrap interval and false positives of the paired exchange test, by simulation: on synthetic runs
(8 tasks, lognormal steps-to-generalize, instances that are harder for everyone, a quarter of the runs never generalizing), and
on runs drawn with replacement from real ones.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from grokbench.results import scoring, statistics
from grokbench.results.markdown import write_section
from grokbench.results.tables import group
from grokbench.runs.store import find_records

README = Path(__file__).parents[1] / "benchmarks" / "README.md"
SIMULATIONS = 1_000
RESAMPLES = 2_000
SEEDS = (3, 5, 10)
BUDGET = 20_000.0
TASKS, SPREAD, SHARED, NEVER = 8, 0.5, 0.5, 0.25
FASTER = 1.25  # of the method whose detection is counted as power

Runs = NDArray[np.float64]  # min(T, budget), (tasks, seeds)
Draw = Callable[[np.random.Generator, int, float], tuple[Runs, Runs]]  # two methods on the same seeds, the second faster


def synthetic(random: np.random.Generator, seeds: int, faster: float) -> tuple[Runs, Runs]:
    """Two methods on common instances."""
    level = np.linspace(7.0, 8.5, TASKS)[:, None]
    hard = random.normal(0, SPREAD * SHARED**0.5, (TASKS, seeds))

    def method(speed: float) -> Runs:
        luck = random.normal(0, SPREAD * (1 - SHARED) ** 0.5, (TASKS, seeds))
        t = np.exp(level + hard + luck) / speed
        return np.where(random.random((TASKS, seeds)) < NEVER, BUDGET, np.minimum(t, BUDGET))

    return method(1.0), method(faster)


def resampled(population: Sequence[Sequence[float]]) -> Draw:
    """Two methods whose runs are drawn from the same real ones, task by task."""

    def draw(random: np.random.Generator, seeds: int, faster: float) -> tuple[Runs, Runs]:
        first, second = (np.array([random.choice(task, seeds) for task in population]) for _ in range(2))
        return first, second / faster

    return draw


def simulated(name: str, draw: Draw) -> list[tuple[Any, ...]]:
    """A row for each number of seeds."""
    random = np.random.default_rng(0)
    many = [draw(random, 20_000, 1.0)[0]]
    truth = many[0].mean(axis=1)  # the restricted means that a score estimates
    rows = []
    for seeds in SEEDS:
        false, power, covered = 0, 0, 0
        for _ in range(SIMULATIONS):
            first, second = draw(random, seeds, 1.0)
            false += statistics.paired_p(first.tolist(), second.tolist(), resamples=RESAMPLES) < 0.05
            low, high = statistics.bootstrap_interval(first.tolist(), truth.tolist(), resamples=RESAMPLES)
            covered += low <= 1.0 <= high
            slow, fast = draw(random, seeds, FASTER)
            power += statistics.paired_p(slow.tolist(), fast.tolist(), resamples=RESAMPLES) < 0.05
        rows.append((name, seeds, *(f"{count / SIMULATIONS:.1%}" for count in (false, power, covered))))
    return rows


def main(folders: Sequence[str]) -> None:
    """Simulate, print, and put the table into README.md."""
    rows = simulated("synthetic", synthetic)
    records, _ = find_records([Path(folder) for folder in folders]) if folders else ([], [])
    groups = [one for one in group(records) if not one.task.control and len(one.complete) == 10]
    if groups:
        population = [list(scoring.restricted(dict(enumerate(one.times)), one.task.budget).values()) for one in groups]
        rows += simulated(f"real ({len(groups)} tasks)", resampled(population))
    headers = ("runs", "seeds", "false positives at 5 %", f"power, {FASTER - 1:.0%} faster", "95 % interval covers")
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    write_section(README, "statistics", table)
    print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
