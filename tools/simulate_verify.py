"""How often `grokbench verify` contradicts honest claims, and how often it finds claims that are too fast.

`python -m tools.simulate_verify` writes the tables in docs/statistics.md. A simulation draws ten claimed runs of every task and
new runs, round by round, with replacement. A claim is too fast if its times are divided by a speedup. Synthetic times are
log-normal, and a share of them is censored at the budget. The others are those of the leaderboard's entries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results.markdown import write_section
from grokbench.results.sequential import ALLOWED_SPEEDUP, CONFIRMED_BELOW, LOOKS, MOST_ROUNDS, contradicted_below
from grokbench.results.statistics import slower_p_values, wilson_interval
from tools.pools import Times, entry_pools

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
SECTION = "false-alarms"

SIMULATIONS = 2_000
TOGETHER = 250  # simulations whose permutations fit into memory
SPEEDUPS = (1.0, 1.25, 1.5, 2.0)  # how many times too fast a claim is; 1 is honest
CLAIMED = len(PROTOCOL.official_seeds)
SYNTHETIC_TASKS, SYNTHETIC_MEDIAN, SYNTHETIC_BUDGET = 3, 800, 5_000
SYNTHETIC = ((0.1, 0.0), (0.3, 0.0), (0.4, 0.0), (0.5, 0.0), (0.3, 0.1), (0.1, 0.2), (0.3, 0.2), (0.5, 0.2))  # sd, censored
HEADERS = (
    "runs",
    "contradicted though honest",
    *(f"{speedup:g}× too fast: found" for speedup in SPEEDUPS[1:]),
    "rounds if honest, mean",
    f"rounds if {ALLOWED_SPEEDUP:g}× too fast",
    f"found if all {MOST_ROUNDS} rounds were run",
)

ManyTimes = NDArray[np.float64]  # (simulations, runs)


@dataclass(frozen=True)
class Decisions:
    """The decisions of many simulations.

    Attributes:
        contradicted: (simulations,) whether the claims are contradicted.
        rounds: (simulations,) the rounds until the decision, or the most rounds.
    """

    contradicted: NDArray[np.bool_]
    rounds: NDArray[np.int64]


def decisions(claimed: Sequence[ManyTimes], new: Sequence[ManyTimes], *, may_confirm: bool = True) -> Decisions:
    """The sequential test on many simulations at once: task by task the claimed times and all rounds of new ones."""
    count = len(claimed[0])
    contradicted, rounds = np.zeros(count, bool), np.full(count, MOST_ROUNDS)
    live = np.arange(count)
    for seen in LOOKS:
        if not len(live):
            break
        old, latest = [times[live] for times in claimed], [times[live, :seen] for times in new]
        is_slower = slower_p_values(old, latest) < contradicted_below(seen)
        is_fine = ~is_slower & may_confirm
        if may_confirm:
            is_fine &= slower_p_values(latest, [ALLOWED_SPEEDUP * times for times in old]) < CONFIRMED_BELOW
        contradicted[live[is_slower]] = True
        rounds[live[is_slower | is_fine]] = seen
        live = live[~(is_slower | is_fine)]
    return Decisions(contradicted, rounds)


def simulate(pool: Sequence[Times], speedup: float, *, may_confirm: bool = True) -> Decisions:
    """Simulations with claims that are `speedup` times too fast, on a pool of times (runs,) for every task."""
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(ceil(SIMULATIONS / TOGETHER)):
        drawn = [rng.choice(times, (TOGETHER, CLAIMED + MOST_ROUNDS)) for times in pool]
        claimed = [times[:, :CLAIMED] / speedup for times in drawn]
        parts.append(decisions(claimed, [times[:, CLAIMED:] for times in drawn], may_confirm=may_confirm))
    return Decisions(np.concatenate([p.contradicted for p in parts]), np.concatenate([p.rounds for p in parts]))


def row(name: str, pool: Sequence[Times]) -> list[str]:
    """The rates of contradicted claims, the honest ones with a Wilson interval, and the mean numbers of rounds."""
    results = {speedup: simulate(pool, speedup) for speedup in SPEEDUPS}
    honest, allowed = results[1.0], results[ALLOWED_SPEEDUP]
    low, high = wilson_interval(int(honest.contradicted.sum()), len(honest.contradicted))
    most = simulate(pool, ALLOWED_SPEEDUP, may_confirm=False).contradicted.mean()
    return [
        name,
        f"{honest.contradicted.mean():.1%} ({low:.1%}–{high:.1%})",
        *(f"{results[speedup].contradicted.mean():.1%}" for speedup in SPEEDUPS[1:]),
        f"{honest.rounds.mean():.1f}",
        f"{allowed.rounds.mean():.1f}",
        f"{most:.1%}",
    ]


def synthetic_pool(spread: float, censored: float) -> list[Times]:
    """Many log-normal times of every task, of which a share is censored at the budget."""
    rng = np.random.default_rng(1)
    pools = []
    for task in range(SYNTHETIC_TASKS):
        times = SYNTHETIC_MEDIAN * (1 + task / 2) * rng.lognormal(0, spread, 100_000)
        times[rng.random(len(times)) < censored] = SYNTHETIC_BUDGET
        pools.append(np.minimum(times, SYNTHETIC_BUDGET).round())
    return pools


def table(rows: Iterable[list[str]]) -> str:
    """Rows as Markdown."""
    return tabulate(rows, HEADERS, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Simulate, write the tables into the page and print them."""
    synthetic = [
        row(f"log-normal, standard deviation of log T {spread:g}, {censored:.0%} censored", synthetic_pool(spread, censored))
        for spread, censored in SYNTHETIC
    ]
    real = [row(f"`{entry}` ({len(pool)} tasks)", pool) for entry, pool in entry_pools().items()]
    tables = "\n\n".join(table(rows) for rows in (synthetic, real) if rows)
    write_section(PAGE, SECTION, tables)
    print(tables)


if __name__ == "__main__":
    main()
