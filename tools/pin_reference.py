"""Pin the reference: `python -m tools.pin_reference folder …` writes grokbench/results/reference.json.

The folders hold the reference's runs on whole suites with all official seeds: `transformer` on tables, `deep_mlp` on digits.
`grokbench run --suite core --agents transformer --out runs-core` makes those of `core`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results.tables import Group, group
from grokbench.runs.store import find_records

TARGET = Path(__file__).resolve().parents[1] / "grokbench" / "results" / "reference.json"


def reference(folders: Sequence[Path]) -> dict[str, Any]:
    """The reference as its file holds it: each agent's hash, and each task's steps to generalize, seed by seed.

    Raises:
        ValueError: a record is damaged, a task has runs of two agents, or an official seed is missing.
    """
    records, errors = find_records(folders)
    if errors:
        raise ValueError(f"expected undamaged records, got {'; '.join(map(str, errors))}")
    groups = [runs for runs in group(records) if not runs.task.control]
    tasks = {runs.task.id: times_by_seed(runs) for runs in groups}
    if len(tasks) < len(groups):
        names = ", ".join(sorted({runs.agent for runs in groups}))
        raise ValueError(f"expected one agent per task, got {names} on the same tasks")
    agents = [runs.complete[0].agent for runs in groups]
    return {"agents": {agent.name: agent.hash for agent in agents}, "tasks": tasks}


def times_by_seed(runs: Group) -> dict[str, int | None]:
    """Seed → steps to generalize, null where the run is censored.

    Raises:
        ValueError: the complete runs' seeds aren't the official ones.
    """
    if sorted(runs.seeds) != list(PROTOCOL.official_seeds):
        raise ValueError(f"{runs.task.id} needs the seeds {PROTOCOL.official_seeds}, got {sorted(runs.seeds)}")
    return {str(seed): time for seed, time in sorted(zip(runs.seeds, runs.times, strict=True))}


def pin(folders: Sequence[Path], target: Path) -> None:
    """Write the reference. Raises ValueError as `reference` does."""
    target.write_text(json.dumps(reference(folders), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    pin([Path(name) for name in sys.argv[1:]], TARGET)
