"""Pin the fingerprints of all standard tasks: `python -m tools.pin_fingerprints`.

A pinned fingerprint never changes. A task whose instances would differ needs a new version.
"""

import json
from pathlib import Path

from grokbench.evaluation.protocol import PROTOCOL
from grokbench.tasks import list_tasks, make_instance

TARGET = Path(__file__).resolve().parents[1] / "grokbench" / "tasks" / "fingerprints.json"


def fingerprints() -> dict[str, list[str]]:
    """Task id → the fingerprints of its official seeds, for every standard task."""
    return {
        task.id: [make_instance(task, seed).fingerprint for seed in PROTOCOL.official_seeds]
        for task in list_tasks(controls=True)
    }


def pin(target: Path) -> None:
    """Add the fingerprints of every standard task to the pinned ones. A task that left its suite stays pinned.

    Raises:
        ValueError: an instance differs from the one that is pinned under its version.
    """
    pinned = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    current = fingerprints()
    changed = [task for task, prints in current.items() if pinned.get(task, prints) != prints]
    if changed:
        raise ValueError(f"these tasks are pinned with other instances: raise the version of {', '.join(changed)}")
    target.write_text(json.dumps(pinned | current, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    pin(TARGET)
