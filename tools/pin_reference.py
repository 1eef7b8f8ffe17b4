"""Pin the reference: `python -m tools.pin_reference folder …` writes grokbench/results/reference.json.

The runs are the reference's over whole suites, all official seeds: `transformer` on tables, `deep_mlp` on images, as
`grokbench run --suite core --agents transformer --out runs-core` makes them.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from grokbench.evaluation.protocol import PROTOCOL
from grokbench.results.tables import group
from grokbench.runs.store import find_records

TARGET = Path(__file__).resolve().parents[1] / "grokbench" / "results" / "reference.json"


def pin(folders: Sequence[Path]) -> None:
    """Write every task's steps-to-generalize, seed by seed.

    Raises:
        ValueError: a record is damaged, a task has two agents, or it hasn't all official seeds.
    """
    records, errors = find_records(folders)
    groups = [one for one in group(records) if not one.task.control]
    names = [one.task.id for one in groups]
    if errors or len(set(names)) < len(names):
        raise ValueError(f"expected undamaged records of one agent per task, found {errors or sorted(names)}")
    for one in groups:
        if sorted(one.seeds) != list(PROTOCOL.official_seeds):
            raise ValueError(f"{one.task.id} needs the seeds {PROTOCOL.official_seeds}, got {sorted(one.seeds)}")
    agents = {agent.name: agent.hash for agent in (one.complete[0].agent for one in groups)}
    tasks = {one.task.id: {str(seed): t for seed, t in sorted(zip(one.seeds, one.times, strict=True))} for one in groups}
    TARGET.write_text(json.dumps({"agents": agents, "tasks": tasks}, indent=1) + "\n")


if __name__ == "__main__":
    pin([Path(name) for name in sys.argv[1:]])
