"""How often `grokbench verify` contradicts honest claims, and how often it finds claims that are too fast.

`python -m tools.simulate_verify` writes the tables in docs/statistics.md. A simulation draws ten claimed runs of every task
and new runs, round by round, with replacement. A claim is too fast if the times of its solved runs are divided by a speedup.
It hides runs if more of the new ones are unsolved than of the claimed ones. Synthetic times are log-normal, and a share of
them is censored at the budget. The others are those of the leaderboard's entries.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from grokbench.board.entries.checks import check_entries
from grokbench.board.publishing.standings import Standing, standings
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results.markdown import write_section
from grokbench.results.sequential import (
    ALLOWED_SPEEDUP,
    CONFIRMED_BELOW,
    HIDDEN,
    LOOKS,
    MOST_ROUNDS,
    contradicted_below,
    repeats,
    slower,
    too_fast,
)
from grokbench.results.statistics import wilson_interval
from grokbench.tasks.suites import SUITES
from tools.pools import Times, fresh_times, official_times, pool_of

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
SECTION = "false-alarms"
SECTION_OF_LUCK = "luck"
SECTION_OF_REPEATS = "repeats"

SIMULATIONS = 2_000
REPEATS, SPREAD_OF_REPEATS = 400, 0.5  # simulations of repeated official runs, standard deviation of log T
TOGETHER = 250  # simulations whose permutations fit into memory
SPEEDUPS = (1.0, 1.25, 1.5, 2.0)  # how many times too fast a claim is; 1 is honest
CLAIMED = len(PROTOCOL.official_seeds)
BUDGET = SUITES["mini"].budget  # that of core too
SYNTHETIC_TASKS, SYNTHETIC_MEDIAN = 3, 800
SYNTHETIC = ((0.1, 0.0), (0.3, 0.0), (0.4, 0.0), (0.5, 0.0), (0.3, 0.1), (0.1, 0.2), (0.3, 0.2), (0.5, 0.2))  # sd, censored
HEADERS = (
    "runs",
    "contradicted though honest",
    *(f"{speedup:g}× too fast: found" for speedup in SPEEDUPS[1:]),
    "rounds if honest, mean",
    f"rounds if {ALLOWED_SPEEDUP:g}× too fast",
    f"{HIDDEN:.0%} hidden: found",
    "and confirmed",
)

ManyTimes = NDArray[np.float64]  # (simulations, runs)
Draw = Callable[[np.random.Generator], tuple[list[ManyTimes], list[ManyTimes]]]  # task by task claimed and new times


@dataclass(frozen=True)
class Decisions:
    """The decisions of many simulations.

    Attributes:
        contradicted: (simulations,) whether the claims are contradicted.
        confirmed: (simulations,) whether they are confirmed.
        rounds: (simulations,) the rounds until the decision, or the most rounds.
    """

    contradicted: NDArray[np.bool_]
    confirmed: NDArray[np.bool_]
    rounds: NDArray[np.int64]


def decisions(claimed: Sequence[ManyTimes], new: Sequence[ManyTimes]) -> Decisions:
    """The sequential test on many simulations at once: task by task the claimed times and all rounds of new ones."""
    count, budgets = len(claimed[0]), [BUDGET] * len(claimed)
    contradicted, confirmed, rounds = np.zeros(count, bool), np.zeros(count, bool), np.full(count, MOST_ROUNDS)
    live = np.arange(count)
    for seen in LOOKS:
        if not len(live):
            break
        old, latest = [times[live] for times in claimed], [times[live, :seen] for times in new]
        is_slower = slower(old, latest, budgets) < contradicted_below(seen)
        is_fine = ~is_slower & (too_fast(old, latest, budgets) < CONFIRMED_BELOW)
        contradicted[live[is_slower]] = True
        confirmed[live[is_fine]] = True
        rounds[live[is_slower | is_fine]] = seen
        live = live[~(is_slower | is_fine)]
    return Decisions(contradicted, confirmed, rounds)


def simulate(pool: Sequence[Times], speedup: float = 1.0, *, hidden: float = 0.0) -> Decisions:
    """Simulations with claims that are too fast, or hide a share of unsolved runs; a pool of times (runs,) for every task."""

    def draw(rng: np.random.Generator) -> tuple[list[ManyTimes], list[ManyTimes]]:
        drawn = [rng.choice(times, (TOGETHER, CLAIMED + MOST_ROUNDS)) for times in pool]
        claimed, new = [times[:, :CLAIMED] for times in drawn], [times[:, CLAIMED:] for times in drawn]
        if hidden:
            solved = [max((times < BUDGET).mean(), hidden) for times in pool]
            new = [_with_unsolved(times, rng, share=hidden / each) for times, each in zip(new, solved, strict=True)]
        return [np.where(times < BUDGET, times / speedup, times) for times in claimed], new

    return _simulated(draw)


def _with_unsolved(times: ManyTimes, rng: np.random.Generator, *, share: float) -> ManyTimes:
    """Times of which a share of those below the budget is set to it."""
    return np.where(rng.random(times.shape) < share, float(BUDGET), times)


def with_these_claims(claimed: Sequence[Times], fresh: Sequence[Times]) -> Decisions:
    """Simulations in which the claims are the official times as they are, and new runs are drawn from fresh ones."""

    def draw(rng: np.random.Generator) -> tuple[list[ManyTimes], list[ManyTimes]]:
        new = [rng.choice(times, (TOGETHER, MOST_ROUNDS)) for times in fresh]
        return [np.tile(times, (TOGETHER, 1)) for times in claimed], new

    return _simulated(draw)


def _simulated(draw: Draw) -> Decisions:
    """The decisions of all simulations, of which `draw` gives so many together."""
    rng = np.random.default_rng(0)
    parts = [decisions(*draw(rng)) for _ in range(ceil(SIMULATIONS / TOGETHER))]
    return Decisions(*(np.concatenate(each) for each in zip(*map(astuple, parts), strict=True)))


def row(name: str, pool: Sequence[Times]) -> list[str]:
    """The rates of contradicted claims, the honest ones with a Wilson interval, and the mean numbers of rounds."""
    results = {speedup: simulate(pool, speedup) for speedup in SPEEDUPS}
    honest, allowed, hiding = results[1.0], results[ALLOWED_SPEEDUP], simulate(pool, hidden=HIDDEN)
    low, high = wilson_interval(int(honest.contradicted.sum()), len(honest.contradicted))
    can_hide = any((times < BUDGET).any() for times in pool)
    return [
        name,
        f"{honest.contradicted.mean():.1%} ({low:.1%}–{high:.1%})",
        *(f"{results[speedup].contradicted.mean():.1%}" for speedup in SPEEDUPS[1:]),
        f"{honest.rounds.mean():.1f}",
        f"{allowed.rounds.mean():.1f}",
        f"{hiding.contradicted.mean():.1%}" if can_hide else "",
        f"{hiding.confirmed.mean():.1%}" if can_hide else "",
    ]


def synthetic_pool(spread: float, censored: float) -> list[Times]:
    """Many log-normal times of every task, of which a share is censored at the budget."""
    rng = np.random.default_rng(1)
    pools = []
    for task in range(SYNTHETIC_TASKS):
        times = SYNTHETIC_MEDIAN * (1 + task / 2) * rng.lognormal(0, spread, 100_000)
        times[rng.random(len(times)) < censored] = BUDGET
        pools.append(np.minimum(times, BUDGET).round())
    return pools


def table(rows: Iterable[list[str]], headers: Sequence[str] = HEADERS) -> str:
    """Rows as Markdown."""
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def write_luck(all_standings: Iterable[Standing]) -> None:
    """Write the table of entries whose re-execution went through all rounds, with their claims as they are."""
    rows = []
    for standing in all_standings:
        fresh = fresh_times(standing)
        if min(map(len, fresh)) >= MOST_ROUNDS:
            decided = with_these_claims(official_times(standing), fresh)
            rows.append([f"`{standing.entry.name}`", f"{decided.contradicted.mean():.1%}", f"{decided.confirmed.mean():.1%}"])
    write_section(PAGE, SECTION_OF_LUCK, table(rows, ("entry", "contradicted", "confirmed")))


def share_excused(correlation: float, speedup: float = 1.0, *, hidden: float = 0.0) -> float:
    """The share of claims that repeated official runs excuse: log-normal times, of which a seed's repetition correlates."""
    rng = np.random.default_rng(2)
    excused = 0
    for _ in range(REPEATS):
        log_times = SPREAD_OF_REPEATS * rng.standard_normal((SYNTHETIC_TASKS, CLAIMED))
        noise = SPREAD_OF_REPEATS * sqrt(1 - correlation**2) * rng.standard_normal(log_times.shape)
        claimed, again = (SYNTHETIC_MEDIAN * np.exp(logs) for logs in (log_times, correlation * log_times + noise))
        again = np.where(rng.random(log_times.shape) < hidden, BUDGET, again)
        old, new = ({str(task): its.tolist() for task, its in enumerate(times)} for times in (claimed / speedup, again))
        excused += repeats(old, new, dict.fromkeys(old, BUDGET))
    return excused / REPEATS


