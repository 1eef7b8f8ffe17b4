"""How often `grokbench verify` refuses honest entries, and how often it finds claims that are too fast, on real runs.

`python -m tools.simulate_verify [folder]` writes the table in docs/statistics.md. With a folder it first makes the pools of
runs there, and continues where it was killed. It then pins their times in simulate_verify.json, so the table needs no runs.

A pool has runs of the `mlp` recipe on salted instances of `mini`'s tasks. There are three pools: with 1 thread, with 2
threads, and with torch's plainest kernels, as if on another machine. A simulation draws seeds without replacement: the
claimed runs from one pool, the new runs from another. The transformer's runs spread much more. They come from its entry and
are drawn with replacement.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.entry import run_key
from grokbench.board.entries.verdicts import SLOWER_SIGNIFICANCE
from grokbench.board.publishing.standings import standings
from grokbench.board.verification.rerun import FRESH
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results.markdown import write_section
from grokbench.results.scoring import restricted_time
from grokbench.results.statistics import slower_p, wilson_interval
from grokbench.runs.records import RunRecord
from grokbench.runs.store import find_records
from grokbench.tasks import list_tasks

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "statistics.md"
SECTION = "false-alarms"
PINNED = FOLDER / "simulate_verify.json"
ENTRIES = FOLDER.parent / "leaderboard" / "entries"

SEEDS = 25  # salted instances of each task
SIMULATIONS = 1_000
SPEEDUPS = (1.0, 1.25, 1.5, 2.0)  # how many times too fast a claim is; 1 is honest
CLAIMED = len(PROTOCOL.official_seeds)
POOL_ENVIRONMENTS = {
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
    "plain kernels": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}
BASE_POOL = "1 thread"
POOL_PAIRS = (  # claimed runs, new runs
    ("1 thread", "1 thread"),
    ("1 thread", "2 threads"),
    ("2 threads", "1 thread"),
    ("1 thread", "plain kernels"),
    ("plain kernels", "1 thread"),
)

Times = Sequence[Sequence[int]]  # min(T, budget): for each task a number per seed


@dataclass(frozen=True)
class Comparison:
    """What a row of the table simulates.

    Attributes:
        name: the row's name.
        claimed: the pool that claimed runs are drawn from.
        new: the pool that new runs are drawn from, on the same seeds.
        replace: draw with replacement.
    """

    name: str
    claimed: Times
    new: Times
    replace: bool = False

    def refusals(self, speedup: float) -> int:
        """In how many simulations a claim that is `speedup` times too fast is refused."""
        rng = np.random.default_rng(0)
        return sum(self._is_refused(rng, speedup) for _ in range(SIMULATIONS))

    def _is_refused(self, rng: np.random.Generator, speedup: float) -> bool:
        claimed, new = [], []
        for claimed_times, new_times in zip(self.claimed, self.new, strict=True):
            seeds = rng.choice(len(claimed_times), CLAIMED + FRESH, replace=self.replace)
            claimed.append([claimed_times[seed] / speedup for seed in seeds[:CLAIMED]])
            new.append([float(new_times[seed]) for seed in seeds[CLAIMED:]])
        return slower_p(claimed, new) < SLOWER_SIGNIFICANCE

    def row(self) -> list[str]:
        """The rate of refused honest claims with its Wilson interval, then the rates of found claims that are too fast."""
        honest, *too_fast = (self.refusals(speedup) for speedup in SPEEDUPS)
        low, high = wilson_interval(honest, SIMULATIONS)
        found = [f"{count / SIMULATIONS:.1%}" for count in too_fast]
        return [self.name, str(len(self.claimed)), f"{honest / SIMULATIONS:.1%} ({low:.1%}–{high:.1%})", *found]


def comparisons(pools: Mapping[str, Times]) -> list[Comparison]:
    """The rows of the table: every pair of pools and the transformer's entry, with one task and with two."""
    (entry,) = standings([check_entry(ENTRIES / "transformer")])
    rows = []
    for tasks in (1, 2):
        rows += [Comparison(f"mlp, {old} → {new}", pools[old][:tasks], pools[new][:tasks]) for old, new in POOL_PAIRS]
        rows.append(Comparison("transformer, its entry", entry.samples[:tasks], entry.samples[:tasks], replace=True))
    return rows


def table(pools: Mapping[str, Times]) -> str:
    """The simulations in Markdown."""
    headers = ("claimed → new runs", "tasks", "refused though honest")
    found = [f"claimed {speedup}× too fast: found" for speedup in SPEEDUPS[1:]]
    rows = [comparison.row() for comparison in comparisons(pools)]
    return tabulate(rows, [*headers, *found], tablefmt="github", disable_numparse=True)


def pool_differences(pools: Mapping[str, Times], unrepeated: Mapping[str, int]) -> str:
    """How each pool differs from the base pool on the same instances, as a Markdown list."""
    base = np.ravel(pools[BASE_POOL])
    lines = [
        f"- The same instances with {BASE_POOL} and with {name}: {(base != np.ravel(times)).sum()} of {len(base)} times "
        f"differ; {unrepeated[name]} runs don't repeat to the bit though their records name the same machine, versions and "
        "threads."
        for name, times in pools.items()
        if name != BASE_POOL
    ]
    return "\n".join(lines)


def pin(folder: Path) -> None:
    """Make the pools and write the pinned file: each pool's times, and how many of its runs don't repeat the base pool's."""
    pools = {name: make_pool(folder / name.replace(" ", "-"), variables) for name, variables in POOL_ENVIRONMENTS.items()}
    content = {
        "times": {name: times_by_task(runs) for name, runs in pools.items()},
        "differing": {name: count_unrepeated(pools[BASE_POOL], runs) for name, runs in pools.items()},
    }
    PINNED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def make_pool(out: Path, variables: dict[str, str]) -> list[RunRecord]:
    """The runs of a pool by task and seed, made under these environment variables where they are missing."""
    tasks = [task.id for task in list_tasks("mini")]
    seeds = [str(seed) for seed in range(SEEDS)]
    options = ["--agents", "mlp", "--tasks", *tasks, "--seeds", *seeds, "--salt", "pool", "--device", "cpu", "--out", str(out)]
    subprocess.run([sys.executable, "-m", "grokbench", "run", *options], env={**os.environ, **variables}, check=True)
    records, _ = find_records([out])
    return sorted(records, key=run_key)


def times_by_task(runs: Sequence[RunRecord]) -> list[list[int]]:
    """min(T, budget) of sorted runs, task by task."""
    times = [restricted_time(run.outcome.steps_to_generalize, run.parsed_task().budget) for run in runs]
    return [times[start : start + SEEDS] for start in range(0, len(times), SEEDS)]


def count_unrepeated(base: Sequence[RunRecord], runs: Sequence[RunRecord]) -> int:
    """How many runs don't repeat those of `base` to the bit though both records have the same provenance."""
    return sum(a.exams != b.exams and a.provenance == b.provenance for a, b in zip(base, runs, strict=True))


def main(folders: Sequence[str]) -> None:
    """Make the pools if a folder is named, simulate, write the table into the page and print it."""
    if folders:
        pin(Path(folders[0]))
    content: dict[str, Any] = json.loads(PINNED.read_text(encoding="utf-8"))
    text = f"{table(content['times'])}\n\n{pool_differences(content['times'], content['differing'])}"
    write_section(PAGE, SECTION, text)
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
