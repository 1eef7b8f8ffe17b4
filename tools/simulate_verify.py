"""How often `grokbench verify` refuses honest entries, and finds others, on real runs.

`python -m tools.simulate_verify [folder]`: with a folder it first makes the pools of runs there, and goes on where it was
killed. The pools are runs of the `mlp` recipe on salted instances of `mini`'s tasks: with 1 thread, with 2, and with torch's
plainest kernels, as on another machine. Their times stand in `simulate_verify.json`, from which the table follows without the
runs. A simulation draws seeds without replacement, 10 claimed runs from one pool and 3 new ones from another. The
transformer's runs, which spread much more, are its entry's, drawn with replacement.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from grokbench.board.entries.checks import check_entry
from grokbench.board.entries.files import run_key
from grokbench.board.entries.verdicts import LEVEL
from grokbench.board.publishing.standings import standings
from grokbench.board.verification.rerun import FRESH
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results.markdown import write_section
from grokbench.results.scoring import restricted_time
from grokbench.results.statistics import slower_p, wilson_interval
from grokbench.runs.records import RunRecord
from grokbench.runs.store import find_records
from grokbench.tasks import list_tasks

HERE = Path(__file__).parent
README = HERE.parent / "benchmarks" / "README.md"
PINNED = HERE / "simulate_verify.json"
ENTRIES = HERE.parent / "leaderboard" / "entries"
SEEDS, SIMULATIONS, FACTORS = 25, 1_000, (1.0, 1.25, 1.5, 2.0)
CLAIMED = len(PROTOCOL.official_seeds)
POOLS = {
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
    "plain kernels": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}
FIRST = "1 thread"
TASKS = [task.id for task in list_tasks("mini")]
PAIRS = [
    ("1 thread", "1 thread"),
    ("1 thread", "2 threads"),
    ("2 threads", "1 thread"),
    ("1 thread", "plain kernels"),
    ("plain kernels", "1 thread"),
]
Pool = list[list[int]]  # per task every seed's min(T, budget), seed i at place i


def make_runs(folder: Path) -> dict[str, list[RunRecord]]:
    """Every pool's runs by task and seed; those that aren't there yet are made."""
    options = ["--agents", "mlp", "--tasks", *TASKS, "--seeds", *map(str, range(SEEDS)), "--salt", "pool", "--device", "cpu"]
    runs = {}
    for name, settings in POOLS.items():
        out = folder / name.replace(" ", "-")
        command = [sys.executable, "-m", "grokbench", "run", *options, "--out", str(out)]
        subprocess.run(command, env={**os.environ, **settings}, check=True)
        runs[name] = sorted(find_records([out])[0], key=run_key)
    return runs


def pool_of(runs: Sequence[RunRecord]) -> Pool:
    """The runs' times, task by task."""
    times = [restricted_time(run.outcome.steps_to_generalize, run.parsed_task().budget) for run in runs]
    return [times[start : start + SEEDS] for start in range(0, len(times), SEEDS)]


def differing(ours: Sequence[RunRecord], theirs: Sequence[RunRecord]) -> int:
    """How many runs don't repeat to the bit though their records name the same machine, versions and threads."""
    return sum(a.exams != b.exams and a.provenance == b.provenance for a, b in zip(ours, theirs, strict=True))


def pin(folder: Path) -> None:
    """Write what the table is made of."""
    runs = make_runs(folder)
    content = {
        "times": {name: pool_of(its) for name, its in runs.items()},
        "differing": {name: differing(runs[FIRST], its) for name, its in runs.items()},
    }
    PINNED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def refused(claimed: Pool, new: Pool, factor: float, replace: bool = False) -> int:
    """In how many simulations a claim `factor` times too fast is refused."""
    random, count = np.random.default_rng(0), 0
    for _ in range(SIMULATIONS):
        ours, theirs = [], []
        for old, fresh in zip(claimed, new, strict=True):
            seeds = random.choice(len(old), CLAIMED + FRESH, replace=replace)
            ours.append([old[seed] / factor for seed in seeds[:CLAIMED]])
            theirs.append([float(fresh[seed]) for seed in seeds[CLAIMED:]])
        count += slower_p(ours, theirs) < LEVEL
    return count


def row(name: str, claimed: Pool, new: Pool, replace: bool = False) -> list[str]:
    """A row: the rate for honest claims with its Wilson interval, then those for claims that are too fast."""
    counts = [refused(claimed, new, factor, replace) for factor in FACTORS]
    low, high = wilson_interval(counts[0], SIMULATIONS)
    rates = [f"{count / SIMULATIONS:.1%}" for count in counts]
    return [name, str(len(claimed)), f"{rates[0]} ({low:.1%}–{high:.1%})", *rates[1:]]


def about(pools: dict[str, Pool], differ: dict[str, int]) -> str:
    """In how many runs a pool's time isn't the first one's, and how many verify would take for another's."""
    flat = {name: np.ravel(pool) for name, pool in pools.items()}
    lines = [
        f"- The same instances with {FIRST} and with {name}: {(flat[FIRST] != flat[name]).sum()} of {len(flat[name])} times "
        f"differ; {differ[name]} runs don't repeat to the bit though their records name the same machine, versions and threads."
        for name in pools
        if name != FIRST
    ]
    return "\n".join(lines)


def main(folders: Sequence[str]) -> None:
    """Make the pools if asked to, simulate, print, and put the table into README.md."""
    if folders:
        pin(Path(folders[0]))
    content = json.loads(PINNED.read_text(encoding="utf-8"))
    pools: dict[str, Pool] = content["times"]
    (entry,) = standings([check_entry(ENTRIES / "transformer")])
    rows = []
    for tasks in (1, 2):
        rows += [row(f"mlp, {ours} → {theirs}", pools[ours][:tasks], pools[theirs][:tasks]) for ours, theirs in PAIRS]
        rows.append(row("transformer, its entry", entry.samples[:tasks], entry.samples[:tasks], replace=True))
    headers = (
        "claimed → new runs",
        "tasks",
        "refused though honest",
        *(f"claimed {factor}× too fast: found" for factor in FACTORS[1:]),
    )
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    write_section(README, "false-alarms", f"{table}\n\n{about(pools, content['differing'])}")
    print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