def write_repeats() -> None:
    """Write the table of claims that repeated official runs excuse."""
    headers = ("correlation of log T", "honest: excused", "1.5× too fast: excused", f"{HIDDEN:.0%} hidden: excused")
    rows = [
        [
            f"{correlation:g}",
            f"{share_excused(correlation):.1%}",
            f"{share_excused(correlation, ALLOWED_SPEEDUP):.1%}",
            f"{share_excused(correlation, hidden=HIDDEN):.1%}",
        ]
        for correlation in (0.8, 0.92, 0.98)
    ]
    write_section(PAGE, SECTION_OF_REPEATS, table(rows, headers))


def main() -> None:
    """Simulate, write the tables into the page and print them."""
    synthetic = [
        row(f"log-normal, standard deviation of log T {spread:g}, {censored:.0%} censored", synthetic_pool(spread, censored))
        for spread, censored in SYNTHETIC
    ]
    all_standings = standings(check_entries())
    real = [row(f"`{each.entry.name}` ({len(each.tasks)} tasks)", pool_of(each)) for each in all_standings]
    tables = "\n\n".join(table(rows) for rows in (synthetic, real) if rows)
    write_section(PAGE, SECTION, tables)
    write_luck(all_standings)
    write_repeats()
    print(tables)


if __name__ == "__main__":
    main()
