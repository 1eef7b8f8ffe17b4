"""Pin the reference: `python -m benchmarks.pin_reference runs/reference` writes grokbench/data/reference.json.

The runs are those of `grokbench run --suite mini --agents transformer --out runs/reference`, all official seeds.
"""

import json
import sys
from pathlib import Path

from grokbench.protocol import PROTOCOL
from grokbench.report import group
from grokbench.runs.store import find_records

TARGET = Path(__file__).resolve().parents[1] / "grokbench" / "data" / "reference.json"


def pin(folder: Path) -> None:
    """Write every task's steps-to-generalize, seed by seed.

    Raises:
        ValueError: a record is damaged, there are two agents, or a task hasn't all official seeds.
    """
    records, errors = find_records([folder])
    groups = [one for one in group(records) if not one.task.control]
    if errors or len({one.agent for one in groups}) != 1:
        raise ValueError(f"expected the undamaged records of one agent below {folder}, found errors {errors}")
    for one in groups:
        if sorted(one.seeds) != list(PROTOCOL.official_seeds):
            raise ValueError(f"{one.task.id} needs the seeds {PROTOCOL.official_seeds}, got {sorted(one.seeds)}")
    agent = groups[0].complete[0].agent
    tasks = {one.task.id: {str(seed): t for seed, t in sorted(zip(one.seeds, one.times, strict=True))} for one in groups}
    TARGET.write_text(json.dumps({"agent": agent.name, "recipe_hash": agent.hash, "tasks": tasks}, indent=1) + "\n")


if __name__ == "__main__":
    pin(Path(sys.argv[1]))
