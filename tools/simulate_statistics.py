"""How far the leaderboard's statistics can be trusted: `python -m tools.simulate_statistics`.

Simulates the coverage of the score's bootstrap interval, and false positives and power of the paired exchange test. Writes the
table in docs/statistics.md. The runs are synthetic, and drawn with replacement from those of the leaderboard's entries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results import statistics
from grokbench.results.markdown import write_section
from tools.pools import Times, entry_pools

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
SECTION = "statistics"
SIMULATIONS = 1_000
RESAMPLES = 2_000
SIGNIFICANCE = 0.05
OFFICIAL_SEEDS = len(PROTOCOL.official_seeds)
SEEDS = (3, 5, OFFICIAL_SEEDS)
SPEEDUP = 1.25  # of the faster method, whose detection counts as power

MethodTimes = NDArray[np.float64]  # min(T, budget), (tasks, seeds)
Draw = Callable[
    [np.random.Generator, int, float], tuple[MethodTimes, MethodTimes]
]  # (rng, seeds, speedup) → two methods, the second faster


@dataclass(frozen=True)
class Synthetic:
    """Lognormal steps to generalize on instances that are harder for both methods alike.

    Attributes:
        tasks: the number of tasks.
        budget: steps; T is restricted to it.
        log_medians: the lowest and the highest of the tasks' median of log T.
        spread: standard deviation of log T on a task.
        shared: share of its variance that both methods have in common, because they run on the same instances.
        never: probability that a run never generalizes.
    """

    tasks: int = 7
    budget: float = 5_000.0
    log_medians: tuple[float, float] = (6.0, 7.6)
    spread: float = 0.5
    shared: float = 0.5
    never: float = 0.25

    def draw(self, rng: np.random.Generator, seeds: int, speedup: float) -> tuple[MethodTimes, MethodTimes]:
        """Two methods on common instances, the second one faster."""
        log_median = np.linspace(*self.log_medians, self.tasks)[:, None]
        difficulty = rng.normal(0, self.spread * self.shared**0.5, (self.tasks, seeds))

        def method(speed: float) -> MethodTimes:
            luck = rng.normal(0, self.spread * (1 - self.shared) ** 0.5, (self.tasks, seeds))
            times = np.exp(log_median + difficulty + luck) / speed
            failed = rng.random((self.tasks, seeds)) < self.never
            return np.where(failed, self.budget, np.minimum(times, self.budget))

        return method(1.0), method(speedup)


def resampled(pool: Sequence[Times]) -> Draw:
    """Two methods whose runs are drawn with replacement from the same real runs, task by task."""

    def draw(rng: np.random.Generator, seeds: int, speedup: float) -> tuple[MethodTimes, MethodTimes]:
        first, second = (np.array([rng.choice(task, seeds) for task in pool]) for _ in range(2))
        return first, second / speedup

    return draw


@dataclass
class Counts:
    """In how many simulations something happened."""

    false_positives: int = 0
    detections: int = 0
    covered: int = 0


def simulate(draw: Draw, rng: np.random.Generator, seeds: int) -> Counts:
    """Compare equal methods and unequal ones, and look whether the interval of a score contains 1, the true score."""
    counts = Counts()
    for _ in range(SIMULATIONS):
        first, second = draw(rng, seeds, 1.0)
        counts.false_positives += _differ(first, second)
        low, high = statistics.score_interval(second.tolist(), first.tolist(), resamples=RESAMPLES)
        counts.covered += low <= 1.0 <= high
        counts.detections += _differ(*draw(rng, seeds, SPEEDUP))
    return counts


def _differ(first: MethodTimes, second: MethodTimes) -> bool:
    return statistics.paired_p(first.tolist(), second.tolist(), exchanges=RESAMPLES) < SIGNIFICANCE


def simulated_rows(name: str, draw: Draw, numbers_of_seeds: Sequence[int]) -> list[list[str]]:
    """A row of the table for each number of seeds."""
    rng = np.random.default_rng(0)
    rows = []
    for seeds in numbers_of_seeds:
        counts = simulate(draw, rng, seeds)
        rates = [count / SIMULATIONS for count in (counts.false_positives, counts.detections, counts.covered)]
        rows.append([name, str(seeds), *(f"{rate:.1%}" for rate in rates)])
    return rows


def main() -> None:
    """Simulate, write the table into the page and print it."""
    rows = simulated_rows("synthetic", Synthetic().draw, SEEDS)
    for entry, pool in entry_pools().items():
        if all(len(np.unique(times)) == 1 for times in pool):
            continue  # no run generalizes: all times are the budget
        rows += simulated_rows(f"`{entry}` ({len(pool)} tasks)", resampled(pool), [OFFICIAL_SEEDS])
    headers = (
        "runs",
        "seeds",
        f"false positives at {100 * SIGNIFICANCE:g} %",
        f"power, {SPEEDUP - 1:.0%} faster",
        "95 % interval covers",
    )
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    write_section(PAGE, SECTION, table)
    print(table)


if __name__ == "__main__":
    main()
