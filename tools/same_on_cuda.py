"""Whether T on a GPU is T on a CPU: `python -m tools.same_on_cuda FOLDER` compares runs with the board's.

Rounding differs between devices, so a run's T on the same instance is another draw. The paired exchange test of the leaderboard
compares the two on the seeds that both have.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import geometric_mean

from tabulate import tabulate

from grokbench.board.entries.entry import read_entry
from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results.scoring import restricted_time
from grokbench.results.statistics import paired_p
from grokbench.runs.records import RunRecord
from grokbench.runs.store import find_records

ENTRIES = Path(__file__).parents[1] / "leaderboard" / "entries"
BOARD = {  # agent → its entries
    "transformer_tuned": ("adamw-tuned-mini", "adamw-tuned"),
    "mlp_tuned": ("mlp-tuned-mini", "mlp-tuned"),
}
HEADERS = ["agent", "device", "tasks", "seeds", "RMST over that of the board", "p"]


def main(folder: Path) -> None:
    """Print a row for each agent that the board knows."""
    records, errors = find_records([folder])
    if errors or not records:
        sys.exit(f"{folder}: {errors[0] if errors else 'no runs'}")
    rows = []
    for agent in sorted({record.agent.name for record in records}):
        entries = next((entries for name, entries in BOARD.items() if agent.startswith(name)), ())
        if entries:
            ours = [record for record in records if record.agent.name == agent]
            rows.append([agent, ours[0].provenance.device, *_compared(ours, entries)])
    print(tabulate(rows, headers=HEADERS, floatfmt=".3f"))


def _compared(records: Iterable[RunRecord], entries: Iterable[str]) -> list[object]:
    """Tasks, seeds, the geometric mean of the ratio of RMST, and the p-value."""
    ours = _times(records)
    board = [run for name in entries if (entry := read_entry(ENTRIES / name)[0]) is not None for run in entry.runs]
    theirs = _times(board)
    tasks = sorted({task for task, _ in ours})
    seeds = [seed for seed in PROTOCOL.official_seeds if all((task, seed) in ours.keys() & theirs.keys() for task in tasks)]
    if not seeds:
        return [len(tasks), 0, None, None]
    first, second = ([[times[task, seed] for seed in seeds] for task in tasks] for times in (ours, theirs))
    ratios = [sum(one) / sum(other) for one, other in zip(first, second, strict=True)]
    return [len(tasks), len(seeds), geometric_mean(ratios), paired_p(first, second)]


def _times(records: Iterable[RunRecord]) -> dict[tuple[str, int], int]:
    """min(T, budget) of complete runs on scored tasks."""
    return {
        (record.task, record.seed): restricted_time(record.outcome.steps_to_generalize, record.budget)
        for record in records
        if record.incomplete is None and not record.parsed_task().control
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
