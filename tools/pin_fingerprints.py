"""Pin the fingerprints of all standard tasks: `python -m tools.pin_fingerprints`.

What is pinned already is never changed: a task whose instances would differ needs a new version.
"""

import json
from pathlib import Path

from grokbench.evaluation.protocol import PROTOCOL
from grokbench.tasks import list_tasks, make_instance

TARGET = Path(__file__).resolve().parents[1] / "grokbench" / "tasks" / "fingerprints.json"


def pin() -> None:
    """Add what isn't pinned yet, for every official seed, and drop tasks that are no longer standard.

    Raises:
        ValueError: an instance differs from what is pinned under its version.
    """
    pinned = json.loads(TARGET.read_text()) if TARGET.exists() else {}
    made = {task.id: [make_instance(task, seed).fingerprint for seed in PROTOCOL.official_seeds] for task in list_tasks()}
    changed = [task for task, fingerprints in made.items() if pinned.get(task, fingerprints) != fingerprints]
    if changed:
        raise ValueError(f"these tasks are pinned with other instances, raise their version: {', '.join(changed)}")
    TARGET.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    pin()
