"""Pin the reference: `python -m tools.pin_reference TUNING FOLDER …` writes grokbench/results/reference.json.

TUNING is the folder of the reference's tuning, made by `grokbench tune transformer --out TUNING`. A dash in its place pins a
reference that isn't tuned. The folders hold the reference's runs on whole suites with all official seeds.
`grokbench run --suite core --agents TUNING/transformer-tuned.toml --out FOLDER` makes those of `core`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results.tables import Group, group
from grokbench.runs.store import find_records
from grokbench.sweeps.tuning import finished_tuning
from grokbench.sweeps.tuning_folder import read_folder

TARGET = Path(__file__).resolve().parents[1] / "grokbench" / "results" / "reference.json"


def reference(folders: Sequence[Path], tuning: Path | None = None) -> dict[str, Any]:
    """The reference as its file holds it: each agent's hash, each task's steps to generalize by seed, and tuning's spread.

    Raises:
        ValueError: a record is damaged, a task has runs of two agents, an official seed is missing, or the agent isn't the one
            that the tuning chooses.
    """
    records, errors = find_records(folders)
    if errors:
        raise ValueError(f"expected undamaged records, got {'; '.join(map(str, errors))}")
    groups = [runs for runs in group(records) if not runs.task.control]
    tasks = {runs.task.id: times_by_seed(runs) for runs in groups}
    if len(tasks) < len(groups):
        names = ", ".join(sorted({runs.agent for runs in groups}))
        raise ValueError(f"expected one agent per task, got {names} on the same tasks")
    agents = {runs.complete[0].agent.name: runs.complete[0].agent.hash for runs in groups}
    pinned: dict[str, Any] = {"agents": agents, "tasks": tasks}
    if tuning is not None:
        finished, _ = finished_tuning(*read_folder(tuning))
        if finished.recipe("tuned").hash not in agents.values():
            raise ValueError(f"expected runs of the recipe that {tuning} chooses, got {', '.join(agents)}")
        pinned["tuning_spread"] = round(finished.spread, 4)
    return pinned


def times_by_seed(runs: Group) -> dict[str, int | None]:
    """Seed → steps to generalize, null where the run is censored.

    Raises:
        ValueError: the complete runs' seeds aren't the official ones.
    """
    if sorted(runs.seeds) != list(PROTOCOL.official_seeds):
        raise ValueError(f"{runs.task.id} needs the seeds {PROTOCOL.official_seeds}, got {sorted(runs.seeds)}")
    return {str(seed): time for seed, time in sorted(zip(runs.seeds, runs.times, strict=True))}


def pin(folders: Sequence[Path], target: Path, tuning: Path | None = None) -> None:
    """Write the reference. Raises ValueError as `reference` does."""
    target.write_text(json.dumps(reference(folders, tuning), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    first, *others = sys.argv[1:]
    pin([Path(name) for name in others], TARGET, None if first == "-" else Path(first))
